"""The model card of an export: what a person has to know of it."""

import os

import jinja2
import tensorflow as tf

MODEL_CARD = os.path.join("assets.extra", "model_card.md")

_CARDS = jinja2.Environment(
    loader=jinja2.PackageLoader("minc_tf.export"),
    autoescape=False,  # Markdown
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def model_card(name: str, manifest: dict, signatures: dict) -> str:
    """Write the model card of an export, Markdown, from its manifest."""
    rows = []
    for signature, function in sorted(signatures.items()):
        (taken,) = tf.nest.flatten(function.structured_input_signature)
        given = function.structured_outputs
        rows.append((signature, _specs({taken.name: taken}), _specs(given)))
    eigenvalues = (manifest["eigenvalues"] or [])[:10]
    return _CARDS.get_template("model_card.md").render(
        name=_cell(name),
        taken=rows,
        first_eigenvalues=", ".join(f"{value:.3g}" for value in eigenvalues),
        training=_training(manifest["recipe"] or {}),
        results=_results(manifest["evaluation"] or []),
        **manifest,
    )


def _specs(tensors):
    """Names, types and shapes of tensors."""
    return ", ".join(
        f"`{name}`: {spec.dtype.name} {_shape(spec)}"
        for name, spec in sorted(tensors.items())
    )


def _shape(spec):
    sizes = ["any" if n is None else str(n) for n in spec.shape]
    return f"({', '.join(['batch', *sizes[1:]])})"


def _training(recipe):
    """The settings that tell most, as names and texts."""
    parts = {
        "images": ("data", "name"),
        "split": ("data", "train_split"),
        "method": ("objective", "name"),
        "encoder": ("encoder", "name"),
        "epochs": ("epochs",),
        "batch size": ("batch_size",),
        "seed": ("seed",),
    }
    found = []
    for label, keys in parts.items():
        value = recipe
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append((label, _cell(value)))
    return found


def _results(records):
    """Rows of (what, value, where) of all evaluations."""
    return [
        (_cell(key), f"{value:.4g}", _cell(record.get("output", "")))
        for record in records
        for key, value in record.get("results", {}).items()
    ]


def _cell(value):
    """A text that cannot end a cell of a table, or its line."""
    return " ".join(str(value).replace("|", "\\|").split())
