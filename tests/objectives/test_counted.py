"""What objectives exchange, counted where they do it, on either backend.

tests/diagnostics/test_exchange.py compares with traced collectives.
"""

import keras
import numpy as np
import pytest
from keras import ops

from minc_tf.diagnostics import exchanged_bytes
from minc_tf.objectives import (
    MINC,
    MIO,
    BarlowTwins,
    NegativeCosine,
    NTXent,
    Objective,
    SpectralContrastive,
    VICRegCtr,
    replicas,
)

B, D, N = 24, 5, 3


@pytest.mark.parametrize(
    ("objective", "reduced", "gathered"),
    [
        # The second moment and the mean of ||z||^4: no gradient.
        (MINC(D, mu=None), D * D + 1, 0),
        # Two moments and the positives, forward and backward.
        (SpectralContrastive(), 2 * (2 * D * D + 1), 0),
        (NTXent(), 2 * B * D, 2 * B * D),
        # A log-sum-exp of each replica besides.
        (MIO(form="improved"), 2 * B * D + N, 2 * B * D + N),
        # Of each view the mean, and the centred embeddings.
        (VICRegCtr(), 4 * D + 2 * B * D, 2 * B * D),
        # Means and variances of both views, and their correlation.
        (BarlowTwins(), 2 * (4 * D + D * D), 0),
        (NegativeCosine(), 0, 0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_numbers_in_closed_form(objective, reduced, gathered):
    """And the loss, which is averaged."""
    found = exchanged_bytes(objective, B, D, N)
    assert found == {
        "all_reduce": 4 * (reduced + 1),
        "all_gather": 4 * gathered,
    }


class Centred(Objective):
    """A user's own: a mean with a gradient, and rows without one."""

    def compute(self, z1, z2, training, sample_weight):
        z1 = z1 - replicas.mean(ops.mean(z1, axis=0))
        rows = ops.stop_gradient(replicas.gather(z2))
        return ops.mean(ops.matmul(z1, ops.transpose(rows)))


def test_objective_of_ones_own_is_counted_too():
    """What is stopped, before or behind a collective, comes back through none.

    The loss is averaged, the mean is reduced forward and backward.
    """
    found = exchanged_bytes(Centred(), 12, 5, 3)
    assert found == {"all_reduce": 4 * (1 + 2 * 5), "all_gather": 4 * 12 * 5}


def test_counting_changes_nothing():
    objective = MINC(dim=4, mu=None)
    z = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    objective(z, z, training=True)
    before = [np.array(v) for v in objective.variables]
    exchanged_bytes(objective, 16, 4, 2)
    for old, new in zip(before, objective.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert replicas.count() == 1
    assert replicas.gather(z) is z


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="AutoGraph is TensorFlow's"
)
@pytest.mark.parametrize("door", ["count", "mean", "gather"])
def test_autograph_takes_the_doors(door):
    """What it cannot transform it warns of, in the output of every run."""
    import tensorflow as tf

    assert callable(tf.autograph.to_graph(getattr(replicas, door)))
