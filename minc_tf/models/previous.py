"""Embeddings under the weights of the step before, for objectives that ask."""

import keras
from keras import ops


class PreviousWeights:
    """What encoder and projector were one step ago.

    No layer is copied: the same network is called with the values that were
    kept, so whatever it is made of works, and dropout draws the same masks.

    Args:
        model: a `TwoViewModel` in `build`, whose encoder and projector are
            built. The values become weights of the model, so that a resumed
            run goes on exactly.
    """

    def __init__(self, model: keras.Model):
        """See the class."""
        self._model = model
        self._pairs = [
            (weight, self._keep(index, weight))
            for index, weight in enumerate(_weights(model))
        ]

    def _keep(self, index, weight):
        return self._model.add_weight(
            name=f"previous_{index}",
            shape=weight.shape,
            dtype=weight.dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def embed(self, images):
        """Embeds a training batch (b, H, W, C) as the step before would have.

        Returns:
            Tensor (b, d), without gradient. No state moves: neither moving
            statistics nor random generators.
        """
        # A scope inside a scope knows only what it is told.
        states = [(v, v.value) for v in self._model.variables]
        kept = [(weight, kept.value) for weight, kept in self._pairs]
        # Of a variable that is told twice, the second value counts.
        mapping = [*states, *kept]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            embeddings = self._model(images, training=True, pixels=True)
        return ops.stop_gradient(embeddings)

    def follow(self, valid=True):
        """Keeps the present weights; before the optimizer moves them.

        Args:
            valid: bool, or scalar bool tensor. False: what was kept stays.
        """
        for weight, kept in self._pairs:
            # Makes a copy: JAX gives each variable's buffer away.
            kept.assign(ops.where(valid, weight.value, kept.value))


def _weights(model):
    """Weights of encoder and projector, frozen ones and statistics too.

    A layer can be frozen or unfrozen at any time.
    """
    weights = [*model.encoder.weights, *model.projector.weights]
    return [w for w in weights if keras.backend.is_float_dtype(w.dtype)]
