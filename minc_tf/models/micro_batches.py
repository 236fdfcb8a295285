"""What a batch in parts needs on every backend."""


def online_states(model) -> list:
    """Moving statistics and random generators of the online layers.

    Args:
        model: a built `TwoViewModel`.

    Returns:
        list of variables: the forward pass for the embeddings must not move
        them, and the second one sees them as the first did.
    """
    return [
        variable
        for part in model.online_layers
        for variable in part.variables
        if not variable.trainable
    ]


def not_divided(count: int, replicas: int = 1) -> str:
    """What is said of a batch that does not divide, but for its size.

    Args:
        count: int, `micro_batches`.
        replicas: int, devices that take a share of each part.
    """
    where = f" on {replicas} devices" if replicas > 1 else ""
    return (
        f"TwoViewModel: micro_batches={count}{where} does not divide the "
        f"batch; use a multiple of {count * replicas}, and "
        "drop_remainder=True. Received a batch of"
    )
