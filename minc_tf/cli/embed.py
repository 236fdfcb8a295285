"""Write the vectors of many images into a table, and list the bad ones.

Example:
  minc-embed --savedmodel savedmodels/shapes --images photos --out v.parquet
  minc-embed --savedmodel m --images 's3://b/*.tfrecord' --out v/ --engine ray
"""

import os
import re

from absl import flags

from minc_tf.cli import app
from minc_tf.data.limits import MAX_PIXELS

_SAVEDMODEL = flags.DEFINE_string(
    "savedmodel", None, "An exported model: NAME/, or NAME/VERSION/."
)
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "A folder of images, which is searched to any depth. With --out=DIR/ also "
    "a pattern, TFRecord or Parquet files, and what lies in s3:// or gs://.",
)
_DATA = flags.DEFINE_string(
    "data", None, "Or the name of a data set: see config.data.name."
)
_SPLIT = flags.DEFINE_string("split", None, "The split of --data.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where --data is: see config.data.data_dir."
)
_FEATURE = flags.DEFINE_string(
    "feature",
    None,
    "Of TFRecord and Parquet files: the feature or column of the image.",
)
_OUT = flags.DEFINE_string(
    "out", None, "The table to write, FILE.parquet; or DIR/, for parts of one."
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    None,
    ["local", "ray"],
    "What makes the parts of --out=DIR/: this process, or workers of Ray.",
)
_SHARD = flags.DEFINE_string(
    "shard",
    None,
    "i/n, as 0/8: only every n-th image from the i-th on, for array jobs.",
)
_PART_SIZE = flags.DEFINE_integer(
    "part_size", 4096, "Images a part of --out=DIR/.", lower_bound=1
)
_WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Ray's processes; by default all for which there is room.",
    lower_bound=1,
)
_WORKER_CPUS = flags.DEFINE_integer(
    "worker_cpus", 1, "Cores of each of them.", lower_bound=1
)
_WORKER_GPUS = flags.DEFINE_float(
    "worker_gpus", 0, "GPUs of each of them.", lower_bound=0
)
_OUTPUT = flags.DEFINE_string(
    "output", "features", "Which vectors: features or embedding."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images a batch.", lower_bound=1
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "The most pixels of an image; others are bad."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace --out, and remove what is left of another job beside it.",
)
flags.mark_flags_as_required(["savedmodel", "out"])


#: Flags of parts, and those of them that are Ray's.
_OF_RAY = ("workers", "worker_cpus", "worker_gpus")
_OF_PARTS = ("engine", "shard", "feature", "part_size", *_OF_RAY)


def main(_) -> None:
    """Embed, and tell where the table is and what is in it."""
    in_parts = _in_parts()
    shard = _check_flags(in_parts)
    found = _parts(shard) if in_parts else _table()
    if found["bad"]:
        print(
            f"bad images ({found['bad_kinds']}) are left out and listed in "
            f"{found['bad_file']}"
        )
    parts = f" in {found['parts']} parts" if in_parts else ""
    print(
        f"{found['path']}: {found['rows']} vectors of {found['dim']}{parts}, "
        f"bad images: {found['bad']}, "
        f"{found['images_per_second']:,.0f} images/s"
    )


def _table():
    """Write one table."""
    from minc_tf import data, evaluation
    from minc_tf.evaluation import load_savedmodel  # or what is missing
    from minc_tf.evaluation.embedding.table import check_out

    check_out(_OUT.value, _OVERWRITE.value)
    encoder = load_savedmodel(_SAVEDMODEL.value)
    encoder.signature(_OUTPUT.value)  # before data are prepared
    images = _IMAGES.value
    if images is None:
        images = data.load(
            _DATA.value,
            _SPLIT.value,
            data_dir=_DATA_DIR.value,
            skip_bad=True,
            max_pixels=_MAX_PIXELS.value,
        )
    return evaluation.embed_images(
        encoder,
        images,
        _OUT.value,
        output=_OUTPUT.value,
        batch_size=_BATCH_SIZE.value,
        overwrite=_OVERWRITE.value,
        verbose=0 if app.quiet() else 1,
        max_pixels=_MAX_PIXELS.value,
    )


def _parts(shard):
    """Write a folder of parts."""
    from minc_tf.evaluation.embedding.parts_folder import check_folder

    check_folder(_OUT.value)
    engine = _ENGINE.value or "local"
    if engine == "ray":
        from minc_tf.evaluation.embedding.ray_engine import import_ray

        import_ray()  # before TensorFlow: it says in time what is missing
        import tensorflow as tf

        # They are the workers'.
        tf.config.set_visible_devices([], "GPU")
    from minc_tf import evaluation

    images = _IMAGES.value
    if images is None:
        images = {"name": _DATA.value, "split": _SPLIT.value}
        if _DATA_DIR.value is not None:
            images["data_dir"] = _DATA_DIR.value
    return evaluation.embed_collection(
        _SAVEDMODEL.value,
        images,
        _OUT.value,
        engine=engine,
        shard=shard,
        feature=_FEATURE.value,
        output=_OUTPUT.value,
        batch_size=_BATCH_SIZE.value,
        part_size=_PART_SIZE.value,
        workers=_WORKERS.value,
        worker_cpus=_WORKER_CPUS.value,
        worker_gpus=_WORKER_GPUS.value,
        overwrite=_OVERWRITE.value,
        verbose=0 if app.quiet() else 1,
        max_pixels=_MAX_PIXELS.value,
    )


def _in_parts():
    """Whether --out is a folder of parts."""
    out = _OUT.value
    named = out.endswith(("/", os.sep)) or os.path.isdir(out)
    return named or flags.FLAGS["engine"].present or _SHARD.value is not None


def _check_flags(in_parts):
    """Refuse flags that contradict or do nothing; return the shard (i, n)."""
    if (_IMAGES.value is None) == (_DATA.value is None):
        received = "neither" if _IMAGES.value is None else "both"
        raise ValueError(
            "--images=FOLDER or --data=NAME must say what to embed, one of the "
            f"two; received {received}."
        )
    if _DATA.value is not None and _SPLIT.value is None:
        raise ValueError(
            f"--data={_DATA.value} needs --split=NAME; received none."
        )
    for name in ("split", "data_dir"):
        if _DATA.value is None and flags.FLAGS[name].value is not None:
            raise ValueError(f"--{name} needs --data; received none.")
    for name in _OF_PARTS:
        if not in_parts and flags.FLAGS[name].present:
            raise ValueError(
                f"--{name} needs a folder of parts, --out=DIR/; received "
                f"--out={_OUT.value}."
            )
    for name in _OF_RAY:
        if _ENGINE.value != "ray" and flags.FLAGS[name].present:
            raise ValueError(
                f"--{name} needs --engine=ray; received "
                f"{_ENGINE.value or 'none'}."
            )
    return (0, 1) if _SHARD.value is None else _parse_shard(_SHARD.value)


def _parse_shard(text):
    """A shard (i, n) as it is written, `i/n`."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = tuple(map(int, match.groups())) if match else (1, 1)
    if not shard[0] < shard[1]:
        raise ValueError(
            "--shard must be i/n with 0 <= i < n, as 0/8; received "
            f"--shard={text}."
        )
    if _ENGINE.value == "ray":
        raise ValueError(
            "--shard needs --engine=local: Ray divides the work itself; "
            f"received --shard={text}."
        )
    return shard


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
