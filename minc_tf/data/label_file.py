"""`labels.csv`, the labels of the images that lie beside it."""

import csv
import os
from collections.abc import Sequence

import numpy as np

from minc_tf.data.files import check_regular

LABEL_FILE = "labels.csv"
_COLUMNS = ["file", "label"]


def read_label_file(
    folder: str | os.PathLike, files: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Read the labels (N,) of the images of a folder, and the classes' names.

    `labels.csv` has the columns `file` and `label`, and one row for each image.
    Classes are taken in the order of their names.
    """
    path = os.path.join(folder, LABEL_FILE)
    where = f"label file {path!r}"
    check_regular(LABEL_FILE, path)
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            rows = [row for row in reader if row]
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} must be UTF-8 text ({error})") from error
        except csv.Error as error:
            raise ValueError(
                f"{where} must be a table of comma-separated values; line "
                f"{reader.line_num} is not ({error}): is a quotation mark "
                "left open?"
            ) from error
    if not rows or rows[0] != _COLUMNS:
        raise ValueError(
            f"{where} must begin with the line 'file,label'; it has "
            f"{','.join(rows[0]) if rows else 'none'!r}"
        )
    label_of = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not all(row) or row[0] in label_of:
            raise ValueError(
                f"{where} must have a file and a label in each row, and each "
                f"file once; row {number} is {','.join(row)!r}"
            )
        label_of[row[0]] = row[1]
    names = [os.path.basename(file) for file in files]
    _check_pairs(where, label_of, names)
    class_names = sorted(set(label_of.values()))
    number_of = {name: i for i, name in enumerate(class_names)}
    labels = np.array([number_of[label_of[n]] for n in names], np.int64)
    return labels, class_names


def _check_pairs(where, label_of, names):
    missing = sorted(label_of.keys() - set(names))
    if missing:
        raise ValueError(
            f"{where} must name images beside it; there is no image "
            f"{missing[0]!r} ({len(missing)} of {len(label_of)} rows have none)"
        )
    unlabelled = sorted(set(names) - label_of.keys())
    if unlabelled:
        raise ValueError(
            f"{where} must have a row for every image beside it; it has none "
            f"for {unlabelled[0]!r} ({len(unlabelled)} of {len(names)} images)"
        )
