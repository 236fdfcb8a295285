"""What MINC can be told, and one line about anything else."""

from minc_tf.objectives.checks import (
    check_bool,
    check_choice,
    check_mu,
    check_positive_int,
    is_number,
)

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
    check_positive_int("MINC", dim=dim)
    check_choice("MINC", TRACKINGS, tracking=tracking)
    if rate != "adaptive" and not (is_number(rate) and 0.0 < rate <= 1.0):
        raise ValueError(
            'MINC: rate must be "adaptive" or a float in (0, 1]; received '
            f"{rate!r}."
        )
    if not (is_number(floor) and 0.0 <= floor <= 1.0):
        raise ValueError(f"MINC: floor must be in [0, 1]; received {floor!r}.")
    check_bool("MINC", self_pairs=self_pairs)
    check_bool("MINC", triangular=triangular)
    check_choice("MINC", ORDERS, order=order)
    if tracking == "corrected" and order == "read_first":
        raise ValueError(
            "MINC: order must be 'update_first' with tracking='corrected', "
            "which corrects by the batch itself; received 'read_first'."
        )
    check_mu("MINC", mu)


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
