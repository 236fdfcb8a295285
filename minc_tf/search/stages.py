"""The stages of a funnel: how many coordinates, and how many vectors stay."""

import itertools
from collections.abc import Sequence

from minc_tf._checks import is_int, refusal

Stages = tuple[tuple[int, int], ...]

_WANTED = (
    "pairs (coordinates, kept), of which coordinates ascend and kept do not"
)


#: Vectors that stay by default.
_KEPT = 200


def check_stages(
    stages: Sequence[tuple[int, int]] | None, count: int, dimension: int
) -> Stages:
    """Return checked stages; by default one, or none of few vectors."""
    if stages is None:
        few = dimension < 16 or count <= 2 * _KEPT
        return () if few else ((dimension // 8, _KEPT),)
    try:
        found = tuple((coordinates, kept) for coordinates, kept in stages)
    except (TypeError, ValueError):
        raise refusal("stages", _WANTED, stages) from None
    if not all(is_int(number) and number >= 1 for s in found for number in s):
        raise refusal("stages", f"{_WANTED}, ints >= 1", stages)
    for (low, many), (high, few) in itertools.pairwise(found):
        if low >= high or many < few:
            raise refusal("stages", _WANTED, stages)
    if found and found[-1][0] > dimension:
        raise refusal(
            "stages", f"of at most {dimension} coordinates, all", stages
        )
    return tuple((int(coordinates), int(kept)) for coordinates, kept in found)


def parse_stages(text: str) -> list[tuple[int, int]]:
    """Return the stages of `"16:500,32:100"`; of `"exact"` there are none."""
    if text == "exact":
        return []
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return [(int(coordinates), int(kept)) for coordinates, kept in pairs]
    except ValueError:
        wanted = "COORDINATES:KEPT, several with commas between, or exact"
        raise refusal("stages", wanted, text) from None


def multiply_adds(stages: Stages, count: int, dimension: int) -> int:
    """Count a query's multiply-adds; stages in between take norms, too."""
    total, left = 0, count
    for number, (coordinates, kept) in enumerate(stages):
        norms = number > 0 and coordinates < dimension
        total += left * coordinates * (1 + norms)
        left = min(left, kept)
    return total + left * dimension
