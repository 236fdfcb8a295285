"""What a method usually has, on a small scale: heads and optimizer."""

import keras

from minc_tf import objectives
from minc_tf.models import METHODS
from minc_tf.optimizers import LARS

RATE = 0.1
#: As published. MINC has AdamW here, and the others plain momentum.
WITH_LARS = (
    "simclr",
    "byol",
    "linear_byol",
    "vicreg",
    "vicreg_exp",
    "vicreg_ctr",
    "barlow_twins",
)
#: One method of each family.
FAMILIES = (
    "minc",
    "spectral",
    "simclr",
    "byol",
    "vicreg",
    "barlow_twins",
    "fmicl_kl",
    "mio",
)


def first_of_kinds():
    """A method of each objective, with and without predictor and target.

    The other methods differ in the arguments of the objective.
    """
    kinds = {}
    for name, row in METHODS.items():
        heads = (row.predictor is None, row.target_momentum is None)
        kinds.setdefault((row.objective, *heads), name)
    return tuple(kinds.values())


#: For what takes seconds a method; tests/objectives compares all objectives.
KINDS = first_of_kinds()


def widths(method, width, dim):
    """Arguments of `minc_tf.build`: as many layers as published, all narrow.

    Args:
        method: string, one of `METHODS`.
        width: int, units of a hidden layer.
        dim: int, dimension of the embedding.
    """
    row = METHODS[method]
    heads = {
        "projector_widths": row.projector,
        "predictor_widths": row.predictor,
    }
    return {
        name: (*[width] * (len(head["widths"]) - 1), dim)
        for name, head in heads.items()
        if head is not None
    }


def kind(method):
    """The optimizer that a method has here: lars, adamw or sgd."""
    if method in WITH_LARS:
        return "lars"
    return "adamw" if METHODS[method].objective is objectives.MINC else "sgd"


def optimizer(method, model, rate):
    """A fresh optimizer of a method.

    Args:
        method: string, one of `METHODS`.
        model: the method's model.
        rate: float or schedule, the learning rate.
    """
    if kind(method) == "lars":
        # The usual coefficient moves next to nothing in a step.
        return LARS(rate, weight_decay=1e-4, trust_coefficient=0.1)
    if kind(method) == "adamw":
        # The usual epsilon makes whole steps of gradients near zero, where
        # rounding decides on the sign.
        return keras.optimizers.AdamW(rate, epsilon=0.1)
    scheduled = keras.optimizers.SGD(rate, momentum=0.9)
    if not METHODS[method].constant_predictor_rate:
        return scheduled
    constant = keras.optimizers.SGD(RATE, momentum=0.9)
    predictor = {v.path: constant for v in model.predictor.trainable_variables}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(scheduled, predictor)
    )
