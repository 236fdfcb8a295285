"""How fast a target network follows."""

import math

import keras
from keras import ops

from minc_tf._checks import check_int, check_number
from minc_tf._types import Tensor
from minc_tf.objectives.base import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class CosineMomentum(keras.optimizers.schedules.LearningRateSchedule):
    """Momentum of a target network that rises to one along a cosine.

    `1 - (1 - start) (cos(pi k / steps) + 1) / 2` at step k, and one behind
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
        """See the class."""
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
