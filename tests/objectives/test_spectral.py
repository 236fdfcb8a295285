"""The spectral loss against a double loop over a batch."""

import numpy as np
import pytest
from gradients import differentiated, needs_tensorflow

from minc_tf.objectives import SpectralContrastive
from objectives.harness import (
    SIZES,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)


def slow_loss(z1, z2, mu):
    def clip(z):
        norm = np.sqrt(np.sum(z**2))
        inside = mu is None or norm < np.sqrt(mu)
        return z if inside else np.sqrt(mu) * z / norm

    z1, z2 = np.stack([*map(clip, z1)]), np.stack([*map(clip, z2)])
    batch = len(z1)
    positive = negative = 0.0
    for i in range(batch):
        positive += np.dot(z1[i], z2[i])
        for j in range(batch):
            if i != j:
                negative += np.dot(z1[i], z2[j]) ** 2
    loss = -2.0 / batch * positive + negative / (batch * (batch - 1))
    return loss if mu is None else loss / mu


def test_passes_the_checks_of_every_objective():
    run_objective_test(SpectralContrastive, {"mu": 10.0})
    run_setting_test(SpectralContrastive, {"mu": None})


@pytest.mark.parametrize("mu", [None, 0.5, 3.0])
@pytest.mark.parametrize("batch, dim", SIZES)
def test_value_and_gradient_equal_the_double_loop(batch, dim, mu):
    run_reference_test(
        SpectralContrastive(mu=mu),
        lambda z1, z2: slow_loss(z1, z2, mu),
        batch,
        dim,
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_value_of_a_large_batch(scale):
    z1, z2 = embeddings(64, 16, scale=scale)
    expected = slow_loss(z1.astype("float64"), z2.astype("float64"), None)
    loss, g1, g2 = loss_and_gradients(SpectralContrastive(mu=None), z1, z2)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert np.all(np.isfinite(g1)) and np.all(np.isfinite(g2))


def test_information_does_not_depend_on_the_scaling_by_mu():
    """With mu the loss is divided by mu; the information is not."""
    z1, z2 = embeddings(16, 4, scale=0.1)
    free, clipped = SpectralContrastive(mu=None), SpectralContrastive(mu=50.0)
    expected = -slow_loss(z1, z2, None) - 1.0
    for objective in (free, clipped):
        objective(z1, z2, training=True)
        metrics = objective.metrics()
        assert set(metrics) == {"chi2_information"}
        np.testing.assert_allclose(
            metrics["chi2_information"], expected, rtol=1e-5
        )


@needs_tensorflow("a batch of one pair is refused where its size is known")
def test_one_pair_of_unknown_number_has_no_negatives():
    """The batch that is left over in `fit` must not poison the weights."""
    objective = SpectralContrastive(mu=None)
    objective.build((None, 3))

    step = differentiated(objective, objective, False, shape=(None, 3))
    z1, z2 = embeddings(1, 3)
    loss, gradient, _ = step(z1, z2)
    np.testing.assert_allclose(loss, -2.0 * np.sum(z1 * z2), rtol=1e-5)
    np.testing.assert_allclose(gradient, -2.0 * z2, rtol=1e-5)


@pytest.mark.parametrize("mu", [0.0, -1.0, float("nan"), float("inf"), "1"])
def test_mu_out_of_range(mu):
    with pytest.raises(ValueError, match=f"mu must be .*{mu!r}"):
        SpectralContrastive(mu=mu)
