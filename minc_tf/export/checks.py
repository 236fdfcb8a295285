"""Checks of what is to be exported."""

import json


def check_model(model) -> None:
    """Refuse a model that lacks a part, or weights."""
    for name in ("encoder", "projector", "objective"):
        part = getattr(model, name, None)
        if part is None:
            raise TypeError(
                "model must have encoder, projector and objective; received "
                f"{type(model).__name__} without {name}"
            )
        if name != "objective" and not part.built:
            raise ValueError(
                f"model must be built; received a model whose {name} has no "
                "weights yet; build it or call it on one batch of images first"
            )


def resolve_image_shape(encoder, image_shape) -> tuple[int, int, int]:
    """Return the shape of an encoder's images, given or its own."""
    try:
        own = tuple(encoder.input_shape[1:])
    except (AttributeError, TypeError, ValueError):
        own = (None, None, None)  # a subclassed model knows no shape
    if image_shape is None:
        if len(own) != 3 or None in own:
            raise ValueError(
                "image_shape must be given as (height, width, 3); received "
                f"None, and the encoder's own is not fixed: {own}"
            )
        image_shape = own
    shape = tuple(image_shape)
    fits = len(shape) == 3 and shape[2] == 3
    fits = fits and all(isinstance(n, int) and n > 0 for n in shape)
    if not fits:
        raise ValueError(
            "image_shape must be (height, width, 3) in pixels; received "
            f"{image_shape!r}"
        )
    if len(own) != 3 or any(
        n not in (None, m) for n, m in zip(own, shape, strict=True)
    ):
        raise ValueError(
            f"image_shape must fit the encoder's {own}; received {shape}"
        )
    return shape


def check_output(name: str, shape) -> None:
    """Refuse an encoder or projector that returns no vectors."""
    if shape.rank != 2 or shape[-1] is None:
        part = "encoder" if name == "features" else "projector"
        raise ValueError(
            f"model.{part} must return vectors of shape (batch, {name}); "
            f"received {tuple(shape) if shape.rank else shape}"
        )


def check_described(recipe, evaluation, data_licence) -> None:
    """Refuse descriptions of a model that its manifest cannot hold."""
    _check_json("recipe", recipe, dict, "; of a config give config.to_dict()")
    _check_json("evaluation", evaluation, list, "; give a list of records")
    _check_json("data_licence", data_licence, str, "; such as 'CC BY 4.0'")


def _check_json(name, value, kind, hint):
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__} or None; received "
            f"{type(value).__name__}{hint}"
        )
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be a {kind.__name__} that JSON can hold; received "
            f"{value!r} ({error})"
        ) from error
