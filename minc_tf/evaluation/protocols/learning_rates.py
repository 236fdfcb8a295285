"""Training by several learning rates, of which the best is chosen."""

import logging
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

_LOGGER = logging.getLogger(__name__)
_MOMENTUM = 0.9


def check_learning_rates(rates: float | Sequence[float]) -> list[float]:
    """Return learning rates to choose from, ascending, all different."""
    found = [rates] if np.ndim(rates) == 0 else list(rates)
    if not found or not all(0 < r < float("inf") for r in found):
        raise ValueError(
            "learning_rates must be a positive float or several of them; "
            f"received {rates!r}"
        )
    if len(set(found)) < len(found):
        raise ValueError(f"learning_rates must differ; received {rates!r}")
    return sorted(float(r) for r in found)


def choose_rate(
    rates: Sequence[float], accuracies: Sequence[float | None]
) -> tuple[float, float]:
    """Return the best learning rate, of equals the middle, and its accuracy."""
    finite = [a for a in accuracies if a is not None]
    if not finite:
        raise FloatingPointError(
            f"training diverged for all of learning_rates={list(rates)}; give "
            "smaller ones"
        )
    best = [i for i, a in enumerate(accuracies) if a == max(finite)]
    chosen = best[len(best) // 2]
    if len(rates) > 1 and chosen in (0, len(rates) - 1):
        end = "smallest" if chosen == 0 else "largest"
        _LOGGER.warning(
            "learning_rate=%g was chosen, the %s of %s: a better one may lie "
            "beyond it",
            rates[chosen],
            end,
            list(rates),
        )
    return rates[chosen], max(finite)


def scheduled(batch_size: int, step: int, steps: int) -> float:
    """Return the factor of a learning rate: batch size and cosine decay.

    Sources: arXiv 1706.02677, section 2.1; arXiv 1608.03983, eq. 5.
    """
    return batch_size / 256 * 0.5 * (1 + math.cos(math.pi * step / steps))


def momentum_step(variable, momentum, gradient, rate, *, nesterov: bool):
    """Step as Keras's SGD: `m <- 0.9 m - rate g`; Nesterov `0.9 m - rate g`."""
    # SGD itself takes no TensorFlow variables where Keras's backend is JAX.
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable.handle,
        accum=momentum.handle,
        lr=rate,
        grad=gradient,
        momentum=_MOMENTUM,
        use_nesterov=nesterov,
    )


def progress_bar(steps: int, verbose: int) -> Callable[..., None]:
    """Return a function to call after each step, from 0, which shows a bar."""
    if not verbose:
        return lambda step, **values: None
    bar = keras.utils.Progbar(steps, unit_name="step")
    return lambda step, **values: bar.update(step + 1, list(values.items()))
