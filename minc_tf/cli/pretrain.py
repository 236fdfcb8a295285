"""Pretrain an encoder on images without labels.

Example, MINC on the embedded images, some three minutes on two cores:
  minc-pretrain --config minc_tf:shapes:minc --workdir runs/shapes

RECIPE is one of the library's, which --list lists (minc_tf:cifar10:byol), or
a file of one's own (my_recipe.py, my_recipe.py:ARGUMENT). The same command
goes on with a run that was stopped.
"""

from absl import flags

from minc_tf import _recipes
from minc_tf.cli import app, usage

_CONFIG = app.define_recipe(
    "The recipe, minc_tf:NAME:ARGUMENT or FILE.py:ARGUMENT; "
    "--config.KEY=VALUE overrides."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.")
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Remove another run from the folder first."
)
_CALLBACKS = flags.DEFINE_string(
    "callbacks",
    None,
    "package.module:function, of no argument or of the settings, that returns "
    "a list of Keras callbacks.",
)
usage.define_printing(
    "list",
    "Print the recipes of the library, a line each.",
    lambda: "\n".join(_recipes.recipe_lines()),
)
flags.mark_flags_as_required(["config", "workdir"])


def main(_) -> None:
    """Run the recipe and print what came out."""
    import keras

    from minc_tf import training
    from minc_tf.training.own_callbacks import find_callbacks
    from minc_tf.training.workdir import Workdir

    callbacks = []
    if _CALLBACKS.value is not None:
        training.validate(_CONFIG.value)
        callbacks = find_callbacks(
            _CALLBACKS.value, "--callbacks", _CONFIG.value
        )
    summary = training.run(
        _CONFIG.value,
        _WORKDIR.value,
        overwrite=_OVERWRITE.value,
        verbose=0 if app.quiet() else 1,
        callbacks=callbacks,
    )
    shown = ("loss", "chi2_information", "knn_accuracy", "images_per_second")
    for key in shown:
        if key in summary:
            print(f"{key:>20}: {summary[key]:.4g}")
    if summary.get("collapse"):
        print(f"{'collapsed':>20}: {summary['collapse']}")
    if summary["skipped_images"]:
        print(f"{'skipped_images':>20}: {summary['skipped_images']}")
    folder = Workdir(_WORKDIR.value)
    shown = f"open {_WORKDIR.value}/report.html; " * folder.report.exists()
    on_jax = keras.backend.backend() == "jax"
    where = ", with KERAS_BACKEND=tensorflow" * on_jax
    print(
        f"run in {_WORKDIR.value}: {shown}next{where}: "
        f"minc-export --workdir {_WORKDIR.value} --name NAME"
    )


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
