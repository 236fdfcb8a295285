"""How far embeddings are from having collapsed."""

import dataclasses

from minc_tf import diagnostics

#: Below these the embeddings no longer tell images apart.
_SMALLEST_STD, _SMALLEST_RANK = 0.1, 1.05


@dataclasses.dataclass(frozen=True)
class Spread:
    """How far embeddings are from having collapsed.

    Attributes:
        std: float, `minc_tf.diagnostics.embedding_std`.
        rank: float, `minc_tf.diagnostics.effective_rank`.
        dim: int, number of dimensions.
    """

    std: float
    rank: float
    dim: int

    @property
    def margin(self) -> float:
        """What is left over what is the least; below one is a collapse."""
        least = self.std / _SMALLEST_STD
        if least < 1.0:
            return least
        return (self.rank - 1.0) / (_SMALLEST_RANK - 1.0)

    @property
    def reason(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        if self.margin >= 1.0:
            return ""
        if self.std < _SMALLEST_STD:
            return (
                "the embeddings of all images point the same way (spread "
                f"{self.std:.3f} of 1)"
            )
        return (
            f"the embeddings lie on a line (effective rank {self.rank:.2f} of "
            f"{self.dim} dimensions)"
        )

    def logs(self) -> dict[str, float]:
        """Returns both numbers under the names that they have in logs."""
        return {"embedding_std": self.std, "embedding_rank": self.rank}


def measure_spread(embeddings) -> Spread:
    """Measures the spread of embeddings.

    Args:
        embeddings: float array (N, d).

    Returns:
        A `Spread`.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    spread = measure_spread(np.ones((8, 4)))
    print(spread.reason)  # the embeddings of all images point the same way ...
    ```
    """
    return Spread(
        float(diagnostics.embedding_std(embeddings)),
        float(diagnostics.effective_rank(embeddings)),
        embeddings.shape[1],
    )
