"""Warm-up and cosine decay from Keras's own schedules."""

import keras

from minc_tf._checks import refusal


def warmup_cosine(
    peak: float, *, steps: int, warmup_steps: int = 0, final: float = 0.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from zero to `peak`, then cosine decay to `final`.

    Args:
        peak: float, the learning rate after warm-up.
        steps: int, length of the whole schedule, warm-up included.
        warmup_steps: int, smaller than `steps`.
        final: float, the learning rate at the end.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: if `warmup_steps` is not in [0, steps).

    Example:
    ```python
    import minc_tf

    rate = minc_tf.optimizers.warmup_cosine(0.3, steps=1000, warmup_steps=100)
    optimizer = minc_tf.optimizers.LARS(learning_rate=rate)
    ```
    """
    if not 0 <= warmup_steps < steps:
        raise refusal(
            "warmup_cosine: warmup_steps",
            f"in [0, {steps}), the length of the schedule",
            warmup_steps,
        )
    alpha = final / peak if peak else 0.0
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak, steps, alpha=alpha)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=steps - warmup_steps,
        alpha=alpha,
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )
