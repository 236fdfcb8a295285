"""The pairs of a batch as MINC sees them: images with moments of their own."""

from keras import ops

from minc_tf.objectives import replicas, tracking
from minc_tf.objectives.minc_formulas import (
    moment_products,
    own_push,
    second_moment,
)

_TINY = 1e-30


class ImagePairs:
    """Held embeddings (B n, d) of a batch of pairs, and their moments.

    The n pairs of an image follow each other; weights (B n, 1) sum to this
    replica's part of one. `moment` and `images` are of the global batch.
    """

    def __init__(self, z1, z2, weights, per_image):
        """See the class."""
        self._pair, self._weights = (z1, z2), weights
        self._per_image = per_image
        dim = z1.shape[1]
        by_image = [ops.reshape(z, (-1, per_image, dim)) for z in (z1, z2)]
        self._rows = ops.concatenate(by_image, axis=1)
        # Rows whose plain mean of outer products is an image's own moment.
        self._own_rows = self._rows
        # The share of each image in C, of the global batch.
        if weights is None:
            images = ops.cast(ops.shape(self._rows)[0], "float32")
            self.images = images * replicas.count()
            self._share = 1.0 / self.images
        else:
            by_pair = ops.reshape(weights, (-1, per_image))
            by_image = ops.sum(by_pair, axis=1)
            self._share = by_image[:, None, None] / replicas.count()
            if per_image > 1:
                weighed = ops.where(by_image > 0.0, by_image, 1.0)
                part = ops.sqrt(per_image * by_pair / weighed[:, None])
                part = ops.concatenate([part, part], axis=1)
                self._own_rows = part[:, :, None] * self._rows
            squares = replicas.mean(ops.sum(ops.square(by_image)))
            # Kish's effective number.
            self.images = replicas.count() / ops.maximum(squares, _TINY)
        self._local_moment = second_moment(z1, z2, weights)
        self.moment = replicas.mean(self._local_moment)

    def covariance(self, other):
        """Sampling covariance with the moment of `ImagePairs` like these.

        Of the same images; with itself, the variance. A scalar tensor.
        """
        products = moment_products(self._own_rows, other._own_rows)
        # Shares of the global batch add up to one over all replicas.
        products = self._share * products[:, None, None] * replicas.count()
        return tracking.sampling_covariance(
            self.moment,
            other.moment,
            replicas.mean(ops.sum(products)),
            self.images,
        )

    def variance(self):
        """Sampling variance of the moment, a scalar tensor."""
        return self.covariance(self)

    def _left_out(self):
        """By how much the other images count more, `s / (1 - s)`.

        Zero for a single image: nothing would be left.
        """
        others = 1.0 - self._share
        ratio = self._share / ops.where(others > 0.0, others, 1.0)
        return ops.where(others > 0.0, ratio, 0.0)

    def repulsion(self, estimate, parts):
        """Mean of `z^T M z`, M as in `push`; over replicas its mean counts.

        Takes moments alone, and is therefore cheaper than `push`.
        """
        found = ops.sum(estimate * self._local_moment)
        if not parts:
            return found
        left_out = self._left_out()
        moments = sum(weight * pairs.moment for weight, pairs in parts)
        own = sum(
            weight * moment_products(pairs._own_rows, self._own_rows)
            for weight, pairs in parts
        )
        if self._weights is None:
            other = ops.sum(moments * self._local_moment) - ops.mean(own)
            return found + left_out * other
        by_pair = ops.reshape(self._weights, (-1, self._per_image))
        by_pair = by_pair * left_out[:, :, 0]
        moment = second_moment(*self._pair, ops.reshape(by_pair, (-1, 1)))
        own = ops.sum(ops.sum(by_pair, axis=1) * own)
        return found + ops.sum(moments * moment) - own

    def push(self, estimate, parts, *, triangular):
        """`M z` (two of (B n, d)), without what the image itself gave to M.

        `parts` are scalar weights in the estimate, Lambda, of the moments of
        `ImagePairs` of these images. A single image is not left out.
        """
        left_out = self._left_out()
        moments = sum(weight * pairs.moment for weight, pairs in parts)
        own = sum(
            weight
            * own_push(pairs._own_rows, self._rows, triangular=triangular)
            for weight, pairs in parts
        )
        if parts and self._weights is None:
            # One factor for all: one product.
            estimate = estimate + left_out * moments
        repulsion = ops.tril(estimate) if triangular else estimate
        pushes = [ops.matmul(z, ops.transpose(repulsion)) for z in self._pair]
        if not parts:
            return pushes
        if self._weights is not None:
            held = ops.tril(moments) if triangular else moments
            own = own - ops.matmul(self._rows, ops.transpose(held))
        own = ops.split(left_out * own, 2, axis=1)
        return [
            push - ops.reshape(part, ops.shape(push))
            for push, part in zip(pushes, own, strict=True)
        ]
