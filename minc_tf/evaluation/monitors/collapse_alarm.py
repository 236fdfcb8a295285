"""An alarm that says why a model collapses, while it still trains."""

import collections
import logging
from typing import Any

import keras
import numpy as np
from keras import ops

from minc_tf._checks import check_choice, check_int
from minc_tf._types import Logs
from minc_tf.evaluation.features import encoder_function
from minc_tf.evaluation.monitors.collapse_causes import (
    REMEDIES,
    DesignWatch,
    Movement,
    depends_on_scale,
)
from minc_tf.evaluation.monitors.spread import measure_spread
from minc_tf.models import TwoViewModel
from minc_tf.models.statistics import present_statistics

_LOGGER = logging.getLogger(__name__)

_ACTIONS = ("warn", "stop", "raise")
#: Images that are embedded at a look, at most; with fewer than the second
#: number a line is not told from chance.
_IMAGES, _FEWEST = 256, 16
#: Images that the model's design is tried on.
_TRIED = 4
#: At the optimum of MINC, the spectral loss or VICReg the norm is one or more.
_SMALLEST_NORM = 0.1
#: A look counts where weights have moved by this share of their norm.
_SMALLEST_MOVE = 1e-3
#: Embeddings recover where their margin grows by this factor; a margin below
#: the second number is none at all.
_BETTER, _HOPELESS = 1.2, 0.1
#: Weights whose norm changes by such factors are what a symptom comes from.
_GREW, _SHRANK = 5.0, 0.2

NOT_FINITE = "the embeddings are not finite"
SHRUNK = "the embeddings shrink to zero"
LARGE_STEPS = "the learning rate is too large"
LARGE_DECAY = "the weight decay is too large"


class CollapseError(RuntimeError):
    """Training was ended by a `CollapseAlarm` with `action="raise"`.

    Attributes:
        exit_code: int, of a console command that it ends.
    """

    exit_code = 1


