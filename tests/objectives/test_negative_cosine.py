"""The negative cosine against a loop, and as SimSiam and BYOL state it."""

import numpy as np
import pytest

from minc_tf.objectives.negative_cosine import NegativeCosine
from objectives.harness import (
    SIZES,
    assert_close,
    embeddings,
    finite_differences,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)


def slow_loss(z1, z2, form, weight, sample_weight=None):
    if sample_weight is None:
        sample_weight = np.ones(len(z1))
    total = 0.0
    for first, second, share in zip(z1, z2, sample_weight, strict=True):
        first = first / np.linalg.norm(first)
        second = second / np.linalg.norm(second)
        if form == "cosine":
            total -= share * np.dot(first, second)
        else:
            total += share * np.linalg.norm(first - second) ** 2
    return weight * total / np.sum(sample_weight)


def test_passes_the_checks_of_every_objective():
    run_objective_test(NegativeCosine, {"form": "distance", "weight": 2.0})
    run_setting_test(NegativeCosine, {"form": "cosine"})


@pytest.mark.parametrize("form, weight", [("cosine", 1.0), ("distance", 2.0)])
@pytest.mark.parametrize("batch, dim", [(1, 5), *SIZES])
def test_value_and_gradient_equal_the_loop(batch, dim, form, weight):
    run_reference_test(
        NegativeCosine(form=form, weight=weight),
        lambda z1, z2: slow_loss(z1, z2, form, weight),
        batch,
        dim,
    )


def test_forms_differ_by_a_factor_and_a_constant():
    z1, z2 = embeddings(12, 5)
    cosine, *gradients = loss_and_gradients(NegativeCosine(), z1, z2)
    distance, *doubled = loss_and_gradients(
        NegativeCosine(form="distance"), z1, z2
    )
    np.testing.assert_allclose(distance, 2.0 + 2.0 * cosine, rtol=1e-6)
    for gradient, double in zip(gradients, doubled, strict=True):
        assert_close(double, 2.0 * gradient)


def test_directions_in_one_batch_give_the_published_losses():
    """SimSiam takes half of each direction, BYOL the sum of both."""
    prediction1, target1 = embeddings(6, 5, seed=1)
    prediction2, target2 = embeddings(6, 5, seed=2)
    predictions = np.concatenate([prediction1, prediction2])
    targets = np.concatenate([target2, target1])
    for form, weight, share in (("cosine", 1.0, 0.5), ("distance", 2.0, 1.0)):
        objective = NegativeCosine(form=form, weight=weight)
        np.testing.assert_allclose(
            objective(predictions, targets),
            slow_loss(prediction1, target2, form, share)
            + slow_loss(prediction2, target1, form, share),
            rtol=1e-5,
        )


@pytest.mark.parametrize("form", ["cosine", "distance"])
def test_sample_weights(form):
    z1, z2 = embeddings(7, 4)
    weights = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 0.0, 1.0])
    objective = NegativeCosine(form=form, weight=0.5)
    loss, gradient, _ = loss_and_gradients(
        objective, z1, z2, sample_weight=weights
    )
    z1, z2 = z1.astype("float64"), z2.astype("float64")
    np.testing.assert_allclose(
        loss, slow_loss(z1, z2, form, 0.5, weights), rtol=1e-5
    )
    expected = finite_differences(
        lambda z: slow_loss(z, z2, form, 0.5, weights),
        z1,
        np.eye(28).reshape(28, 7, 4),
    )
    assert_close(gradient.reshape(-1), expected)
    kept = weights > 0
    alone = objective(z1[kept], z2[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(loss, alone, rtol=1e-5)


def test_weights_that_are_all_zero_give_no_gradient():
    """As on a replica whose part of the last batch is padding."""
    z1, z2 = embeddings(4, 3)
    loss, *gradients = loss_and_gradients(
        NegativeCosine(), z1, z2, sample_weight=np.zeros(4)
    )
    assert loss == 0.0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros((4, 3)))


def test_scale_of_an_embedding_does_not_matter():
    z1, z2 = embeddings(8, 5)
    scales = np.geomspace(1e-3, 1e3, 8, dtype="float32")[:, None]
    objective = NegativeCosine(form="distance")
    np.testing.assert_allclose(
        objective(scales * z1, z2 / scales), objective(z1, z2), rtol=1e-5
    )


def test_range():
    z, _ = embeddings(8, 5)
    for form, nearest, farthest in (("cosine", -1, 1), ("distance", 0, 4)):
        objective = NegativeCosine(form=form)
        np.testing.assert_allclose(objective(z, 2 * z), nearest, atol=1e-6)
        np.testing.assert_allclose(objective(z, -3 * z), farthest, rtol=1e-6)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"form": "l2"}, "form must be one of 'cosine', 'distance'.*'l2'"),
        ({"weight": 0.0}, "weight must be .*0.0"),
        ({"weight": float("nan")}, "weight must be .*nan"),
    ],
)
def test_arguments_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        NegativeCosine(**given)
