"""Trained features as coordinates in order of importance, with any loss."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

#: Directions with less than this share of the largest variance are noise.
_SMALLEST_VARIANCE = 1e-8


class Ordering:
    """A linear map of features to coordinates in a meaningful order.

    Coordinate i is the estimate `u_i` of an eigenfunction of the views,
    `E[u_i(x') | x] = lambda_i u_i(x)`, times `sqrt(lambda_i)`: what the
    ordered embedding of MINC converges to. The first k coordinates are then
    the best k of these features, in the sense of the spectral objective. The
    constant function, of eigenvalue 1, is left out.

    Made by `order`.

    Attributes:
        mean: float64 array (F,), subtracted from the features.
        matrix: float64 array (F, k), to multiply with from the right; columns
            give functions of variance one.
        eigenvalues: float64 array (k,), largest first: the correlation of
            each coordinate between the two views of an image, in [-1, 1].
    """

    def __init__(
        self, mean: np.ndarray, matrix: np.ndarray, eigenvalues: np.ndarray
    ) -> None:
        self.mean = mean
        self.matrix = matrix
        self.eigenvalues = eigenvalues

    def __call__(
        self, features: ArrayLike, dim: int | None = None
    ) -> np.ndarray:
        """Return the first coordinates of features.

        Args:
            features: float array (N, F).
            dim: int, how many coordinates; None for all.

        Returns:
            float32 array (N, dim), scaled by the root of the eigenvalues
            (those below zero, which are noise, count as zero).

        Raises:
            ValueError: if the features or `dim` do not fit.

        Example:
        ```python
        import numpy as np
        import minc_tf

        x = np.random.default_rng(0).normal(size=(500, 8))
        pairs = [(x, x + 0.1)]
        ordering = minc_tf.diagnostics.order(lambda x: x, pairs)
        print(ordering(x, dim=3).shape)  # (500, 3)
        ```
        """
        features = np.asarray(features, "float64")
        known = len(self.eigenvalues)
        dim = known if dim is None else dim
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"features must have shape (N, {len(self.mean)}); received "
                f"{features.shape}."
            )
        if not 1 <= dim <= known:
            raise ValueError(
                f"dim must be between 1 and {known}, the rank of the features "
                f"that were ordered; received {dim}."
            )
        scale = np.sqrt(np.maximum(self.eigenvalues[:dim], 0.0))
        functions = (features - self.mean) @ self.matrix[:, :dim]
        return (functions * scale).astype("float32")


def order(
    encoder: Callable, pairs: Iterable, *, dim: int | None = None
) -> Ordering:
    """Order the features of a trained encoder, of any method.

    Rayleigh-Ritz: among all linear functions of the features finds those
    whose values on two views of an image agree most, each uncorrelated with
    those before, `P w = lambda S w` with the covariance S of the features and
    that of pairs P, `E[f(x) f(x')^T]` made symmetric. Any method's features
    become an embedding that can be cut off after k coordinates.

    Args:
        encoder: function, or Keras model, from a batch of views to features
            (B, F).
        pairs: iterable of `(view1, view2)`, batches of the two views of
            images, or `(view1, view2, weight)` with a weight for each pair
            (B,). A few thousand pairs; many more than F.
        dim: int, how many coordinates to keep; None for all that the features
            have.

    Returns:
        An `Ordering`.

    Raises:
        ValueError: for no pairs, features that are not finite, all the same,
            or not of the shape (B, F), or `dim` out of range.

    Example:
    ```python
    import minc_tf

    source = minc_tf.data.load("shapes", num_examples=256)
    views = minc_tf.augment.MultiView(minc_tf.augment.presets.simclr(32), 32)
    pairs = minc_tf.data.view_batches(source, views, 64).take(4)
    encoder = minc_tf.models.small_resnet(filters=(4, 8))
    ordering = minc_tf.diagnostics.order(encoder, pairs)
    print(ordering.eigenvalues)
    ```

    Source: Chatelin 1983 for the method; the operator is that of HaoChen et
    al. 2021, arXiv 2106.04156.
    """
    total, mean, second, cross = 0.0, 0.0, 0.0, 0.0
    for batch in pairs:
        one, other, weight = _embed(encoder, batch)
        if np.ndim(mean) and mean.shape != one.shape[1:]:
            raise ValueError(
                "order: features must have one width in all batches; received "
                f"{len(mean)} and {one.shape[1]}."
            )
        total += weight.sum()
        mean += weight @ (one + other) / 2.0
        weighted = weight[:, None] * one
        second += (one.T @ weighted + other.T @ (weight[:, None] * other)) / 2.0
        cross += weighted.T @ other
    if not total:
        raise ValueError(
            "order: pairs must hold pairs of views; received none."
        )
    mean = mean / total
    covariance = second / total - np.outer(mean, mean)
    pair_covariance = (cross + cross.T) / (2.0 * total) - np.outer(mean, mean)

    variances, directions = np.linalg.eigh(covariance)
    kept = variances > _SMALLEST_VARIANCE * max(variances[-1], 1e-300)
    if variances[-1] <= 1e-20:
        raise ValueError(
            "order: the features of all images are the same; the encoder has "
            "collapsed."
        )
    whitening = directions[:, kept] / np.sqrt(variances[kept])
    eigenvalues, rotation = np.linalg.eigh(
        whitening.T @ pair_covariance @ whitening
    )
    found = len(eigenvalues)
    if dim is not None and not 1 <= dim <= found:
        raise ValueError(
            f"order: dim must be between 1 and {found}, the rank of the "
            f"features; received {dim}."
        )
    # eigh sorts from small to large.
    chosen = slice(None, -(dim or found) - 1, -1)
    return Ordering(mean, whitening @ rotation[:, chosen], eigenvalues[chosen])


def _embed(encoder, batch):
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise ValueError(
            "order: a batch of pairs must be (view1, view2) or (view1, view2, "
            f"weight); received {type(batch).__name__} of {len(batch)}."
        )
    features = []
    for view in batch[:2]:
        f = np.asarray(encoder(view), "float64")
        if f.ndim != 2 or not f.shape[1]:
            raise ValueError(
                f"order: features must have shape (B, F); received {f.shape}."
            )
        if not np.all(np.isfinite(f)):
            raise ValueError("order: features must be finite; received NaN.")
        features.append(f)
    one, other = features
    weight = np.ones(len(one))
    if len(batch) == 3:
        weight = np.asarray(batch[2], "float64")
    if len(one) != len(other) or weight.shape != (len(one),):
        raise ValueError(
            "order: both views and the weights must be of one length; "
            f"received {len(one)}, {len(other)} and {weight.shape}."
        )
    if not np.all(weight >= 0.0) or not np.all(np.isfinite(weight)):
        raise ValueError(
            "order: weights must be finite and not negative; received "
            f"{weight.min()} to {weight.max()}."
        )
    return one, other, weight
