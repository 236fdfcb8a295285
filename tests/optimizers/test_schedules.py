"""The learning rate, step by step."""

import math

import keras
import pytest
from gradients import compiled

from minc_tf.optimizers import warmup_cosine


@pytest.mark.parametrize("warmup_steps", [0, 1, 10])
@pytest.mark.parametrize("final", [0.0, 0.02, 0.5])
def test_equals_the_formula(warmup_steps, final):
    peak, steps = 0.3, 50
    schedule = warmup_cosine(
        peak, steps=steps, warmup_steps=warmup_steps, final=final
    )
    rate = compiled(schedule)
    for step in range(steps + 5):
        if step < warmup_steps:
            expected = peak * step / warmup_steps
        else:
            done = min(1.0, (step - warmup_steps) / (steps - warmup_steps))
            cosine = (1 + math.cos(math.pi * done)) / 2
            expected = final + (peak - final) * cosine
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6)


def test_survives_serialisation():
    schedule = warmup_cosine(0.3, steps=20, warmup_steps=5, final=0.1)
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    for step in (0, 3, 5, 12, 20):
        assert float(again(step)) == float(schedule(step))


@pytest.mark.parametrize(
    "steps, warmup_steps", [(10, 10), (10, 11), (10, -1), (0, 0)]
)
def test_warmup_out_of_range(steps, warmup_steps):
    with pytest.raises(
        ValueError, match=rf"\[0, {steps}\).*received {warmup_steps}"
    ):
        warmup_cosine(0.1, steps=steps, warmup_steps=warmup_steps)
