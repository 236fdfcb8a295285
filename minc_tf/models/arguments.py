"""What a `TwoViewModel` refuses, in one line."""

from minc_tf._checks import check_int, check_number
from minc_tf.objectives import Objective


def check_model(objective, predictor, target_momentum, **counts) -> None:
    """Checks the arguments of the constructor.

    Args:
        objective: an `Objective`.
        predictor: Keras layer or None.
        target_momentum: float in [0, 1], schedule or None.
        **counts: ints, 1 or more, by name.

    Raises:
        TypeError: if `objective` is not an `Objective`.
        ValueError: for anything else out of range.
    """
    if not isinstance(objective, Objective):
        raise TypeError(
            "TwoViewModel: objective must be a minc_tf.objectives "
            f"objective; received {type(objective).__name__}."
        )
    for name, count in counts.items():
        check_int(f"TwoViewModel: {name}", count, 1)
    if not (target_momentum is None or callable(target_momentum)):
        name = "TwoViewModel: target_momentum"
        also = ", a schedule, or None"
        check_number(name, target_momentum, 0, 1, also=also)
    if objective.needs_previous and not (
        predictor is None and target_momentum is None
    ):
        raise ValueError(
            "TwoViewModel: objective must not need the embeddings under the "
            "weights before, with a predictor or target network: the second "
            f"moment is not of one network there. {objective.name} does, with "
            "tracking='corrected'; use tracking='lead'."
        )


def check_compile(arguments: dict) -> None:
    """Refuses a loss or metrics in `compile`, with a ValueError."""
    for key in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if arguments.get(key) is not None:
            raise ValueError(
                f"TwoViewModel.compile: {key} cannot be given; the loss "
                "and its metrics are those of the objective."
            )


def check_accumulation(optimizer) -> None:
    """Refuses an optimizer that accumulates gradients, with a ValueError."""
    if optimizer.gradient_accumulation_steps:
        raise ValueError(
            "TwoViewModel.compile: the optimizer has "
            "gradient_accumulation_steps="
            f"{optimizer.gradient_accumulation_steps}, which would "
            "compute statistics over parts of a batch; pass "
            "micro_batches to the model instead."
        )
