"""Search with images: an index, and the model that made its vectors."""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from minc_tf.data.files import BadImageError
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.evaluation.embedding.images_to_table import (
    image_size,
    model_digest,
)
from minc_tf.evaluation.embedding.named_images import FileImages, named_images
from minc_tf.export import SavedEncoder, load_savedmodel
from minc_tf.search.funnel import FunnelIndex

# Images that are embedded at once.
_BATCH = 64


def search_images(
    index: FunnelIndex | str | os.PathLike,
    savedmodel: str | os.PathLike | SavedEncoder,
    images: str | os.PathLike | Sequence[str | os.PathLike],
    k: int = 10,
    *,
    engine: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> list[dict]:
    """Find the images of an index that are nearest to some images.

    Images are decoded, resized and embedded as `embed_images` does it, with the
    output that the index is of.

    Args:
        index: a `FunnelIndex`, or the path of one, built of a table.
        savedmodel: path of the exported SavedModel, or a `SavedEncoder`.
        images: path of an image, or of a folder, searched to any depth; or a
            sequence of paths of images.
        k: int, how many for each.
        engine: see `FunnelIndex.search`.
        max_pixels: int, the most pixels of an image; one of more is bad.

    Returns:
        List of a dict for each image: `image`, str, its path; `found`, list of
        k dicts of `name`, str, `row`, int, and `cosine`, float, the nearest
        first; or in place of it, where the image is bad, `error`, str.

    Raises:
        FileNotFoundError: there is no such index, SavedModel or image.
        ValueError: the index is of another model, `k` is out of range, or no
            image can be decoded.

    Example:
    ```python
    for one in minc_tf.search.search_images(
        "index", "savedmodels/shapes", "photo.jpg", k=5
    ):
        print(one["image"], [match["name"] for match in one["found"]])
    ```
    """
    if not isinstance(index, FunnelIndex):
        index = FunnelIndex.load(index)
    index.check_k(k)
    named = _named(images, max_pixels)
    encoder = load_savedmodel(savedmodel)
    output = index.metadata.get("output", "features")
    _check_model(index, encoder, output)
    encode = encoder.encoder_function(output, as_served=True)
    rows = {
        name: {"image": os.path.join(named.where, name), "error": reason}
        for name, reason in named.bad
    }
    for name, each in _each(named, image_size(encoder, output), encode):
        path = os.path.join(named.where, name)
        if isinstance(each, str):
            rows[name] = {"image": path, "error": each}
            continue
        cosines, numbers, names = index.search(each, k, engine=engine)
        shown = names[0] if names else map(str, numbers[0])
        matches = zip(shown, numbers[0], cosines[0], strict=True)
        rows[name] = {
            "image": path,
            "found": [
                {"name": name, "row": int(row), "cosine": float(cosine)}
                for name, row, cosine in matches
            ],
        }
    found = [rows[name] for name in sorted(rows)]
    if all("error" in row for row in found):
        raise ValueError(
            f"images must be decodable; received {len(found)} bad ones and no "
            f"other (first {found[0]['image']!r}, {found[0]['error']})"
        )
    return found


def _named(images, max_pixels):
    """The images of a folder, of one path or of several."""
    if isinstance(images, (str, os.PathLike)):
        if os.path.isdir(images):
            return named_images(images, max_pixels)
        images = [images]
    paths = [os.fspath(path) for path in images]
    if not paths:
        raise ValueError("images must be one or more; received none")
    for path in paths:
        if not os.path.isfile(path):
            kind = "is a folder" if os.path.isdir(path) else "does not exist"
            raise FileNotFoundError(
                f"images must be files, or one folder; {path!r} {kind}"
            )
    return FileImages(paths, paths, "", max_pixels=max_pixels)


def _check_model(index, encoder, output):
    """Refuse a model that did not make the vectors of an index."""
    wanted, found = index.metadata.get("model"), model_digest(encoder)
    made = index.metadata.get("savedmodel", "another model")
    if wanted is not None and wanted != found:
        raise ValueError(
            f"savedmodel must be that of the index, {made!r} ({wanted}); "
            f"received {encoder.path!r} ({found}), whose vectors are others"
        )
    dim = encoder.dim(output)
    if wanted is None and dim is not None and dim < index.dimension:
        raise ValueError(
            f"savedmodel must make vectors of {index.dimension}, as those of "
            f"the index; received {encoder.path!r}, whose {output} are of {dim}"
        )


def _each(named, size, encode) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield the name of each image with its vector (D,), or its fault."""
    for start in range(0, len(named.names), _BATCH):
        numbers = range(start, min(start + _BATCH, len(named.names)))
        good = {}
        for number in numbers:
            try:
                good[number], _ = named.again(number, size)
            except BadImageError:
                yield named.names[number], named.reason(number)
        if good:
            vectors = np.asarray(encode(np.stack(list(good.values()))))
            for number, vector in zip(good, vectors, strict=True):
                yield named.names[number], vector