class CollapseAlarm(keras.callbacks.Callback):
    """Warn, in the middle of an epoch, that a model collapses, and why.

    It looks at a few images and at the weights every so many steps, and
    reports one cause, once. Of a `minc_tf.TwoViewModel` whose objective does
    not keep the embeddings of different images apart (found by trying it, not
    by its name):

    - *the model has no predictor*;
    - *a gradient flows through the targets*: SimSiam without its
      stop-gradient;
    - *the predictor does not learn*: frozen, or its learning rate is zero,
      while the encoder moves.

    Each leads to a collapse sooner or later, and is reported as soon as two
    looks confirm it. Of any model, where what the embeddings show lasts for
    `patience` looks in a row, while the weights move, and gets no better:

    - *the embeddings of all images point the same way*, or *lie on a line*
      (the bounds of `CollapseMonitor`);
    - *the embeddings shrink to zero*, where the objective depends on their
      scale;
    - with *the learning rate is too large* before it where the norm of the
      weights has grown five times, or *the weight decay is too large* where
      it has shrunk to a fifth.

    *The embeddings are not finite* is reported at once. A target network that
    never moves is no collapse; it is only logged.

    Args:
        images: float or uint8 array or tensor (N, H, W, C), 0 to 255, 16 or
            more different images, best not trained on; the first 256 are
            used.
        every: positive int, steps from look to look (calls of
            `on_train_batch_end`). A look costs one pass of the images, and a
            copy of the weights.
        patience: positive int, in looks.
        action: string, what happens next: `"warn"` (nothing), `"stop"`
            (`fit` ends after this step) or `"raise"`.

    Attributes:
        cause: string, one of the above as a sentence; empty before.
        step: int, the step at which it was reported, or None.
        history: dict of lists, a value for each look: `step`,
            `embedding_std`, `embedding_rank`, `embedding_norm` (root mean
            square), `weight_change` (of encoder and projector since the look
            before, over their norm) and `weight_growth` (their norm over that
            at the start).

    Raises:
        TypeError: if `every` or `patience` is not an int.
        ValueError: for an argument out of range.
        CollapseError: in `fit`, with `action="raise"`.

    Example:
    ```python
    source = minc_tf.data.load("shapes", num_examples=512)
    images = next(iter(source.examples(256)))["image"]
    alarm = minc_tf.evaluation.CollapseAlarm(images, action="stop")
    model.fit(views, callbacks=[alarm])
    assert not alarm.cause
    ```

    Source: for what collapses, Grill et al. 2020, arXiv 2006.07733, table 5,
    and Chen & He 2021, arXiv 2011.10566, section 4.
    """

    def __init__(
        self,
        images: Any,
        *,
        every: int = 10,
        patience: int = 20,
        action: str = "warn",
    ) -> None:
        super().__init__()
        for name, value in (("every", every), ("patience", patience)):
            check_int(name, value, 1, other_type=TypeError)
        check_choice("action", action, _ACTIONS)
        if len(images.shape) != 4 or images.shape[0] < _FEWEST:
            raise ValueError(
                f"images must have shape (N, H, W, C), N of {_FEWEST} or more; "
                f"received {tuple(images.shape)}"
            )
        images = ops.convert_to_tensor(images[:_IMAGES])
        self.images = ops.cast(images, "float32")
        self.every = every
        self.patience = patience
        self.action = action
        self.cause, self.step = "", None
        self.history = {}

    def set_model(self, model: keras.Model) -> None:
        """Take the model, images -> embeddings, that is watched."""
        super().set_model(model)
        self._embed = encoder_function(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget an earlier run, and look at where this one begins."""
        self.cause, self.step = "", None
        self.history = {}
        self._steps = 0
        self._weights = self._design = self._symptoms = None
        self._told = False
        self._steps_a_call = getattr(self.model, "steps_per_execution", 1) or 1
        if self.model.built:
            self._look()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look, every so many steps, until something was reported."""
        # Counted here: to read the model's own count waits for the device.
        before = self._steps // self.every
        self._steps += self._steps_a_call
        if not self.cause and self._steps // self.every > before:
            self._look()

    def _look(self):
        # On JAX its variables get their values as it is asked for.
        model = self.model
        embeddings = np.asarray(self._embed(self.images), "float64")
        if self._weights is None:
            self._start(model, embeddings.shape[1])
        change, growth = self._weights.look(), self._weights.growth
        if not np.all(np.isfinite(embeddings)):
            # Nor are the weights, as a rule: what they did before tells more.
            grew = self.history.get("weight_growth", [1.0])[-1]
            self._report(_explain(NOT_FINITE, grew))
            return
        spread, norm = measure_spread(embeddings), _norm(embeddings)
        if spread.reason or norm < _SMALLEST_NORM:
            # It may be batch statistics that lag behind the weights.
            with present_statistics(model, [self.images]):
                embeddings = np.asarray(self._embed(self.images), "float64")
            spread, norm = measure_spread(embeddings), _norm(embeddings)
        measured = {
            "step": self._step(),
            **spread.logs(),
            "embedding_norm": norm,
            "weight_change": change,
            "weight_growth": growth,
        }
        for name, value in measured.items():
            self.history.setdefault(name, []).append(value)
        reason, margin = spread.reason, spread.margin
        if not reason and self._depends_on_scale and norm < _SMALLEST_NORM:
            reason = f"{SHRUNK} (norm {norm:.2g})"
            margin = norm / _SMALLEST_NORM
        cause = self._design.look(change) if self._design else ""
        # Weights that have grown without bound hardly move in their own scale.
        moved = change * max(growth, 1.0)
        if not cause and self._symptoms.look(margin, moved):
            cause = _explain(reason, growth)
        if cause:
            self._report(cause)
        elif self._design:
            self._tell_of_target()

    def _start(self, model, dim):
        """Begin to follow the weights, once there are weights."""
        parts = [model]
        self._symptoms = _Symptoms(self.patience)
        self._depends_on_scale = False
        if isinstance(model, TwoViewModel):
            self._design = DesignWatch(model, self.images[:_TRIED])
            self._depends_on_scale = depends_on_scale(model.objective, dim)
            parts = [model.encoder, model.projector]
        self._weights = Movement(
            v for part in parts for v in part.trainable_variables
        )

    def _step(self):
        """Number of steps that the model has taken."""
        steps = getattr(self.model, "steps", None)
        if steps is None:
            steps = self.model.optimizer.iterations
        return int(keras.ops.convert_to_numpy(steps))

    def _report(self, cause):
        self.cause, self.step = cause, self._step()
        message = f"step {self.step}: the model collapses: {cause}"
        if cause in REMEDIES:
            message += f"; {REMEDIES[cause]}"
        if self.action == "raise":
            raise CollapseError(message)
        _LOGGER.warning(message)
        if self.action == "stop":
            self.model.stop_training = True

    def _tell_of_target(self):
        if self._told or not self._design.target_stands:
            return
        self._told = True
        _LOGGER.warning(
            "step %d: the target network does not move: its weights stay as "
            "they were drawn or loaded (no collapse; a target_momentum below "
            "1 lets it follow)",
            self._step(),
        )


class _Symptoms:
    """Whether what embeddings show has lasted, and gets no better."""

    def __init__(self, patience):
        self._margins = collections.deque(maxlen=patience)

    def look(self, margin, moved):
        """Return whether every look for so long was a collapse, margin < 1.

        Looks between which the weights hardly `moved` tell nothing.
        """
        if margin >= 1.0:
            self._margins.clear()
        elif moved > _SMALLEST_MOVE:
            self._margins.append(max(margin, _HOPELESS))
        lasted = len(self._margins) == self._margins.maxlen
        return lasted and self._margins[-1] <= _BETTER * self._margins[0]


def _norm(embeddings):
    """Root mean square of the norms of embeddings (N, d)."""
    return float(np.sqrt(np.mean(np.sum(embeddings**2, axis=1))))


def _explain(reason, growth):
    """What is wrong, after its likely cause where there is one."""
    if growth > _GREW:
        return (
            f"{LARGE_STEPS}: the weights grew {growth:.2g} times, and {reason}"
        )
    if growth < _SHRANK:
        return (
            f"{LARGE_DECAY}: the weights shrank to {growth:.2g} of their norm, "
            f"and {reason}"
        )
    return reason
