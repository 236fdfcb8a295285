"""MIO against a loop over the samples of a batch."""

import numpy as np
import pytest
from gradients import differentiated, needs_tensorflow

from minc_tf.objectives.mio import MIO
from objectives.harness import (
    SIZES,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)


def softplus(x):
    return np.logaddexp(0.0, x)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def slow_similarities(z1, z2):
    """Lists of the 2B positives and of the 2B (2B - 2) negatives."""
    samples, batch = np.concatenate([unit(z1), unit(z2)]), len(z1)
    positives, negatives = [], []
    for i, sample in enumerate(samples):
        partner = i + batch if i < batch else i - batch
        cosines = samples @ sample
        positives.append(cosines[partner])
        negatives.extend(np.delete(cosines, [i, partner]))
    return np.array(positives), np.array(negatives)


def slow_loss(
    z1,
    z2,
    positive_temperature=0.5,
    negative_temperature=0.5,
    mse_weight=1.0,
    form="published",
):
    positives, negatives = slow_similarities(z1, z2)
    positives = positives / positive_temperature
    negatives = negatives / negative_temperature
    if form == "improved":
        return np.log(1.0 + np.exp(negatives).mean()) - positives.mean()
    # The binary cross-entropies of the labels 1 and 0.
    attraction = -np.log(1.0 / (1.0 + np.exp(-positives))).mean()
    repulsion = -np.log(1.0 / (1.0 + np.exp(negatives))).mean()
    distance = ((unit(z1) - unit(z2)) ** 2).sum() / z1.size
    return attraction + repulsion + mse_weight * distance


FORMS = [
    {},
    {"positive_temperature": 0.3, "negative_temperature": 0.8},
    {"positive_temperature": 0.8, "mse_weight": 20.0},
    {"mse_weight": 0.0},
    {"form": "improved"},
    {
        "form": "improved",
        "positive_temperature": 0.8,
        "negative_temperature": 0.2,
    },
]


def test_passes_the_checks_of_every_objective():
    kwargs = {"positive_temperature": 0.3, "mse_weight": 2.0}
    run_objective_test(MIO, {**kwargs, "form": "published"})
    kwargs = {"mse_weight": 0, "negative_temperature": 0.1}
    run_setting_test(MIO, {**kwargs, "form": "improved"})


@pytest.mark.parametrize("kwargs", FORMS)
@pytest.mark.parametrize("batch, dim", SIZES)
def test_value_and_gradient_equal_the_loop(batch, dim, kwargs):
    run_reference_test(
        MIO(**kwargs), lambda z1, z2: slow_loss(z1, z2, **kwargs), batch, dim
    )


def test_value_by_hand():
    """Two orthogonal pairs: positives of 1, negatives of 0."""
    z = np.eye(2, dtype="float32")
    expected = np.log(1.0 + np.exp(-2.0)) + np.log(2.0)
    np.testing.assert_allclose(MIO()(z, z), expected, rtol=1e-6)
    expected = -2.0 + np.log(2.0)
    np.testing.assert_allclose(MIO(form="improved")(z, z), expected, rtol=1e-6)


