"""NT-Xent and its forms against a loop over the anchors of a batch."""

import numpy as np
import pytest
from gradients import differentiated, needs_tensorflow

from minc_tf.objectives.nt_xent import (
    NTXent,
    masked_logsumexp,
    products_of_samples,
)
from objectives.harness import (
    SIZES,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)

FORMS = [
    {"similarity": similarity, "decoupled": decoupled}
    for similarity in ("cosine", "square", "absolute")
    for decoupled in (False, True)
]


def slow_terms(z1, z2, temperature=0.5, similarity="cosine", decoupled=False):
    """The losses of the 2B anchors, all first views before the second."""
    samples, batch = np.concatenate([z1, z2]), len(z1)
    norms = np.sqrt(np.sum(samples**2, axis=1))
    losses = []
    for i, anchor in enumerate(samples):
        cosines = samples @ anchor / (norms * norms[i])
        if similarity == "square":
            cosines = cosines**2
        elif similarity == "absolute":
            cosines = np.abs(cosines)
        partner = (i + batch) % (2 * batch)
        exponentials = np.exp(cosines / temperature)
        left_out = [i, partner] if decoupled else [i]
        denominator = np.delete(exponentials, left_out).sum()
        losses.append(-np.log(exponentials[partner] / denominator))
    return np.array(losses)


def slow_loss(z1, z2, **kwargs):
    return slow_terms(z1, z2, **kwargs).mean()


def test_passes_the_checks_of_every_objective():
    run_objective_test(NTXent, {"temperature": 0.2, "similarity": "square"})


@pytest.mark.parametrize(
    "kwargs",
    [
        {"temperature": 0.1},
        {"similarity": "absolute"},
        {"decoupled": True},
        {"similarity": "square", "decoupled": True},
        {"temperature": 0.1, "similarity": "absolute", "decoupled": True},
    ],
)
def test_every_form_is_saved_and_stays_finite(kwargs):
    run_setting_test(NTXent, kwargs)


@pytest.mark.parametrize("kwargs", [*FORMS, {"temperature": 0.1}])
@pytest.mark.parametrize("batch, dim", SIZES)
def test_value_and_gradient_equal_the_loop(batch, dim, kwargs):
    run_reference_test(
        NTXent(**kwargs), lambda z1, z2: slow_loss(z1, z2, **kwargs), batch, dim
    )


def test_value_by_hand():
    """Two orthogonal pairs: a positive of 1 against two negatives of 0."""
    z = np.eye(2, dtype="float32")
    for temperature in (0.1, 0.5):
        kwargs = {"temperature": temperature}
        positive = np.exp(1.0 / temperature)
        expected = np.log((positive + 2.0) / positive)
        np.testing.assert_allclose(NTXent(**kwargs)(z, z), expected, rtol=1e-6)
        expected = np.log(2.0 / positive)
        found = NTXent(**kwargs, decoupled=True)(z, z)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "square", "absolute"])
def test_decoupled_has_no_positive_in_the_denominator(similarity):
    """Of each anchor: `exp(coupled) = exp(decoupled) + 1`."""
    z1, z2 = (z.astype("float64") for z in embeddings(9, 4))
    kwargs = {"temperature": 0.3, "similarity": similarity}
    decoupled = slow_terms(z1, z2, decoupled=True, **kwargs)
    found = NTXent(**kwargs)(z1, z2)
    expected = np.log1p(np.exp(decoupled)).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = NTXent(decoupled=True, **kwargs)(z1, z2)
    assert found < expected
    np.testing.assert_allclose(found, decoupled.mean(), rtol=1e-5)


@pytest.mark.parametrize("decoupled", [False, True])
def test_square_and_absolute_do_not_see_signs(decoupled):
    """Not even that of the positive, which is squared with the rest."""
    z1, z2 = embeddings(8, 5)
    signs = np.where(np.arange(8) % 3 == 0, -1.0, 1.0)[:, None]
    signs = signs.astype("float32")
    for similarity in ("square", "absolute"):
        objective = NTXent(similarity=similarity, decoupled=decoupled)
        np.testing.assert_allclose(
            objective(signs * z1, z2), objective(z1, z2), rtol=1e-6
        )
    objective = NTXent(decoupled=decoupled)
    assert objective(signs * z1, z2) > objective(z1, z2) + 0.1


