"""Evaluate an exported encoder: kNN, linear probe and other protocols.

Example, on the data of the run that it comes from:
  minc-evaluate --savedmodel savedmodels/shapes --workdir runs/shapes
or on tables that minc-embed wrote:
  minc-evaluate --vectors train.parquet --test_vectors test.parquet
"""

import json
import pathlib
import tempfile

from absl import flags

from minc_tf.cli import app
from minc_tf.data.limits import MAX_PIXELS

_SAVEDMODEL = flags.DEFINE_string(
    "savedmodel", None, "An exported model: NAME/, or NAME/VERSION/."
)
_VECTORS = flags.DEFINE_string(
    "vectors",
    None,
    "Instead of --savedmodel: labelled vectors to train on, as minc-embed "
    "writes them: a table, a folder of part-*.parquet, or a glob. Of any "
    "number; for knn, linear and ridge.",
)
_TEST_VECTORS = flags.DEFINE_string(
    "test_vectors", None, "The vectors to test on, of --vectors."
)
_CONFIG = app.define_recipe(
    "The recipe whose data to evaluate on; by default that of the export."
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The run whose data to evaluate on, instead of --config. The results are "
    "added to its evaluation.json.",
)
_PROTOCOL = flags.DEFINE_list(
    "protocol",
    ["knn", "linear"],
    "Any of knn, linear, ridge, retrieval, semi, finetune and transfer.",
)
_OUTPUT = flags.DEFINE_string(
    "output", "features", "Which signature to use: features or embedding."
)
_K = flags.DEFINE_list("k", ["20", "200"], "Numbers of neighbours.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", 0.07, "Temperature of the neighbours' votes."
)
_RECALL_AT = flags.DEFINE_list(
    "recall_at", ["1", "5", "10"], "The k of the retrieval's recall@k."
)
_SOLVER = flags.DEFINE_enum(
    "solver",
    "lbfgs",
    ["lbfgs", "sgd", "lars"],
    "How to fit the linear probe: on cached features, or on augmented images.",
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "Seeds to repeat with, from the recipe's on.", lower_bound=1
)
_FRACTIONS = flags.DEFINE_list(
    "fractions", ["0.01", "0.1"], "Parts of the labels for the protocol semi."
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", None, "Epochs of sgd, lars, semi and finetune.", lower_bound=1
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Batch of sgd, lars, semi and finetune.", lower_bound=1
)
_LEARNING_RATES = flags.DEFINE_list(
    "learning_rates", None, "Learning rates for these to choose from."
)
_DIMS = flags.DEFINE_list(
    "dims", None, "Also evaluate the first coordinates, as 8,16,32."
)
_ORDER = flags.DEFINE_enum(
    "order",
    "auto",
    ["auto", "embedding", "pairs", "pca"],
    "What puts coordinates in order: the embedding itself, agreement of pairs "
    "of views, or variance; auto is the first that there is.",
)
_ORDER_PAIRS = flags.DEFINE_integer(
    "order_pairs",
    20_000,
    "Pairs of views to order by, rounded up to whole batches.",
    lower_bound=1,
)
_PLOT = flags.DEFINE_string("plot", None, "Plot --dims here, as FILE.png.")
_COMPARE = flags.DEFINE_list(
    "compare", [], "Files written by --json --dims to plot beside it."
)
_TRANSFER_DATA = flags.DEFINE_string(
    "transfer_data", None, "Name of the data set of the protocol transfer."
)
_TRANSFER_DIR = flags.DEFINE_string(
    "transfer_data_dir", None, "Where it is: see config.data.data_dir."
)
_TRANSFER_TRAIN = flags.DEFINE_string(
    "transfer_train_split", "train", "Its split to train on."
)
_TRANSFER_TEST = flags.DEFINE_string(
    "transfer_test_split", "test", "Its split to test on."
)
_JSON = flags.DEFINE_string("json", None, "Also write the numbers here.")
flags.register_multi_flags_validator(
    ["savedmodel", "vectors"],
    lambda values: (
        (values["savedmodel"] is None) != (values["vectors"] is None)
    ),
    "--savedmodel=NAME or --vectors=TABLE must say what to evaluate, one of "
    "the two.",
)

#: Flags that evaluations of vectors know.
_OF_VECTORS = (
    "vectors",
    "test_vectors",
    "protocol",
    "workdir",
    "k",
    "temperature",
    "seeds",
    "json",
)

#: Flags about the protocols that train on images.
_FITTING = ("epochs", "batch_size", "learning_rates")

