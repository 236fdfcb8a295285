"""The map of an embedding as a page draws it: points, legend, thumbnails."""

import numpy as np

from minc_tf.report.charts import PALETTE
from minc_tf.report.embedding import Snapshot
from minc_tf.report.images import (
    clear_margins,
    data_uri,
    encode_small,
    mosaic,
    sprite,
)

#: Marks as SVG paths around a point: circle, square, triangle, diamond.
_MARKS = (
    "m-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z",
    "m-6.5-6.5h13v13h-13z",
    "m0-8.5l8 14h-16z",
    "m0-9l8 9l-8 9l-8-9z",
)

#: Classes that have a mark of their own; those of the others are grey.
_MARKED = len(_MARKS) * len(PALETTE)

#: The drawing in its own unit: width, least height, margin, and the cells in
#: which images are laid out.
_WIDTH, _LOWEST, _MARGIN, _CELL = 960, 480, 20, 40

#: Bytes of the thumbnails, and of the picture that is made of them.
_SPRITE_LIMIT, _PICTURE_LIMIT = 800_000, 300_000


def map_view(snapshot: Snapshot) -> dict:
    """A map's size and its classes, for the template; `series` None is grey."""
    points, height = _scaled(snapshot.points)
    groups = []
    for name, rows, style in _classes(snapshot):
        mark = _MARKS[0 if style is None else style // len(PALETTE)]
        groups.append(
            {
                "name": name,
                "count": len(rows),
                "series": None if style is None else style % len(PALETTE),
                "swatch": f"M10 10{mark}",
                "paths": [f"M{x} {y}{mark}" for x, y in points[rows].tolist()],
            }
        )
    return {"width": _WIDTH, "height": height, "groups": groups}


def map_images(snapshot: Snapshot) -> dict:
    """The images of a map: `picture`, `sprite`, and `data` for the script."""
    points, height = _scaled(snapshot.points)
    tiles = snapshot.thumbnails
    names = [
        snapshot.class_names[label] if label >= 0 else ""
        for label in snapshot.labels
    ]
    shape = (height // _CELL, _WIDTH // _CELL)
    picture = mosaic(points[:, ::-1] / _CELL, clear_margins(tiles), shape)
    together = sprite(tiles)
    return {
        "picture": data_uri(encode_small(picture, _PICTURE_LIMIT)),
        "sprite": data_uri(encode_small(together, _SPRITE_LIMIT)),
        "data": {
            "points": points.tolist(),
            "names": names,
            "across": together.shape[0] // tiles.shape[1],
        },
    }


def common_legend(maps: list[dict]) -> dict | None:
    """One of several maps, if their classes have the same names and marks."""
    marks = [
        [(g["name"], g["series"], g["swatch"]) for g in found["groups"]]
        for found in maps
    ]
    same = bool(maps) and all(other == marks[0] for other in marks)
    return maps[0] if same else None


def _classes(snapshot):
    """(name, rows, style) of each class; that of grey points is None."""
    labels = snapshot.labels
    if not snapshot.class_names:
        return [("images without labels", np.arange(len(labels)), 0)]
    present, counts = np.unique(labels[labels >= 0], return_counts=True)
    largest = present[np.argsort(-counts, kind="stable")[:_MARKED]]
    marked = np.sort(largest)
    groups = []
    rest = np.flatnonzero((labels >= 0) & ~np.isin(labels, marked))
    if len(rest):
        name = f"{len(present) - len(marked)} other classes"
        groups.append((name, rest, None))
    unknown = np.flatnonzero(labels < 0)
    if len(unknown):
        groups.append(("no label", unknown, None))
    for style, label in enumerate(marked):
        name = snapshot.class_names[label]
        groups.append((name, np.flatnonzero(labels == label), style))
    return groups


def _scaled(points):
    """Integer positions in the drawing, downwards, and its height."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    inner = _WIDTH - 2 * _MARGIN
    scale = inner / max(extent.max(), 1e-12)
    height = max(_LOWEST, extent[1] * scale + 2 * _MARGIN)
    height = _CELL * int(np.ceil(height / _CELL))
    centre = low + extent / 2
    middle = np.array([_WIDTH / 2, height / 2])
    found = middle + (points - centre) * scale * (1, -1)
    return np.rint(found).astype(int), height
