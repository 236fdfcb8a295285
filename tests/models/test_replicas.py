"""Training on replicas equals training on one device, method by method."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from gradients import needs_tensorflow

REASON = "replicas of tf.distribute; batches are global on JAX"
replicas = pytest.importorskip("models.replicas", reason=REASON)

#: A step is traced once for each replica, in one thread.
pytestmark = [pytest.mark.slow, needs_tensorflow(REASON)]

REPLICAS = 2


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one device gave, here, and what the replicas gave, by key."""
    path = tmp_path_factory.mktemp("replicas") / "replicas.npz"
    tests = pathlib.Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "models.replicas", str(REPLICAS), path],
        env={**os.environ, "PYTHONPATH": str(tests)},
    )
    try:
        one = dict(replicas.flat(replicas.results_of(1)))
        assert process.wait(timeout=600) == 0
    finally:
        process.kill()
    with np.load(path) as arrays:
        return one, dict(arrays)


def under(arrays, prefix):
    """The arrays below a prefix, by the rest of their keys."""
    return {
        key.removeprefix(prefix): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }


def assert_same(found, expected, tolerance):
    """The same on each replica as on one device, relative to a scale.

    Each value is a sum that float32 rounds in another order, so that an error
    is to be compared with the size of what was summed: with the length of the
    whole gradient for gradients, some of which are zero but for rounding (of
    biases in front of BN), and with one at least for losses and weights.
    """
    assert found.keys() == expected.keys()
    length = np.sqrt(
        sum(np.sum(v[0] ** 2) for k, v in expected.items() if _is_gradient(k))
    )
    for key, value in expected.items():
        one = value if key.startswith("log ") else value[0]
        scale = length if _is_gradient(key) else max(1.0, np.max(np.abs(one)))
        np.testing.assert_allclose(
            found[key],
            np.broadcast_to(one, found[key].shape),
            rtol=0.0,
            atol=tolerance * scale,
            err_msg=key,
        )


def _is_gradient(key):
    return key.startswith("gradient ")


@pytest.mark.parametrize("method", replicas.COMPARED)
def test_a_step_is_that_of_one_device(results, method):
    """Loss, gradient, Lambda, moving statistics and target."""
    one, several = results
    start = under(several, f"{method}/start/")
    for key, value in under(one, f"{method}/start/").items():
        assert start[key].shape == (REPLICAS, *value.shape[1:])
        np.testing.assert_array_equal(
            start[key], np.repeat(value, REPLICAS, axis=0)
        )
    expected = under(one, f"{method}/step/")
    assert {"log loss"} < expected.keys()
    assert any("moving_variance" in key for key in expected)
    assert any("second_moment" in key for key in expected) == ("minc" in method)
    assert max(np.abs(expected[k]).max() for k in expected if "grad" in k) > 0.1
    assert_same(under(several, f"{method}/step/"), expected, 1e-5)


@pytest.mark.parametrize("method", replicas.COMPARED)
def test_many_steps_end_in_the_same_weights(results, method):
    prefix = f"{method}/fit/"
    expected, found = (under(each, prefix) for each in results)
    start = under(results[0], f"{method}/start/")
    steps = next(key for key in start if key.endswith("/steps"))
    assert expected[steps] == replicas.STEPS
    kernel = next(key for key in start if key.endswith("kernel"))
    assert np.abs(expected[kernel] - start[kernel]).max() > 5e-3
    assert_same(found, expected, 1e-4)


@pytest.mark.parametrize("method", replicas.PARTS)
def test_parts_on_replicas_equal_a_whole_batch(results, method):
    """Each replica splits its half; batch normalisation is at rest."""
    expected, found = (under(each, f"{method}-parts/") for each in results)
    assert_same(found, expected, 1e-6)


def test_local_batch_statistics_are_warned_of(results):
    (message,) = results[1]["norms/local"]
    assert message.startswith("UserWarning: ")
    assert "(encoder_norm, ...)" in message
    assert "synchronized=True" in message
    assert len(results[1]["norms/synchronized"]) == 0


@pytest.mark.parametrize(
    "setting, message",
    [
        ("jit_compile", "jit_compile=True does not work on 2 replicas"),
        ("steps_per_execution", "steps_per_execution must be 1 on 2 replicas"),
        ("clipping", "global_clipnorm=0.5, which Keras would apply to the"),
    ],
)
def test_settings_that_do_not_work_on_replicas(results, setting, message):
    assert message in str(results[1][f"refusals/{setting}"])


@pytest.mark.parametrize("built", ["early", "late"])
def test_dropout_differs_between_replicas(results, built):
    """Whether the encoder knew its input's shape, or learned it in `fit`."""
    first, second = results[1][f"dropout/masks/{built}"]
    assert 0.0 < np.mean(first == second) < 1.0


def test_training_goes_on_from_saved_weights(results):
    """Bit for bit: the random states of both replicas are as they were."""
    kept, loaded = (
        under(results[1], f"dropout/{name}/") for name in ("kept", "loaded")
    )
    assert any("seed_generator" in key for key in kept)
    assert kept.keys() == loaded.keys()
    for key, value in kept.items():
        np.testing.assert_array_equal(loaded[key], value, err_msg=key)


@pytest.mark.parametrize("step", range(2))
def test_views_are_those_of_one_device(results, step):
    """Replicas draw for their own images: all of them are the same image."""
    (one,), several = (found[f"views/{step}"] for found in results)
    assert several.shape == (REPLICAS, 2, 4, 16, 16, 3)
    assert np.abs(several[0] - several[1]).mean(axis=(2, 3, 4)).min() > 1
    whole = np.concatenate(several, axis=1)
    np.testing.assert_allclose(whole, one, atol=1e-3)
    other = results[0][f"views/{1 - step}"]
    assert np.abs(one - other[0]).mean() > 1