#: Flags that say something about another one, and that one.
_ABOUT = {
    "test_vectors": ("vectors", None),
    "fractions": ("protocol", "semi"),
    "solver": ("protocol", "linear"),
    "transfer_data": ("protocol", "transfer"),
    "transfer_data_dir": ("transfer_data", None),
    "transfer_train_split": ("transfer_data", None),
    "transfer_test_split": ("transfer_data", None),
    "order": ("dims", None),
    "order_pairs": ("dims", None),
    "plot": ("dims", None),
    "compare": ("plot", None),
}


def main(_) -> None:
    """Evaluate on labelled splits; print and record the numbers."""
    from minc_tf import evaluation
    from minc_tf.cli import evaluation_curves, evaluation_data

    _check_flags()
    _check_files()
    arguments = _arguments()
    if _VECTORS.value is not None:
        _evaluate_vectors(arguments)
        return
    others = evaluation_curves.compared(_COMPARE.value)
    config = _config()
    file = _record_file()
    encoder = evaluation.load_savedmodel(_SAVEDMODEL.value)
    config = config or evaluation_data.exported_config(encoder)
    seed = 0 if config is None else config.seed
    splits, transfer, pairs = (None, None), None, None
    if set(_PROTOCOL.value) != {"transfer"}:
        splits = evaluation_data.recipe_splits(config, encoder)
    if _TRANSFER_DATA.value:
        transfer = evaluation_data.other_splits(
            _TRANSFER_DATA.value,
            _TRANSFER_DIR.value,
            (_TRANSFER_TRAIN.value, _TRANSFER_TEST.value),
            encoder.image_shape(_OUTPUT.value),
            seed,
            MAX_PIXELS if config is None else config.data.max_pixels,
        )
    if _DIMS.value and config and _by_pairs(encoder):
        pairs = evaluation_data.view_pairs(config, _ORDER_PAIRS.value)
    results = evaluation.evaluate_savedmodel(
        encoder,
        *splits,
        **arguments,
        output=_OUTPUT.value,
        transfer=transfer,
        pairs=pairs,
        seed=seed,
        verbose=0 if app.quiet() else 1,
    )
    settings = {**arguments, "seed": seed, "data": _names(splits)}
    if transfer:
        settings["transfer"] = _names(transfer)
    _tell(results, file, encoder.path, _OUTPUT.value, settings)
    if _PLOT.value:
        path = pathlib.Path(encoder.path)
        curves = evaluation_curves.named(path, results["dims"])
        evaluation.plot_dims({**curves, **others}, _made(_PLOT.value))


def _evaluate_vectors(arguments):
    """Evaluate tables of vectors; print and record the numbers."""
    from minc_tf import evaluation

    config = _config()
    file = _record_file()
    seed = 0 if config is None else config.seed
    train = evaluation.Vectors(_VECTORS.value)
    test = evaluation.Vectors(_TEST_VECTORS.value)
    results = evaluation.evaluate_vectors(train, test, **arguments, seed=seed)
    settings = {
        **arguments,
        "seed": seed,
        "data": [v.metadata.get("images") for v in (train, test)],
        "vectors": [_VECTORS.value, _TEST_VECTORS.value],
    }
    made_by = (train.metadata.get(key, "") for key in ("savedmodel", "output"))
    _tell(results, file, *made_by, settings)


def _tell(results, file, savedmodel, output, settings):
    """Print the results, and write them where the flags say."""
    from minc_tf import report, training
    from minc_tf.evaluation import records

    print(records.format_results(results))
    if _JSON.value:
        text = json.dumps(results, indent=2) + "\n"
        _made(_JSON.value).write_text(text)
    if file:
        records.merge_record(
            file, records.make_record(savedmodel, output, settings, results)
        )
        report.write_report(
            _WORKDIR.value, defaults=training.default_config().to_dict()
        )


def _check_flags():
    """Refuse flags that would do nothing, and lists that are none."""
    if _VECTORS.value is not None:
        _check_flags_of_vectors()
    for name, (other, value) in _ABOUT.items():
        given = flags.FLAGS[other].value
        met = value in given if value else given
        if flags.FLAGS[name].present and not met:
            needed = f"--{other}={value}" if value else f"--{other}"
            raise ValueError(f"--{name} needs {needed}; received none.")
    if "transfer" in _PROTOCOL.value and not _TRANSFER_DATA.value:
        raise ValueError(
            "--protocol=transfer needs --transfer_data=NAME, the other data "
            "set; received none."
        )
    trains = {"semi", "finetune"} & set(_PROTOCOL.value)
    if "linear" in _PROTOCOL.value and _SOLVER.value != "lbfgs":
        trains.add("linear")
    for name in _FITTING:
        if flags.FLAGS[name].present and not trains:
            raise ValueError(
                f"--{name} needs --protocol=semi or finetune, or --solver=sgd "
                f"or lars; received --protocol={','.join(_PROTOCOL.value)}."
            )


