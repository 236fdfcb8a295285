"""What makes a model collapse, found on the model itself."""

import keras
import numpy as np
from keras import ops

from minc_tf.models import TwoViewModel
from minc_tf.objectives import Objective

#: Entries of each variable that are compared from look to look.
_ENTRIES = 4096
#: Steps smaller than this, of the weights' norm, are lost in rounding.
_MOVED = 1e-5
#: A predictor that moves less than this share of the encoder stands still.
_STILL = 1e-3
#: Looks at which a structural cause must have been seen.
_CONFIRMED = 2

NO_PREDICTOR = (
    "the model has no predictor, and its objective does not keep the "
    "embeddings of different images apart"
)
GRADIENT_THROUGH_TARGETS = (
    "a gradient flows through the targets, and the objective does not keep "
    "the embeddings of different images apart"
)
STILL_PREDICTOR = (
    "the predictor does not learn, and the objective does not keep the "
    "embeddings of different images apart"
)

#: What to do about each cause.
REMEDIES = {
    NO_PREDICTOR: "give the model a predictor, or use an objective that does "
    "(MINC, spectral, NT-Xent, VICReg)",
    GRADIENT_THROUGH_TARGETS: "stop it: embed_target must return "
    "stop_gradient(...)",
    STILL_PREDICTOR: "make it trainable, and give it a learning rate that is "
    "not zero",
}


def repels(objective: Objective, dim: int) -> bool:
    """Whether an objective keeps embeddings (B, dim) of different images apart.

    Views that agree then cost less spread out than equal, each scaled best.
    """
    if dim < 2:
        return True  # two directions at most: nothing to tell
    spread = _spread(dim)
    same = np.repeat(spread[:1] / np.linalg.norm(spread[0]), len(spread), 0)
    scales = (0.3, 1.0, 3.0, 10.0)
    apart = min(_losses(objective, [scale * spread for scale in scales]))
    together = min(_losses(objective, [scale * same for scale in scales]))
    return apart < together - 1e-4 * (1.0 + abs(together))


def depends_on_scale(objective: Objective, dim: int) -> bool:
    """Whether an objective changes with the scale of embeddings (B, dim)."""
    spread = _spread(dim)
    one, other = _losses(objective, [spread, 0.3 * spread])
    return abs(one - other) > 1e-4 * (1.0 + abs(one))


def _spread(dim):
    """64 embeddings in many directions, of norm one or so."""
    # In some dimensions only: covariances of many, from few samples, would
    # cost more than they should.
    used = min(dim, 8)
    spread = np.zeros((64, dim), "float32")
    rng = np.random.default_rng(0)
    spread[:, :used] = rng.normal(size=(64, used)) / np.sqrt(used)
    return spread


def _losses(objective, embeddings):
    """The loss of each of some embeddings, both views the same."""
    fresh = _fresh(objective)
    tensors = [ops.convert_to_tensor(z, dtype="float32") for z in embeddings]
    return [float(fresh(z, z, training=False)) for z in tensors]


def _fresh(objective):
    """An objective without what a trained one knows of its embeddings."""
    try:
        return type(objective).from_config(objective.get_config())
    except (NotImplementedError, TypeError, ValueError):
        return objective  # one of a user's own, which cannot be copied


def gradient_reaches_targets(model: TwoViewModel, images) -> bool:
    """Whether the loss of images (b, H, W, C) has a gradient in the targets."""
    layers = model.online_layers
    variables = [v for part in layers for v in part.trainable_variables]

    def loss():
        # The same images as both views; only the targets are looked at.
        found = model.embed_views(images, images, training=False)
        outputs = ops.stop_gradient(found.outputs)
        return model.pair_loss(outputs, found.targets, training=False)

    if keras.backend.backend() == "jax":
        return _reaches_on_jax(loss, variables)
    return _reaches_on_tensorflow(loss, variables)


def _reaches_on_tensorflow(loss, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    return any(part is not None for part in tape.gradient(value, variables))


def _reaches_on_jax(loss, variables):
    import jax

    def with_values(values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return loss()

    gradients = jax.grad(with_values)([each.value for each in variables])
    return any(np.any(part) for part in gradients)


def design_cause(model: TwoViewModel, images) -> str:
    """Return why embeddings can collapse if the objective lets them, or ""."""
    if model.predictor is None:
        return NO_PREDICTOR
    if gradient_reaches_targets(model, images):
        return GRADIENT_THROUGH_TARGETS
    return ""


class Movement:
    """By how much variables change from look to look, over their norm.

    `but_for_scale` leaves out change along a variable: decay is no learning.
    """

    def __init__(self, variables, but_for_scale: bool = False):
        self.variables = list(variables)
        self.growth = 1.0
        self._but_for_scale = but_for_scale
        self._before = self._read()
        self._first_norm = max(_norm(self._before), 1e-30)

    def look(self) -> float:
        """Return the change since the last look, over the norm then."""
        now, before = self._read(), self._before
        self._before = now
        self.growth = _norm(now) / self._first_norm
        changes = [n - b for n, b in zip(now, before, strict=True)]
        if self._but_for_scale:
            changes = [
                change - b * (change @ b) / max(b @ b, 1e-30)
                for change, b in zip(changes, before, strict=True)
            ]
        return _norm(changes) / max(_norm(before), 1e-30)

    def _read(self):
        parts = []
        for variable in self.variables:
            flat = ops.convert_to_numpy(variable).ravel()
            stride = max(1, -(-len(flat) // _ENTRIES))
            parts.append(flat[::stride].astype("float64"))
        return parts


def _norm(parts) -> float:
    return float(np.sqrt(sum(part @ part for part in parts)))


class DesignWatch:
    """Look for causes in a model's design while its weights move."""

    def __init__(self, model: TwoViewModel, images):
        self._cause, self._predictor, self._target = "", None, None
        if not repels(model.objective, model(images[:1]).shape[-1]):
            self._cause = design_cause(model, images)
            if not self._cause:
                self._predictor = Movement(
                    model.predictor.trainable_variables, but_for_scale=True
                )
        if model.target_encoder is not None:
            self._target = Movement(_followers(model))
        self._looks = self._confirmed = 0
        self._target_moved = False

    def look(self, moved: float) -> str:
        """Return a cause that two looks have confirmed, or "".

        `moved` is of encoder and projector, over their norm; a look after next
        to none, in a warm-up or at the end of a decay, tells nothing.
        """
        found = self._cause
        if self._predictor is not None:
            still = self._predictor.look() <= _STILL * moved
            found = STILL_PREDICTOR if still else ""
        if self._target is not None:
            self._target_moved |= self._target.look() > 0.0
        if moved > _MOVED:
            self._looks += 1
            self._confirmed = self._confirmed + 1 if found else 0
        return found if self._confirmed >= _CONFIRMED else ""

    @property
    def target_stands(self) -> bool:
        """Whether a target network has never moved while the encoder has."""
        waited = self._target is not None and self._looks >= _CONFIRMED
        return waited and not self._target_moved


def _followers(model):
    """The target's weights that follow trainable ones."""
    pairs = (
        (model.target_encoder, model.encoder),
        (model.target_projector, model.projector),
    )
    for copy, source in pairs:
        for target, online in zip(copy.weights, source.weights, strict=True):
            if online.trainable:
                yield target
