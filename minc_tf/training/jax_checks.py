"""Which settings a run on the JAX backend can have."""

from ml_collections import ConfigDict


def check_settings(config: ConfigDict) -> None:
    """Refuse with a ValueError what only a run on TensorFlow can do."""
    data = config.data
    if data.name != "npz":
        raise ValueError(
            f"config.data.name={data.name!r} needs TensorFlow's data "
            "pipelines; on JAX the data is an .npz: config.data.name='npz', "
            "config.data.data_dir='FILE.npz'."
        )
    if data.data_dir is None:
        raise ValueError(
            "config.data.data_dir must be the path of the .npz file; "
            "received None."
        )
    if config.augment.where != "device":
        raise ValueError(
            f"config.augment.where={config.augment.where!r} needs "
            "TensorFlow's data pipelines; on JAX the views are made on the "
            "device: config.augment.where='device'."
        )
    if data.classes is not None:
        raise ValueError(
            f"config.data.classes={data.classes!r} needs TensorFlow's data "
            "pipelines; on JAX write an .npz of these classes."
        )
    if config.strategy in ("multiworker", "tpu"):
        raise ValueError(
            f"config.strategy={config.strategy!r} is one of TensorFlow's; on "
            "JAX it is 'default' (one device), 'mirrored' or 'auto' (all of "
            "this process, TPU cores too)."
        )


def left_out(config: ConfigDict) -> list[str]:
    """What a run on JAX does not make though the settings ask for it."""
    found = ["TensorBoard events"]
    if config.diagnostics.every and config.diagnostics.gradient_batches:
        found.append("the gradient's variance (diagnostics.gradient_batches)")
    return found
