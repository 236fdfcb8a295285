"""The whole way on the embedded data, without network: what `make demo` runs.

Example:
  python -m minc_tf.cli.demo --workdir runs/demo
"""

import os
import re
import sys
import time

from absl import flags

from minc_tf.cli import app

_RECIPE = "minc_tf:shapes:minc"

_CONFIG = app.define_recipe(f"The recipe, by default {_RECIPE}.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "The run's folder.")
_NAME = flags.DEFINE_string("name", "demo", "The name of the export.")
_SAVEDMODELS = flags.DEFINE_string("savedmodels", "savedmodels", "Its folder.")

_ROWS = {
    "kNN, k = 20": "knn_accuracy_k20",
    "kNN, k = 200": "knn_accuracy_k200",
    "linear probe": "linear_accuracy",
}


def main(_) -> None:
    """Pretrain, evaluate before and after, export, say where it all is."""
    from minc_tf import data, evaluation, export, report, training
    from minc_tf.evaluation import records
    from minc_tf.training import from_settings, tensorflow_images
    from minc_tf.training.held_out import with_held_out
    from minc_tf.training.workdir import Workdir

    start = time.perf_counter()
    config, workdir = _CONFIG.value, _WORKDIR.value
    training.validate(config)
    config = with_held_out(config)
    # Only the demo's own folder is emptied without being asked to.
    own = workdir == _WORKDIR.default
    Workdir(workdir).check(config, overwrite=own)
    train, test = (
        data.eval_batches(source, 256)
        for source in tensorflow_images.load_evaluation_sources(config)
    )

    print(f"1/4  before training: {config.data.name}, raw pixels and encoder")
    known, asked = evaluation.raw_pixels(train), evaluation.raw_pixels(test)
    pixels = evaluation.evaluate_features(known, asked, protocols=("knn",))
    # A probe of all 3,072 pixels takes as long as a third of the run.
    pixels |= evaluation.evaluate_features(
        _halved(*known), _halved(*asked), protocols=("linear",)
    )
    Workdir(workdir).claim(config, overwrite=own)
    untrained = from_settings.build_model(config).encoder
    before = evaluation.evaluate_features(
        *(evaluation.extract(untrained, split) for split in (train, test))
    )

    print("2/4  pretraining with MINC, without labels")
    training.run(config, workdir, verbose=0 if app.quiet() else 1)

    print("3/4  exporting")
    model, _config = training.load_run(workdir)
    directory = os.path.join(_SAVEDMODELS.value, _NAME.value)
    path = export.export_savedmodel(model, directory, recipe=config.to_dict())

    print("4/4  evaluating the exported model")
    after = evaluation.evaluate_savedmodel(path, train, test)
    records.merge_record(
        Workdir(workdir).evaluation,
        records.make_record(path, "features", {"seed": 0}, after),
    )
    report.write_report(workdir, defaults=training.default_config().to_dict())

    print(f"\n{'accuracy, %':<16}{'pixels':>8}{'untrained':>11}{'MINC':>8}")
    for label, key in _ROWS.items():
        numbers = [100 * found[key] for found in (pixels, before, after)]
        print("{:<16}{:>8.1f}{:>11.1f}{:>8.1f}".format(label, *numbers))
    print(
        f"\nfinished in {time.perf_counter() - start:.0f} s\n"
        f"  SavedModel   {path}\n"
        f"  report       {workdir}/report.html\n"
        f"  curves       {workdir}/metrics.csv\n"
        f"  TensorBoard  tensorboard --logdir {workdir}/events"
    )


def _halved(pixels, labels):
    """Images (N, H * W * 3) at half their size, where there is one."""
    size = round((pixels.shape[1] / 3) ** 0.5)
    if size % 2 or size * size * 3 != pixels.shape[1]:
        return pixels, labels
    cells = pixels.reshape(-1, size // 2, 2, size // 2, 2, 3)
    return cells.mean((2, 4)).reshape(len(pixels), -1), labels


def run() -> None:
    """The command, with a recipe by default."""
    if not any(re.match("--?config(=|$)", arg) for arg in sys.argv[1:]):
        sys.argv.insert(1, f"--config={_RECIPE}")
    app.launch(main)


if __name__ == "__main__":
    run()
