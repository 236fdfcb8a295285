"""Vectors of a collection of any size, in parts: `minc-embed --out=DIR/`."""

import functools
import logging
import os
import time
from collections.abc import Iterator, Mapping

import numpy as np

from minc_tf._checks import check_choice, check_int, check_number, is_int
from minc_tf._progress import image_bar
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.listing import count_kinds
from minc_tf.evaluation.embedding import ray_engine
from minc_tf.evaluation.embedding.collection import open_collection
from minc_tf.evaluation.embedding.images_to_table import (
    image_size,
    images_identity,
    model_identity,
    table_metadata,
)
from minc_tf.evaluation.embedding.part_worker import Job, PartWorker
from minc_tf.evaluation.embedding.parts_folder import PartsFolder, check_folder
from minc_tf.export import SavedEncoder, load_savedmodel

_LOGGER = logging.getLogger(__name__)

ENGINES = ("local", "ray")

#: Images of a part, the unit of work and of what a killed worker loses.
PART_SIZE = 4096


def embed_collection(
    savedmodel: str | os.PathLike | SavedEncoder,
    images: str | os.PathLike | Mapping,
    out: str | os.PathLike,
    *,
    engine: str = "local",
    shard: tuple[int, int] = (0, 1),
    feature: str | None = None,
    output: str = "features",
    batch_size: int = 64,
    part_size: int = PART_SIZE,
    workers: int | None = None,
    worker_cpus: int = 1,
    worker_gpus: float = 0,
    overwrite: bool = False,
    verbose: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> dict:
    """Write the vectors of all images of a collection into a folder of parts.

    Each part is a Parquet file `part-*.parquet` of the columns `path`, string;
    `label`, int64, -1 where unknown; `vector`, D float32, null where the
    image is bad; and `error`, string, what is wrong with it, or null. Its
    metadata are those of the table of `embed_images`, whose vectors it has.

    A part that exists is whole, and is not made again: the same call goes on
    where an earlier one was ended, and each image is in one part. The folder's
    `plan.json` tells of what the parts are; its bad images are in `bad.csv`.

    Args:
        savedmodel: path of an exported SavedModel, or a `SavedEncoder`.
        images: path or URI (`s3://`, `gs://`, ...) of a folder of images,
            searched to any depth, or of TFRecord or Parquet files; a pattern,
            as `"photos/*/*.jpg"`; or a dict of arguments of
            `minc_tf.data.load`, for a data set.
        out: path of the folder. Workers on several machines share it.
        engine: str, `"local"`, this process, or `"ray"`, the workers of a
            cluster or, without one, of this machine.
        shard: tuple of int `(i, n)`: only every image whose position, from 0,
            is i modulo n. With engine `"local"`.
        feature: str, the feature or column that holds the encoded image, in
            TFRecord and Parquet files; by default `image`, `image/encoded`,
            and in Parquet also `bytes`, `content`, or the only one of bytes.
        output: str, `"features"` or `"embedding"`.
        batch_size: int, images a batch.
        part_size: int, images a part.
        workers: int, Ray's processes at most; by default as many as there is
            room for.
        worker_cpus: int, cores of each, and threads of TensorFlow.
        worker_gpus: float, GPUs of each.
        overwrite: bool, whether parts of another plan are removed.
        verbose: int, 1 shows a progress bar with rate and remaining time.
        max_pixels: int, the most pixels of an image; one of more is bad.

    Returns:
        Dict of `path`, str; `parts`, `rows`, `dim` and `bad`, int, of this
        shard; `bad_file`, str or `None`; `bad_kinds`, str, the bad ones by
        suffix; and `images_per_second` of this call, float.

    Raises:
        FileNotFoundError: there is no such SavedModel, folder or file.
        ImportError: Ray is not installed.
        MemoryError: there is not enough memory for an image.
        TypeError: `images` is neither a path nor a dict.
        ValueError: an argument is out of range, `out` is no such folder or of
            another plan, there are no images, or all of them are bad.

    Example:
    ```python
    minc_tf.evaluation.embed_collection(
        "savedmodels/shapes", "photos", "vectors", engine="ray"
    )
    ```

    Source: https://docs.ray.io/en/latest/ray-core/actors.html
    """
    check_choice("engine", engine, ENGINES)
    shard = check_shard(shard, engine)
    for name, value in (("batch_size", batch_size), ("part_size", part_size)):
        check_int(name, value, 1)
    if workers is not None:
        check_int("workers", workers, 1)
    check_int("worker_cpus", worker_cpus, 1)
    check_number("worker_gpus", worker_gpus, 0)
    check_max_pixels("max_pixels", max_pixels)
    out = check_folder(out)
    if engine == "ray":
        ray_engine.import_ray()
    encoder = load_savedmodel(savedmodel)
    size = image_size(encoder, output)
    encode = encoder.encoder_function(output, as_served=True)
    dim = int(encode(np.zeros((1, *size, 3), np.uint8)).shape[-1])
    everything = open_collection(images, feature, max_pixels)
    metadata = table_metadata(
        encoder, output, dim, everything.where, everything.class_names
    )
    folder = PartsFolder(out, metadata, dim)
    plan = {
        "savedmodel": model_identity(encoder),
        "output": output,
        "images": images_identity(
            everything.where, len(everything), everything.listed()
        ),
        "feature": feature or "",
        "max_pixels": max_pixels,
        "part_size": part_size,
        "shards": shard[1],
    }
    folder.claim(plan, overwrite)
    rows = _cut(len(everything), shard, part_size)
    counts = folder.counts(list(rows))
    todo = [part for part in rows if part not in counts]
    if counts:
        _LOGGER.info("going on after %d of %d parts", len(counts), len(rows))
    job = {
        "savedmodel": os.path.abspath(encoder.path),
        "output": output,
        "batch_size": batch_size,
        "max_pixels": max_pixels,
        "data": everything.data,
        "folder": folder,
    }

    def images_of_part(part):
        return everything.select(rows[part])

    if engine == "ray":
        run = functools.partial(
            ray_engine.make_parts,
            workers=workers,
            worker_cpus=worker_cpus,
            worker_gpus=worker_gpus,
        )
    else:
        run, job["savedmodel"] = _here, encoder
    begin, fresh = time.perf_counter(), sum(len(rows[part]) for part in todo)
    done = sum(map(sum, counts.values()))
    with image_bar("embed", done + fresh, done, bool(verbose)) as bar:
        for part, found in run(job, todo, images_of_part) if todo else ():
            counts[part] = found
            bar.update(sum(found))
    rate = fresh / (time.perf_counter() - begin)
    prefix, suffix = _prefix(shard), _suffix(shard)
    folder.sweep(prefix)
    with_bad = [part for part in rows if counts[part][1]]
    bad = folder.list_bad(with_bad, f"bad{suffix}.csv")
    good = sum(number for number, _ in counts.values())
    if bad and not good:
        raise ValueError(
            f"images must be decodable; received {len(bad)} bad ones and no "
            f"other (first {bad[0]!r}); {str(out / f'bad{suffix}.csv')!r} "
            "lists them"
        )
    return {
        "path": str(out),
        "parts": len(rows),
        "rows": good,
        "dim": dim,
        "bad": len(bad),
        "bad_file": str(out / f"bad{suffix}.csv") if bad else None,
        "bad_kinds": count_kinds(bad),
        "images_per_second": rate,
    }


def check_shard(shard: tuple[int, int], engine: str = "local") -> tuple:
    """Return a shard (i, n); refuse one that is none, or not for Ray."""
    pair = isinstance(shard, (tuple, list)) and len(shard) == 2
    if not (pair and all(map(is_int, shard)) and 0 <= shard[0] < shard[1]):
        raise ValueError(
            "shard must be two ints i/n with 0 <= i < n; received "
            f"{'/'.join(map(str, shard)) if pair else shard!r}"
        )
    if engine == "ray" and shard[1] > 1:
        raise ValueError(
            "shard must be left out with the engine 'ray', which divides the "
            f"work itself; received {shard[0]}/{shard[1]}"
        )
    return tuple(shard)


def _prefix(shard):
    """How the names of a shard's parts begin."""
    return f"part{_suffix(shard)}-"


def _suffix(shard):
    return "" if shard[1] == 1 else f"-{shard[0]:05d}-of-{shard[1]:05d}"


def _cut(count, shard, part_size):
    """The positions of the images of each part, by its name."""
    mine = range(shard[0], count, shard[1])
    return {
        f"{_prefix(shard)}{number:06d}": mine[first : first + part_size]
        for number, first in enumerate(range(0, len(mine), part_size))
    }


def _here(job, parts, images_of_part) -> Iterator[tuple]:
    """Make parts in this process."""
    make = PartWorker(Job(**job))
    for part in parts:
        yield part, make(part, images_of_part(part))
