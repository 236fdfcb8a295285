"""The largest curvatures of a loss, by products with its Hessian.

TensorFlow only: it differentiates twice.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from minc_tf._checks import check_int


def hessian_eigenvalues(
    loss: Callable,
    variables: Sequence,
    count: int = 1,
    *,
    iterations: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Eigenvalues of a loss's Hessian of the largest magnitude.

    Lanczos' method with full reorthogonalisation: one product of the Hessian
    with a vector an iteration, at the cost of about two gradients, and no
    Hessian.

    Args:
        loss: function without arguments that returns a scalar tensor, a
            function of the variables, without side effects and the same at
            each call, so not in training:
            `lambda: objective(model(x1), model(x2), training=False)`.
        variables: the trainable variables to differentiate by.
        count: int, how many eigenvalues.
        iterations: int, steps of the method, at least `count`; None: as many
            as are usually enough, `max(20, 4 count)`. Never more than there
            are weights, with which all eigenvalues are exact.
        seed: int, of the vector that it starts from.

    Returns:
        float64 array (count,), largest magnitude first, with their signs.

    Raises:
        ValueError: if `count` or `iterations` is out of range, the loss is
            not finite, or does not depend on the variables.

    Example:
    ```python
    import tensorflow as tf
    import minc_tf

    w = tf.Variable([1.0, 2.0])
    loss = lambda: tf.reduce_sum([3.0, 0.5] * w**2)
    print(minc_tf.diagnostics.hessian_eigenvalues(loss, [w], 2))  # [6. 1.]
    ```

    Source: Golub & Van Loan 2013, Matrix Computations, section 10.1.
    """
    product, size = _hessian_product(loss, variables)
    check_int("count", count, 1, size)
    steps = max(20, 4 * count) if iterations is None else iterations
    check_int("iterations", steps, count)
    values, _ = _lanczos(product, size, min(steps, size), seed)
    largest = np.argsort(-np.abs(values), kind="stable")[:count]
    return values[largest]


def hessian_density(
    loss: Callable,
    variables: Sequence,
    *,
    iterations: int = 30,
    draws: int = 4,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The whole spectrum of a loss's Hessian, as a weighted set of points.

    Stochastic Lanczos quadrature: from each of some random vectors, the
    nodes and weights of the Gauss rule of the spectral density.

    Args:
        loss: as `hessian_eigenvalues`.
        variables: as there.
        iterations: int, nodes of each rule.
        draws: int, number of random vectors.
        seed: int, of these.

    Returns:
        (eigenvalues, weights): float64 arrays (n,), in ascending order; the
        weights sum to one. `sum(weights * f(eigenvalues))` estimates the mean
        of f over all eigenvalues.

    Raises:
        ValueError: as `hessian_eigenvalues`.

    Example:
    ```python
    import tensorflow as tf
    import minc_tf

    w = tf.Variable([1.0, 2.0])
    loss = lambda: tf.reduce_sum([3.0, 0.5] * w**2)
    values, weights = minc_tf.diagnostics.hessian_density(loss, [w], draws=9)
    print(values @ weights)  # near 3.5, the mean eigenvalue
    ```

    Source: Ghorbani et al. 2019, arXiv 1901.10159.
    """
    product, size = _hessian_product(loss, variables)
    check_int("iterations", iterations, 1)
    check_int("draws", draws, 1)
    rules = [
        _lanczos(product, size, min(iterations, size), seed + draw)
        for draw in range(draws)
    ]
    values = np.concatenate([nodes for nodes, _ in rules])
    weights = np.concatenate([share for _, share in rules]) / draws
    ascending = np.argsort(values, kind="stable")
    return values[ascending], weights[ascending]


def _hessian_product(loss, variables):
    """A function from a vector to its product with the Hessian; its size."""
    import tensorflow as tf

    values = [
        v.value if isinstance(v, keras.Variable) else v for v in variables
    ]
    shapes = [tuple(value.shape) for value in values]
    sizes = [int(np.prod(shape)) for shape in shapes]

    def gradients():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            scalar = loss()
        return tape.gradient(scalar, values), scalar

    first, scalar = gradients()
    if all(gradient is None for gradient in first):
        raise ValueError("the loss must depend on the variables; it does not.")
    if not np.isfinite(float(scalar)):
        raise ValueError(f"the loss must be finite; received {float(scalar)}.")

    @tf.function
    def multiply(flat):
        parts = tf.split(flat, sizes)
        vectors = [
            tf.cast(tf.reshape(part, shape), value.dtype)
            for part, shape, value in zip(parts, shapes, values, strict=True)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            found, _ = gradients()
            inner = tf.add_n(
                [
                    tf.reduce_sum(gradient * vector)
                    for gradient, vector in zip(found, vectors, strict=True)
                    if gradient is not None
                ]
            )
        second = tape.gradient(inner, values, unconnected_gradients="zero")
        return tf.concat([tf.reshape(part, [-1]) for part in second], 0)

    def product(vector):
        flat = tf.constant(vector.astype("float32"))
        return multiply(flat).numpy().astype("float64")

    return product, sum(sizes)


# SciPy's eigsh keeps the tridiagonal matrix, whose eigenvectors weigh the
# density, to itself.
def _lanczos(product, size, steps, seed):
    """Ritz values, and the squared first components of their vectors."""
    vector = np.random.default_rng(seed).normal(size=size)
    basis = [vector / np.linalg.norm(vector)]
    diagonal, off_diagonal = [], []
    for step in range(steps):
        image = product(basis[-1])
        if not np.all(np.isfinite(image)):
            raise ValueError(
                "the second derivatives of the loss are not finite."
            )
        diagonal.append(basis[-1] @ image)
        # Twice, because rounding leaves a part of what is taken out.
        known = np.stack(basis)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        length = np.linalg.norm(image)
        # Derivatives are float32: anything smaller is rounding.
        exhausted = length < 1e-6 * max(np.abs(diagonal).max(), 1e-30)
        if step + 1 == steps or exhausted:
            break
        off_diagonal.append(length)
        basis.append(image / length)
    matrix = (
        np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    )
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors[0] ** 2
