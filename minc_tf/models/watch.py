"""What `fit` watches: pixels of another range, and what is not finite."""

import keras
import numpy as np
from keras import ops

from minc_tf._pixels import NOT_FINITE, contradiction, look

#: In the logs of a step, between it and `Watch`.
KEY = "minc_tf_found"
_WEIGHTS = 8


def look_at_step(model, data, weights):
    """The largest `look` of a batch's images, plus 8 for weights not finite."""
    found = ops.zeros(())
    for images in keras.tree.flatten(data):
        if images is not None:
            found = ops.maximum(found, look(images, model.value_range))
    bad = [ops.any(~ops.isfinite(w)) for w in weights]
    return found + _WEIGHTS * ops.cast(ops.any(ops.stack(bad)), "float32")


def watched(model, arguments: dict) -> dict:
    """The arguments of `fit` with a `Watch`, where callbacks can be added."""
    callbacks = arguments.get("callbacks")
    given = isinstance(callbacks, keras.callbacks.CallbackList)
    trace_for(model, watches=not given)
    if given:
        return arguments
    # In front of those that show the logs.
    callbacks = [Watch(), *keras.tree.flatten(callbacks or [])]
    return arguments | {"callbacks": callbacks}


def trace_for(model, watches: bool) -> None:
    """Has the next training of a model look at its steps, or not."""
    if watches != model.watches:
        model.watches = watches
        model.train_function = None  # it was traced for the other


class Watch(keras.callbacks.Callback):
    """Ends `fit` at pixels of another range, or a loss that is not finite.

    It says what was not: the images, the weights before the step, or the loss
    alone.
    """

    def on_train_begin(self, logs=None):
        """Counts from the steps that were taken before."""
        # A model that its first batch builds has taken none.
        steps = self.model.steps if self.model.built else 0
        self._taken = int(ops.convert_to_numpy(steps))
        self._first = True

    def on_epoch_begin(self, epoch, logs=None):
        """Steps are counted within an epoch."""
        self._last = self._taken

    def on_train_batch_end(self, batch, logs=None):
        """Looks at a step."""
        logs = logs or {}
        found = logs.pop(KEY, None)
        if found is not None:
            self._look(batch + 1, logs["loss"], found)

    def on_epoch_end(self, epoch, logs=None):
        """Looks at the weights that the last step left."""
        (logs or {}).pop(KEY, None)
        variables = self.model.trainable_variables
        bad = [~ops.all(ops.isfinite(v)) for v in variables]
        for variable, each in zip(variables, bad, strict=True):
            if bool(each):
                self._stop(f"{variable.path} is not finite", self._taken)

    def _look(self, step, loss, found):
        self._taken, found = self._last + step, int(_number(found))
        first, self._first = self._first, False
        wrong = first and contradiction(found, self.model.value_range)
        if wrong:
            name = type(self.model).__name__
            raise ValueError(f"{name}.fit: in the first batch {wrong}.")
        if found & NOT_FINITE:
            self._stop("an image is not finite", self._taken)
        if np.isfinite(_number(loss)):
            return
        what = "the loss is not finite"
        if found & _WEIGHTS:
            what += ", nor were the weights before"
        self._stop(what, self._taken)

    def _stop(self, what, step):
        raise FloatingPointError(
            f"{type(self.model).__name__}.fit: {what} at step {step}. Look at "
            "the images, lower the learning rate, or bound the embeddings (mu)."
        )


def _number(value) -> float:
    # Workers of a cluster have logs of shape (1,).
    return float(np.max(ops.convert_to_numpy(value)))
