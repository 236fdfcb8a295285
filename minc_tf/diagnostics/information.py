"""How much two views of an image tell about each other, through embeddings."""

import statistics

import numpy as np
from numpy.typing import ArrayLike


def chi2_information(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    second_moment: ArrayLike | None = None,
    confidence: float = 0.95,
) -> dict[str, float]:
    """Chi-square information that embeddings capture, from held-out pairs.

    The value of the spectral objective less one,

        J - 1 = 2 E[phi(x).phi(x')] - E[(phi(x).phi(y))^2] - 1,

    x and x' two views of an image, y a view of another. It is a lower bound of
    the chi-square mutual information of two views, and at the optimum of d
    coordinates equals `sum_{i <= d} lambda_i^2 - 1`. It is meant for the
    embeddings that MINC and the spectral contrastive loss train, with the
    constant coordinate; of another method's it says little, because its scale
    is arbitrary (see `order`).

    Without `second_moment` the estimate is a U-statistic over all pairs of
    different images, without bias. With it, it is MINC's form, in which
    `E[phi^T Lambda phi]` takes the place of the second term: a single pass,
    and as good as Lambda is.

    Args:
        z1: float array (N, d), embeddings of one view of N images, best not
            those that were trained on.
        z2: float array (N, d), of the other view.
        second_moment: optional float array (d, d), Lambda.
        confidence: float in (0, 1), of the interval.

    Returns:
        dict of floats: `value`; `low` and `high`, the interval in which the
        expectation lies with that confidence (normal approximation, from the
        first-order projection of the statistic); `standard_error`.

    Raises:
        ValueError: for arrays that do not fit together, fewer than three
            pairs, or values that are not finite.

    Example:
    ```python
    import numpy as np
    import minc_tf

    graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
    table = graph.eigenfunctions[:, :6] * graph.eigenvalues[:6] ** 0.5
    i, j = graph.sample(2000, seed=0)
    found = minc_tf.diagnostics.chi2_information(table[i], table[j])
    print(found["low"], graph.objective(table) - 1, found["high"])
    ```

    Source: arXiv 2504.16667, eq. (5), and HaoChen et al. 2021, arXiv
    2106.04156; the variance of U-statistics, Hoeffding 1948.
    """
    z1, z2 = _check_pairs(z1, z2)
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            f"confidence must be between 0 and 1; received {confidence}."
        )
    count = len(z1)
    attraction = 2.0 * np.sum(z1 * z2, axis=1)
    if second_moment is not None:
        moment = np.asarray(second_moment, "float64")
        if moment.shape != (z1.shape[1],) * 2:
            raise ValueError(
                f"second_moment must have shape {(z1.shape[1],) * 2}; received "
                f"{moment.shape}."
            )
        if not np.all(np.isfinite(moment)):
            raise ValueError("second_moment must be finite; received NaN.")
        terms = (
            attraction - (_quadratic(z1, moment) + _quadratic(z2, moment)) / 2
        )
        value, error = np.mean(terms), np.std(terms, ddof=1) / np.sqrt(count)
    else:
        # Of image i against all others, both views of both: z_i^T M z_i, its
        # own two views taken out of the sum.
        total = z1.T @ z1 + z2.T @ z2
        squares = _quadratic(z1, total) + _quadratic(z2, total)
        own = np.sum(z1 * z1, axis=1) ** 2 + np.sum(z2 * z2, axis=1) ** 2
        own += 2.0 * np.sum(z1 * z2, axis=1) ** 2
        repulsion = (squares - own) / (4.0 * (count - 1))
        value = np.mean(attraction - repulsion)
        # Each image stands in its own term once, and in all others' repulsion.
        projected = attraction - 2.0 * repulsion
        error = np.std(projected, ddof=1) / np.sqrt(count)
    width = error * statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return {
        "value": float(value - 1.0),
        "low": float(value - width - 1.0),
        "high": float(value + width - 1.0),
        "standard_error": float(error),
    }


def captured_share(eigenvalues: ArrayLike) -> np.ndarray:
    """Share of the information that the first k coordinates hold.

    Args:
        eigenvalues: float array (d,), in order, without the constant's:
            `MINC.eigenvalues()[1:]`, or those of `order`. Negative ones, which
            are noise, count as zero.

    Returns:
        float64 array (d,), `sum_{i <= k} lambda_i^2 / sum_i lambda_i^2`.

    Raises:
        ValueError: if there are none above zero.

    Example:
    ```python
    import minc_tf

    print(minc_tf.diagnostics.captured_share([0.8, 0.4, 0.1]))
    ```
    """
    squares = np.maximum(np.asarray(eigenvalues, "float64"), 0.0) ** 2
    if squares.ndim != 1 or not squares.sum() > 0.0:
        raise ValueError(
            "eigenvalues must be a list of numbers, one or more above zero; "
            f"received {np.asarray(eigenvalues).tolist()}."
        )
    return np.cumsum(squares) / squares.sum()


def _quadratic(z, matrix):
    return np.sum(z * (z @ matrix), axis=1)


def _check_pairs(z1, z2):
    z1, z2 = np.asarray(z1, "float64"), np.asarray(z2, "float64")
    if z1.ndim != 2 or z1.shape != z2.shape or not z1.shape[1]:
        raise ValueError(
            "z1 and z2 must have the same shape (N, d); received "
            f"{z1.shape} and {z2.shape}."
        )
    if len(z1) < 3:
        raise ValueError(f"at least 3 pairs are needed; received {len(z1)}.")
    for name, z in (("z1", z1), ("z2", z2)):
        if not np.all(np.isfinite(z)):
            raise ValueError(f"{name} must be finite; received NaN or inf.")
    return z1, z2
