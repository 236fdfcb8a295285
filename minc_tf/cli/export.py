"""Export the last checkpoint of a run as a model to deploy.

Example, to savedmodels/shapes/1, for TensorFlow Serving:
  minc-export --workdir runs/shapes --name shapes
"""

import json
import os
import re

from absl import flags

from minc_tf.cli import app

#: Formats but TensorFlow's own.
_RUNTIMES = ("onnx", "openvino", "litert")

#: Licences of data sets that come with the library.
_LICENCES = {"shapes": "Apache-2.0 (rendered by minc_tf)"}

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.")
_NAME = flags.DEFINE_string("name", None, "The name of the exported model.")
_SAVEDMODELS = flags.DEFINE_string(
    "savedmodels", "savedmodels", "The folder that gets NAME/VERSION/."
)
_VERSION = flags.DEFINE_integer(
    "version",
    None,
    "The version, by default the next one. Without a number: print those of "
    "the library and its backends.",
    lower_bound=1,
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "savedmodel",
    ["savedmodel", *_RUNTIMES],
    "What to write; all but SavedModels go to NAME/FORMAT/VERSION/.",
)
_DIMS = flags.DEFINE_integer(
    "dims",
    None,
    "Serve only the first coordinates of the ordered embedding, this many.",
    lower_bound=1,
)
_WHITEN = flags.DEFINE_bool(
    "whiten", False, "Divide each coordinate by the root of its eigenvalue."
)
_NORMALIZE = flags.DEFINE_bool(
    "normalize", False, "Scale served embeddings to L2 norm 1."
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    None,
    "The most pixels of an encoded image that is decoded, by default 2^25.",
    lower_bound=1,
)
_SERVING_DEFAULT = flags.DEFINE_enum(
    "serving_default",
    "bytes",
    ["bytes", "views"],
    "What serving_default takes: encoded images, or float images already in "
    "the size of the model.",
)
_VALUE_RANGE = flags.DEFINE_list(
    "value_range",
    ["0", "255"],
    "The values of black and of white in the float images that callers have, "
    "such as 0,1. Not of files and uint8 images.",
)
_DATA_LICENCE = flags.DEFINE_string(
    "data_licence", None, "The licence of the training images."
)
flags.mark_flags_as_required(["workdir", "name"])


def main(_) -> None:
    """Export the run's last checkpoint and print where it is."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", _NAME.value):
        raise ValueError(
            f"--name={_NAME.value!r} must be letters, digits, '.', '_' and "
            "'-', the first a letter or digit."
        )
    options = {}
    if _FORMAT.value == "savedmodel":
        options["serving_default"] = _SERVING_DEFAULT.value
        if _MAX_PIXELS.value is not None:
            options["max_pixels"] = _MAX_PIXELS.value
    else:
        options["format"] = _FORMAT.value
        for flag in (_MAX_PIXELS, _SERVING_DEFAULT):
            if flag.present:
                raise ValueError(
                    f"--{flag.name} must be left out with "
                    f"--format={_FORMAT.value}, which takes no encoded images "
                    f"and has one signature; received {flag.value!r}."
                )
    value_range = _value_range(_VALUE_RANGE.value)
    from minc_tf import export, training

    model, config = training.load_run(_WORKDIR.value)
    licence = _DATA_LICENCE.value or _LICENCES.get(config.data.name)
    write = export.export_savedmodel
    if _FORMAT.value in _RUNTIMES:
        write = export.export_runtime
    path = write(
        model,
        os.path.join(_SAVEDMODELS.value, _NAME.value),
        version=_VERSION.value,
        image_shape=(config.views.size, config.views.size, 3),
        dims=_DIMS.value,
        whiten=_WHITEN.value,
        normalize=_NORMALIZE.value,
        value_range=value_range,
        recipe=config.to_dict(),
        evaluation=_evaluations(_WORKDIR.value),
        data_licence=licence,
        **options,
    )
    print(path)


def _value_range(texts) -> tuple[float, float]:
    """Two numbers, before the run is loaded."""
    from minc_tf.export.value_range import check_value_range

    try:
        return check_value_range([float(text) for text in texts])
    except (TypeError, ValueError) as error:
        raise ValueError(
            "--value_range must be two numbers with a comma between, of which "
            f"the second is larger; received {','.join(texts)!r}."
        ) from error


def _evaluations(workdir) -> list[dict]:
    """What is known of the model: of its run's end, and `minc-evaluate`'s."""
    from minc_tf.evaluation import records
    from minc_tf.training.workdir import Workdir

    folder = Workdir(workdir)
    found = records.read_records(folder.evaluation)
    if folder.summary.exists():
        summary = json.loads(folder.summary.read_text())
        results = {k: v for k, v in summary.items() if k.startswith("knn_")}
        if results:
            monitor = {
                "output": "features",
                "settings": {"protocol": "monitor"},
            }
            found.insert(
                0, {**monitor, "results": results, "date": summary["ended"]}
            )
    return found


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
