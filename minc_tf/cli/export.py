"""`minc-export --workdir RUN --name NAME`: writes a SavedModel."""

import os
import re

from absl import flags

from minc_tf.cli import app

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.")
_NAME = flags.DEFINE_string("name", None, "The name of the exported model.")
_SAVEDMODELS = flags.DEFINE_string(
    "savedmodels", "savedmodels", "The folder that gets NAME/VERSION/."
)
_VERSION = flags.DEFINE_integer(
    "version", None, "The version, by default the next one.", lower_bound=1
)
flags.mark_flags_as_required(["workdir", "name"])


def main(_) -> None:
    """Exports the run's last checkpoint and prints where it is."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", _NAME.value):
        raise ValueError(
            f"--name={_NAME.value!r} must be letters, digits, '.', '_' and "
            "'-', the first a letter or digit."
        )
    from minc_tf import export, training

    model, config = training.load_run(_WORKDIR.value)
    path = export.export_savedmodel(
        model,
        os.path.join(_SAVEDMODELS.value, _NAME.value),
        version=_VERSION.value,
        image_shape=(config.views.size, config.views.size, 3),
        recipe=config.to_dict(),
    )
    print(path)


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
