"""Strategies by name: clusters, devices, and what does not fit."""

import json
import socket
import threading
import time

import pytest
import tensorflow as tf

from minc_tf.training import make_strategy, strategies, tensorflow_devices
from minc_tf.training.rendezvous import wait_for_workers
from minc_tf.training.tensorflow_devices import Replicas

from .conftest import tiny_config

VARIABLES = (
    "TF_CONFIG",
    "TPU_NAME",
    "SLURM_PROCID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_TASKS_PER_NODE",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No cluster, whatever machine the tests run on."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def tf_config(cluster, kind="worker", index=0):
    return json.dumps(
        {"cluster": cluster, "task": {"type": kind, "index": index}}
    )


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


PAIR = {"worker": ["a:2222", "b:2222"]}


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        (PAIR, ("worker", 1), (("a:2222", "b:2222"), 1)),
        # The chief is the first worker.
        (
            {"worker": ["w:1", "x:2"], "chief": ["c:3"]},
            ("worker", 0),
            (("c:3", "w:1", "x:2"), 1),
        ),
        ({"chief": ["c:3"]}, ("chief", 0), (("c:3",), 0)),
    ],
)
def test_cluster_of_tf_config(environment, cluster, task, expected):
    environment.setenv("TF_CONFIG", tf_config(cluster, *task))
    assert strategies.read_cluster() == expected


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}', '{"task": 1}'],
)
def test_malformed_tf_config(environment, text):
    environment.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r'TF_CONFIG must be as \{"cluster"'):
        make_strategy("multiworker")


@pytest.mark.parametrize("task", [("worker", 2), ("ps", 0)])
def test_task_that_is_not_in_the_cluster(environment, task):
    environment.setenv("TF_CONFIG", tf_config(PAIR, *task))
    with pytest.raises(ValueError, match="one of worker:0, worker:1"):
        make_strategy("auto")


def test_cluster_of_slurm(environment):
    """Two tasks on the first machine, one on the second."""
    environment.setenv("SLURM_PROCID", "2")
    environment.setenv("SLURM_STEP_NUM_TASKS", "3")
    environment.setenv("SLURM_STEP_NODELIST", "node[07-08]")
    environment.setenv("SLURM_STEP_TASKS_PER_NODE", "2,1")
    assert strategies.read_cluster(port=9000) == (
        ("node07:9000", "node07:9001", "node08:9000"),
        2,
    )


def test_no_cluster():
    with pytest.raises(ValueError, match=r"TF_CONFIG, or start .* srun"):
        make_strategy("multiworker")


def test_auto(environment):
    """The first that fits; each is recognised by what it asks for."""
    assert make_strategy("auto") is tf.distribute.get_strategy()
    made = []
    for name in ("_multiworker", "_tpu", "_mirrored"):
        environment.setattr(
            strategies, name, lambda *args, name=name: made.append((name, args))
        )
    make_strategy("auto", devices=2)
    environment.setattr(
        tf.config, "list_physical_devices", lambda kind: ["gpu 0", "gpu 1"]
    )
    make_strategy("auto")
    environment.setenv("TPU_NAME", "pod")
    make_strategy("auto")
    # One worker is no cluster.
    environment.setenv("TF_CONFIG", tf_config({"worker": ["a:1"]}))
    make_strategy("auto", tpu="mine")
    environment.setenv("TF_CONFIG", tf_config(PAIR, index=1))
    make_strategy("auto", join_timeout=7)
    assert made == [
        ("_mirrored", (2,)),
        ("_mirrored", (None,)),
        ("_tpu", ("pod",)),
        ("_tpu", ("mine",)),
        ("_multiworker", ((("a:2222", "b:2222"), 1), None, 7)),
    ]


def test_default_is_the_strategy_in_scope():
    scoped = tf.distribute.OneDeviceStrategy("CPU:0")
    with scoped.scope():
        assert make_strategy("default") is scoped
        assert tensorflow_devices.build_strategy(tiny_config()) is scoped


def test_mirrored_devices_of_this_machine():
    strategy = make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == 1
    assert make_strategy("mirrored") is strategy
    named = make_strategy("mirrored", devices="CPU:0")
    assert named.extended.worker_devices == strategy.extended.worker_devices


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "horovod"},
            "must be one of 'default', 'mirrored'.*'horovod'",
        ),
        ({"name": "default", "devices": 2}, "devices=2 need .* 'mirrored'"),
        ({"devices": "GPU:7"}, "no device 'GPU:7'; there are CPU:0"),
        ({"devices": 0}, "positive int, or names as .*; received 0"),
        ({"devices": ""}, "positive int, or names"),
        ({"devices": 1.5}, "received 1.5"),
        # TensorFlow has started: the CPU can no longer be divided.
        ({"devices": 64}, "devices=64 are more than there are: CPU:0"),
    ],
)
def test_devices_that_do_not_fit(arguments, message):
    tf.config.list_logical_devices()
    with pytest.raises(ValueError, match=message):
        make_strategy(**{"name": "mirrored", **arguments})


