"""Objectives in code of one's own: what trains nothing says so."""

import sys
import warnings

import keras
from keras import ops


def refuse_in_compile(objective: str) -> None:
    """Raises where the caller is a loss or metric of Keras."""
    # Keras tells a loss nothing of who calls it, nor of training.
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.losses.Loss | keras.metrics.Metric):
            raise ValueError(
                f"{objective}: cannot be a loss or metric of compile, which "
                "would compare targets with predictions and never update its "
                "statistics; in a functional model write attach(z1, z2), in "
                "the call of another self.add_loss(self.objective(z1, z2, "
                "training=training))."
            )
        frame = frame.f_back


def warn_of_training(objective: str) -> None:
    """Warns that a loop differentiates a loss whose statistics stay unset."""
    warnings.warn(
        f"{objective}: a gradient was taken of its loss, but it was never "
        "called with training=True, so that its statistics are not updated "
        "and only the batch itself is seen; in a training step write "
        "objective(z1, z2, training=True), and in the call of a model pass on "
        "its argument training (training=False says that this is meant).",
        stacklevel=2,
    )


def when_differentiated(value, function):
    """Returns `value`, and calls `function` whenever its gradient is traced."""

    @ops.custom_gradient
    def watched(value):
        def gradient(*arguments, upstream=None):
            function()
            return arguments[0] if upstream is None else upstream

        return ops.copy(value), gradient

    return watched(value)
