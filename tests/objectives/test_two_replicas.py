"""Two replicas with half of a batch each give what one gives with all."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from minc_tf.models import METHODS
from minc_tf.objectives import FMICL, MINC, MIO, NTXent, SpectralContrastive
from objectives.harness import assert_close

OBJECTIVES = [
    MINC(5),
    MINC(5, rate=0.3, triangular=False, order="read_first", mu=4.0),
    SpectralContrastive(mu=None),
    SpectralContrastive(mu=4.0),
    NTXent(temperature=0.1),
    MIO(negative_temperature=0.1, mse_weight=3.0),
    FMICL(divergence="tsallis", order=3.0, alpha=2.0, sigma=0.8),
    *(row.objective(**row.objective_arguments(5)) for row in METHODS.values()),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    configs = [keras.saving.serialize_keras_object(o) for o in OBJECTIVES]
    (folder / "in.json").write_text(json.dumps(configs))
    program = pathlib.Path(__file__).with_name("two_replicas.py")
    subprocess.run(
        [sys.executable, program, folder / "in.json", folder / "out.npz"],
        check=True,
        timeout=300,
    )
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("index", range(len(OBJECTIVES)))
def test_loss_gradient_and_state_are_equal(results, index):
    one, two = f"{index}/one/", f"{index}/two/"
    names = [k.removeprefix(one) for k in results if k.startswith(one)]
    assert {"loss", "gradient", "last_loss"} <= set(names)
    for name in names:
        expected, found = results[one + name], results[two + name]
        if name in ("loss", "gradient"):
            assert_close(found, expected)
        else:
            assert len(found) == 2, "both replicas hold a copy"
            for copy in found:
                assert_close(copy, expected[0])
