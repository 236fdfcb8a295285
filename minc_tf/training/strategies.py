"""On which devices and machines a run trains: strategies of tf.distribute.

TensorFlow only.
"""

import functools
import json
import os
from collections.abc import Sequence

import tensorflow as tf

from minc_tf._checks import check_choice
from minc_tf.training.config import STRATEGIES
from minc_tf.training.rendezvous import wait_for_workers


def make_strategy(
    name: str = "auto",
    *,
    devices: int | str | Sequence[str] | None = None,
    tpu: str | None = None,
    port: int = 8888,
    join_timeout: float = 300,
) -> tf.distribute.Strategy:
    """Make the strategy under whose scope a model is built and trained.

    Call it before anything else uses TensorFlow: the devices, and the workers
    of a cluster, are fixed by then. Called again with the same arguments it
    returns the same strategy.

    Args:
        name: one of

            - `"default"`: the strategy in scope, or one device;
            - `"mirrored"`: the devices of this machine;
            - `"multiworker"`: those of several machines, one process each.
              The cluster is read from `TF_CONFIG`, or from Slurm's
              environment;
            - `"tpu"`: a TPU or a slice of a pod;
            - `"auto"`: the first that fits of multiworker, tpu, mirrored (for
              more than one GPU) and default.
        devices: which devices of this machine: an int (the first so many
            GPUs; without GPUs the CPU is divided into as many logical
            devices), or names as `"GPU:0,GPU:2"`. None for all GPUs, or CPUs
            where there are none.
        tpu: name of the TPU; None for `TPU_NAME` of the environment, or
            `"local"`, the one of this machine.
        port: int, the first port of each machine under Slurm.
        join_timeout: seconds that workers wait for each other.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: for an unknown name, devices that do not exist, or a
            cluster that is described wrongly or not at all.
        TimeoutError: if a worker does not join, with its address.
        ConnectionError: if there is no such TPU.

    Example:
    ```python
    import minc_tf

    strategy = minc_tf.training.make_strategy("auto")
    with strategy.scope():
        encoder = minc_tf.models.small_resnet(filters=(8, 16))
        model = minc_tf.MINCModel(encoder, minc_tf.models.mlp(16, (32, 8)))
    print(strategy.num_replicas_in_sync)
    ```
    """
    check_choice("make_strategy: name", name, STRATEGIES)
    if name == "auto":
        name = _find(devices, tpu)
    if name == "default":
        if devices is not None:
            raise ValueError(
                f"make_strategy: devices={devices!r} need the strategy "
                "'mirrored'; received 'default'."
            )
        return tf.distribute.get_strategy()
    devices = _parse_devices(devices)
    if name == "mirrored":
        return _mirrored(devices)
    if name == "tpu":
        return _tpu(tpu or os.environ.get("TPU_NAME") or "local")
    return _multiworker(read_cluster(port), devices, join_timeout)


def is_multiworker(strategy: tf.distribute.Strategy) -> bool:
    """Whether other processes train in step with this one."""
    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and len(workers_of(strategy)) > 1
    )


def workers_of(strategy: tf.distribute.Strategy) -> list[str]:
    """The addresses of a cluster's workers; empty where there is none."""
    resolver = strategy.cluster_resolver
    if resolver is None or isinstance(strategy, tf.distribute.TPUStrategy):
        return []
    return resolver.cluster_spec().as_dict().get("worker", [])


def read_cluster(port: int = 8888) -> tuple[tuple[str, ...], int]:
    """The workers' `host:port`, the chief first, and which of them this is."""
    if os.environ.get("TF_CONFIG"):
        return _cluster_of_tf_config(os.environ["TF_CONFIG"])
    if _in_slurm():
        # Its own search for GPUs fails where Slurm gives each task its own.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port,
            gpus_per_node=2**16,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        return tuple(addresses), resolver.get_task_info()[1]
    raise ValueError(
        "strategy 'multiworker' needs a cluster: set TF_CONFIG, or start the "
        "workers with srun; received neither."
    )


