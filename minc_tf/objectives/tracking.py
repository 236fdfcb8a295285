"""How the second moment Lambda follows a network that moves.

Pure functions of (d, d) moments. `C` is the moment of a batch, Lambda the
estimate that is carried from step to step. What an estimate costs is lag (it is
that of older weights) and noise (it is that of a sample): docs/minc.md.
"""

from keras import ops

_TINY = 1e-30


def sampling_covariance(moment, other, products, images):
    """Covariance of two moments C, C' of one batch, or the variance of one.

    `(products - <C, C'>) / (B - 1)`, with `products` the mean `<c_i, c'_i>` of
    the images' own moments, B `images`; huge for a single image.
    """
    spread = products - ops.sum(moment * other)
    # Of a variance, rounding can make something slightly negative.
    spread = ops.maximum(spread, 0.0)
    several = images > 1.0
    others = ops.where(several, images - 1.0, 1.0)
    return ops.where(several, spread / others, 1.0 / _TINY)


def innovation_gain(innovation, variance, lowest):
    """Weight of a batch in an estimate: a scalar Kalman gain with a floor.

    `clip(1 - variance / ||innovation||_F^2, lowest, 1)`: large where the batch
    is further from the estimate than sampling explains.
    """
    squares = ops.maximum(ops.sum(ops.square(innovation)), _TINY)
    return ops.clip(1.0 - variance / squares, lowest, 1.0)


def smoothing_gains(rate):
    """Gains of level and trend of double exponential smoothing, of rate a.

    Brown 1963, "Smoothing, Forecasting and Prediction of Discrete Time Series";
    written for level and trend as in Holt 1957.
    """
    return 1.0 - (1.0 - rate) ** 2, rate**2


def double_smoothing(moment, level, trend, level_gain, trend_gain):
    """Level and trend after a batch: no lag behind a linear drift."""
    expected = level + trend
    surprise = moment - expected
    return expected + level_gain * surprise, trend + trend_gain * surprise


def corrected_mean(moment, level, previous_moment, gain):
    """Running mean that is carried over to the present weights.

    `previous_moment` is C of the same batch under the weights of the step
    before: what the step changed is corrected without lag, for the noise of a
    difference. Cutkosky and Orabona 2019 (STORM), arXiv 1905.10018, eq. (2).
    """
    return moment + (1.0 - gain) * (level - previous_moment)


def correlated_gain(error, variance, previous_variance, covariance, floor):
    """Gain a of `corrected_mean` with the least variance, and that variance.

    It is off by `(1 - a) (e - n') + n`, e the error before, n and n' the noises
    of C and C': least at `1 - a = cov(n, n') / (E e^2 + E n'^2)`. Kalman filter
    for correlated noises, Anderson and Moore 1979, "Optimal Filtering", 5.5.
    """
    known = error + previous_variance
    kept = covariance / ops.maximum(known, _TINY)
    kept = ops.clip(kept, 0.0, 1.0 - floor)
    left = kept**2 * known - 2.0 * kept * covariance + variance
    return 1.0 - kept, ops.maximum(left, 0.0)
