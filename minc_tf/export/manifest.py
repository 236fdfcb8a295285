"""The manifest of an export: what the model is, as JSON beside it."""

import json
import os
from importlib import metadata

import keras
import tensorflow as tf

from minc_tf.commit import library_commit
from minc_tf.export.served import ServedEmbedding
from minc_tf.export.value_range import PIXELS
from minc_tf.export.versions import find_version

MANIFEST = os.path.join("assets.extra", "manifest.json")


def make_manifest(
    model,
    served: ServedEmbedding,
    *,
    image_shape: tuple[int, int, int],
    features_dim: int,
    embedding_dim: int,
    max_pixels: int | None,
    value_range: tuple[float, float],
    recipe: dict | None,
    evaluation: list[dict] | None,
    data_licence: str | None,
) -> dict:
    """Put together the manifest of an export: a dict that JSON can hold."""
    eigenvalues = served.eigenvalues
    return {
        "image_shape": list(image_shape),
        "features_dim": features_dim,
        "embedding_dim": embedding_dim,
        "objective": type(model.objective).__name__,
        "embedding_ordered": served.ordered,
        "eigenvalues": None if eigenvalues is None else eigenvalues.tolist(),
        "served_embedding": served.manifest(embedding_dim),
        "dimension_names": {
            "features": [f"feature_{i}" for i in range(features_dim)],
            "embedding": served.names(embedding_dim),
        },
        "preprocessing": _preprocessing(image_shape, max_pixels, value_range),
        "recipe": recipe,
        "evaluation": evaluation,
        "data_licence": data_licence,
        "commit": library_commit(),
        "versions": {
            "minc_tf": metadata.version("minc_tf"),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def describe_inputs(
    specs: list[tf.TensorSpec], value_range: tuple[float, float]
) -> dict:
    """Describe a signature's inputs by name; a size of any number is None."""
    found = {}
    for spec in specs:
        known = {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        if spec.dtype != tf.string:
            own = value_range if spec.dtype.is_floating else PIXELS
            known["value_range"] = list(own)
        found[spec.name] = known
    return found


def write_manifest(folder: str, manifest: dict) -> None:
    """Write the manifest into a folder that becomes a version."""
    path = os.path.join(folder, MANIFEST)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_manifest(path: str | os.PathLike) -> dict | None:
    """Read the manifest of an exported model.

    Args:
        path: a version folder, or the folder of versions (the latest is read).

    Returns:
        The dict that `export_savedmodel` wrote; its docstring lists the keys,
        of which exports of older versions lack some. `None` for a SavedModel
        from elsewhere.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.

    Example:
    ```python
    minc_tf.export.read_manifest("savedmodels/shapes")["embedding_dim"]
    ```
    """
    file = os.path.join(find_version(path), MANIFEST)
    try:
        with open(file, encoding="utf-8") as opened:
            return json.load(opened)
    except FileNotFoundError:
        return None


def _preprocessing(image_shape, max_pixels, value_range):
    height, width, _ = image_shape
    steps = {
        "resize": "scaled until it covers the size (linear, antialiased)",
        "crop": "centre",
        "size": [height, width],
        "pixel_range": list(value_range),
        "channels": "RGB",
    }
    if max_pixels is None:
        return steps
    decode = "JPEG or PNG; turned as Exif says; transparency over white; 8 bits"
    return {"decode": decode, "max_pixels": max_pixels, **steps}
