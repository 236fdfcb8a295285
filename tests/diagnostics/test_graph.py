"""AugmentationGraph against enumeration and other eigensolvers."""

import numpy as np
import pytest

from minc_tf.diagnostics import AugmentationGraph

VIEWS = np.array(
    [
        [0.5, 0.5, 0.0, 0.0],
        [0.1, 0.2, 0.3, 0.4],
        [0.0, 0.0, 0.7, 0.3],
    ]
)
IMAGES = np.array([0.2, 0.5, 0.3])


@pytest.fixture(scope="module", params=["given", "random", "disconnected"])
def graph(request):
    if request.param == "given":
        return AugmentationGraph(VIEWS, IMAGES)
    if request.param == "random":
        return AugmentationGraph.random(num_states=20, num_images=30, seed=3)
    return AugmentationGraph(
        [[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.1, 0.9]]
    )


def test_joint_and_marginal_by_enumeration():
    graph = AugmentationGraph(VIEWS, IMAGES)
    joint = np.zeros((4, 4))
    marginal = np.zeros(4)
    for image in range(3):
        for x in range(4):
            marginal[x] += IMAGES[image] * VIEWS[image, x]
            for y in range(4):
                joint[x, y] += IMAGES[image] * VIEWS[image, x] * VIEWS[image, y]
    np.testing.assert_allclose(graph.joint, joint, atol=1e-15)
    np.testing.assert_allclose(graph.marginal, marginal, atol=1e-15)
    np.testing.assert_array_equal(graph.joint, graph.joint.T)


