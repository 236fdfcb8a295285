"""Nothing in the data sizes an allocation: met with little memory."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from minc_tf.data.limits import MemoryBudget, check_max_pixels

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """One process for all cases, which take what is left to it in turn."""
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is limited on Linux only")
    # oneDNN's allocator would wait for memory, ten seconds a time.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, HERE / "bombs.py", tmp_path_factory.mktemp("bombs")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "case", ["npz", "arrays", "files", "labels of records", "probe"]
)
def test_labels_far_beyond_the_images(outcomes, case):
    kind, message = outcomes[case]
    assert kind == "ValueError"
    assert "received 1000000000: renumber them" in message
    assert "\n" not in message


@pytest.mark.parametrize("case", ["folder", "records"])
def test_images_of_too_many_pixels_are_refused(outcomes, case):
    kind, message = outcomes[case]
    assert kind == "ValueError"
    assert "too large: 16000 x 16000 pixels, more than max_pixels=3" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("case", "done"),
    [
        ("folder, skipped", "([0], ['{}"),
        ("folder, late", "([0, 0], ['{}"),
        ("records on disk", "([0, 0], ['train#1'])"),
        ("embed", "1"),
    ],
)
def test_or_left_out(outcomes, case, done):
    assert outcomes[case][0] == "done"
    assert outcomes[case][1].startswith(done.partition("{")[0])


@pytest.mark.parametrize(
    "case", ["", ", late", " for records", " for records on disk", " to embed"]
)
def test_too_little_memory_is_no_bad_image(outcomes, case):
    """Images that can be decoded, with `skip_bad=True`."""
    kind, message = outcomes[f"no memory{case}"]
    assert kind in ("MemoryError", "ResourceExhaustedError")
    assert "too little memory for an image of 9000 x 9000" in message


def test_a_budget_is_never_overdrawn():
    budget, lock = MemoryBudget(10), threading.Lock()
    used, most, alone = 0, 0, []

    def work(count):
        nonlocal used, most
        with budget.reserve(count):
            with lock:
                used += min(count, 10)
                most = max(most, used)
            if count > 10:
                alone.append(used)
            with lock:
                used -= min(count, 10)

    threads = [
        threading.Thread(target=work, args=[count])
        for count in [4, 6, 3, 99, 0, 5, 7, 99] * 20
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= 10
    assert set(alone) == {10}


@pytest.mark.parametrize("value", [0, -1, 2**27, 1.5, "big", True, None])
def test_limits_that_are_none(value):
    with pytest.raises(ValueError, match="max_pixels must be"):
        check_max_pixels("max_pixels", value)
