"""How noisy the gradient of a minibatch is, for one objective or several.

TensorFlow only: it differentiates. The model is not changed: states that a
step moves (moving statistics, random generators) are carried beside it.
"""

from collections.abc import Iterable, Iterator, Mapping

import keras
import numpy as np
from keras import ops

from minc_tf.diagnostics.gradient_statistics import GradientMeter
from minc_tf.models import TwoViewModel
from minc_tf.models.view_pairs import mean_objective
from minc_tf.objectives import MINC, Objective
from minc_tf.objectives.minc_formulas import second_moment as moment_of
from minc_tf.objectives.minc_formulas import surrogate
from minc_tf.objectives.norms import clip_norm

_SECOND_MOMENTS = ("batches", "own")


def gradient_variance(
    model: TwoViewModel,
    batches: Iterable,
    *,
    objective: Objective | None = None,
    second_moment: str = "batches",
    training: bool = True,
) -> dict[str, float]:
    """Variance of the minibatch gradient of a model's trainable weights.

    The gradient of a batch is an estimate of that of the whole data set. This
    measures how much it differs from batch to batch, at the weights as they
    are and at the size of the batches given.

    MINC is measured with its second moment Lambda held: with a Lambda that
    does not depend on the batch, its gradient is a mean over the pairs of the
    batch. What a Lambda that still follows the batches adds is left out.
    The losses of layers (regularisers) are left out too.

    Args:
        model: a built `minc_tf.TwoViewModel`. It is not changed.
        batches: a list, or finite `tf.data.Dataset`, of `(view1, view2)`, or
            of more views, as `fit` takes them: images (B, H, W, C), 0 to 255.
            All batches have one size. It is gone through twice for MINC.
        objective: an objective to measure in place of the model's own.
        second_moment: string, the Lambda of MINC. `"batches"`: the second
            moment of the embeddings of all these batches. `"own"`: the
            objective's variable, as training left it.
        training: bool. True: the network as in a training step, with dropout
            and batch statistics, by which normalisation ties the images of a
            batch to each other. False: at inference.

    Returns:
        dict of numbers: `variance`, the trace of the covariance matrix of a
        batch's gradient, without bias; `standard_error` of it;
        `squared_norm` of the mean gradient, without bias (so it can come out
        below zero); `noise_to_signal`, the first over the third, infinite
        where the mean is not above the noise; `batches`, their number.

    Raises:
        TypeError: if `model`, `objective` or `batches` is of another type.
        ValueError: for fewer than three batches, batches of several sizes or
            without end, gradients that are not finite, or a Lambda that is
            not there.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(4, 8))
    model = minc_tf.build("minc", encoder, projector_widths=(16, 4))
    draw = lambda seed: keras.random.uniform((8, 32, 32, 3), 0, 255, seed=seed)
    batches = [(draw(seed), draw(seed) * 0.9) for seed in range(4)]
    found = minc_tf.diagnostics.gradient_variance(model, batches)
    print(found["noise_to_signal"])
    ```

    Source: arXiv 2504.16667 for the claim; the ratio is the noise scale of
    McCandlish et al. 2018, arXiv 1812.06162, over the batch size.
    """
    _check_model(model)
    objective = model.objective if objective is None else objective
    found = compare_gradient_variance(
        model,
        batches,
        {"objective": objective},
        second_moment=second_moment,
        training=training,
    )
    return found["objective"]


def compare_gradient_variance(
    model: TwoViewModel,
    batches: Iterable,
    objectives: Mapping[str, Objective],
    *,
    second_moment: str = "batches",
    training: bool = True,
) -> dict[str, dict[str, float]]:
    """Gradient variances of objectives, at the same weights and batches.

    MINC in the full form, `MINC(dim, triangular=False, mu=mu)`, and
    `SpectralContrastive(mu=mu)` have the same expected gradient, but for the
    factor `1 / mu` of the latter. Their `noise_to_signal`, which no factor
    changes, says which estimates it better from such batches.

    Args:
        model: as `gradient_variance`; its own objective plays no part.
        batches: as there.
        objectives: dict of objectives by name.
        second_moment: as there, for each MINC among them.
        training: as there.

    Returns:
        dict by name of what `gradient_variance` returns.

    Raises:
        TypeError: as `gradient_variance`.
        ValueError: as there, or for no objectives.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(4, 8))
    model = minc_tf.build("minc", encoder, projector_widths=(16, 4))
    draw = lambda seed: keras.random.uniform((8, 32, 32, 3), 0, 255, seed=seed)
    batches = [(draw(seed), draw(seed) * 0.9) for seed in range(4)]
    found = minc_tf.diagnostics.compare_gradient_variance(
        model,
        batches,
        {
            "minc": minc_tf.objectives.MINC(4, triangular=False, mu=10.0),
            "spectral": minc_tf.objectives.SpectralContrastive(mu=10.0),
        },
    )
    print({name: each["noise_to_signal"] for name, each in found.items()})
    ```

    Source: as `gradient_variance`.
    """
    _check_model(model)
    _check_arguments(batches, objectives, second_moment)
    held = _hold(model, batches, objectives.values(), second_moment, training)
    meters = [GradientMeter() for _ in held]
    for gradients in _gradients(model, batches, held, training):
        for meter, gradient in zip(meters, gradients, strict=True):
            meter.add(gradient.numpy())
    found = [meter.result() for meter in meters]
    return dict(zip(objectives, found, strict=True))


