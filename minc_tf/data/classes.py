"""Some of a data set's classes, as ImageNet-100 takes them of ImageNet."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from minc_tf._checks import did_you_mean, refusal
from minc_tf.data.source import ImageSource


def select_classes(
    source: ImageSource,
    classes: str | os.PathLike | Sequence[str | int],
) -> ImageSource:
    """Keep the images of some classes, relabelled in the order given.

    Args:
        source: a labelled `ImageSource`.
        classes: sequence of class names as in `source.class_names`, or of
            their numbers; or the path of a text file with one name a line.

    Returns:
        A source of the same kind: label `i` is the class `classes[i]`.

    Raises:
        FileNotFoundError: If the text file does not exist.
        ValueError: If a class is unknown or given twice, the source is
            unlabelled or has no image of these classes.

    Example:
    ```python
    source = minc_tf.data.load("shapes")
    round_ones = minc_tf.data.select_classes(source, ["disk", "ring"])
    ```
    """
    where = f"{source.name}/{source.split}"
    if source.class_names is None:
        raise refusal(
            "classes", f"None for {where}, which has no labels", classes
        )
    if isinstance(classes, str | os.PathLike):
        classes = _read_names(classes)
    numbers = [_number(name, source, where) for name in classes]
    if not numbers or len(set(numbers)) < len(numbers):
        raise refusal(
            "classes", "one or more names or numbers, each once", list(classes)
        )
    # One more, where the label -1 of unlabelled images ends up.
    new_label = np.full(source.num_classes + 1, -1, np.int64)
    new_label[numbers] = np.arange(len(numbers))
    labels = new_label[source.labels]
    rows = np.flatnonzero(labels >= 0)
    names = tuple(source.class_names[number] for number in numbers)
    if not len(rows):
        raise ValueError(
            f"classes must have images in {where}; there are none of "
            f"{', '.join(map(repr, names[:5]))}"
        )
    chosen = source._replace_rows(rows)
    chosen._relabel(labels[rows], names)
    return chosen


def _read_names(path):
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            "classes must be a sequence of names, or the path of a text file "
            f"with one name a line; there is no file {str(path)!r}"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _number(name, source, where):
    """Return the number of a class by its name or number."""
    known = source.class_names
    if isinstance(name, str):
        if name in known:
            return known.index(name)
    elif isinstance(name, int | np.integer) and 0 <= name < len(known):
        return int(name)
    listed = ", ".join(map(repr, known[:5])) + ", ..." * (len(known) > 5)
    raise refusal(
        "classes",
        f"of the {len(known)} of {where} ({listed}), by name or number",
        name,
        did_you_mean(name, known),
    )