@pytest.mark.parametrize("kwargs", FORMS)
def test_lengths_of_embeddings_do_not_matter(kwargs):
    z1, z2 = embeddings(8, 5)
    lengths = np.geomspace(1e-6, 1e6, 8, dtype="float32")[:, None]
    loss, g1, _ = loss_and_gradients(NTXent(**kwargs), z1, z2)
    scaled, h1, _ = loss_and_gradients(NTXent(**kwargs), lengths * z1, 7 * z2)
    np.testing.assert_allclose(scaled, loss, rtol=1e-5)
    np.testing.assert_allclose(lengths * h1, g1, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(np.sum(z1 * g1, axis=1), 0.0, atol=1e-6)


def test_a_loss_near_zero_keeps_its_digits():
    z = np.eye(8, dtype="float32")
    found = NTXent(temperature=0.05)(z, z)
    np.testing.assert_allclose(found, 14.0 * np.exp(-20.0), rtol=1e-5)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 100.0])
def test_extreme_temperatures(temperature, decoupled):
    kwargs = {"temperature": temperature, "decoupled": decoupled}
    z1, z2 = embeddings(8, 5)
    loss, g1, g2 = loss_and_gradients(NTXent(**kwargs), z1, z2)
    # The reference overflows below: only its scale is needed there.
    samples = np.concatenate([z1, z2]).astype("float64")
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    logits = samples @ samples.T / temperature
    np.fill_diagonal(logits, -np.inf)
    partner = np.roll(np.arange(16), 8)
    positive = logits[np.arange(16), partner].copy()
    if decoupled:
        logits[np.arange(16), partner] = -np.inf
    expected = np.mean(np.logaddexp.reduce(logits, axis=1) - positive)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.all(np.isfinite(g1)) and np.all(np.isfinite(g2))


@pytest.mark.parametrize("similarity", ["cosine", "square", "absolute"])
def test_gradient_of_orthogonal_embeddings_is_finite(similarity):
    """Cosines of exactly 0, where the absolute value has a kink."""
    z = np.eye(6, dtype="float32")
    _, *gradients = loss_and_gradients(
        NTXent(similarity=similarity), z, np.roll(z, 1, axis=0)
    )
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
        if similarity != "cosine":
            np.testing.assert_allclose(gradient, 0.0, atol=1e-7)


@needs_tensorflow("a batch of one pair is refused where its size is known")
@pytest.mark.parametrize("decoupled, jit", [(False, False), (True, True)])
def test_batch_of_unknown_size(decoupled, jit):
    """The single pair left over in `fit` must not poison the weights."""
    objective = NTXent(decoupled=decoupled)
    objective.build((None, 3))
    step = differentiated(objective, objective, jit, shape=(None, 3))
    z1, z2 = embeddings(10, 3)
    loss, gradient, _ = step(z1, z2)
    expected, g1, _ = loss_and_gradients(objective, z1, z2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, g1, rtol=1e-5, atol=1e-7)

    z1, z2 = z1[:1], z2[:1]
    loss, gradient, _ = step(z1, z2)
    cosine = np.sum(z1 * z2) / np.linalg.norm(z1) / np.linalg.norm(z2)
    expected = -cosine / 0.5 if decoupled else 0.0
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0.0) == decoupled


def test_products_of_samples():
    z1, z2 = embeddings(3, 4)
    positives, products, negatives = products_of_samples(z1, z2)
    np.testing.assert_allclose(positives, np.sum(z1 * z2, axis=1), rtol=1e-5)
    samples = np.stack([z1[0], z2[0], z1[1], z2[1], z1[2], z2[2]])
    np.testing.assert_allclose(products, samples @ samples.T, rtol=1e-5)
    blocks = np.kron(np.eye(3), np.ones((2, 2))) == 1
    np.testing.assert_array_equal(negatives, ~blocks)


def test_masked_logsumexp():
    values = np.array([[1e4, 1.0], [2.0, -1e4]], "float32")
    mask = np.array([[False, True], [True, True]])
    found = masked_logsumexp(values, mask, axis=1)
    np.testing.assert_allclose(found, [1.0, 2.0], rtol=1e-6)
    found = masked_logsumexp(values, mask)
    np.testing.assert_allclose(found, np.logaddexp(1.0, 2.0), rtol=1e-6)
    assert -np.inf < masked_logsumexp(values, np.zeros_like(mask)) < -1e29


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "1", True, None])
def test_temperature_out_of_range(value):
    with pytest.raises(ValueError, match=f"temperature must be .*{value!r}"):
        NTXent(temperature=value)


@pytest.mark.parametrize("value", ["sq", "", None, ["cosine"]])
def test_similarity_unknown(value):
    with pytest.raises(ValueError, match="'square', 'absolute'; received"):
        NTXent(similarity=value)


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_decoupled_is_true_or_false(value):
    with pytest.raises(ValueError, match=f"True or False; received {value!r}"):
        NTXent(decoupled=value)


@pytest.mark.parametrize("decoupled", [False, True])
def test_one_pair_has_no_negatives(decoupled):
    z1, z2 = embeddings(1, 4)
    with pytest.raises(ValueError, match=r"at least 2 pairs; received 1"):
        NTXent(decoupled=decoupled)(z1, z2)