def _cluster_of_tf_config(text):
    example = (
        '{"cluster": {"worker": ["a:2222", "b:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        jobs = [job for job in ("chief", "worker") if job in cluster]
        numbered = [
            (job, index, address)
            for job in jobs
            for index, address in enumerate(cluster[job])
        ]
        own = (task["type"], int(task["index"]))
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"TF_CONFIG must be as {example}; received {text!r}."
        ) from error
    places = [place[:2] for place in numbered]
    if own not in places:
        raise ValueError(
            f"TF_CONFIG: the task {own[0]}:{own[1]} must be one of "
            f"{', '.join(f'{job}:{index}' for job, index in places)}."
        )
    return tuple(place[2] for place in numbered), places.index(own)


def _in_slurm():
    return {"SLURM_PROCID", "SLURM_STEP_NODELIST"} <= os.environ.keys()


def _find(devices, tpu):
    """What `auto` means here."""
    if os.environ.get("TF_CONFIG"):
        if len(_cluster_of_tf_config(os.environ["TF_CONFIG"])[0]) > 1:
            return "multiworker"
    elif _in_slurm() and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return "multiworker"
    if tpu or os.environ.get("TPU_NAME"):
        return "tpu"
    if devices is not None or len(tf.config.list_physical_devices("GPU")) > 1:
        return "mirrored"
    return "default"


def _parse_devices(devices):
    """None, an int, or a tuple of names."""
    if isinstance(devices, str):
        names = tuple(part.strip() for part in devices.split(","))
        devices = int(devices) if devices.strip().isdigit() else names
    if devices is None or (
        isinstance(devices, int)
        and not isinstance(devices, bool)
        and devices > 0
    ):
        return devices
    if (
        isinstance(devices, (tuple, list))
        and devices
        and all(isinstance(name, str) and name for name in devices)
    ):
        return tuple(devices)
    raise ValueError(
        "make_strategy: devices must be a positive int, or names as "
        f"'GPU:0,GPU:1'; received {devices!r}."
    )


@functools.cache
def _mirrored(devices):
    wanted = devices
    if isinstance(devices, int) and not tf.config.list_physical_devices("GPU"):
        _divide_cpu(devices)
    kinds = ("GPU", "CPU")
    if isinstance(devices, tuple):
        known = [d for kind in kinds for d in _names(kind)]
        unknown = [d for d in devices if _short(d) not in known]
        if unknown:
            raise ValueError(
                f"make_strategy: no device {unknown[0]!r}; there are "
                f"{', '.join(known)}."
            )
        return tf.distribute.MirroredStrategy(list(devices))
    names = next(names for kind in kinds if (names := _names(kind)))
    if wanted is not None and len(names) < wanted:
        raise ValueError(
            f"make_strategy: devices={wanted} are more than there are: "
            f"{', '.join(names)}."
        )
    return tf.distribute.MirroredStrategy(names[:wanted])


def _names(kind):
    return [_short(d.name) for d in tf.config.list_logical_devices(kind)]


def _short(name):
    return name.removeprefix("/").removeprefix("device:")


def _divide_cpu(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    if tf.config.get_logical_device_configuration(cpu):
        return  # divided by the caller; the count is checked afterwards
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:
        return  # in use as one device already


@functools.cache
def _multiworker(cluster, devices, join_timeout):
    addresses, index = cluster
    gpus = tf.config.list_physical_devices("GPU")
    if isinstance(devices, int) and gpus:
        tf.config.set_visible_devices(gpus[:devices], "GPU")
    elif devices is not None:
        raise ValueError(
            "make_strategy: devices of a cluster must be a number of GPUs of "
            f"each worker; received {devices!r} on a machine with {len(gpus)}."
        )
    wait_for_workers(addresses, index, join_timeout)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": len(gpus[:devices])},
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


@functools.cache
def _tpu(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        # There is nothing to connect to on the machine of the TPU itself.
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConnectionError(
            f"no TPU answers as {name!r} ({reason[0]}); set "
            "config.distribute.tpu or TPU_NAME to its name."
        ) from error
