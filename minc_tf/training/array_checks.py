"""Which settings a run on the JAX backend can have."""

from ml_collections import ConfigDict


def check_settings(config: ConfigDict) -> None:
    """Refuses what only a run on TensorFlow can do, before any work starts.

    Args:
        config: the run's settings, valid.

    Raises:
        ValueError: with what the settings may be on JAX.
    """
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
    if config.diagnostics.alarm in ("stop", "raise"):
        raise ValueError(
            f"config.diagnostics.alarm={config.diagnostics.alarm!r} needs "
            "Keras's TensorFlow backend; on JAX it is 'warn' or 'off', and "
            "the embeddings are measured at the end of each epoch."
        )


def not_made(config: ConfigDict) -> list[str]:
    """What a run on JAX leaves out though the settings ask for it.

    Args:
        config: the run's settings.

    Returns:
        list of str, in words; the settings that ask for each in brackets.
    """
    left_out = ["pictures and TensorBoard events"]
    if config.diagnostics.every:
        left_out.append("diagnostics of held-out pairs (diagnostics.every)")
    if config.diagnostics.alarm != "off":
        left_out.append("the alarm within an epoch (diagnostics.alarm)")
    if config.report.num_examples:
        left_out.append("report.html (report.num_examples)")
    return left_out
