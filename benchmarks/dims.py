"""Accuracy against the number of coordinates that are kept.

    python benchmarks/dims.py --runs runs/minc_cpu,runs/spectral_cpu

Takes runs that `benchmarks/quality.py` finished (their models are in
`RUN/export`), and evaluates the first k coordinates, for several k, of MINC's
own ordered embedding, of every run's embedding and features as `order` puts
them in order from pairs of views, and of the principal components of the
same and of the pixels: kNN (k = 20) and recall@1, of 2,000 test images in
10,000 training images. Writes `dims.json` and
`dims.png` in `benchmarks/results`.
"""

import json
import pathlib

from absl import flags
from record import ROOT, origin

from minc_tf import data, diagnostics, evaluation, training
from minc_tf.cli import app, evaluation_data
from minc_tf.training import tensorflow_images

#: How the methods are called in the legend.
_NAMES = {"minc": "MINC", "spectral": "spectral"}

_RUNS = flags.DEFINE_list("runs", None, "The folders of finished runs.")
_DIMS = flags.DEFINE_list("dims", ["4", "8", "16", "32", "64", "127"], "k.")
_PAIRS = flags.DEFINE_integer("pairs", 20_000, "Pairs of views to order by.")
_TRAIN = flags.DEFINE_integer("train", 10_000, "Images to search.")
_TEST = flags.DEFINE_integer("test", 2_000, "Images to search with.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)
flags.mark_flag_as_required("runs")


def main(_) -> None:
    """Evaluates every order of every run, and writes the record."""
    dims = [int(text) for text in _DIMS.value]
    curves, full = {}, {}
    for index, folder in enumerate(_RUNS.value):
        config = training.read_config(folder)
        sources = tensorflow_images.load_evaluation_sources(config)
        batches = [
            data.eval_batches(source.subset(min(count, len(source)), 0), 256)
            for source, count in zip(
                sources, (_TRAIN.value, _TEST.value), strict=True
            )
        ]
        if index == 0:
            splits = [evaluation.raw_pixels(split) for split in batches]
            pixels = evaluation.pca(splits[0][0], dims[-1])
            curves["PCA of the pixels"] = rows_of(splits, dims, pixels)
        name = _NAMES.get(config.objective.name, config.objective.name)
        encoder = evaluation.load_savedmodel(pathlib.Path(folder) / "export")
        for output in ("embedding", "features"):
            splits = [
                evaluation.extract(encoder, split, output) for split in batches
            ]
            own = (
                output == "embedding" and encoder.manifest["embedding_ordered"]
            )
            if own:  # without the constant coordinate
                splits = [(x[:, 1:], y) for x, y in splits]
                curves[f"{name}, embedding"] = rows_of(splits, dims)
            else:
                ordering = diagnostics.order(
                    encoder.signature(output),
                    evaluation_data.view_pairs(config, _PAIRS.value),
                )
                curves[f"{name}, {output}, by pairs"] = rows_of(
                    splits, dims, ordering
                )
            curves[f"PCA of {name}, {output}"] = rows_of(
                splits, dims, evaluation.pca(splits[0][0])
            )
            full[f"{name}, {output}"] = evaluation.evaluate_features(
                *splits, protocols=("knn", "retrieval"), k=20
            )
    results = pathlib.Path(_RESULTS.value)
    results.mkdir(parents=True, exist_ok=True)
    record = {"curves": curves, "all coordinates": full, **origin()}
    (results / "dims.json").write_text(json.dumps(record, indent=2) + "\n")
    evaluation.plot_dims(curves, results / "dims.png")
    for name, rows in curves.items():
        shown = "  ".join(
            f"{row['dim']}: {100 * row['knn_accuracy_k20']:.1f}" for row in rows
        )
        print(f"{name:32}{shown}")
    for name, found in full.items():
        print(f"{name:32}all: {100 * found['knn_accuracy_k20']:.1f}")


def rows_of(splits, dims, ordering=None) -> list[dict]:
    """Rows for the first coordinates, as many as there are."""
    train, test = splits
    known = train[0].shape[1]
    if ordering is not None:
        known = len(ordering.eigenvalues)
    fitting = [dim for dim in dims if dim <= known]
    return evaluation.evaluate_dims(
        train, test, fitting, k=20, ordering=ordering
    )


if __name__ == "__main__":
    app.launch(main)
