"""The one model class: an encoder and heads, trained on two views.

Here stands what it embeds, what its loss is made of, and what a step changes;
in `tensorflow_step` and `jax_step`, how a step differentiates; in
`view_trainer`, what Keras's `fit` and its like must be told.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from minc_tf._pixels import PIXELS, as_pixels, check_value_range
from minc_tf._types import Shape, Tensor
from minc_tf.models.applications import warn_of_missing_preprocessing
from minc_tf.models.backend import step_module, value_now
from minc_tf.models.encoders import check_no_classifier, image_shape_of
from minc_tf.models.inputs import check_model
from minc_tf.models.other_weights import PreviousWeights, Target
from minc_tf.models.replication import portable, warn_of_local_norms
from minc_tf.models.statistics import warm_statistics
from minc_tf.models.view_pairs import (
    Embedded,
    join_views,
    mean_objective,
    pair_views,
    split_views,
)
from minc_tf.models.view_trainer import ViewTrainer
from minc_tf.objectives import Objective
from minc_tf.objectives.base import PACKAGE

_STEP = step_module()


@keras.saving.register_keras_serializable(package=PACKAGE)
class TwoViewModel(ViewTrainer):
    """Trains an encoder on pairs of views of the same image.

    `fit` takes batches `(view1, view2)` of images (B, H, W, C), values of
    `value_range`. A step embeds both views in one pass (batch statistics are
    taken over both) and minimises `objective(z1, z2)`,
    `z = projector(encoder(view))`.

    With a `predictor` or a target network the loss is the mean of both
    directions: `objective` receives the predictions of one view, and as its
    second argument the other view's target, without gradient.

    Further views, `(view1, view2, small1, ...)`, of one smaller size are
    compared with each of the first two (multi-crop); targets come from the
    first two only. The loss is the mean over these pairs of views. An
    objective that is a sum over pairs of images (MINC, the negative cosine)
    gets all pairs of views in one call, another one pair after the other.

    Args:
        encoder: Keras model from images to features (B, F).
        projector: Keras model or layer from features to embeddings (B, d).
        objective: `minc_tf.objectives.Objective`.
        predictor: optional Keras model or layer from embeddings to
            predictions of the targets (B, d).
        target_momentum: None: targets come from the encoder itself. A float
            in [0, 1], or a `keras.optimizers.schedules` schedule of the
            step: targets come from encoder and projector under other
            weights, which are the same until the first step, and after each
            step follow as `target <- m target + (1 - m) online`. Moving
            statistics are the target's own.
        micro_batches: int k; the batch goes through the network in k parts,
            so that one fits that otherwise would not. The gradient is that of
            the whole batch for every objective (the embeddings' gradient is
            computed on the whole batch, then propagated part by part, at the
            price of one more forward pass); only batch normalisation sees
            its part alone.
        views: optional Keras layer from images to two views, such as
            `minc_tf.augment.TwoViews`. `fit` then takes batches of images
            alone, too, and makes the views in the step.
        value_range: `(low, high)`, the range of the pixels that the model is
            given, in `fit`, `predict` and calls; the encoder gets 0 to 255.
            None: the encoder gets them as they are, unchecked.
        name: string, the model's name.
        dtype: dtype policy, the global one by default. It changes no
            computation (the parts have policies of their own), but with
            `"mixed_float16"` `compile` adds loss scaling.

    Attributes:
        steps: int32 variable, the number of training steps taken.

    Raises:
        TypeError: if `objective` is not an `Objective`.
        ValueError: for `micro_batches` or `target_momentum` out of range, or
            an objective that needs the embeddings themselves
            (`MINC(tracking="corrected")`) with a predictor or target.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    projector = minc_tf.models.mlp(16, (32, 8))
    model = minc_tf.TwoViewModel(
        encoder, projector, minc_tf.objectives.SpectralContrastive()
    )
    model.compile(optimizer=keras.optimizers.AdamW(1e-3))
    view1 = keras.random.uniform((16, 32, 32, 3), 0, 255, seed=0)
    model.fit(view1, view1[:, :, ::-1], batch_size=8, verbose=0)
    embeddings = model.predict(view1, verbose=0)  # (16, 8)
    ```

    Source: micro-batches are gradient caching, Gao et al. 2021,
    arXiv 2101.06983; target networks, Grill et al. 2020, arXiv 2006.07733.
    """

    built: bool

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Layer,
        objective: Objective,
        predictor: keras.Layer | None = None,
        target_momentum: float | Callable[[Tensor], Tensor] | None = None,
        micro_batches: int = 1,
        views: keras.Layer | None = None,
        value_range: tuple[float, float] | None = PIXELS,
        name: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        # Autocast would round the pixels before the encoder sees them.
        super().__init__(name=name, dtype=dtype, autocast=False)
        check_model(
            objective, predictor, target_momentum, micro_batches=micro_batches
        )
        check_no_classifier("TwoViewModel", encoder)
        if value_range is not None:
            warn_of_missing_preprocessing("TwoViewModel", encoder)
        self.encoder = encoder
        self.projector = projector
        self.objective = objective
        self.predictor = predictor
        self.target_momentum = target_momentum
        self.micro_batches = int(micro_batches)
        self.views = views
        self.value_range = check_value_range(
            "TwoViewModel", value_range, optional=True
        )
        if getattr(views, "value_range", PIXELS) != PIXELS:
            raise ValueError(
                "TwoViewModel: views must have the value_range (0, 255), which "
                f"the model gives them; received {views.value_range}. Pass it "
                "to the model instead."
            )
        self.target_encoder = self.target_projector = None
        if target_momentum is not None:
            is_new = self._is_new
            self.target_encoder = Target(encoder, is_new, "target_encoder")
            self.target_projector = Target(
                projector, is_new, "target_projector"
            )
        self._trackers = []
        self._previous = None
        # Of a model that was never called, the first batch tells.
        if image_shape_of(encoder) is not None:
            self.build(image_shape_of(encoder))

    def build(self, input_shape: Shape) -> None:
        """Creates all state for images of shape (B, H, W, C)."""
        if self.built:
            return
        images = keras.KerasTensor(input_shape)
        features = self.encoder(images)
        if len(features.shape) != 2:
            raise ValueError(
                "TwoViewModel: encoder must give features (batch, dim); "
                f"received an encoder with output {tuple(features.shape)}. "
                "Pass it through minc_tf.models.as_encoder."
            )
        embeddings = self.projector(features)
        predictions = embeddings
        if self.predictor is not None:
            predictions = self.predictor(embeddings)
        self.objective(predictions, embeddings)
        for target in self.targets:
            target.build(None)
        if self.embeds_previous:
            self._previous = PreviousWeights(self)
            self._previous.follow()
        names = ["loss", *self.objective.metrics(0.0)]
        self._trackers = [keras.metrics.Mean(name=name) for name in names]
        # The optimizer does not count steps that float16 overflow skips.
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
        )
        self.built = True
        if self.replica_count > 1:
            self.spread_random_states()
            warn_of_local_norms(self)

    def as_pixels(self, images: Tensor) -> Tensor:
        """Images of the model's `value_range` as images of 0 to 255."""
        return as_pixels(images, self.value_range)

    def call(
        self, images: Tensor, training: bool = False, pixels: bool = False
    ) -> Tensor:
        """Embeds images (B, H, W, C): `projector(encoder(images))`, (B, d).

        With `pixels` they were brought from `value_range` to 0 to 255 before.
        """
        if not pixels:
            images = self.as_pixels(images)
        features = self.encoder(images, training=training)
        return self.projector(features, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means of the loss and of the objective's scalars."""
        return list(self._trackers)

    @property
    def online_layers(self) -> list:
        """The layers that a gradient reaches, in the order of the data."""
        layers = [self.encoder, self.projector, self.predictor]
        return [layer for layer in layers if layer is not None]

    @property
    def online_states(self) -> list:
        """Moving statistics and random generators of the online layers."""
        variables = (v for part in self.online_layers for v in part.variables)
        return [v for v in variables if not v.trainable]

    @property
    def targets(self) -> list:
        """The layers of the target network, in the order of the data."""
        layers = [self.target_encoder, self.target_projector]
        return [layer for layer in layers if layer is not None]

    def start_targets(self) -> None:
        """Before the first step, a target has the weights of the online one.

        So have the previous weights, where the objective asks for them. They
        may have been loaded into the encoder after it was built.
        """
        if not self._is_new():
            return
        for target in self.targets:
            target.start()
        if self._previous is not None:
            self._previous.follow()

    def _is_new(self):
        return self.built and value_now(self.steps) == 0

    @property
    def compares_outputs(self) -> bool:
        """Whether the objective sees the two embeddings themselves.

        Otherwise it sees predictions and targets.
        """
        return self.predictor is None and self.target_encoder is None

    @property
    def embeds_previous(self) -> bool:
        """Whether a step also embeds with the weights of the step before."""
        return self.objective.takes_previous and self.compares_outputs

    def embed_online(
        self, images: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Outputs and embeddings (2b, d) of joined views (2b, H, W, C).

        Outputs are predictions, or without a predictor the embeddings.
        """
        with self._statistics(training):
            embeddings = self(images, training=training, pixels=True)
            if self.predictor is None:
                return embeddings, embeddings
            return self.predictor(embeddings, training=training), embeddings

    def _statistics(self, training):
        """Where moving statistics move in training."""
        if not training:
            return contextlib.nullcontext()
        return warm_statistics(self, self.steps)

    def embed_target(
        self, images: Tensor, embeddings: Tensor, training: bool
    ) -> Tensor:
        """Targets (2b, d), without gradient; see `embed_online`."""
        if self.target_encoder is not None:
            with self._statistics(training):
                embeddings = self.target_projector(
                    self.target_encoder(images, training=training),
                    training=training,
                )
        return ops.stop_gradient(embeddings)

    def embed_previous(self, images: Tensor, training: bool) -> Tensor | None:
        """Embeddings (2b, d) under the weights of the step before.

        None where the objective needs none.
        """
        if not (training and self.embeds_previous):
            return None
        return self._previous.embed(images)

    def embed_joined(self, images: Tensor, training: bool) -> Embedded:
        """`embed_views` of two views (2b, H, W, C) that `join_views` joined."""
        before = self.embed_previous(images, training)
        outputs, embeddings = self.embed_online(images, training)
        losses = self.layer_losses()
        targets = self.embed_target(images, embeddings, training)
        previous = None if before is None else (before, ())
        return Embedded(outputs, targets, (), previous, losses)

    def embed_views(
        self, view1: Tensor, view2: Tensor, *small: Tensor, training: bool
    ) -> Embedded:
        """The forward pass of a batch: of a step, and of what looks at one.

        Args:
            view1: images (B, H, W, C), 0 to 255.
            view2: images (B, H, W, C).
            *small: more views, images (B, h, w, C).
            training: bool.

        Returns:
            `Embedded`; `pairs` says what the objective compares in it.
        """
        found = self.embed_joined(join_views([view1, view2]), training)
        if not small:
            return found
        images, count = join_views(small), len(small)
        before = self.embed_previous(images, training)
        outputs, _ = self.embed_online(images, training)
        previous = found.previous
        if previous is not None:
            previous = previous[0], split_views(before, count)
        return found._replace(
            small=split_views(outputs, count),
            previous=previous,
            layer_losses=(found.layer_losses + self.layer_losses()) / 2.0,
        )

    def pairs(
        self,
        outputs: Tensor,
        targets: Tensor | None,
        small: Sequence[Tensor] = (),
    ) -> list:
        """The pairs (B, d) of an `Embedded` that the objective compares."""
        return pair_views(
            outputs, targets, small, compares_outputs=self.compares_outputs
        )

    def pair_loss(
        self,
        outputs: Tensor,
        targets: Tensor | None,
        small: Sequence[Tensor] = (),
        previous: tuple[Tensor, Sequence[Tensor]] | None = None,
        *,
        training: bool,
    ) -> Tensor:
        """The objective on a whole batch, once a step; see `Embedded`.

        With `previous`, the weights as they are become the previous ones,
        unless the loss is not finite: Lambda then stays that of these.
        """
        pairs = self.pairs(outputs, targets, small)
        if previous is None:
            return mean_objective(self.objective, pairs, training)
        outputs, small = previous
        previous = pair_views(outputs, None, small, compares_outputs=True)
        loss = mean_objective(self.objective, pairs, training, previous)
        self._previous.follow(self.objective.saw_finite())
        return loss

    def step_loss(
        self, *views: Tensor, training: bool
    ) -> tuple[Tensor, Tensor]:
        """What a step differentiates, with every side effect that it has.

        Args:
            *views: as of `embed_views`.
            training: bool.

        Returns:
            (total, loss): scalar float32 tensors, the objective with the
            losses of the layers (regularisers), to minimise, and without.
        """
        *compared, extra = self.embed_views(*views, training=training)
        loss = self.pair_loss(*compared, training=training)
        return loss + extra, loss

    def layer_losses(self) -> Tensor:
        """Sum of the losses that the online layers added or carry."""
        losses = [loss for part in self.online_layers for loss in part.losses]
        return sum((ops.cast(loss, "float32") for loss in losses), 0.0)

    def finish_step(self) -> None:
        """Counts the step and moves the target towards the online weights."""
        self.steps.assign_add(1)
        momentum = self.target_momentum
        if callable(momentum):
            momentum = momentum(self.steps - 1)
        for target in self.targets:
            target.follow(momentum)

    def update_metrics(self, total: Tensor, loss: Tensor) -> dict:
        """Adds a step to the running means; returns their values by name."""
        values = {"loss": total, **self.objective.metrics(loss)}
        for tracker in self._trackers:
            tracker.update_state(values[tracker.name])
        return {tracker.name: tracker.result() for tracker in self._trackers}

    def train_step(self, *args: Any) -> Any:
        """One step of the backend in use; see its module in `models`."""
        return _STEP.train_step(self, *args)

    def test_step(self, *args: Any) -> dict[str, Tensor]:
        """The loss and metrics of a batch, nothing updated."""
        return _STEP.test_step(self, *args)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "encoder": serialize(self.encoder),
            "projector": serialize(self.projector),
            "objective": serialize(self.objective),
            "predictor": serialize(self.predictor),
            "target_momentum": serialize(self.target_momentum),
            "micro_batches": self.micro_batches,
            "views": serialize(self.views),
            "value_range": self.value_range,
        }

    @classmethod
    def from_config(cls, config: dict) -> "TwoViewModel":
        """Rebuilds the model with its parts."""
        parts = ("encoder", "projector", "objective", "predictor", "views")
        config = dict(portable(config))
        for key in (*parts, "target_momentum"):
            # Models saved before they could make views have none.
            part = config.get(key)
            config[key] = keras.saving.deserialize_keras_object(part)
        return cls(**config)
