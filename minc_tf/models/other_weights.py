"""The network under other weights than its own: a target's, a step's ago.

No layer is copied: the same network is called with values that were kept, so
whatever it is made of works, and what it holds beside weights is there.
"""

import math

import keras
from keras import ops

from minc_tf._checks import check_int, check_number
from minc_tf._types import Tensor
from minc_tf.objectives.base import PACKAGE


def _under(variables, kept):
    """A scope in which variables are as they are, but for pairs of others."""
    # A scope inside a scope knows only what it is told. Of a variable that is
    # told twice, the second value counts.
    told = [(variable, variable.value) for variable in variables]
    told += [(weight, other.value) for other, weight in kept]
    return keras.StatelessScope(state_mapping=told, collect_losses=True)


class Target(keras.layers.Layer):
    """Calls a layer under other weights, which are those of this one.

    Frozen is what is frozen there. While `is_new()`, as nothing was trained
    yet, a call from outside of a step sees the weights of the source.
    """

    def __init__(self, source: keras.Layer, is_new, name: str | None = None):
        # What is called sees to the precision of what it is given.
        super().__init__(name=name, dtype="float32", autocast=False)
        # In functions the source is not tracked as a part of this layer.
        self._find_source = lambda: source
        self._is_new = is_new
        self._kept = []

    def build(self, input_shape):
        """Makes a weight for each of the source, which is built."""
        if self._kept:
            return
        for index, weight in enumerate(self._find_source().weights):
            kept = self.add_weight(
                name=f"{index}_{weight.name}",
                shape=weight.shape,
                dtype=weight.dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
                aggregation=weight.aggregation,
            )
            self._kept.append(kept)
        self.start()

    def pairs(self):
        """Pairs of a weight and the one of the source that it stands for."""
        return zip(self._kept, self._find_source().weights, strict=True)

    def start(self) -> None:
        """Takes the weights of the source as they are."""
        for kept, weight in self.pairs():
            # Makes a copy: JAX gives each variable's buffer away.
            kept.assign(ops.copy(weight.value))

    def follow(self, momentum) -> None:
        """Moves: `target <- m target + (1 - m) online`."""
        for kept, weight in self.pairs():
            # What is frozen, and statistics, stay as they are.
            if not weight.trainable:
                continue
            m = ops.cast(momentum, kept.dtype)
            old, new = ops.convert_to_tensor(kept), weight.value
            kept.assign(m * old + (1.0 - m) * ops.cast(new, old.dtype))

    def call(self, inputs, training=None):
        """The source's output; in training, statistics move, but not its own.

        Masks of dropout are those that the source would draw next.
        """
        if not training and self._is_new():
            self.start()
        source = self._find_source()
        held = [(kept, weight, kept.value) for kept, weight in self.pairs()]
        with _under(source.variables, self.pairs()) as scope:
            outputs = source(inputs, training=training)
        if training:
            for kept, weight, before in held:
                after = scope.get_current_value(weight)
                if after is not before:
                    kept.assign(after)
        return outputs

    def load_own_variables(self, store):
        """Loads the weights, and says what a file of before had instead."""
        if self._kept and not len(store.keys()):
            raise ValueError(
                "TwoViewModel: the file has the layers of a copy for a target "
                "network, as saved by an earlier version, and not its weights; "
                "load it with that version, or train anew."
            )
        super().load_own_variables(store)


@keras.saving.register_keras_serializable(package=PACKAGE)
class CosineMomentum(keras.optimizers.schedules.LearningRateSchedule):
    """Momentum of a target network that rises to one along a cosine.

    `1 - (1 - start) (cos(pi k / steps) + 1) / 2` at step k, and one after
    the last step, where the target stands still.

    Args:
        start: float in [0, 1], the momentum at the first step.
        steps: int, number of training steps.
        name: string.

    Raises:
        ValueError: for an argument out of range.

    Example:
    ```python
    import minc_tf

    momentum = minc_tf.models.CosineMomentum(0.99, steps=1000)
    print(float(momentum(0)), float(momentum(500)), float(momentum(1000)))
    ```

    Source: Grill et al. 2020, arXiv 2006.07733, section 3.2.
    """

    def __init__(
        self, start: float, steps: int, name: str = "cosine_momentum"
    ) -> None:
        check_number("CosineMomentum: start", start, 0, 1)
        check_int("CosineMomentum: steps", steps, 1)
        self.start = start
        self.steps = int(steps)
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """Returns the momentum of a step, a scalar float32 tensor."""
        done = ops.cast(step, "float32") / self.steps
        falling = (ops.cos(math.pi * ops.minimum(done, 1.0)) + 1.0) / 2.0
        return 1.0 - (1.0 - self.start) * falling

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"start": self.start, "steps": self.steps, "name": self.name}


class PreviousWeights:
    """What encoder and projector were one step ago; dropout masks are equal.

    They become weights of the model, so that a resumed run goes on exactly.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._pairs = [
            (self._keep(index, weight), weight)
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
        """Embeds a training batch as the step before would have; no gradient.

        No state moves: neither moving statistics nor random generators.
        """
        with _under(self._model.variables, self._pairs):
            embeddings = self._model(images, training=True, pixels=True)
        return ops.stop_gradient(embeddings)

    def follow(self, valid=True):
        """Keeps the present weights; before the optimizer moves them."""
        for kept, weight in self._pairs:
            # Makes a copy: JAX gives each variable's buffer away.
            kept.assign(ops.where(valid, weight.value, kept.value))


def _weights(model):
    """Weights of encoder and projector, also frozen ones, which may thaw."""
    weights = [*model.encoder.weights, *model.projector.weights]
    return [w for w in weights if keras.backend.is_float_dtype(w.dtype)]