class _HeldMINC:
    """MINC's gradient with a Lambda that no batch changes."""

    takes_sample_weight = True
    takes_images = False

    def __init__(self, objective, second_moment):
        held = ops.convert_to_tensor(second_moment, dtype="float32")
        self._repulsion = ops.tril(held) if objective.triangular else held
        self._mu = objective.mu

    def __call__(self, z1, z2, training):
        pair = _clipped((z1, z2), self._mu)
        held = ops.transpose(self._repulsion)
        return surrogate(*pair, *(ops.matmul(z, held) for z in pair))


def _clipped(pair, mu):
    return [clip_norm(ops.cast(z, "float32"), mu) for z in pair]


def _hold(model, batches, objectives, second_moment, training):
    """What is differentiated in the place of the objectives."""
    mincs = [each for each in objectives if isinstance(each, MINC)]
    if second_moment == "own":
        moments = [_own_moment(each) for each in mincs]
    else:
        moments = _mean_moments(model, batches, mincs, training)
    held = map(_HeldMINC, mincs, moments)
    return [
        next(held) if isinstance(each, MINC) else each for each in objectives
    ]


def _own_moment(objective):
    if objective.second_moment is not None:
        moment = ops.convert_to_numpy(objective.second_moment)
        if moment.any():
            return moment
    raise ValueError(
        "second_moment='own' needs an objective that was trained; that of "
        f"{objective.name} is zero. Pass 'batches'."
    )


def _mean_moments(model, batches, mincs, training):
    """Second moments of the embeddings of all batches, as each clips them."""
    if not mincs:
        return []

    def measure(views):
        pairs = _embed_pairs(model, views, training)
        return [
            sum(moment_of(*_clipped(pair, each.mu)) for pair in pairs)
            / len(pairs)
            for each in mincs
        ]

    found = [
        [moment.numpy().astype("float64") for moment in moments]
        for moments in _run(model, mincs, measure, batches)
    ]
    if not found:
        raise ValueError("batches must hold views; received none.")
    return [np.mean(moments, axis=0) for moments in zip(*found, strict=True)]


def _gradients(model, batches, held, training):
    """Yield for each batch the gradients of all objectives, flat."""
    import tensorflow as tf

    values = [
        variable.value
        for layer in model.online_layers
        for variable in layer.trainable_variables
    ]

    def differentiate(views):
        with tf.GradientTape(persistent=True) as tape:
            pairs = _embed_pairs(model, views, training)
            losses = [mean_objective(each, pairs, False) for each in held]
        return [
            tf.concat(
                [
                    tf.cast(tf.reshape(part, [-1]), tf.float32)
                    for part in tape.gradient(
                        loss, values, unconnected_gradients="zero"
                    )
                ],
                axis=0,
            )
            for loss in losses
        ]

    return _run(model, held, differentiate, batches)


def _run(model, objectives, function, batches):
    """Yield a function of each batch of views; no state of the model moves.

    Random generators go on from batch to batch, beside the model. The batches
    are gone through to their end: a data set that is cached must be.
    """
    import tensorflow as tf

    generators = model._random_states()

    @tf.function
    def call(views, states):
        mapping = list(zip(generators, states, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            found = function(views)
            after = [scope.get_current_value(each) for each in generators]
        return found, after

    states = [tf.convert_to_tensor(each.value) for each in generators]
    first = None
    for batch in batches:
        views = _check_views(batch)
        if first is None:
            first = len(views[0])
            _build(objectives, model(views[0][:1], training=False).shape)
        if len(views[0]) != first:
            raise ValueError(
                "batches must be of one size, whose gradient is measured; "
                f"received {first} and {len(views[0])} images "
                "(drop_remainder=True leaves a rest out)."
            )
        found, states = call(views, states)
        yield found


def _embed_pairs(model, views, training):
    """The pairs of embeddings of a batch, as a step of the model has them."""
    found = model.embed_views(*views, training=training)
    return model.pairs(found.outputs, found.targets, found.small)


def _build(objectives, shape):
    """Build objectives that have seen no embeddings yet."""
    for objective in objectives:
        if isinstance(objective, Objective) and not objective.built:
            objective.build((None, *shape[1:]), (None, *shape[1:]))
            objective.built = True


def _check_views(batch):
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(
            "batches must hold (view1, view2), or these and more views; "
            f"received {type(batch).__name__}."
        )
    views = tuple(map(ops.convert_to_tensor, batch))
    counts = [len(view) for view in views]
    if len(set(counts)) > 1:
        raise ValueError(
            "the views of a batch must be of the same images; received "
            f"{counts} images."
        )
    return views


def _check_model(model):
    if not isinstance(model, TwoViewModel) or not model.built:
        raise TypeError(
            "model must be a built minc_tf.TwoViewModel; received "
            f"{type(model).__name__}."
        )


def _check_arguments(batches, objectives, second_moment):
    if second_moment not in _SECOND_MOMENTS:
        raise ValueError(
            f"second_moment must be one of {_SECOND_MOMENTS}; received "
            f"{second_moment!r}."
        )
    if not objectives:
        raise ValueError("objectives must name one or more; received none.")
    for name, objective in objectives.items():
        if not isinstance(objective, Objective):
            raise TypeError(
                f"objectives[{name!r}] must be a minc_tf.objectives objective; "
                f"received {type(objective).__name__}."
            )
    if isinstance(batches, Iterator):
        raise TypeError(
            "batches must be a list or a tf.data.Dataset, which can be gone "
            f"through twice; received {type(batches).__name__}."
        )
    # A data set that repeats forever says so; -1 is TensorFlow's constant.
    cardinality = getattr(batches, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:
        raise ValueError(
            "batches must be finite; received a data set that repeats forever "
            "(take(n) ends it)."
        )
