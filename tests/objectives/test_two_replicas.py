"""Replicas with a part of a batch each give what one gives with all."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow

from minc_tf.models import METHODS
from minc_tf.objectives import FMICL, MINC, MIO, NTXent, SpectralContrastive
from objectives.harness import assert_close

REASON = "replicas of tf.distribute; batches are global on JAX"
two_replicas = pytest.importorskip("objectives.two_replicas", reason=REASON)

#: Every objective as the first of its methods has it, corrected and at an
#: adaptive rate where it is MINC, and other settings that take another way.
#: The divergences of f-MICL, say, differ in a function of each pair alone.
METHODS_OF = {
    row.objective: row.objective_arguments(5)
    for row in reversed(METHODS.values())
}
COMPARED = [kind(**arguments) for kind, arguments in METHODS_OF.items()] + [
    MINC(5, tracking="corrected", rate=0.3, triangular=False, mu=4.0),
    MINC(5, tracking="lead", mu=None),
    MINC(5, tracking="mean", order="read_first", self_pairs=True, mu=None),
    SpectralContrastive(mu=None),
    NTXent(temperature=0.1, similarity="square", decoupled=True),
    MIO(form="improved"),
    MIO(negative_temperature=0.1, mse_weight=3.0),
    FMICL(divergence="tsallis", order=3.0, alpha=2.0, sigma=0.8),
]
#: What holds on three holds on two, and is told from what is halved.
REPLICAS = 3

pytestmark = [
    pytest.mark.slow,  # A process of its own, with a thread for each replica.
    needs_tensorflow(REASON),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one device gave, here, and what the replicas gave, by key."""
    folder = tmp_path_factory.mktemp("replicas")
    configs = [keras.saving.serialize_keras_object(o) for o in COMPARED]
    source = folder / "objectives.json"
    source.write_text(json.dumps(configs))
    found = folder / "replicas.npz"
    process = subprocess.Popen(
        [sys.executable, two_replicas.__file__, str(REPLICAS), source, found]
    )
    try:
        one = two_replicas.results_of(configs, 1)
        assert process.wait(timeout=300) == 0
    finally:
        process.kill()
    with np.load(found) as arrays:
        return one, dict(arrays)


@pytest.mark.parametrize("index", range(len(COMPARED)))
def test_loss_gradient_and_state_are_equal(results, index):
    prefix = f"{index}/"
    one, several = results
    names = [k.removeprefix(prefix) for k in one if k.startswith(prefix)]
    assert {"loss", "gradient", "last_loss"} <= set(names)
    for name in names:
        expected, found = one[prefix + name], several[prefix + name]
        if name in ("loss", "gradient"):
            assert_close(found, expected)
        else:
            assert len(found) == REPLICAS, "every replica holds a copy"
            for copy in found:
                # Values of order one cancel in a loss.
                floor = 0.5 if name == "last_loss" else 1e-6
                assert_close(copy, expected[0], floor=floor)
