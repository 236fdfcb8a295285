"""Finite augmentation graphs, whose eigenfunctions are known exactly."""

import functools

import numpy as np
from numpy.typing import ArrayLike


class AugmentationGraph:
    """A finite set of images and views with every quantity known exactly.

    An image is drawn from `p(image)` and two views of it, independently, from
    `p(x | image)`. Views are numbered states, so the joint distribution of a
    positive pair is a matrix, and what a spectral objective (MINC, spectral
    contrastive) should learn is an eigenvalue problem small enough to solve:
    `T f(x) = E[f(x') | x]`, `T u_i = lambda_i u_i`, `E[u_i u_j] = delta_ij`.
    All results are float64 NumPy arrays, read-only.

    Args:
        view_probabilities: array of shape `(images, states)`, `p(x | image)`.
            Every row sums to 1, and every state is a view of some image of
            non-zero probability: a state that never occurs has no
            eigenfunction values and is refused.
        image_probabilities: array of shape `(images,)`, `p(image)`, sums to 1.
            Uniform by default.

    Raises:
        ValueError: If an array has the wrong shape, entries that are negative
            or not finite, or rows that do not sum to 1 (to 1e-6), or if a
            state has probability zero.

    Example:
    ```python
    import numpy as np
    import minc_tf

    # Two images that share the middle one of three views.
    graph = minc_tf.diagnostics.AugmentationGraph(
        [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    )
    np.testing.assert_allclose(graph.eigenvalues, [1.0, 0.5, 0.0], atol=1e-9)
    ```

    Reference:
        - [HaoChen et al., 2021](https://arxiv.org/abs/2106.04156), the
          augmentation graph and the spectral contrastive objective
        - [Guo et al., 2025](https://arxiv.org/abs/2504.16667), the
          chi-square information that the objective bounds
    """

    def __init__(
        self,
        view_probabilities: ArrayLike,
        image_probabilities: ArrayLike | None = None,
    ) -> None:
        views = _stochastic("view_probabilities", view_probabilities, ndim=2)
        if image_probabilities is None:
            images = np.full(len(views), 1.0 / len(views))
        else:
            images = _stochastic(
                "image_probabilities", image_probabilities, ndim=1
            )
        if len(images) != len(views):
            raise ValueError(
                "image_probabilities must have one entry for each row of "
                f"view_probabilities, {len(views)}; received {len(images)} "
                "entries"
            )
        unreached = np.flatnonzero(images @ views == 0.0)
        if unreached.size:
            raise ValueError(
                "Every state must be a view of an image of non-zero "
                "probability; remove these columns of `view_probabilities`: "
                f"{unreached[:8].tolist()}{' ...' * (unreached.size > 8)}"
            )
        self.view_probabilities = _frozen(views)
        self.image_probabilities = _frozen(images)

    @classmethod
    def random(
        cls,
        num_states: int = 60,
        num_images: int = 240,
        num_classes: int = 8,
        leaks: tuple[float, float] = (0.02, 0.6),
        concentration: float = 2.0,
        seed: int | np.random.Generator = 0,
    ) -> "AugmentationGraph":
        """Draw a graph of noisy classes, with well-separated eigenvalues.

        States and images are dealt out to classes in turn. A view of an image
        of class `c` is, with probability `1 - leak_c`, one of the states of
        its class, by weights that a symmetric Dirichlet distribution draws
        for each image, and otherwise one of all states by weights common to
        all images. The leaks are spaced evenly over the classes, so that
        every class makes an eigenvalue of its own, near `(1 - leak_c)^2`: the
        first `num_classes` eigenvalues are distinct, and the others, which
        tell images of one class apart, lie below them.

        Args:
            num_states: int, number of different views.
            num_images: int, number of images.
            num_classes: int, at most `num_states` and `num_images`.
            leaks: pair of floats in (0, 1], probability that a view leaves
                its class, in the tightest and in the loosest class.
            concentration: float, parameter of the Dirichlet distribution;
                smaller values make images of one class differ more.
            seed: int or `np.random.Generator`.

        Returns:
            An `AugmentationGraph` with uniform `p(image)`.

        Raises:
            ValueError: If an argument is out of its range.

        Example:
        ```python
        import minc_tf

        graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
        print(graph.eigenvalues[:6])
        ```
        """
        if not 1 <= num_classes <= min(num_states, num_images):
            raise ValueError(
                "num_classes must be at least 1 and at most num_states "
                f"and num_images; received num_classes={num_classes}, "
                f"num_states={num_states}, num_images={num_images}"
            )
        if len(leaks) != 2 or not all(0.0 < leak <= 1.0 for leak in leaks):
            raise ValueError(
                f"leaks must be two floats in (0, 1]; received {leaks}"
            )
        if not concentration > 0.0:
            raise ValueError(
                f"concentration must be positive; received {concentration}"
            )
        rng = np.random.default_rng(seed)
        state_class = np.arange(num_states) % num_classes
        image_class = np.arange(num_images) % num_classes
        common = rng.dirichlet(np.full(num_states, 10.0))
        views = np.zeros((num_images, num_states))
        for c, leak in enumerate(np.linspace(*leaks, num_classes)):
            states = np.flatnonzero(state_class == c)
            images = np.flatnonzero(image_class == c)
            own = rng.dirichlet(
                np.full(len(states), concentration), size=len(images)
            )
            views[images] = leak * common
            views[np.ix_(images, states)] += (1.0 - leak) * own
        return cls(views)

    @property
    def num_states(self) -> int:
        """int, the number of different views."""
        return self.view_probabilities.shape[1]

    @functools.cached_property
    def joint(self) -> np.ndarray:
        """Array `(states, states)`: `p(x, x')` of positive pairs, symmetric."""
        half = np.sqrt(self.image_probabilities)[:, None]
        half = half * self.view_probabilities
        return _frozen(half.T @ half)

    @functools.cached_property
    def marginal(self) -> np.ndarray:
        """Array `(states,)`: `p(x)`, the same for both views."""
        return _frozen(self.image_probabilities @ self.view_probabilities)

    @property
    def eigenvalues(self) -> np.ndarray:
        """Array `(states,)`: `lambda_i`, descending in [0, 1], the first 1."""
        return self._spectrum[0]

    @property
    def eigenfunctions(self) -> np.ndarray:
        """Array `(states, states)`: `u_i(x)` in column i, the first constant.

        Orthonormal under the marginal: `E[u_i u_j] = delta_ij`. The sign makes
        the entry of largest magnitude positive. Where eigenvalues are equal
        the columns are one of many bases of their common space.
        """
        return self._spectrum[1]

    @functools.cached_property
    def _spectrum(self):
        root = np.sqrt(self.marginal)
        # Adding the projection on the constant function lifts its eigenvalue
        # to 2: it stays first, and exact, where a disconnected graph has more
        # than one eigenvalue 1.
        symmetric = self.joint / np.outer(root, root) + np.outer(root, root)
        values, vectors = np.linalg.eigh(symmetric)
        values, vectors = values[::-1].copy(), vectors[:, ::-1]
        values[0] = 1.0
        functions = vectors / root[:, None]
        functions[:, 0] = 1.0
        columns = np.arange(self.num_states)
        largest = np.abs(functions).argmax(axis=0)
        functions = functions * np.sign(functions[largest, columns])
        return _frozen(np.clip(values, 0.0, 1.0)), _frozen(functions)

    def optimal_objective(self, dim: int) -> float:
        """Largest `objective` of `dim` coordinates: `sum lambda_i^2`, i <= dim.

        Args:
            dim: int, from 1 to `num_states`.

        Raises:
            ValueError: If `dim` is out of its range.
        """
        self._check_dim(dim, "dim")
        return float(np.sum(self.eigenvalues[:dim] ** 2))

    @property
    def chi2_information(self) -> float:
        """float, chi-square mutual information of the two views.

        `sum_{x, x'} p(x, x')^2 / (p(x) p(x')) - 1`, which is
        `sum_{i >= 2} lambda_i^2`.
        """
        return float(np.sum(self.eigenvalues[1:] ** 2))

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of states that occur, as one weighted batch.

        Returns:
            Tuple `(i, j, weight)` of arrays of shape `(pairs,)`: the states
            of the first and the second view, int64, and the joint
            probability, float32. The weights sum to 1.

        Example:
        ```python
        import minc_tf

        graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
        i, j, weight = graph.pairs()
        table = graph.eigenfunctions[:, :6] * graph.eigenvalues[:6] ** 0.5
        print(weight @ (table[i] * table[j]).sum(axis=1))  # E[phi . phi']
        ```
        """
        first, second = np.nonzero(self.joint)
        weight = self.joint[first, second].astype("float32")
        return first, second, weight

    def sample(
        self, num_pairs: int, seed: int | np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw positive pairs: an image, then two independent views of it.

        The image is not returned, so pairs are drawn from `joint` directly.

        Args:
            num_pairs: int, at least 1.
            seed: int or `np.random.Generator`. A generator is advanced, so
                that the next call draws other pairs.

        Returns:
            Tuple `(i, j)` of int64 arrays of shape `(num_pairs,)`.

        Raises:
            ValueError: If `num_pairs` is smaller than 1.

        Example:
        ```python
        import numpy as np
        import minc_tf

        graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
        rng = np.random.default_rng(0)
        i, j = graph.sample(16, rng)
        ```
        """
        if num_pairs < 1:
            raise ValueError(
                f"num_pairs must be at least 1; received {num_pairs}"
            )
        rng = np.random.default_rng(seed)
        flat = rng.choice(self.joint.size, num_pairs, p=self.joint.ravel())
        return np.divmod(flat, self.num_states)

    def objective(self, embedding: ArrayLike) -> float:
        """Spectral contrastive objective `J` of an embedding, exactly.

        `2 E_p(x,x')[phi(x).phi(x')] - E_p(x)p(x')[(phi(x).phi(x'))^2]`; it is
        maximised, and `J - 1` is a lower bound of `chi2_information`.

        Args:
            embedding: array of shape `(states, dim)`, `phi(x)` in row x.

        Raises:
            ValueError: If `embedding` has the wrong shape or is not finite.
        """
        embedding = self._check_embedding(embedding)
        attraction = np.sum(embedding * (self.joint @ embedding))
        second_moment = embedding.T @ (self.marginal[:, None] * embedding)
        return float(2.0 * attraction - np.sum(second_moment**2))

    def overlaps(self, embedding: ArrayLike) -> np.ndarray:
        """Agreement of coordinate i of an embedding with eigenfunction i.

        Args:
            embedding: array of shape `(states, dim)`, `phi(x)` in row x.

        Returns:
            Array `(dim,)` in [0, 1]: `|<phi_i, u_i>| / ||phi_i||` under the
            marginal, 0 for a coordinate that is zero everywhere.

        Raises:
            ValueError: If `embedding` has the wrong shape or is not finite.

        Example:
        ```python
        import minc_tf

        graph = minc_tf.diagnostics.AugmentationGraph.random(seed=1)
        table = 3.0 * graph.eigenfunctions[:, :6]
        print(graph.overlaps(table))  # all 1
        print(graph.overlaps(table[:, ::-1]))  # all 0: the order is wrong
        ```
        """
        embedding = self._check_embedding(embedding)
        functions = self.eigenfunctions[:, : embedding.shape[1]]
        inner = self.marginal @ (embedding * functions)
        norm = np.sqrt(self.marginal @ embedding**2)
        return np.abs(inner) / np.where(norm > 0.0, norm, 1.0)

    def subspace_error(self, embedding: ArrayLike) -> float:
        """Distance of an embedding's span from the leading eigenspace.

        Args:
            embedding: array of shape `(states, dim)`, `phi(x)` in row x.

        Returns:
            float in [0, 1]: 1 minus the mean squared cosine of the `dim`
            principal angles between the span of the coordinates and that of
            the first `dim` eigenfunctions, under the marginal. Dimensions
            that the embedding lacks count as orthogonal.

        Raises:
            ValueError: If `embedding` has the wrong shape or is not finite.
        """
        embedding = self._check_embedding(embedding)
        dim = embedding.shape[1]
        root = np.sqrt(self.marginal)[:, None]
        basis, scales, _ = np.linalg.svd(root * embedding, full_matrices=False)
        tolerance = scales[0] * self.num_states * np.finfo("float64").eps
        basis = basis[:, scales > tolerance]
        cosines = basis.T @ (root * self.eigenfunctions[:, :dim])
        return float(np.clip(1.0 - np.sum(cosines**2) / dim, 0.0, 1.0))

    def _check_dim(self, dim, name):
        if not 1 <= dim <= self.num_states:
            raise ValueError(
                f"{name} must be from 1 to the number of states, "
                f"{self.num_states}; received {dim}"
            )

    def _check_embedding(self, embedding):
        embedding = np.asarray(embedding, dtype="float64")
        if embedding.ndim != 2 or len(embedding) != self.num_states:
            raise ValueError(
                f"embedding must have shape ({self.num_states}, dim), a row "
                f"for each state; received shape {embedding.shape}"
            )
        self._check_dim(embedding.shape[1], "the dim of embedding")
        if not np.all(np.isfinite(embedding)):
            raise ValueError(
                "embedding must be finite; received "
                f"{np.sum(~np.isfinite(embedding))} entries that are not"
            )
        return embedding


def _stochastic(name, values, ndim):
    """Float64 `values` whose last axis sums to 1, or an error."""
    values = np.asarray(values, dtype="float64")
    if values.ndim != ndim or values.size == 0:
        shape = "(images, states)" if ndim == 2 else "(images,)"
        raise ValueError(
            f"{name} must be a non-empty array of shape {shape}; received "
            f"shape {values.shape}"
        )
    # Written so that NaN fails it too.
    valid = (values >= 0.0) & (values < np.inf)
    if not np.all(valid):
        raise ValueError(
            f"{name} must be non-negative and finite; received "
            f"{values[~valid][0]}"
        )
    sums = np.atleast_1d(values.sum(axis=-1))
    worst = np.argmax(np.abs(sums - 1.0))
    if abs(sums[worst] - 1.0) > 1e-6:
        row = f"row {worst} with sum" if ndim == 2 else "sum"
        raise ValueError(
            f"{name} must sum to 1 over its last axis; received "
            f"{row} {sums[worst]:.6g}"
        )
    return values / values.sum(axis=-1, keepdims=True)


def _frozen(array):
    array.setflags(write=False)
    return array
