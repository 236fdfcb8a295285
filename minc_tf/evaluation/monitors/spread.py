"""How far embeddings are from having collapsed."""

import dataclasses

from minc_tf import diagnostics

#: Below these the embeddings no longer tell images apart.
_SMALLEST_STD, _SMALLEST_RANK = 0.1, 1.05


@dataclasses.dataclass(frozen=True)
class Spread:
    """Spread of embeddings (B, dim): `embedding_std`, `effective_rank`."""

    std: float
    rank: float
    dim: int

    @property
    def margin(self) -> float:
        """The spread over the smallest healthy one; below one: a collapse."""
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
        """Return both numbers under the names that they have in logs."""
        return {"embedding_std": self.std, "embedding_rank": self.rank}


def measure_spread(embeddings) -> Spread:
    """Measure the spread of embeddings, a float array (N, d)."""
    return Spread(
        float(diagnostics.embedding_std(embeddings)),
        float(diagnostics.effective_rank(embeddings)),
        embeddings.shape[1],
    )
