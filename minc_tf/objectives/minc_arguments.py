"""What MINC can be told, and one line about anything else."""

from minc_tf._checks import (
    check_bool,
    check_choice,
    check_int,
    check_number,
    refusal,
)
from minc_tf.objectives.norms import check_mu

TRACKINGS = ("auto", "corrected", "lead", "mean")
ORDERS = ("update_first", "read_first")
NEEDS_PREVIOUS = (
    "tracking='corrected' needs previous=(p1, p2), the embeddings under the "
    "weights of the step before, which TwoViewModel gives; received None. In "
    "a model or loop of your own, use tracking='lead'."
)


def check_arguments(
    dim, tracking, rate, floor, self_pairs, triangular, order, mu
) -> None:
    """Raises a ValueError for arguments of `MINC` out of range."""
    check_int("MINC: dim", dim, 1)
    check_choice("MINC: tracking", tracking, TRACKINGS)
    if rate != "adaptive":
        also = ', or "adaptive"'
        check_number("MINC: rate", rate, 0, 1, ends="(]", also=also)
    check_number("MINC: floor", floor, 0, 1)
    check_bool("MINC: self_pairs", self_pairs)
    check_bool("MINC: triangular", triangular)
    check_choice("MINC: order", order, ORDERS)
    if tracking == "corrected" and order == "read_first":
        raise refusal(
            "MINC: order",
            "'update_first' with tracking='corrected', which corrects by the "
            "batch itself",
            order,
        )
    check_mu("MINC: mu", mu)


def check_dim(dim: int, shape) -> None:
    """Raises a ValueError unless a shape is that of such embeddings."""
    if shape[-1] is not None and shape[-1] != dim:
        raise ValueError(
            f"MINC: dim={dim}, but the embeddings have {shape[-1]} dimensions "
            f"(shape {tuple(shape)}); pass dim={shape[-1]}."
        )


def present(config: dict) -> dict:
    """A saved configuration, in the arguments of today.

    One of before `tracking` was there is of a running mean with self-pairs.
    """
    if "rate" in config and "tracking" not in config:
        return {**config, "tracking": "mean", "self_pairs": True}
    return config
