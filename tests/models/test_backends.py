"""TensorFlow and JAX make the same of the same weights and views."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from compiling import QUICKLY
from gradients import needs_tensorflow

from models import backends

pytest.importorskip("jax")
pytestmark = [
    pytest.mark.slow,  # Each method is traced here and compiled on JAX.
    needs_tensorflow("compared from TensorFlow's side"),
]

TESTS = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What both backends gave, each by key, here and in another process."""
    folder = tmp_path_factory.mktemp("backends")
    # What the other process loads.
    found = {
        name: backends.train(name, folder)
        for name, backend in backends.MOVED.items()
        if backend == "tensorflow"
    }
    environment = {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(TESTS),
        "XLA_FLAGS": QUICKLY,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "models.backends", folder],
        env={**os.environ, **environment},
    )
    try:
        for name in backends.COMPARED:
            if name not in found:
                found[name] = backends.train(name, folder)
        found["views"] = backends.views()
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
    for method, backend in backends.MOVED.items():
        found[f"{method} of {backend}"] = backends.go_on(folder, method)
    with np.load(folder / "jax.npz") as arrays:
        return dict(backends.flat(found)), dict(arrays)


def under(values, prefix):
    """The values below a prefix, by the rest of their keys."""
    return {
        key.removeprefix(prefix): value
        for key, value in values.items()
        if key.startswith(prefix)
    }


def assert_same(results, prefix, tolerance, scale=None):
    """The same values below a prefix.

    Args:
        results: both backends' values.
        prefix: string.
        tolerance: float, largest error in units of the scale.
        scale: float; the largest value, and one at least, by default.
    """
    expected, found = (under(each, prefix) for each in results)
    assert found.keys() == expected.keys()
    assert len(expected) > 5
    for key, value in expected.items():
        own = scale or max(1.0, np.max(np.abs(value)))
        np.testing.assert_allclose(
            found[key], value, rtol=0.0, atol=tolerance * own, err_msg=key
        )


@pytest.mark.parametrize("method", backends.COMPARED)
def test_a_step(results, method):
    """Loss, metrics, gradient, moving statistics, Lambda and target.

    Errors of what has no size of its own are compared with the length of the
    whole change: single entries are zero but for rounding.
    """
    change = under(results[0], f"{method}/step/")
    assert any("second_moment" in key for key in change) == ("minc" in method)
    kernels = [v for k, v in change.items() if k.endswith("kernel")]
    length = np.sqrt(sum(np.sum(kernel**2) for kernel in kernels))
    assert length > 0.1
    assert_same(results, f"{method}/start/", 0.0)
    assert_same(results, f"{method}/step/", 1e-5, scale=max(1.0, length))


@pytest.mark.parametrize("method", backends.COMPARED)
def test_fifty_steps(results, method):
    start, end = (
        under(results[0], f"{method}/{when}/") for when in ("start", "fit")
    )
    moved = [np.abs(end[k] - start[k]).max() for k in start if "kernel" in k]
    assert max(moved) > 1e-2
    assert_same(results, f"{method}/fit/", 1e-3)


@pytest.mark.parametrize("method, backend", backends.MOVED.items())
def test_a_saved_model_goes_on_elsewhere(results, method, backend):
    """With its optimizer, and with outputs of the same weights."""
    assert_same(results, f"{method} of {backend}/", 1e-5)


@pytest.mark.parametrize("semantics", ["torchvision", "tf", "tf_byol"])
def test_views(results, semantics):
    """Of the same random numbers the same parameters, and pixels."""
    prefix = f"views/{semantics}/"
    expected, found = (under(each, prefix) for each in results)
    assert found.keys() == expected.keys()
    error = np.abs(found.pop("views") - expected.pop("views"))
    # A level of 128 becomes 127: rounding can turn a pixel to either.
    assert np.quantile(error, 0.999) < 0.01
    assert error.max() < 1.01
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)
