"""`minc-evaluate --savedmodel DIR --config RECIPE`: kNN and linear probe."""

import json
import pathlib

from absl import flags

from minc_tf.cli import app

_SAVEDMODEL = flags.DEFINE_string(
    "savedmodel", None, "An exported model: NAME/, or NAME/VERSION/."
)
_CONFIG = app.define_recipe("The recipe whose data to evaluate on.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run whose data to evaluate on, instead of --config."
)
_PROTOCOL = flags.DEFINE_list(
    "protocol", ["knn", "linear"], "Any of knn, linear and ridge."
)
_OUTPUT = flags.DEFINE_enum(
    "output", "features", ["features", "embedding"], "Which output to use."
)
_K = flags.DEFINE_list("k", ["20", "200"], "Numbers of neighbours.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", 0.07, "Temperature of the neighbours' votes."
)
_JSON = flags.DEFINE_string("json", None, "Also write the numbers here.")
flags.mark_flag_as_required("savedmodel")


def main(_) -> None:
    """Evaluates on the run's labelled splits and prints the numbers."""
    from minc_tf import data, evaluation, training
    from minc_tf.training import build

    if (_CONFIG.value is None) == (_WORKDIR.value is None):
        raise ValueError(
            "--config=RECIPE or --workdir=RUN must say which data to evaluate "
            "on, one of the two."
        )
    config = _CONFIG.value
    if config is None:
        config = training.read_config(_WORKDIR.value)
    training.validate(config)
    neighbours = _neighbours(_K.value)
    encoder = evaluation.load_savedmodel(_SAVEDMODEL.value)
    train, test = (
        data.eval_batches(source, 256)
        for source in build.build_evaluation_sources(config)
    )
    results = evaluation.evaluate_savedmodel(
        encoder.path,
        train,
        test,
        protocols=_PROTOCOL.value,
        output=_OUTPUT.value,
        k=neighbours,
        temperature=_TEMPERATURE.value,
        seed=config.seed,
        verbose=1,
    )
    for key, value in results.items():
        print(f"{key:>26}: {value:.4g}")
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(
            json.dumps(results, indent=2) + "\n"
        )


def _neighbours(texts):
    try:
        return [int(text) for text in texts]
    except ValueError:
        raise ValueError(
            f"--k must be a list of ints, as 20,200; received {texts}."
        ) from None


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
