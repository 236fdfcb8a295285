"""Measurements of the embeddings of a model while it trains."""

from collections.abc import Iterable

import keras
import numpy as np

from minc_tf import diagnostics
from minc_tf._checks import check_int
from minc_tf._layers import is_centred
from minc_tf._types import Logs
from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.features import check_finite, encoder_function
from minc_tf.models import TwoViewModel
from minc_tf.models.statistics import present_statistics
from minc_tf.models.view_pairs import mean_objective
from minc_tf.objectives import MINC, SpectralContrastive
from minc_tf.objectives.norms import clip_norm
from minc_tf.objectives.spectral import spectral_contrastive_loss

#: Pairs of views that the information needs.
_FEWEST = 3


class DiagnosticsMonitor(keras.callbacks.Callback):
    """Log measurements of the embeddings of held-out views after epochs.

    Puts these into the logs of the epoch, after the first and the last epoch
    of a run and after every `every`-th. Of the embeddings of both views, at
    inference (`projector(encoder(view))`, before the objective clips or
    scales them):

    - `effective_rank_held_out`, `minc_tf.diagnostics.effective_rank`;
    - `rank_me`, `alignment`, `uniformity` (of the first views);
    - `embedding_std_min`, `embedding_std_mean`, of
      `minc_tf.diagnostics.dimension_std`.

    Of models that train it, those with MINC or the spectral contrastive loss
    and without a predictor, of the embeddings as the objective clips them:

    - `chi2_information_held_out`, with `..._low` and `..._high`, the bounds of
      its 95 % interval: the U-statistic of
      `minc_tf.diagnostics.chi2_information`;
    - `chi2_information_held_out_minc`, of MINC: the same in MINC's form, with
      the Lambda of training;
    - `captured_share_<k>`: share of the information that the first k = d / 4
      coordinates hold, in the order of the spectrum, without the constant's,
      which is none after a last batch normalisation without an offset
      (`minc_tf.diagnostics.captured_share`); 0 where nothing is held.

    And where asked for:

    - `gradient_variance`, `gradient_squared_norm`, of the model's objective:
      `variance` and `squared_norm` of
      `minc_tf.diagnostics.gradient_variance`;
    - `hessian_eigenvalue`, the one of the largest magnitude of the loss of
      the first batch, at inference. MINC's is that of the spectral loss, whose
      gradient its own estimates.

    Args:
        pairs: finite `tf.data.Dataset` of `(view1, view2)`, or a sequence of
            them: batches of images (B, H, W, C), 0 to 255; further views are
            left out. A few hundred
            to two thousand pairs of images that are not trained on; `cache()`
            spares drawing them again.
        every: positive int, in epochs.
        gradient_batches: int, how many of the batches `gradient_variance` is
            measured with, three or more; 0: it is not. Make `pairs` of the
            batch size that is trained with.
        hessian_iterations: int, steps of Lanczos' method, each about two
            gradients of a batch; 0: no Hessian. 20 are usually enough.

    Attributes:
        history: dict of lists, an entry for each epoch that was measured:
            `epoch` (from 0), each number above, and `spectrum`, float32
            arrays (d,), `minc_tf.diagnostics.spectrum`.

    Raises:
        TypeError: if an argument that should be an int is none, or the model
            is no `minc_tf.TwoViewModel`.
        ValueError: for one out of range. `fit` raises one before it starts
            where the data do not fit: no pairs of views, fewer than three,
            images of a wrong shape, or without end.

    Example:
    ```python
    source = minc_tf.data.load("shapes", "test")
    pairs = minc_tf.data.view_batches(source, views, 256).take(4).cache()
    monitor = minc_tf.evaluation.DiagnosticsMonitor(pairs, every=5)
    model.fit(batches, callbacks=[monitor, keras.callbacks.CSVLogger("m.csv")])
    monitor.history["spectrum"][-1]
    ```

    Source: see the functions, and docs/diagnostics.md.
    """

    def __init__(
        self,
        pairs: Iterable,
        *,
        every: int = 1,
        gradient_batches: int = 0,
        hessian_iterations: int = 0,
    ) -> None:
        super().__init__()
        for name, value, smallest in (
            ("every", every, 1),
            ("gradient_batches", gradient_batches, 0),
            ("hessian_iterations", hessian_iterations, 0),
        ):
            check_int(name, value, smallest, other_type=TypeError)
        if gradient_batches in (1, 2):
            raise ValueError(
                "gradient_batches must be 3 or more, or 0; received "
                f"{gradient_batches}"
            )
        self.pairs = pairs
        self.every = every
        self.gradient_batches = gradient_batches
        self.hessian_iterations = hessian_iterations
        self.history = {"epoch": []}
        self._embed = None

    def set_model(self, model: keras.Model) -> None:
        """Take the `minc_tf.TwoViewModel` that is measured."""
        if not isinstance(model, TwoViewModel):
            raise TypeError(
                "DiagnosticsMonitor needs a minc_tf.TwoViewModel; received "
                f"{type(model).__name__}"
            )
        super().set_model(model)
        self._embed = encoder_function(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Try the pairs, before an epoch is spent."""
        check_finite(self.pairs)
        # All of them: a part would not do, where they are to be cached.
        one, _ = self._embed_all(self.pairs)
        if len(one) < _FEWEST:
            raise ValueError(
                f"pairs must hold {_FEWEST} pairs of views or more; received "
                f"{len(one)}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measure, and add the numbers to the logs."""
        # Also after the first epoch: CSVLogger fixes its columns there.
        last = epoch + 1 == self.params.get("epochs")
        due = (epoch + 1) % self.every == 0
        if not (due or last or epoch == 0):
            return
        measured = self.measure()
        self.history["epoch"].append(epoch)
        for name, value in measured.items():
            self.history.setdefault(name, []).append(value)
        if logs is not None:
            del measured["spectrum"]
            logs.update(measured)

    def measure(self) -> dict:
        """Measure the model as it is now.

        Returns:
            dict of floats, the numbers above, and of the array `spectrum`.

        Raises:
            ValueError: for pairs that do not fit, or embeddings that are not
                finite.

        Example:
        ```python
        monitor.set_model(model)
        monitor.measure()["rank_me"]  # before training
        ```
        """
        with present_statistics(self.model, self.pairs):
            return self._measured()

    def _measured(self):
        one, other = self._embed_all(self.pairs)
        measured = _geometry(one, other)
        objective = self.model.objective
        if self._trains_information():
            clipped = [
                np.asarray(clip_norm(z, objective.mu)) for z in (one, other)
            ]
            measured |= _information(*clipped, self.model)
        if self.gradient_batches:
            found = diagnostics.gradient_variance(
                self.model, self.pairs.take(self.gradient_batches)
            )
            measured["gradient_variance"] = found["variance"]
            measured["gradient_squared_norm"] = found["squared_norm"]
        if self.hessian_iterations:
            measured["hessian_eigenvalue"] = _largest_curvature(
                self.model, next(iter(self.pairs)), self.hessian_iterations
            )
        return measured

    def _trains_information(self):
        """Whether the embeddings are those that a spectral loss sees."""
        spectral = isinstance(self.model.objective, MINC | SpectralContrastive)
        return spectral and self.model.predictor is None

    def _embed_all(self, pairs):
        """Embeddings (N, d) of the first views, and of the second."""
        embedded = []
        for batch in pairs:
            if not isinstance(batch, tuple) or len(batch) < 2:
                raise ValueError(
                    "pairs must yield (view1, view2); received "
                    f"{type(batch).__name__}"
                )
            embedded.append([np.asarray(self._embed(v)) for v in batch[:2]])
        if not embedded:
            raise ValueError("pairs must hold pairs of views; received none")
        views = [np.concatenate(view) for view in zip(*embedded, strict=True)]
        return [check_features("embeddings", view) for view in views]


def _largest_curvature(model, views, iterations):
    """The Hessian's eigenvalue of largest magnitude, of one batch's loss."""
    view1, view2, *_ = views
    objective = model.objective
    variables = [
        variable
        for layer in model.online_layers
        for variable in layer.trainable_variables
    ]

    def loss():
        found = model.embed_views(view1, view2, training=False)
        pairs = model.pairs(found.outputs, found.targets)
        if not isinstance(objective, MINC):
            return mean_objective(objective, pairs, training=False)
        # MINC holds a part of its gradient, which has no second derivative.
        losses = [
            spectral_contrastive_loss(
                *(clip_norm(z, objective.mu) for z in pair)
            )
            for pair in pairs
        ]
        return sum(losses) / len(losses)

    (value,) = diagnostics.hessian_eigenvalues(
        loss, variables, iterations=iterations
    )
    return float(value)


def _geometry(one, other):
    """The numbers that every method has."""
    both = np.concatenate([one, other])
    spread = np.asarray(diagnostics.dimension_std(both))
    return {
        "effective_rank_held_out": float(diagnostics.effective_rank(both)),
        "rank_me": float(diagnostics.rank_me(both)),
        "alignment": float(diagnostics.alignment(one, other)),
        "uniformity": float(diagnostics.uniformity(one)),
        "embedding_std_min": float(spread.min()),
        "embedding_std_mean": float(spread.mean()),
        "spectrum": np.asarray(diagnostics.spectrum(both)),
    }


def _information(one, other, model):
    """The numbers of embeddings that a spectral loss trains."""
    found = diagnostics.chi2_information(one, other)
    name = "chi2_information_held_out"
    measured = {
        name: found["value"],
        f"{name}_low": found["low"],
        f"{name}_high": found["high"],
    }
    if isinstance(model.objective, MINC):
        moment = keras.ops.convert_to_numpy(model.objective.second_moment)
        in_mincs_form = diagnostics.chi2_information(
            one, other, second_moment=moment
        )
        measured[f"{name}_minc"] = in_mincs_form["value"]
    eigenvalues = np.asarray(diagnostics.spectrum(np.concatenate([one, other])))
    if not is_centred(model.projector):
        eigenvalues = eigenvalues[1:]
    first = -(-one.shape[1] // 4)
    share = 0.0
    if eigenvalues.any():
        share = diagnostics.captured_share(eigenvalues)[first - 1]
    measured[f"captured_share_{first}"] = float(share)
    return measured