def test_mse_is_a_mean_over_pairs_and_dimensions():
    """Of opposite views: the squared norm of the difference is 4."""
    z = np.eye(4, dtype="float32")
    near, far = (MIO(mse_weight=w)(z, -z) for w in (0.0, 3.0))
    np.testing.assert_allclose(far - near, 3.0 * 4.0 / 4.0, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_improved_form_bounds_the_published_repulsion(temperature):
    """Jensen: `log(1 + mean exp x) >= mean log(1 + exp x)`."""
    z1, z2 = embeddings(16, 5)
    positives, _ = slow_similarities(z1, z2)
    published = MIO(negative_temperature=temperature, mse_weight=0.0)(z1, z2)
    published = published - softplus(-positives / 0.5).mean()
    improved = MIO(negative_temperature=temperature, form="improved")(z1, z2)
    improved = improved + (positives / 0.5).mean()
    assert improved > published + 1e-3


def test_the_bound_is_met_where_all_negatives_are_equal():
    z = np.eye(6, dtype="float32")
    published = MIO(mse_weight=0.0)(z, z) - softplus(-2.0)
    improved = MIO(form="improved")(z, z) + 2.0
    np.testing.assert_allclose(improved, published, rtol=3e-6)


@pytest.mark.parametrize("form", ["published", "improved"])
def test_lengths_of_embeddings_do_not_matter(form):
    z1, z2 = embeddings(8, 5)
    lengths = np.geomspace(1e-6, 1e6, 8, dtype="float32")[:, None]
    loss, g1, _ = loss_and_gradients(MIO(form=form), z1, z2)
    scaled, h1, _ = loss_and_gradients(MIO(form=form), lengths * z1, 7.0 * z2)
    np.testing.assert_allclose(scaled, loss, rtol=1e-5)
    np.testing.assert_allclose(lengths * h1, g1, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 100.0])
def test_extreme_temperatures(temperature):
    """`exp(1 / t)` overflows, its logarithm does not."""
    kwargs = {
        "positive_temperature": temperature,
        "negative_temperature": temperature,
    }
    for z1, z2 in (embeddings(8, 5), 2 * (np.eye(8, dtype="float32"),)):
        positives, negatives = (
            s / temperature for s in slow_similarities(z1, z2)
        )
        expected = softplus(-positives).mean() + softplus(negatives).mean()
        loss, *gradients = loss_and_gradients(
            MIO(mse_weight=0, **kwargs), z1, z2
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        expected = np.logaddexp.reduce(negatives) - np.log(len(negatives))
        expected = softplus(expected) - positives.mean()
        loss, *more = loss_and_gradients(MIO(form="improved", **kwargs), z1, z2)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        for gradient in gradients + more:
            assert np.all(np.isfinite(gradient))


@needs_tensorflow("a batch of one pair is refused where its size is known")
@pytest.mark.parametrize(
    "form, jit", [("published", False), ("improved", True)]
)
def test_batch_of_unknown_size(form, jit):
    """The single pair left over in `fit` must not poison the weights."""
    objective = MIO(form=form)
    objective.build((None, 3))
    step = differentiated(objective, objective, jit, shape=(None, 3))
    z1, z2 = embeddings(10, 3)
    loss, gradient, _ = step(z1, z2)
    expected, g1, _ = loss_and_gradients(objective, z1, z2)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, g1, rtol=1e-5, atol=1e-7)

    z1, z2 = z1[:1], z2[:1]
    loss, gradient, _ = step(z1, z2)
    cosine = np.sum(unit(z1) * unit(z2))
    published = softplus(-2.0 * cosine) + (2.0 - 2.0 * cosine) / 3.0
    expected = {"published": published, "improved": -2.0 * cosine}[form]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0.0)


@pytest.mark.parametrize(
    "name", ["positive_temperature", "negative_temperature"]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "1", True, None])
def test_temperature_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value!r}"):
        MIO(**{name: value})


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1"])
def test_mse_weight_out_of_range(value):
    for form in ("published", "improved"):
        with pytest.raises(ValueError, match=f"mse_weight must .*{value!r}"):
            MIO(mse_weight=value, form=form)


def test_improved_form_refuses_a_weight_that_would_do_nothing():
    with pytest.raises(ValueError, match=r"None or 0 with .*received 0\.5"):
        MIO(mse_weight=0.5, form="improved")


def test_form_unknown():
    with pytest.raises(ValueError, match="'improved'; received 'v3'"):
        MIO(form="v3")


def test_one_pair_has_no_negatives():
    z1, z2 = embeddings(1, 4)
    for form in ("published", "improved"):
        with pytest.raises(ValueError, match=r"at least 2 pairs; received 1"):
            MIO(form=form)(z1, z2)
