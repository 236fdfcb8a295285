"""An objective as a layer in somebody's own model."""

from typing import Any

import keras
import numpy as np
from keras import ops

from minc_tf._types import Shape, Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import PACKAGE, Objective


@keras.saving.register_keras_serializable(package=PACKAGE)
class Endpoint(keras.layers.Layer):
    """Passes two embeddings through and adds an objective to the losses.

    `Objective.attach` makes one in a functional model. In a subclassed model
    make it in `__init__` and call it in `call`.

    The objective's scalars (`chi2_information` and `effective_rank` of MINC,
    say) are in the logs of `fit` and `evaluate`, as means over the epoch. On
    JAX, Keras makes the logs of a single step without the state of layers:
    there they are NaN until the epoch ends.

    Args:
        objective: an `Objective`.
        weight: float, factor of the loss.
        prefix: string before the names of the scalars.
        name: string, the layer's name.

    Raises:
        TypeError: if `objective` is not an `Objective`.

    Example:
    ```python
    import keras, minc_tf


    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.tower = keras.layers.Dense(8)
            self.endpoint = minc_tf.objectives.Endpoint(
                minc_tf.objectives.MINC(dim=8)
            )

        def call(self, inputs, training=None):
            x1, x2 = inputs
            z1, z2 = self.tower(x1), self.tower(x2)
            return self.endpoint(z1, z2, training=training)


    model = Model()
    model.compile(optimizer="adam")
    ```
    """

    def __init__(
        self,
        objective: Objective,
        weight: float = 1.0,
        prefix: str = "",
        name: str | None = None,
    ) -> None:
        """See the class."""
        # Without autocast the embeddings keep the dtype they came in.
        super().__init__(name=name, dtype="float32", autocast=False)
        if not isinstance(objective, Objective):
            raise TypeError(
                "Endpoint: objective must be a minc_tf.objectives objective; "
                f"received {type(objective).__name__}."
            )
        self.objective = objective
        self.weight = weight
        self.prefix = prefix
        self._scalars = []

    def build(self, z1_shape: Shape, z2_shape: Shape | None) -> None:
        """Builds the objective, and the sums of its scalars."""
        if not self.objective.built:
            self.objective.build(z1_shape, z2_shape)
            self.objective.built = True
        names = list(self.objective.metrics(0.0))
        self._sums = self._add_state("sums", (len(names),))
        self._count = self._add_state("count", ())
        self._scalars = [
            _Scalar(self.prefix + name, self._mean_of(index), self._reset)
            for index, name in enumerate(names)
        ]

    def _add_state(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
        )

    def call(
        self, z1: Tensor, z2: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns `(z1, z2)` and adds the loss of the pair."""
        loss = self.objective(z1, z2, training=training)
        self.add_loss(self.weight * loss)
        loss = replicas.mean(ops.stop_gradient(loss))
        # Some are variables, which make no stack before they are tensors.
        values = [1.0 * v for v in self.objective.metrics(loss).values()]
        if values:
            self._sums.assign(self._sums + ops.stop_gradient(ops.stack(values)))
            self._count.assign(self._count + 1.0)
        return z1, z2

    def _mean_of(self, index):
        def mean():
            if _hidden(self._count):
                return ops.convert_to_tensor(np.float32(np.nan))
            # Before the first batch 0 / 0.
            return self._sums[index] / self._count

        return mean

    def _reset(self):
        for state in (self._sums, self._count):
            state.assign(ops.zeros(state.shape))

    def compute_output_spec(
        self, z1: Tensor, z2: Tensor, training: bool | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The inputs' own specs, after the objective's checks."""
        self.objective.compute_output_spec(z1, z2)
        return (
            keras.KerasTensor(z1.shape, dtype=z1.dtype),
            keras.KerasTensor(z2.shape, dtype=z2.dtype),
        )

    def load_own_variables(self, store: Any) -> None:
        """Loads the sums; models saved before there were any have none."""
        if len(store.keys()):
            super().load_own_variables(store)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            "name": self.name,
            "weight": self.weight,
            "prefix": self.prefix,
            "objective": keras.saving.serialize_keras_object(self.objective),
        }

    @classmethod
    def from_config(cls, config: dict) -> "Endpoint":
        """Rebuilds the endpoint with its objective."""
        config = dict(config)
        config["objective"] = keras.saving.deserialize_keras_object(
            config["objective"]
        )
        return cls(**config)


class _Scalar(keras.metrics.Metric):
    """A metric that reads what the endpoint has summed.

    It has no variables: what a layer assigns to a metric in `call` is lost on
    JAX, what it assigns to its own state is kept.
    """

    def __init__(self, name, mean, reset):
        super().__init__(name=name, dtype="float32")
        self._mean = mean
        self._reset = reset

    def update_state(self, *args, **kwargs):
        """Nothing: the layer itself sums."""

    def result(self):
        """The mean over the batches since the last reset."""
        return self._mean()

    def reset_state(self):
        """Starts anew."""
        self._reset()


def _hidden(variable):
    """Whether this code was not told the state that the variable stands for.

    So it is where Keras makes the logs of a step on JAX.
    """
    with keras.StatelessScope(initialize_variables=False) as probe:
        scope = probe.original_scope
    return scope is not None and scope.get_current_value(variable) is None
