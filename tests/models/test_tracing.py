"""How often the step of training is traced."""

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow

import minc_tf

SHAPE = (4, 4, 3)


class Counted(minc_tf.objectives.VICReg):
    """Counts how often it was called, by Python."""

    calls = 0

    def compute(self, *args, **kwargs):
        self.calls += 1
        return super().compute(*args, **kwargs)


@needs_tensorflow("Keras creates an optimizer's variables first on JAX")
@pytest.mark.parametrize("train", ["fit", "train_on_batch"])
def test_first_step_is_traced_once(train):
    """One that creates the optimizer's variables would be traced twice."""
    layers = [keras.Input(SHAPE), keras.layers.Flatten()]
    model = minc_tf.TwoViewModel(
        keras.Sequential(layers), minc_tf.models.mlp(48, (3,)), Counted()
    )
    model.compile("adam")
    views = np.random.default_rng(0).uniform(0, 255, (2, 8, *SHAPE))
    arguments = {"batch_size": 4, "verbose": 0} if train == "fit" else {}
    getattr(model, train)(*views, **arguments)
    assert model.objective.calls == 1
    assert int(model.optimizer.iterations) == (2 if train == "fit" else 1)
