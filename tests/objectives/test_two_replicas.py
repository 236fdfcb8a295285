"""Replicas with a part of a batch each give what one gives with all."""

import json
import pathlib
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
pytest.importorskip("tensorflow", reason=REASON)

#: Other settings than those of the methods.
SETTINGS = [
    # Those of the methods are corrected, at an adaptive rate.
    MINC(5, tracking="corrected", rate=0.3, triangular=False, mu=4.0),
    MINC(5, tracking="lead"),
    MINC(5, tracking="mean", order="read_first", self_pairs=True),
    SpectralContrastive(mu=None),
    SpectralContrastive(mu=4.0),
    NTXent(temperature=0.1),
    MIO(negative_temperature=0.1, mse_weight=3.0),
    FMICL(divergence="tsallis", order=3.0, alpha=2.0, sigma=0.8),
]
COMPARED = SETTINGS + [
    row.objective(**row.objective_arguments(5)) for row in METHODS.values()
]
COUNTS = (1, 2, 4)

pytestmark = [pytest.mark.slow, needs_tensorflow(REASON)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each number of replicas gave, by key."""
    folder = tmp_path_factory.mktemp("replicas")
    program = pathlib.Path(__file__).with_name("two_replicas.py")
    configs = [keras.saving.serialize_keras_object(o) for o in COMPARED]
    source = folder / "objectives.json"
    source.write_text(json.dumps(configs))
    running = [
        subprocess.Popen(
            [sys.executable, program, str(n), source, folder / f"{n}.npz"]
        )
        for n in COUNTS
    ]
    try:
        for process in running:
            assert process.wait(timeout=300) == 0
    finally:
        for process in running:
            process.kill()
    found = {}
    for count in COUNTS:
        with np.load(folder / f"{count}.npz") as arrays:
            found[count] = dict(arrays)
    return found


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("index", range(len(COMPARED)))
def test_loss_gradient_and_state_are_equal(results, index, count):
    prefix = f"{index}/"
    one, several = results[1], results[count]
    names = [k.removeprefix(prefix) for k in one if k.startswith(prefix)]
    assert {"loss", "gradient", "last_loss"} <= set(names)
    for name in names:
        expected, found = one[prefix + name], several[prefix + name]
        if name in ("loss", "gradient"):
            assert_close(found, expected)
        else:
            assert len(found) == count, "every replica holds a copy"
            for copy in found:
                assert_close(copy, expected[0])
