"""An index that compares few coordinates of all vectors, then all of few."""

import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from minc_tf._checks import check_choice, check_int
from minc_tf.evaluation.embedding.shards import Vectors, as_vectors
from minc_tf.search import folder as folders
from minc_tf.search.nearest import closest_of, nearest
from minc_tf.search.stages import check_stages, multiply_adds
from minc_tf.search.unit import principal_axes, unit_rows

_LOGGER = logging.getLogger(__name__)

#: Where the order of the coordinates comes from.
ORDERS = ("given", "pca")


class Found(NamedTuple):
    """What a search found, for each of Q queries k vectors, nearest first.

    Attributes:
        cosines: float32 (Q, k), over all coordinates, descending.
        rows: int64 (Q, k), numbers of the vectors; of equal cosines the lower
            one comes first.
        names: list of Q lists of k str; `None` where the index has no names.
    """

    cosines: np.ndarray
    rows: np.ndarray
    names: list[list[str]] | None


class FunnelIndex:
    """Search by cosine in stages, of which each compares more coordinates.

    The first stage compares the first coordinates of a query with those of all
    vectors and keeps the best; each stage after it compares more coordinates
    of what was kept; at last all are compared. So coordinates must come in
    order of importance, as those of MINC's exported `embedding` do; `"pca"`
    puts those of other vectors in order.

    Every stage compares by cosine: vectors are made unit vectors, cut ones
    anew. Else those came first of which most lies in the first coordinates,
    whichever way they point.

    Args:
        vectors: float array (N, D), of any scale. The index makes a copy.
        names: sequence of N str, or `None`.
        stages: sequence of (coordinates, kept), the coordinates ascending and
            the kept not; an empty one compares all coordinates of all vectors
            and is exact. `None` is one stage of an eighth of the coordinates,
            which keeps 200, and of at most 400 vectors exact.
        order: `"given"`, or `"pca"`, which turns all vectors, and queries, to
            the principal axes. That changes no cosine over all coordinates.
        metadata: dict of str that are kept with the index, such as
            `Vectors.metadata`.

    Attributes:
        stages: tuple of (coordinates, kept).
        dimension: int, D, the length of a query.
        order: str.
        metadata: dict of str.

    Its `len` is the number of vectors.

    Raises:
        TypeError: names are not str.
        ValueError: vectors that are not finite or empty, stages that do not
            fit them, an unknown order, or names of another number.

    Example:
    ```python
    x = np.random.default_rng(0).normal(size=(1000, 64)) / np.arange(1, 65)
    index = minc_tf.search.FunnelIndex(x, stages=[(8, 100), (16, 20)])
    found = index.search(x[:3], k=5)
    found.rows[:, 0]  # [0, 1, 2]
    index.multiply_adds()  # 12_480 of 64_000
    ```
    """

    def __init__(
        self,
        vectors: np.ndarray,
        names: Sequence[str] | None = None,
        *,
        stages: Sequence[tuple[int, int]] | None = None,
        order: str = "given",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        check_choice("order", order, ORDERS)
        x = unit_rows("vectors", vectors)
        stages = check_stages(stages, *x.shape)
        rotation = principal_axes([x]) if order == "pca" else None
        if rotation is not None:
            x = x @ rotation
        self._hold(x, None, rotation, _names(names, len(x)), stages, metadata)

    def _hold(self, vectors, first, rotation, names, stages, metadata):
        """Take the parts of an index, those of a folder too."""
        self.stages, self.metadata = stages, dict(metadata or {})
        self.dimension = vectors.shape[1]
        self.order = "given" if rotation is None else "pca"
        if first is None and stages:
            first = unit_rows("vectors", vectors[:, : stages[0][0]])
        self._vectors, self._first = vectors, first
        self._rotation, self._names = rotation, names

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        stages = ", ".join(f"{d} coordinates: {c}" for d, c in self.stages)
        return (
            f"<FunnelIndex: {len(self)} vectors of {self.dimension}; "
            f"{stages or 'exact'}>"
        )

    def multiply_adds(self) -> int:
        """Return how many multiplications, and additions, a query takes.

        Example:
        ```python
        index.multiply_adds() / (len(index) * index.dimension)  # 0.195
        ```
        """
        return multiply_adds(self.stages, len(self), self.dimension)

    def search(
        self, queries: np.ndarray, k: int = 10, *, engine: str = "auto"
    ) -> Found:
        """Find the vectors that are nearest to queries by cosine.

        Args:
            queries: float array (Q, D), or (D,) for one, of any scale.
            k: int, how many for each; at most what the stages keep.
            engine: `"faiss"` or `"numpy"`, which makes the first comparison;
                `"auto"` is FAISS where it is installed. Both find the same,
                but for ties at the edge of what the first stage keeps.

        Returns:
            A `Found`.

        Raises:
            ImportError: `"faiss"` is not installed.
            ValueError: queries of another dimension, not finite, or zero;
                `k` out of range; or an unknown engine.

        Example:
        ```python
        cosines, rows, names = index.search(queries, k=5)
        ```
        """
        x = unit_rows("queries", np.atleast_2d(queries), zero=False)
        if x.shape[1] != self.dimension:
            raise ValueError(
                f"queries must be of {self.dimension} dimensions, as the "
                f"vectors of the index are; received {x.shape[1]}"
            )
        k = self.check_k(k)
        if self._rotation is not None:
            x = x @ self._rotation
        stages = [*self.stages, (self.dimension, k)]
        everything = self._first if self.stages else self._vectors
        (dim, kept), *others = stages
        rows = nearest(
            everything,
            np.ascontiguousarray(x[:, :dim]),
            min(kept, len(self)),
            engine,
        )
        # An exact search sums its cosines as the others do, too.
        for dim, kept in others or stages:
            cosines, rows = closest_of(
                self._vectors, x[:, :dim], rows, min(kept, len(self))
            )
        return Found(np.clip(cosines, -1.0, 1.0), rows, self._named(rows))

    def check_k(self, k: int) -> int:
        """Return `k`, or raise a ValueError where `search` cannot find as many.

        Example:
        ```python
        index.check_k(10)  # 10
        ```
        """
        k = check_int("k", k, 1, len(self))
        if self.stages and k > self.stages[-1][1]:
            raise ValueError(
                f"k must be at most {self.stages[-1][1]}, as many as the "
                f"stages keep; received {k}"
            )
        return k

    def _named(self, rows):
        if self._names is None:
            return None
        # `take` would put the chunks of all names together first.
        return [[self._names[row].as_py() for row in r] for r in rows.tolist()]

    def save(
        self, folder: str | os.PathLike, *, overwrite: bool = False
    ) -> None:
        """Write the index into a folder, which `load` takes.

        Args:
            folder: path of a new or empty folder.
            overwrite: bool, whether an index that it holds is replaced.

        Raises:
            ValueError: the folder holds an index, or anything else.
            OSError: it cannot be written.

        Example:
        ```python
        index.save("index")
        index = minc_tf.search.FunnelIndex.load("index")
        ```
        """
        rows = range(0, len(self), folders.block_rows(self.dimension))
        size = rows.step
        blocks = (
            (
                self._vectors[start : start + size],
                self._names and self._names[start : start + size],
            )
            for start in rows
        )
        folders.write(
            folder,
            blocks,
            folders.Shape(len(self), self.dimension, self.stages),
            self._rotation,
            self.metadata,
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "FunnelIndex":
        """Open an index that `save` or `build` wrote.

        Vectors stay on the disk, of which a search reads those that it
        compares: all of the first coordinates, and of the rest a few rows.

        Args:
            folder: path.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it holds no index, one whose writing was interrupted,
                one that is damaged, or one of a later version.

        Example:
        ```python
        index = minc_tf.search.FunnelIndex.load("index")
        ```
        """
        index = cls.__new__(cls)
        index._hold(*folders.read(pathlib.Path(folder)))
        return index

    @classmethod
    def build(
        cls,
        vectors: Vectors | str | os.PathLike | Sequence[str | os.PathLike],
        folder: str | os.PathLike,
        *,
        stages: Sequence[tuple[int, int]] | None = None,
        order: str = "given",
        overwrite: bool = False,
    ) -> "FunnelIndex":
        """Write an index of tables that `minc-embed` wrote, of any size.

        No more than a block of them is in memory.

        Args:
            vectors: `minc_tf.evaluation.Vectors`, or what it takes: a table,
                a folder of parts, a glob, or a sequence of these.
            folder: path of a new or empty folder.
            stages: see the class.
            order: see the class.
            overwrite: bool, whether an index in the folder is replaced.

        Returns:
            The index, loaded. Its names are the paths of the images, and its
            metadata those of the tables.

        Raises:
            FileNotFoundError: there are no such tables.
            ValueError: as the class, `Vectors` and `save`.

        Example:
        ```python
        index = minc_tf.search.FunnelIndex.build("embeddings.parquet", "index")
        ```
        """
        check_choice("order", order, ORDERS)
        folders.check_folder(folder, overwrite)
        tables = as_vectors("vectors", vectors)
        stages = check_stages(stages, len(tables), tables.dimension)
        if stages and order == "given":
            _warn_of_order(tables.metadata)
        size = folders.block_rows(tables.dimension)
        rotation = None
        if order == "pca":
            units = (
                unit_rows("vectors", x)
                for x, _, _ in tables.blocks(size, paths=False)
            )
            rotation = principal_axes(units)
        folders.write(
            folder,
            _turned(tables.blocks(size), rotation),
            folders.Shape(len(tables), tables.dimension, stages),
            rotation,
            tables.metadata,
            overwrite=overwrite,
        )
        return cls.load(folder)


def _turned(blocks, rotation):
    """Unit vectors of blocks, in the order of the index, and their names."""
    for x, _, paths in blocks:
        x = unit_rows("vectors", x)
        yield x if rotation is None else x @ rotation, pa.array(paths)


def _names(names, count):
    """Names as an array of Arrow; `None` for none."""
    if names is None:
        return None
    names = list(names)
    if len(names) != count:
        raise ValueError(
            f"names must be {count}, one for each vector; received {len(names)}"
        )
    if not all(isinstance(name, str) for name in names):
        raise TypeError("names must be str; received others among them")
    return pa.chunked_array([pa.array(names, pa.string())])


def _warn_of_order(metadata):
    """Tell that the coordinates of a table's vectors have no order."""
    ordered, output = metadata.get("ordered"), metadata.get("output")
    if ordered == "false" or (ordered is None and output == "features"):
        _LOGGER.warning(
            "the vectors are %r, whose coordinates have no order, so that the "
            "first ones miss much; order='pca' (--order=pca) puts them in one",
            output,
        )
