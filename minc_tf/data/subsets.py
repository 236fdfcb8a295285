"""The order of seeded subsets."""

import numpy as np

from minc_tf._checks import check_int, refusal


def permutation(n: int, seed: int) -> np.ndarray:
    """Returns the order (n,) in which seeded caps and subsets take examples."""
    check_int("seed", seed, 0)
    return np.random.default_rng(seed).permutation(n)


def rows_of_subset(source, n: int, seed: int) -> np.ndarray:
    """Returns the rows of `n` examples of a source, or raises a ValueError."""
    check_int("n", n, 1)
    if n > len(source):
        raise refusal(
            "n",
            f"at most the {len(source)} examples of "
            f"{source.name}/{source.split}",
            n,
        )
    return permutation(len(source), seed)[:n]
