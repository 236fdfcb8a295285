"""Training on two replicas equals training on one device."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from models.two_replicas import CASES


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "results.npz"
    program = pathlib.Path(__file__).with_name("two_replicas.py")
    subprocess.run([sys.executable, program, path], check=True, timeout=300)
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_equal(results, name):
    """Synchronised statistics, Lambda, target and step count included."""
    one, two = f"{name}/1/", f"{name}/2/"
    keys = [k.removeprefix(one) for k in results if k.startswith(one)]
    assert len(keys) > 10
    for key in keys:
        np.testing.assert_allclose(
            results[two + key], results[one + key], rtol=1e-4, atol=2e-5
        )
