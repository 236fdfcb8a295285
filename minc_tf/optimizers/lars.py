"""LARS, which Keras lacks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from minc_tf._checks import check_choice, check_number, check_positive
from minc_tf._types import Tensor


@keras.saving.register_keras_serializable(package="minc_tf")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling with momentum.

    Every variable of rank two or more moves by

        g <- g + weight_decay * w                    (coupled decay)
        g <- g * trust_coefficient * ||w|| / ||g||   (where both norms are > 0)

    and momentum. Variables of rank one or less (biases, normalisation) take
    plain momentum steps: no decay, no trust ratio.

    Two optimizers are called LARS, and differ when the rate changes:
    `momentum_of="update"` accumulates `lr * g` (google-research/simclr),
    `momentum_of="gradient"` accumulates `g` and multiplies by the rate of the
    step outside (facebookresearch/vicreg and barlowtwins, BYOL's code).

    Args:
        learning_rate: float or `keras.optimizers.schedules` schedule.
        momentum: float in [0, 1).
        weight_decay: float, coupled decay; Keras's own decoupled
            `weight_decay` is not used.
        trust_coefficient: float > 0.
        momentum_of: `"update"` or `"gradient"`; see above.
        nesterov: bool, look-ahead momentum.
        name: string.
        **kwargs: `clipnorm`, `global_clipnorm`, `clipvalue`, `use_ema` and
            `loss_scale_factor` of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for an argument out of range.

    Example:
    ```python
    import minc_tf

    optimizer = minc_tf.optimizers.LARS(learning_rate=0.3, weight_decay=1e-6)
    ```

    Source: You et al. 2017, arXiv 1708.03888; the codes named above.
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        momentum_of: str = "update",
        nesterov: bool = False,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        """See the class."""
        # The base class would add decoupled decay of its own.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        check_number("LARS: momentum", momentum, 0, 1, ends="[)")
        check_number("LARS: weight_decay", weight_decay, 0)
        check_positive("LARS: trust_coefficient", trust_coefficient)
        check_choice("LARS: momentum_of", momentum_of, ("update", "gradient"))
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.momentum_of = momentum_of
        self.nesterov = nesterov
        self._momenta = None

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates one momentum slot a variable."""
        if self.built:
            return
        super().build(variables)
        self._momenta = self.add_optimizer_variables(variables, ["momentum"])[0]

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Tensor
    ) -> None:
        """Applies one step to one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        slot = self._momenta[self._get_variable_index(variable)]
        if len(variable.shape) > 1:
            weights = ops.convert_to_tensor(variable)
            gradient = gradient + self.coupled_weight_decay * weights
            gradient = gradient * self._trust_ratio(weights, gradient)
        inside = self.momentum_of == "update"
        step = rate * gradient if inside else gradient
        momentum = self.momentum * slot + step
        step = self.momentum * momentum + step if self.nesterov else momentum
        self.assign(slot, momentum)
        self.assign_sub(variable, step if inside else rate * step)

    def _trust_ratio(self, weights, gradient):
        """`trust_coefficient * ||w|| / ||g||`, or 1 where a norm is zero."""
        weight_norm = ops.sqrt(ops.sum(ops.square(weights)))
        gradient_norm = ops.sqrt(ops.sum(ops.square(gradient)))
        defined = ops.logical_and(weight_norm > 0, gradient_norm > 0)
        ratio = weight_norm / ops.where(defined, gradient_norm, 1.0)
        return ops.where(defined, self.trust_coefficient * ratio, 1.0)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
            "momentum_of": self.momentum_of,
            "nesterov": self.nesterov,
        }