def _check_flags_of_vectors():
    from minc_tf.evaluation.protocols.on_features import check_protocols
    from minc_tf.evaluation.streaming.on_vectors import ON_VECTORS

    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        if flag.present and flag.name not in _OF_VECTORS:
            raise ValueError(
                f"--{flag.name} needs --savedmodel; received --vectors."
            )
    if _TEST_VECTORS.value is None:
        raise ValueError(
            "--vectors needs --test_vectors=TABLE, the vectors to test on; "
            "received none."
        )
    check_protocols(_PROTOCOL.value, ON_VECTORS)


def _check_files():
    """Refuse files to write that cannot be written, and formats of none."""
    for name, path in (("json", _JSON.value), ("plot", _PLOT.value)):
        if path is not None:
            _check_writable(name, pathlib.Path(path))
    if _PLOT.value is not None:
        from matplotlib.figure import Figure

        known = Figure().canvas.get_supported_filetypes()
        suffix = pathlib.Path(_PLOT.value).suffix
        if suffix[1:].lower() not in known:
            raise ValueError(
                f"--plot must end in one of .{', .'.join(sorted(known))}; "
                f"received {_PLOT.value!r}."
            )


def _check_writable(name, path):
    try:
        if path.exists():
            with path.open("ab"):
                return
        folder = next(p for p in path.absolute().parents if p.exists())
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise ValueError(
            f"--{name} must name a file that can be written; received "
            f"{str(path)!r}: {error.strerror}."
        ) from error


def _arguments() -> dict:
    """The arguments of `evaluate_savedmodel` that flags give."""
    from minc_tf.evaluation.checks import check_dims

    arguments = {"protocols": _PROTOCOL.value, "seeds": _SEEDS.value}
    neighbours = _numbers("k", int, "20,200")
    if {"knn", "transfer"} & set(_PROTOCOL.value):
        arguments["k"] = neighbours
        arguments["temperature"] = _TEMPERATURE.value
    if "retrieval" in _PROTOCOL.value:
        arguments["recall_at"] = _numbers("recall_at", int, "1,5,10")
    if "linear" in _PROTOCOL.value and _VECTORS.value is None:
        arguments["solver"] = _SOLVER.value
    if "semi" in _PROTOCOL.value:
        arguments["fractions"] = _numbers("fractions", float, "0.01,0.1")
    fitting = {
        "epochs": _EPOCHS.value,
        "batch_size": _BATCH_SIZE.value,
        "learning_rates": _LEARNING_RATES.value
        and _numbers("learning_rates", float, "0.1,0.3,1"),
    }
    fitting = {key: value for key, value in fitting.items() if value}
    if fitting:
        arguments["fitting"] = fitting
    if _DIMS.value:
        arguments["dims"] = check_dims(_numbers("dims", int, "8,16,32"))
        arguments["order"] = _ORDER.value
    return arguments


def _numbers(name, kind, example):
    texts = flags.FLAGS[name].value
    try:
        return [kind(text) for text in texts]
    except ValueError:
        raise ValueError(
            f"--{name} must be a list of {kind.__name__}s, as {example}; "
            f"received {texts}."
        ) from None


def _config():
    """The settings of the recipe or run that flags name; None for neither."""
    from minc_tf import training
    from minc_tf.training.held_out import with_held_out

    config = _CONFIG.value
    if config is not None and _WORKDIR.value is not None:
        raise ValueError(
            "--config=RECIPE or --workdir=RUN must say which data to evaluate "
            "on, one of the two; received both."
        )
    if _WORKDIR.value is not None:
        config = training.read_config(_WORKDIR.value)
    if config is not None:
        training.validate(config)
        config = with_held_out(config)
    return config


def _record_file():
    """The file of the run's evaluations, which can be read; None for no run."""
    from minc_tf.evaluation import records
    from minc_tf.training.workdir import Workdir

    if _WORKDIR.value is None:
        return None
    path = Workdir(_WORKDIR.value).evaluation
    records.read_records(path)
    return path


def _by_pairs(encoder) -> bool:
    """Whether pairs of views make the order of the coordinates."""
    from minc_tf.evaluation.protocols.truncation import resolve_order

    order = resolve_order(_ORDER.value, _OUTPUT.value, encoder.manifest)
    return order == "pairs"


def _names(splits):
    return [split and f"{split.name}/{split.split}" for split in splits]


def _made(path) -> pathlib.Path:
    """The path, whose folder exists."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
