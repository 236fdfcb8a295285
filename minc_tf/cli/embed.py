"""Write the vectors of many images into a table, and list the bad ones.

Example:
  minc-embed --savedmodel savedmodels/shapes --images photos --out v.parquet
"""

from absl import flags

from minc_tf.cli import app
from minc_tf.data.limits import MAX_PIXELS

_SAVEDMODEL = flags.DEFINE_string(
    "savedmodel", None, "An exported model: NAME/, or NAME/VERSION/."
)
_IMAGES = flags.DEFINE_string(
    "images", None, "A folder of images, which is searched to any depth."
)
_DATA = flags.DEFINE_string(
    "data", None, "Or the name of a data set: see config.data.name."
)
_SPLIT = flags.DEFINE_string("split", None, "The split of --data.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where --data is: see config.data.data_dir."
)
_OUT = flags.DEFINE_string("out", None, "The table to write, FILE.parquet.")
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


def main(_) -> None:
    """Embed, and tell where the table is and what is in it."""
    from minc_tf import data, evaluation
    from minc_tf.evaluation import load_savedmodel  # or what is missing
    from minc_tf.evaluation.embedding.table import check_out

    _check_flags()
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
    found = evaluation.embed_images(
        encoder,
        images,
        _OUT.value,
        output=_OUTPUT.value,
        batch_size=_BATCH_SIZE.value,
        overwrite=_OVERWRITE.value,
        verbose=0 if app.quiet() else 1,
        max_pixels=_MAX_PIXELS.value,
    )
    if found["bad"]:
        print(
            f"bad images ({found['bad_kinds']}) are left out and listed in "
            f"{found['bad_file']}"
        )
    print(
        f"{found['path']}: {found['rows']} vectors of {found['dim']}, "
        f"bad images: {found['bad']}, "
        f"{found['images_per_second']:,.0f} images/s"
    )


def _check_flags():
    """Refuse no images, images of two kinds, and flags that do nothing."""
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


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