def test_images_are_equally_likely_by_default():
    given = AugmentationGraph(VIEWS, [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(AugmentationGraph(VIEWS).joint, given.joint)


def test_two_states_in_closed_form():
    # p(stay) = q makes T = [[s, 1-s], [1-s, s]], s = q^2 + (1-q)^2.
    graph = AugmentationGraph([[0.9, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(graph.eigenvalues, [1.0, 0.64])
    np.testing.assert_allclose(np.abs(graph.eigenfunctions), np.ones((2, 2)))
    np.testing.assert_allclose(graph.chi2_information, 0.64**2)
    np.testing.assert_allclose(graph.optimal_objective(2), 1 + 0.64**2)


def test_eigenvalues_are_those_of_the_transition_matrix(graph):
    transition = graph.joint / graph.marginal[:, None]
    values = np.sort(np.linalg.eigvals(transition).real)[::-1]
    np.testing.assert_allclose(graph.eigenvalues, values, atol=1e-7)
    functions = graph.eigenfunctions
    np.testing.assert_allclose(
        transition @ functions, functions * graph.eigenvalues, atol=1e-9
    )


def test_second_eigenpair_by_power_iteration():
    graph = AugmentationGraph.random(seed=5)
    function = np.random.default_rng(0).standard_normal(60)
    for _ in range(2000):
        function = graph.joint @ function / graph.marginal
        function -= graph.marginal @ function
        norm = np.sqrt(graph.marginal @ function**2)
        function /= norm
    np.testing.assert_allclose(graph.eigenvalues[1], norm)
    second = graph.eigenfunctions[:, 1]
    assert second[np.abs(second).argmax()] > 0
    np.testing.assert_allclose(np.abs(function), np.abs(second), atol=1e-6)


def test_eigenfunctions_are_orthonormal_and_the_first_constant(graph):
    functions = graph.eigenfunctions
    gram = functions.T @ (graph.marginal[:, None] * functions)
    np.testing.assert_allclose(gram, np.eye(graph.num_states), atol=1e-9)
    np.testing.assert_array_equal(functions[:, 0], 1.0)


def test_chi2_information_by_its_definition(graph):
    expected = -1.0
    for x in range(graph.num_states):
        for y in range(graph.num_states):
            expected += graph.joint[x, y] ** 2 / (
                graph.marginal[x] * graph.marginal[y]
            )
    np.testing.assert_allclose(graph.chi2_information, expected, rtol=1e-9)


def test_objective_by_enumeration(graph):
    rng = np.random.default_rng(1)
    table = rng.standard_normal((graph.num_states, 3))
    expected = 0.0
    for x in range(graph.num_states):
        for y in range(graph.num_states):
            inner = table[x] @ table[y]
            expected += 2 * graph.joint[x, y] * inner
            expected -= graph.marginal[x] * graph.marginal[y] * inner**2
    np.testing.assert_allclose(graph.objective(table), expected)


def test_optimum_is_reached_by_the_eigenfunctions_and_is_a_maximum(graph):
    best = graph.eigenfunctions[:, :2] * np.sqrt(graph.eigenvalues[:2])
    optimum = graph.optimal_objective(2)
    np.testing.assert_allclose(graph.objective(best), optimum)
    rng = np.random.default_rng(2)
    for _ in range(20):
        step = 0.1 * rng.standard_normal(best.shape)
        assert graph.objective(best + step) < optimum


def test_pairs_are_the_joint():
    graph = AugmentationGraph(VIEWS[[0, 2]])
    first, second, weight = graph.pairs()
    assert (first.dtype, second.dtype) == (np.int64, np.int64)
    assert weight.dtype == np.float32
    joint = np.zeros((4, 4))
    joint[first, second] = weight
    np.testing.assert_allclose(joint, graph.joint, rtol=1e-6)
    # The two images share no state: 2 x 2 pairs each.
    assert len(weight) == 8


def test_sample_frequencies_are_the_joint():
    graph = AugmentationGraph(VIEWS, IMAGES)
    n = 200_000
    first, second = graph.sample(n, seed=0)
    assert (first.dtype, second.dtype) == (np.int64, np.int64)
    counts = np.zeros((4, 4))
    np.add.at(counts, (first, second), 1)
    error = np.sqrt(graph.joint * (1 - graph.joint) / n)
    assert np.all(np.abs(counts / n - graph.joint) <= 4.5 * error)


def test_samples_repeat_with_a_seed_and_go_on_with_a_generator():
    graph = AugmentationGraph.random(seed=0)
    first, again = graph.sample(50, 7), graph.sample(50, 7)
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(graph.sample(50, rng), first)
    assert np.any(graph.sample(50, rng)[0] != first[0])


def test_random_graphs_repeat_and_their_leading_eigenvalues_are_apart():
    for seed in range(20):
        graph = AugmentationGraph.random(seed=seed)
        assert graph.joint.shape == (60, 60)
        assert np.all(-np.diff(graph.eigenvalues[:7]) > 0.03), seed
    again = AugmentationGraph.random(seed=19)
    np.testing.assert_array_equal(again.joint, graph.joint)


def test_random_graphs_of_the_smallest_sizes():
    for num_classes in (1, 2):
        graph = AugmentationGraph.random(2, 2, num_classes)
        np.testing.assert_allclose(graph.joint.sum(), 1.0)


def test_overlaps_know_scale_sign_and_order():
    graph = AugmentationGraph.random(seed=1)
    functions = graph.eigenfunctions[:, :4]
    np.testing.assert_allclose(graph.overlaps(-3.0 * functions), 1.0)
    np.testing.assert_allclose(
        graph.overlaps(functions[:, [1, 0, 2, 3]]), [0, 0, 1, 1], atol=1e-9
    )
    mixed = functions.copy()
    mixed[:, 3] = 0.0
    mixed[:, 2] = 3.0 * functions[:, 2] + 4.0 * functions[:, 3]
    np.testing.assert_allclose(graph.overlaps(mixed), [1, 1, 0.6, 0])


def test_subspace_error_in_closed_form():
    graph = AugmentationGraph.random(seed=1)
    functions = graph.eigenfunctions
    any_basis = np.random.default_rng(0).standard_normal((3, 3))
    leading = functions[:, :3] @ any_basis
    np.testing.assert_allclose(graph.subspace_error(leading), 0, atol=1e-9)
    other = functions[:, 3:6] @ any_basis
    np.testing.assert_allclose(graph.subspace_error(other), 1)
    # One principal angle of cosine 0.8, two of cosine 1.
    turned = functions[:, :3].copy()
    turned[:, 2] = 0.8 * functions[:, 2] + 0.6 * functions[:, 5]
    np.testing.assert_allclose(
        graph.subspace_error(turned @ any_basis), 0.36 / 3
    )
    collapsed = np.repeat(functions[:, :1], 3, axis=1)
    np.testing.assert_allclose(graph.subspace_error(collapsed), 2 / 3)
    assert graph.subspace_error(np.zeros((60, 3))) == 1.0


def test_results_cannot_be_changed_by_accident():
    graph = AugmentationGraph.random(seed=1)
    with pytest.raises(ValueError, match="read-only"):
        graph.joint[0, 0] = 1.0
    views = VIEWS.copy()
    AugmentationGraph(views)
    views[0, 0] = 1.0  # the caller's array stays writable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([[0.5, 0.5]], r"view_probabilities must be .* shape \(2,\)"),
        ([np.zeros((0, 3))], r"non-empty .* shape \(0, 3\)"),
        ([[[1.5, -0.5]]], r"view_probabilities .*received -0.5"),
        ([[[np.nan, 1.0]]], "non-negative and finite; received nan"),
        ([[[1.0, 0.0], [0.5, 0.4]]], "row 1 with sum 0.9"),
        ([VIEWS, [0.5, 0.5]], "one entry for each row .*3; received 2"),
        ([VIEWS, [0.5, 0.4, 0.3]], "image_probabilities .*sum 1.2"),
        ([[[1.0, 0.0], [1.0, 0.0]]], r"remove these columns .*: \[1\]"),
        ([VIEWS, [1.0, 0.0, 0.0]], r"remove these columns .*: \[2, 3\]"),
    ],
)
def test_bad_probabilities_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentationGraph(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes .*received num_classes=0"),
        ({"num_states": 5}, "num_states=5"),
        ({"leaks": (0.0, 0.5)}, r"leaks .*received \(0.0, 0.5\)"),
        ({"concentration": 0.0}, "concentration .*received 0.0"),
    ],
)
def test_bad_arguments_of_random_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugmentationGraph.random(**arguments)


def test_bad_arguments_of_methods_are_refused():
    graph = AugmentationGraph(VIEWS)
    with pytest.raises(ValueError, match=r"dim .*received 5"):
        graph.optimal_objective(5)
    with pytest.raises(ValueError, match=r"num_pairs .*received 0"):
        graph.sample(0, seed=0)
    with pytest.raises(ValueError, match=r"shape \(4, dim\).*\(5, 2\)"):
        graph.overlaps(np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"number of states, 4.*received 5"):
        graph.subspace_error(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="1 entries that are not"):
        graph.objective([[np.nan], [0.0], [0.0], [0.0]])