def test_devices_of_a_cluster(environment):
    environment.setenv("TF_CONFIG", tf_config(PAIR))
    with pytest.raises(ValueError, match="must be a number of GPUs of each"):
        make_strategy("multiworker", devices="CPU:0")


def test_tpu(environment):
    """The calls that a TPU needs, in their order; there is none here."""
    calls = []
    environment.setattr(
        tf.distribute.cluster_resolver,
        "TPUClusterResolver",
        lambda tpu: calls.append(("resolve", tpu)) or tpu,
    )
    environment.setattr(
        tf.config,
        "experimental_connect_to_cluster",
        lambda resolver: calls.append(("connect", resolver)),
    )
    environment.setattr(
        tf.tpu.experimental,
        "initialize_tpu_system",
        lambda resolver: calls.append(("initialize", resolver)),
    )
    environment.setattr(
        tf.distribute,
        "TPUStrategy",
        lambda resolver: calls.append(("strategy", resolver)) or "made",
    )
    assert make_strategy("tpu", tpu="slice-of-a-pod") == "made"
    assert [call for call, _ in calls] == [
        "resolve",
        "connect",
        "initialize",
        "strategy",
    ]
    assert {name for _, name in calls} == {"slice-of-a-pod"}
    calls.clear()
    strategies._tpu.cache_clear()
    assert make_strategy("tpu") == "made"
    strategies._tpu.cache_clear()
    assert [call for call, _ in calls] == ["resolve", "initialize", "strategy"]


def test_no_tpu():
    with pytest.raises(ConnectionError, match="no TPU answers as 'local'"):
        make_strategy("tpu")


class SomeReplicas(tf.distribute.Strategy):
    """Stands for a strategy of several replicas."""

    def __init__(self, count):
        self.count = count

    num_replicas_in_sync = property(lambda self: self.count)


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({}, 3, "batch_size=16 cannot be shared by 3 replicas; .* is 15"),
        ({"batch_size": 8}, 64, "8 cannot be shared by 64 replicas; .* is 64"),
        (
            {"micro_batches": 4},
            8,
            "16 cannot be shared by 8 replicas in 4 micro-batches each; .* 32",
        ),
        ({"jit_compile": True}, 2, "jit_compile=True does not work on 2"),
    ],
)
def test_settings_that_do_not_fit_the_replicas(
    environment, changes, count, message
):
    environment.setattr(
        tensorflow_devices,
        "make_strategy",
        lambda *args, **kwargs: SomeReplicas(count),
    )
    with pytest.raises(ValueError, match=message):
        tensorflow_devices.build_strategy(tiny_config(**changes))


def test_one_process_agrees_with_itself():
    workers = Replicas(tf.distribute.get_strategy())
    assert workers.chief
    assert not workers.several
    assert workers.any(True)
    assert not workers.any(False)
    workers.wait()
    workers.check_same_step(7)
    # There is nobody else to lose.
    error = tf.errors.UnavailableError(None, None, "gone")
    with (
        pytest.raises(tf.errors.UnavailableError),
        workers.in_use(lambda: None),
    ):
        raise error


def test_workers_wait_for_each_other():
    """The second comes later; both return when both are there."""
    addresses = [f"localhost:{free_port()}" for _ in range(2)]
    begun = time.monotonic()
    waited = []

    def join(index, delay):
        time.sleep(delay)
        wait_for_workers(addresses, index, timeout=20)
        waited.append((index, time.monotonic() - begun))
        # TensorFlow's server takes the place of the listener.
        with socket.create_server(("", int(addresses[index].split(":")[1]))):
            time.sleep(1.5)

    threads = [threading.Thread(target=join, args=(i, i)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {index for index, _ in waited} == {0, 1}
    assert all(seconds >= 1 for _, seconds in waited)


def test_worker_that_never_joins():
    own, absent = (f"localhost:{free_port()}" for _ in range(2))
    message = f"worker 0 waited 0.3 s for 1 of 2 workers: .* at {absent};"
    with pytest.raises(TimeoutError, match=message):
        wait_for_workers([own, absent], 0, timeout=0.3)
    # The port is free again.
    socket.create_server(("", int(own.split(":")[1]))).close()


def test_address_in_use():
    with socket.create_server(("", 0)) as server:
        own = f"localhost:{server.getsockname()[1]}"
        with pytest.raises(OSError, match=f"address {own} is in use"):
            wait_for_workers([own, "localhost:1"], 0, timeout=1)


@pytest.mark.parametrize("address", ["localhost", ":80", "host:http"])
def test_address_without_port(address):
    with pytest.raises(ValueError, match=f"must be host:port.*{address}"):
        wait_for_workers(["a:1", address], 0, timeout=1)


def test_who_left_first_is_not_missed(monkeypatch):
    """Of the last wait another may know sooner that all are here."""
    workers = Replicas(tf.distribute.get_strategy())
    workers.leave(lambda: False)

    def lost(flag):
        raise tf.errors.UnavailableError(None, None, "gone")

    monkeypatch.setattr(workers, "any", lost)
    workers.leave(lambda: True)
    with pytest.raises(tf.errors.UnavailableError, match="gone"):
        workers.leave(lambda: False)
