"""How the second moment Lambda follows a network that moves.

Pure functions of (d, d) moments. `C` is the moment of a batch, Lambda the
estimate that is carried from step to step. What an estimate costs is lag (it is
that of older weights) and noise (it is that of a sample): docs/minc.md.
"""

from keras import ops

_TINY = 1e-30


def sampling_covariance(moment, other, products, images):
    """Covariance of two moments of one batch, or the variance of one.

    Args:
        moment: tensor (d, d), the mean C of the images' own moments c_i.
        other: tensor (d, d), the mean of others, c'_i, of the same images.
        products: scalar, the mean of `<c_i, c'_i>`.
        images: scalar, the (effective) number of images in the batch.

    Returns:
        Scalar tensor `(mean <c_i, c'_i> - <C, C'>) / (B - 1)`, without bias,
        at least zero; so large that nothing exceeds it for a single image.
    """
    spread = products - ops.sum(moment * other)
    # Of a variance, rounding can make something slightly negative.
    spread = ops.maximum(spread, 0.0)
    several = images > 1.0
    others = ops.where(several, images - 1.0, 1.0)
    return ops.where(several, spread / others, 1.0 / _TINY)


def innovation_gain(innovation, variance, lowest):
    """Weight of a batch in an estimate: a scalar Kalman gain with a floor.

    Large where the batch is further from the estimate than sampling explains,
    small where the difference is noise.

    Args:
        innovation: tensor (d, d), C less what was expected.
        variance: scalar, the sampling variance of C.
        lowest: float in [0, 1], the smallest gain.

    Returns:
        Scalar tensor `clip(1 - R / S, lowest, 1)`, with R the variance and
        `S = ||innovation||_F^2`.
    """
    squares = ops.maximum(ops.sum(ops.square(innovation)), _TINY)
    return ops.clip(1.0 - variance / squares, lowest, 1.0)


def smoothing_gains(rate):
    """Gains of level and trend of double exponential smoothing.

    Args:
        rate: float or scalar tensor in [0, 1], the rate a of both averages.

    Returns:
        Tuple `(1 - (1 - a)^2, a^2)`.

    Source: Brown 1963, "Smoothing, Forecasting and Prediction of Discrete Time
    Series"; written for level and trend as in Holt 1957.
    """
    return 1.0 - (1.0 - rate) ** 2, rate**2


def double_smoothing(moment, level, trend, level_gain, trend_gain):
    """Level and trend after a batch: no lag behind a linear drift.

    Args:
        moment: tensor (d, d), C.
        level: tensor (d, d), Lambda after the last batch.
        trend: tensor (d, d), its change a step.
        level_gain: scalar, the weight of C in the new level.
        trend_gain: scalar, the weight of what was not expected in the trend.

    Returns:
        Tuple (level, trend) of tensors (d, d).
    """
    expected = level + trend
    surprise = moment - expected
    return expected + level_gain * surprise, trend + trend_gain * surprise


def corrected_mean(moment, level, previous_moment, gain):
    """Running mean that is carried over to the present weights.

    `C + (1 - gain) (level - C')`, with C' the moment of the same batch under
    the weights of the step before: what the step changed is corrected without
    lag, for the noise of a difference.

    Args:
        moment: tensor (d, d), C.
        level: tensor (d, d), Lambda after the last batch.
        previous_moment: tensor (d, d), C'.
        gain: scalar, the weight of this batch's own noise.

    Returns:
        Tensor (d, d).

    Source: Cutkosky and Orabona 2019 (STORM), arXiv 1905.10018, eq. (2).
    """
    return moment + (1.0 - gain) * (level - previous_moment)


def correlated_gain(error, variance, previous_variance, covariance, floor):
    """Gain of `corrected_mean` with the least variance, and that variance.

    The moments of one batch under two sets of weights are correlated, which
    is why their difference is small. What `corrected_mean` is off by,
    `(1 - a) (e - n') + n`, has the least variance where
    `1 - a = cov(n, n') / (E e^2 + E n'^2)`.

    Args:
        error: scalar, the variance of the estimate before this batch.
        variance: scalar, the sampling variance of C.
        previous_variance: scalar, that of C'.
        covariance: scalar, that of C and C'.
        floor: float in [0, 1], the smallest gain.

    Returns:
        Tuple (gain, error) of scalar tensors.

    Source: the Kalman filter for correlated noises, Anderson and Moore 1979,
    "Optimal Filtering", section 5.5.
    """
    known = error + previous_variance
    kept = covariance / ops.maximum(known, _TINY)
    kept = ops.clip(kept, 0.0, 1.0 - floor)
    left = kept**2 * known - 2.0 * kept * covariance + variance
    return 1.0 - kept, ops.maximum(left, 0.0)
