"""The map of an embedding, and the file from which a report draws it."""

import dataclasses
import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from minc_tf import diagnostics
from minc_tf._files import replacing
from minc_tf.data.labels import check_class_count
from minc_tf.diagnostics.vectors import check_features
from minc_tf.objectives.norms import unit_norm
from minc_tf.report.images import check_images, thumbnails

#: Images on a map; t-SNE takes some ten seconds for as many.
LIMIT = 2000

#: What NumPy raises on reading a file that is no snapshot.
_DAMAGED = (KeyError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)

_PERPLEXITY = 30

#: Half of scikit-learn's; the map no longer changes to the eye.
_ITERATIONS = 500


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a report shows of an embedding, without the model.

    Attributes:
        points: float32 array (N, 2), the map.
        labels: int64 array (N,), -1 where unknown.
        class_names: tuple of strings, empty where there are no labels.
        thumbnails: uint8 array (N, t, t, 3).
        spectrum: float32 array (d,), descending.
    """

    points: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    thumbnails: np.ndarray
    spectrum: np.ndarray


def embedding_map(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lay feature vectors out in two dimensions: neighbours stay neighbours.

    t-SNE of the directions of the vectors, as cosine similarity compares
    them, after PCA to 50 dimensions. Of fewer than five vectors the first two
    principal components; vectors that all point the same way coincide.

    Args:
        features: float array (N, d).
        seed: int; on one machine the same seed gives the same map.

    Returns:
        float32 array (N, 2), without unit.

    Raises:
        ValueError: if the shape is not (N, d), or a value is not finite.

    Example:
    ```python
    import numpy as np

    features = np.random.default_rng(0).normal(size=(100, 64))
    points = minc_tf.report.embedding_map(features)  # (100, 2)
    ```

    Source: van der Maaten & Hinton 2008, JMLR 9; the start from PCA, Kobak &
    Berens 2019, doi 10.1038/s41467-019-13056-x.
    """
    # scikit-learn is slow to import, and only a map needs it.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    directions = unit_norm(check_features("features", features))
    count, dim = directions.shape
    if np.ptp(directions, axis=0).max() < 1e-6:
        return np.zeros((count, 2), np.float32)
    if dim == 1:
        directions = np.pad(directions, ((0, 0), (0, 1)))
    keep = min(50, *directions.shape)
    found = PCA(keep, random_state=seed).fit_transform(directions)
    if count < 5:
        return found[:, :2].astype(np.float32)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    tsne = TSNE(
        init="pca",
        perplexity=perplexity,
        max_iter=_ITERATIONS,
        random_state=seed,
    )
    # Several threads add up in any order, and t-SNE amplifies the rounding.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(found).astype(np.float32)


def make_snapshot(
    features: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    spectrum: np.ndarray | None = None,
    limit: int = LIMIT,
    seed: int = 0,
) -> Snapshot:
    """Gather what a report shows of an embedding.

    Args:
        features: float array (N, d), one row an image.
        images: uint8 array (N, H, W, 3).
        labels: optional int array (N,), -1 where unknown.
        class_names: optional strings, by label; by default the numbers.
        spectrum: optional float array; by default
            `minc_tf.diagnostics.spectrum(features)`.
        limit: int, images on the map; of more, that many are drawn at random.
        seed: int, of the draw and the map.

    Returns:
        A `Snapshot`.

    Raises:
        TypeError: if images or labels are of another type.
        ValueError: if shapes do not fit, or a value is not finite.

    Example:
    ```python
    import minc_tf

    images, labels = minc_tf.data.render_shapes(200)
    features = images.reshape(200, -1)
    snapshot = minc_tf.report.make_snapshot(features, images, labels)
    ```
    """
    features = check_features("features", features)
    images = check_images(images, len(features))
    labels, class_names = known_classes(labels, class_names, len(features))
    if spectrum is None:
        spectrum = diagnostics.spectrum(features)
    rows = draw(len(features), limit, seed)
    return Snapshot(
        embedding_map(features[rows], seed),
        labels[rows],
        class_names,
        thumbnails(images[rows]),
        np.asarray(spectrum, np.float32),
    )


def draw(count: int, limit: int, seed: int) -> np.ndarray:
    """Indices of at most `limit` of `count` rows, drawn at random, sorted."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit must be a positive int; received {limit!r}.")
    rows = np.random.default_rng(seed).permutation(count)[:limit]
    return np.sort(rows)


def known_classes(labels, class_names, count: int) -> tuple:
    """Check labels (N,), -1 where unknown, and names; None is all unknown."""
    if labels is None:
        labels = np.full(count, -1)
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers; received {labels.dtype}.")
    if labels.shape != (count,):
        raise ValueError(
            f"labels must have shape ({count},), one a feature vector; "
            f"received shape {labels.shape}."
        )
    classes = int(labels.max()) + 1
    if class_names is None:
        check_class_count(classes, count)
    names = tuple(str(name) for name in class_names or range(classes))
    if labels.min() < -1 or classes > len(names):
        raise ValueError(
            f"labels must be below {len(names)}, the number of class names, "
            f"or -1; received {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int64), names if classes else ()


def save_snapshot(path: str | os.PathLike, snapshot: Snapshot) -> None:
    """Write a snapshot as `.npz`; an earlier file is replaced atomically.

    Args:
        path: path of the file.
        snapshot: `Snapshot`.

    Example:
    ```python
    minc_tf.report.save_snapshot("runs/a/embedding.npz", snapshot)
    ```
    """
    arrays = dataclasses.asdict(snapshot)
    arrays["class_names"] = np.asarray(snapshot.class_names, np.str_)
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_snapshot(path: str | os.PathLike) -> Snapshot:
    """Read what `save_snapshot` wrote.

    Args:
        path: path of the file.

    Returns:
        The `Snapshot`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no snapshot, or a damaged one.

    Example:
    ```python
    snapshot = minc_tf.report.load_snapshot("runs/a/embedding.npz")
    ```
    """
    names = [field.name for field in dataclasses.fields(Snapshot)]
    try:
        # Any other file would be taken for an array, or for a pickle.
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file) as found:
            arrays = {name: found[name] for name in names}
    except _DAMAGED as error:
        raise ValueError(
            f"{os.fspath(path)} is not the snapshot of an embedding, or a "
            "damaged one; it can be removed, and the report then has no map"
        ) from error
    class_names = tuple(arrays.pop("class_names").tolist())
    return Snapshot(class_names=class_names, **arrays)
