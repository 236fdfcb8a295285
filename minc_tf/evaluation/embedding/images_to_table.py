"""Vectors of many images, in a table: `minc-embed`."""

import hashlib
import json
import logging
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from minc_tf._checks import check_int
from minc_tf._progress import image_bar
from minc_tf.data import ImageSource
from minc_tf.data.files import BadImageError
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.data.listing import count_kinds
from minc_tf.evaluation.embedding.named_images import (
    FileImages,
    SourceImages,
    named_images,
)
from minc_tf.evaluation.embedding.table import (
    PartialTable,
    bad_file,
    check_out,
    table_schema,
)
from minc_tf.export import SavedEncoder, load_savedmodel

_LOGGER = logging.getLogger(__name__)

#: Images after which a part is written, at the end of their batch.
_PART = 1024

#: What tells one SavedModel from another; the index holds the weights' checks.
_MODEL_FILES = ("saved_model.pb", "variables/variables.index")


def embed_images(
    savedmodel: str | os.PathLike | SavedEncoder,
    images: str | os.PathLike | ImageSource,
    out: str | os.PathLike,
    *,
    output: str = "features",
    batch_size: int = 64,
    overwrite: bool = False,
    verbose: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> dict:
    """Write the vectors of all images of a folder or a data set into a table.

    Images are decoded, resized and cropped as for evaluation and by the
    `serving_default` of the export, whose vectors these are. Those that cannot
    be decoded are left out, and listed in `<out without suffix>.bad.csv`.

    The table is a Parquet file of the columns `path`, string, the name of the
    image; `label`, int64, where the images have labels; and `vector`, D
    float32. The metadata of its schema tell `savedmodel`, `version`, `commit`,
    `output`, `dimension`, `images` and, with labels, `class_names` (JSON).

    Finished parts are kept in the folder `<out>.partial`: the same call goes on
    where an earlier one was ended, with the same table in the end.

    Args:
        savedmodel: path of an exported SavedModel, or a `SavedEncoder`.
        images: path of a folder, searched to any depth for the images that
            `minc_tf.data.load_folder` reads, in the order of their relative
            paths, which name them; or a `minc_tf.data.ImageSource`, loaded
            with `skip_bad=True` where images may be bad, whose images are
            named by their numbers, as `"cifar10/test/000123"`, or by their
            files, relative to the folder that holds them all.
        out: path of the file to write, `.parquet`.
        output: str, `"features"` or `"embedding"`.
        batch_size: int, images a batch.
        overwrite: bool, whether `out` may exist, and parts of another job
            beside it may be removed.
        verbose: int, 1 shows a progress bar with rate and remaining time.
        max_pixels: int, the most pixels of an image of a folder; one of more
            is bad. A source has a limit of its own.

    Returns:
        Dict of `path`, str; `rows`, `dim` and `bad`, int; `bad_file`, str or
        `None`; `bad_kinds`, str, the bad ones by suffix, as `"2 .jpg"`; and
        `images_per_second` of this call, float.

    Raises:
        FileNotFoundError: there is no such SavedModel or folder.
        MemoryError: there is not enough memory for an image; in the pipeline
            it is a `tf.errors.ResourceExhaustedError`.
        TypeError: `images` is neither a path nor a source.
        ValueError: `out` exists or cannot be written, there are no images,
            the output is unknown, all images are bad, a vector is not finite,
            or the parts beside `out` are of another job.

    Example:
    ```python
    minc_tf.evaluation.embed_images(
        "savedmodels/shapes", "photos", "embeddings.parquet", verbose=1
    )
    ```
    """
    out = check_out(out, overwrite)
    check_int("batch_size", batch_size, 1)
    named = named_images(images, max_pixels)
    encoder = load_savedmodel(savedmodel)
    encode = encoder.encoder_function(output, as_served=True)
    size = image_size(encoder, output)
    dim = int(encode(np.zeros((1, *size, 3), np.uint8)).shape[-1])
    schema = table_schema(
        dim,
        named.class_names is not None,
        table_metadata(encoder, output, dim, named.where, named.class_names),
    )
    parts = PartialTable(out, schema, _job(encoder, output, named), overwrite)
    rate = _fill(parts, named, encode, size, batch_size, verbose)
    if not parts.rows:
        name, reason = parts.bad[0]
        raise ValueError(
            f"images must be decodable; received {len(parts.bad)} bad ones "
            f"and no other (first {name!r}, {reason}); {str(bad_file(out))!r} "
            "lists them"
        )
    return {
        "path": str(out),
        "rows": parts.rows,
        "dim": dim,
        "bad": len(parts.bad),
        "bad_file": str(bad_file(out)) if parts.bad else None,
        "bad_kinds": count_kinds(name for name, _ in parts.bad),
        "images_per_second": rate,
    }


def image_size(encoder: SavedEncoder, output: str) -> tuple[int, int]:
    """The one size (H, W) of images that an output is of."""
    shape = encoder.image_shape(output)
    if not shape.is_fully_defined():
        raise ValueError(
            f"savedmodel must take images of one size; received "
            f"{encoder.path!r}, whose signature {output!r} takes {shape}"
        )
    return tuple(shape[:2])


def table_metadata(
    encoder: SavedEncoder,
    output: str,
    dim: int,
    where: str,
    class_names: Sequence[str] | None,
) -> dict[str, str]:
    """What the schema of a table tells of its vectors, from images `where`."""
    path = pathlib.Path(encoder.path)
    manifest = encoder.manifest or {}
    ordered = output == "embedding" and manifest.get("embedding_ordered")
    found = {
        "savedmodel": str(path),
        "version": path.name if path.name.isdigit() else "",
        "commit": manifest.get("commit") or "",
        "model": model_digest(encoder),
        "output": output,
        "ordered": "true" if ordered else "false",
        "dimension": str(dim),
        "images": where,
    }
    if class_names is not None:
        found["class_names"] = json.dumps(list(class_names))
    return found


def _job(encoder, output, named):
    """What the vectors depend on: dict of str."""
    return {
        "savedmodel": model_identity(encoder),
        "output": output,
        "images": images_identity(named.where, len(named.names), named.names),
    }


def model_identity(encoder: SavedEncoder) -> str:
    """The path of a SavedModel, and what tells its contents from others'."""
    folder = pathlib.Path(encoder.path).absolute()
    return f"{folder} ({model_digest(encoder)})"


def images_identity(where: str, count: int, names: Iterable[str]) -> str:
    """Where images are, how many, and what tells their names from others."""
    digest = _digest(name.encode() for name in names)
    return f"{where}: {count} images ({digest})"


def model_digest(encoder: SavedEncoder) -> str:
    """What tells the contents of a SavedModel from those of others."""
    files = [pathlib.Path(encoder.path) / name for name in _MODEL_FILES]
    return _digest(file.read_bytes() for file in files if file.exists())


def _digest(texts):
    found = hashlib.sha256()
    for text in texts:
        found.update(b"%d:" % len(text))
        found.update(text)
    return found.hexdigest()[:12]


def _fill(parts, named, encode, size, batch_size, verbose) -> float:
    """Embed what is not done, and finish the table; return images/s."""
    total, start = len(named.names), parts.stop
    if start:
        _LOGGER.info("going on after %d images", start)
    begin = time.perf_counter()
    with image_bar("embed", total, start, verbose) as bar:
        batches = _batches(named, size, start, batch_size)
        encoded = _encoded(encode, named, batches)
        for rows, labels, vectors in _joined(encoded, batch_size, bar):
            parts.add(
                [named.names[row] for row in rows],
                None if named.class_names is None else labels,
                vectors,
                _faults(named, np.setdiff1d(range(parts.stop, rows[-1]), rows)),
            )
        bar.update(total - bar.n)
    rate = (total - start) / (time.perf_counter() - begin)
    parts.finish([*_faults(named, range(parts.stop, total)), *named.bad])
    return rate


def _batches(
    named: FileImages | SourceImages,
    size: tuple[int, int],
    start: int,
    batch_size: int,
) -> tf.data.Dataset:
    """Batches of images in order, from one on, without those that are bad."""

    def decode(row):
        return {**named.at(row, size), "row": row}

    def again(row):
        """Decode in Python, whose errors tell if the image is to blame."""
        try:
            return (*named.again(int(row), size), True)
        except BadImageError:
            return np.zeros((*size, 3), np.uint8), np.int64(-1), False

    def retry(row):
        image, label, good = tf.numpy_function(
            again, [row], [tf.uint8, tf.int64, tf.bool], stateful=False
        )
        image = tf.ensure_shape(image, (*size, 3))
        label, good = tf.ensure_shape(label, []), tf.ensure_shape(good, [])
        return {"image": image, "label": label, "row": row}, good

    def either(row):
        one = tf.data.Dataset.from_tensors(row)
        image = one.map(lambda row: (decode(row), True)).ignore_errors()
        both = image.concatenate(one.map(retry)).take(1)
        return both.get_single_element()

    rows = tf.data.Dataset.range(start, len(named.names))
    images = rows.map(
        either, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    images = images.filter(lambda _, good: good).map(lambda image, _: image)
    return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _encoded(encode, named, batches) -> Iterator[tuple]:
    """Yield rows, labels and vectors of each batch."""
    for batch in batches:
        rows, vectors = batch["row"].numpy(), np.asarray(encode(batch["image"]))
        _check_finite(named, rows, vectors)
        yield rows, batch["label"].numpy(), vectors


def _joined(batches, batch_size, bar) -> Iterator[tuple]:
    """Yield batches put together to parts."""
    count = -(-_PART // batch_size)
    part = []
    for batch in batches:
        part.append(batch)
        bar.update(int(batch[0][-1]) + 1 - bar.n)
        if len(part) == count:
            yield _join(part)
            part = []
    if part:
        yield _join(part)


def _join(part):
    return tuple(map(np.concatenate, zip(*part, strict=True)))


def _faults(named, rows):
    return [(named.names[row], named.reason(row)) for row in rows]


def _check_finite(named, rows, vectors):
    bad = rows[~np.isfinite(vectors).all(axis=1)]
    if bad.size:
        raise ValueError(
            "vectors must be finite; received NaN or infinite values in that "
            f"of {named.names[bad[0]]!r} (and in {bad.size - 1} more of "
            f"{rows.size})"
        )
