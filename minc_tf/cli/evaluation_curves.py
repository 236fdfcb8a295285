"""The curves over `--dims` that `minc-evaluate` plots."""

import json
import pathlib
from collections.abc import Sequence


def compared(names: Sequence[str]) -> dict[str, list]:
    """Return the curves of files of `--json`, but for those of their PCA."""
    curves = {}
    for name in names:
        path = pathlib.Path(name)
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                "--compare must name files of --json with --dims; received "
                f"{name!r}: {error}"
            ) from error
        if not isinstance(found, dict) or "dims" not in found:
            raise ValueError(
                f"--compare must name files of --json with --dims; {name!r} "
                "has no dims."
            )
        for order, rows in found["dims"].items():
            if order != "pca":
                curves[f"{path.stem}, {order}"] = rows
    return curves


def named(path: pathlib.Path, dims: dict) -> dict[str, list]:
    """Return rows by order, named for the legend after the exported model."""
    name = path.parent.name if path.name.isdigit() else path.name
    return {
        f"{order.upper() if order == 'pca' else name + ', ' + order}": rows
        for order, rows in dims.items()
    }
