"""Images in memory, from an `.npz` file; NumPy alone."""

import dataclasses
import os
import pathlib
import zipfile

import numpy as np

from minc_tf._checks import did_you_mean, refusal
from minc_tf.data.files import check_regular
from minc_tf.data.labels import as_labels, like_labels
from minc_tf.data.slices import parse_slice, rows_of_slice
from minc_tf.data.subsets import rows_of_subset


@dataclasses.dataclass(frozen=True)
class Arrays:
    """The images, uint8 (N, H, W, 3), and labels of a split.

    Labels are int64 (N,), -1 where unknown; `None` for unlabelled images.
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    split: str

    #: Files that could not be read, which an array has none of.
    skipped = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes by their number; `None` for unlabelled images."""
        if self.labels is None:
            return None
        return tuple(map(str, range(int(self.labels.max(initial=-1)) + 1)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self.images.shape[1:]

    def subset(self, n: int, seed: int = 0) -> "Arrays":
        """Return `n` random examples, those of `ImageSource.subset`."""
        return self._replace_rows(rows_of_subset(self, n, seed))

    def _replace_rows(self, rows):
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(
            self, images=self.images[rows], labels=labels
        )


def read_npz(
    path: str | os.PathLike,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
) -> Arrays:
    """Read a split, or a slice of one, as `minc_tf.data.load_npz` does."""
    path = pathlib.Path(path)
    given, (split, bounds) = split, parse_slice(split)
    one_split = "train"
    if path.is_dir():
        path, one_split = path / f"{split}.npz", split
    if not path.exists():
        raise FileNotFoundError(
            f"data_dir must be an .npz file, or a folder with {split}.npz; "
            f"there is no file {str(path)!r}"
        )
    check_regular("data_dir", path)
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"data_dir must be an .npz file as np.savez writes it; "
            f"{str(path)!r} is not one ({error})"
        ) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(
            f"data_dir must be an .npz file with named arrays; {str(path)!r} "
            f"holds one bare array of shape {archive.shape}"
        )
    with archive:
        image_key, label_key = _npz_keys(archive.files, path, split, one_split)
        images = _read_array(archive, image_key, path)
        labels = label_key and _read_array(archive, label_key, path)
    images = as_rgb(images)
    labels = as_labels(labels, len(images))
    _check_size(images.shape[1:3], image_size, path)
    arrays = Arrays(images, labels, path.stem, given)
    if bounds is None:
        return arrays
    return arrays._replace_rows(rows_of_slice(arrays, given, bounds))


def is_one_split(path: str | os.PathLike) -> bool:
    """Whether a path is an `.npz` file whose arrays name no split."""
    if not pathlib.Path(path).is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "images" in archive.files and "x_train" not in archive.files
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return False  # whoever reads it says why


def as_rgb(images) -> np.ndarray:
    """Check images, uint8 (N, H, W, 3), and give grey ones three channels."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(
            "images must be uint8 with values 0 to 255; received dtype "
            f"{images.dtype}{_advice(images)}"
        )
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in shape:
        raise ValueError(
            "images must have shape (N, H, W, 3), or (N, H, W) or "
            f"(N, H, W, 1) for grey, with N >= 1; received {shape}"
        )
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return images


def _npz_keys(keys, path, split, one_split):
    """Return the names of the arrays; the one of the labels may be `None`."""
    images, labels = f"x_{split}", f"y_{split}"
    if images not in keys:
        images, labels = "images", "labels"
        if images not in keys:
            raise ValueError(
                f"split={split!r} needs an array 'x_{split}' or 'images' in "
                f"{str(path)!r}; it holds {', '.join(sorted(keys)) or 'none'}"
                f"{did_you_mean(f'x_{split}', keys)}"
            )
        if split != one_split:
            raise ValueError(
                f"split must be {one_split!r} for {str(path)!r}, whose array "
                f"'images' is one split; received {split!r} (name the arrays "
                "x_train, y_train, x_test, y_test for two)"
            )
    if labels in keys:
        return images, labels
    # Those of another split are no labels of this one.
    others = [f"y_{key[2:]}" for key in keys if key.startswith("x_")]
    wrong = like_labels(key for key in keys if key not in (images, *others))
    if wrong is not None:
        raise ValueError(
            f"the labels of {images!r} must be the array {labels!r} in "
            f"{str(path)!r}; it has {wrong!r}: rename it, or remove it to "
            "read the images without labels"
        )
    return images, None


def _read_array(archive, key, path):
    try:
        return archive[key]
    except ValueError as error:
        raise ValueError(
            f"array {key!r} of {str(path)!r} must be a plain numeric array; "
            "it holds Python objects, which are never unpickled"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ValueError(
            f"array {key!r} of {str(path)!r} cannot be read ({error})"
        ) from error


def _check_size(found, image_size, path):
    if image_size is None:
        return
    wanted = (image_size, image_size)
    wanted = tuple(image_size) if np.ndim(image_size) else wanted
    if wanted != found:
        raise refusal(
            "image_size",
            f"None or {found}, the size of the images in {str(path)!r} (arrays "
            "are not resized)",
            image_size,
        )


def _advice(images):
    """Say what to do with images of another dtype, by their values."""
    if images.dtype == object or images.size == 0:
        return ""
    if images.dtype.kind == "f":
        top = np.nanmax(images)
        if np.nanmin(images) >= 0 and top <= 1:
            return " in 0 to 1: pass (255 * images).round().astype('uint8')"
        if np.nanmin(images) >= 0 and top <= 255:
            return " in 0 to 255: pass images.round().astype('uint8')"
        return ": undo the normalisation first"
    if images.dtype.kind in "iu":
        if images.min() >= 0 and images.max() <= 255:
            return " in 0 to 255: pass images.astype('uint8')"
        return f" in {images.min()} to {images.max()}: rescale to 0 to 255"
    return ""
