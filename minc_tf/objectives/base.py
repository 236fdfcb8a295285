"""What every objective has in common: checks, dtype, metrics, `attach`."""

from typing import Any

import keras
from keras import ops

from minc_tf._checks import check_int
from minc_tf._registry import Registry
from minc_tf._types import Shape, Tensor
from minc_tf.objectives import replicas, unguarded

PACKAGE = "minc_tf"


class NamedScalars(list):
    """The (empty) list of Keras metrics of a layer, callable for its scalars.

    Keras reads `layer.metrics` as a list when it collects the metrics of a
    model; here `objective.metrics()` also gives the named scalars.
    """

    def __init__(self, function):
        """Wraps `function(loss=None) -> dict`."""
        super().__init__()
        self._function = function

    def __call__(self, loss=None) -> dict:
        """Returns the named scalars, those of the last step by default."""
        return self._function(loss)


class Objective(keras.layers.Layer):
    """Base class of what is minimised: a layer from two embeddings to a loss.

    A subclass implements `compute(z1, z2, training, sample_weight)`, with `z1`
    and `z2` float32, and, where it has more to tell than the loss,
    `scalars(loss)`. Statistics are float32 under every precision policy.

    Args:
        name: string, the layer's name.
    """

    #: Smallest batch for which the objective is defined.
    minimum_batch = 1
    #: Whether a batch is a sum over pairs, each of which can have a weight.
    takes_sample_weight = False
    #: Whether `compute` takes `pairs_per_image` and `previous`.
    takes_images = False
    #: Whether a training step wants `previous`, and trains with it only.
    takes_previous = False
    needs_previous = False
    #: Whether `training=True` moves statistics that the loss is made of.
    keeps_statistics = False

    def __init__(self, *, name: str | None = None) -> None:
        """See the class."""
        super().__init__(name=name, dtype="float32")
        self._last_loss = None
        # Without a call in training, or a file, the statistics are not set.
        self._may_be_set = False

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """As any layer; not as the `loss` of `compile` where that is wrong."""
        if self.keeps_statistics and kwargs.get("training") is None:
            unguarded.refuse_in_compile(type(self).__name__)
        return super().__call__(*args, **kwargs)

    def build(self, z1_shape: Shape, z2_shape: Shape | None = None) -> None:
        """Creates the state; called with the shapes of the first batch."""
        self._last_loss = self._add_state("last_loss")

    def _add_state(self, name, shape=(), initializer="zeros"):
        """A float32 variable that no gradient and no policy touches."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype="float32",
            trainable=False,
            autocast=False,
        )

    def call(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool | None = None,
        sample_weight: Tensor | None = None,
        pairs_per_image: int = 1,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Computes the loss of a batch of pairs.

        Args:
            z1: float tensor (B, d), embeddings of the first views.
            z2: float tensor (B, d), embeddings of the second views, in the
                same order.
            training: bool; state (a second moment, say) is updated only if
                true. Inside a Keras model it is that of the model's call.
            sample_weight: optional float tensor (B,), the weights of the
                pairs; only their ratios matter. Objectives that compare the
                images of a batch with each other, or take statistics over
                it, refuse it.
            pairs_per_image: int, how many pairs in a row are of one image
                (multi-crop); only where `takes_images`.
            previous: pair of float tensors (B, d), the embeddings of the same
                views under the weights of the step before; only where
                `takes_previous`.

        Returns:
            Scalar float32 tensor.

        Raises:
            ValueError: if the shapes are not (B, d) twice and (B,) for the
                weights, B is too small, or for what the objective does not
                take.

        Warns:
            UserWarning: once, where a gradient is taken, `training` was not
                given, and the statistics of the loss were never set.
        """
        self._check_pair(z1, z2)
        self._check_sample_weight(sample_weight, z1)
        self._check_images(pairs_per_image, previous, z1)
        z1, z2 = ops.cast(z1, "float32"), ops.cast(z2, "float32")
        images = {}
        if self.takes_images:
            images["pairs_per_image"] = pairs_per_image
        if self.takes_previous:
            images["previous"] = previous
        loss = self.compute(
            z1,
            z2,
            training=bool(training),
            sample_weight=sample_weight,
            **images,
        )
        if training:
            self._may_be_set = True
            self._last_loss.assign(replicas.mean(ops.stop_gradient(loss)))
        elif training is None and self.keeps_statistics:
            loss = self._warn_of_gradient(loss)
        return loss

    def _warn_of_gradient(self, loss):
        """The loss; a gradient through it warns of statistics never set."""
        if self._may_be_set:
            return loss

        def warn():
            if not self._may_be_set:
                self._may_be_set = True  # once
                unguarded.warn_of_training(type(self).__name__)

        return unguarded.when_differentiated(loss, warn)

    def load_own_variables(self, store: Any) -> None:
        """Loads the state; see `keras.Layer`."""
        super().load_own_variables(store)
        self._may_be_set = True

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the scalar loss of float32 embeddings; see `call`."""
        raise TypeError(
            f"{type(self).__name__} is abstract: use one of its subclasses."
        )

    def scalars(self, loss: Tensor) -> dict:
        """Returns named scalar tensors that describe a step with this loss."""
        return {}

    @property
    def metrics(self) -> NamedScalars:
        """The named scalars of the objective: `objective.metrics()`.

        `metrics()` describes the last training step, `metrics(loss)` the step
        that gave `loss`. Values are scalar float32 tensors.
        """
        return NamedScalars(self._named_scalars)

    def saw_finite(self) -> Tensor:
        """Whether the loss of the last training step was finite, a tensor.

        The same on all replicas.
        """
        return ops.isfinite(ops.convert_to_tensor(self._last_loss))

    def _named_scalars(self, loss=None) -> dict:
        if loss is None:
            if not self.built:
                raise ValueError(
                    f"{self.name}.metrics(): no batch has been seen yet; call "
                    "the objective on a pair of embeddings first."
                )
            loss = ops.convert_to_tensor(self._last_loss)
        return self.scalars(ops.stop_gradient(loss))

    def attach(
        self, z1: Tensor, z2: Tensor, weight: float = 1.0, prefix: str = ""
    ) -> tuple[Tensor, Tensor]:
        """Adds the objective to a functional model of your own.

        The returned tensors are `z1` and `z2` unchanged; that they pass
        through here adds `weight * loss` to the model's losses, so that a
        plain `compile` and `fit` trains it, beside any other loss. The
        objective's scalars (`chi2_information`, ...) stand in the logs; see
        `Endpoint`, which is the layer that this makes.

        Args:
            z1: symbolic float tensor (B, d).
            z2: the same for the second views.
            weight: float, factor of the loss.
            prefix: string before the names of the scalars, for a model with
                several objectives.

        Returns:
            The pair `(z1, z2)`: use it as, or on the way to, a model output.

        Raises:
            ValueError: for tensors with values, as in the `call` of a
                subclassed model, where a new layer at each call would train
                nothing.

        Example:
        ```python
        import keras, minc_tf

        tower = keras.layers.Dense(8)
        x1, x2 = keras.Input((16,)), keras.Input((16,))
        z1, z2 = minc_tf.objectives.MINC(dim=8).attach(tower(x1), tower(x2))
        model = keras.Model([x1, x2], [z1, z2])
        model.compile(optimizer="adam")
        ```
        """
        # What imports this module at its top.
        from minc_tf.objectives.endpoint import Endpoint

        for z in (z1, z2):
            if not isinstance(z, keras.KerasTensor):
                caller = type(self).__name__
                raise ValueError(
                    f"{caller}.attach: z1 and z2 must be symbolic tensors, "
                    f"made from keras.Input; received {type(z).__name__}. In "
                    "the call of a model, write self.add_loss(self.objective("
                    "z1, z2, training=training)), with the objective made in "
                    "__init__ (or minc_tf.objectives.Endpoint made there)."
                )
        return Endpoint(self, weight=weight, prefix=prefix)(z1, z2)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"name": self.name}

    def compute_output_shape(
        self, z1_shape: Shape, z2_shape: Shape | None = None
    ) -> Shape:
        """A scalar."""
        return ()

    def compute_output_spec(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool | None = None,
        sample_weight: Tensor | None = None,
        pairs_per_image: int = 1,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> keras.KerasTensor:
        """A float32 scalar, after the checks of shapes."""
        self._check_pair(z1, z2)
        return keras.KerasTensor((), dtype="float32")

    def _check_pair(self, z1, z2):
        shape1, shape2 = tuple(z1.shape), tuple(z2.shape)
        if len(shape1) != 2 or len(shape2) != 2:
            raise ValueError(
                f"{type(self).__name__}: z1 and z2 must have shape (batch, "
                f"dim); received {shape1} and {shape2}."
            )
        if not _can_be_equal(shape1, shape2):
            raise ValueError(
                f"{type(self).__name__}: z1 and z2 must have the same shape; "
                f"received {shape1} and {shape2}."
            )
        batch = shape1[0] and shape1[0] * replicas.count()
        if batch is not None and batch < self.minimum_batch:
            raise ValueError(
                f"{type(self).__name__}: needs a batch of at least "
                f"{self.minimum_batch} pairs; received {batch}."
            )

    def _check_sample_weight(self, sample_weight, z):
        if sample_weight is None:
            return
        caller = type(self).__name__
        if not self.takes_sample_weight:
            raise ValueError(
                f"{caller}: sample_weight is not supported, because the loss "
                "is no sum over the pairs of a batch."
            )
        shape, batch = tuple(sample_weight.shape), z.shape[0]
        if len(shape) != 1 or (
            shape[0] is not None and batch is not None and shape[0] != batch
        ):
            raise ValueError(
                f"{caller}: sample_weight must have one weight a pair, shape "
                f"({batch},); received {shape}."
            )

    def _check_images(self, pairs_per_image, previous, z):
        caller = type(self).__name__
        check_int(f"{caller}: pairs_per_image", pairs_per_image, 1)
        if pairs_per_image > 1 and not self.takes_images:
            raise ValueError(
                f"{caller}: pairs_per_image must be 1: the loss does not "
                "depend on which pairs are of one image; received "
                f"{pairs_per_image}."
            )
        batch = z.shape[0]
        if batch is not None and batch % pairs_per_image:
            raise ValueError(
                f"{caller}: pairs_per_image must divide the batch of {batch} "
                f"pairs; received {pairs_per_image}."
            )
        if previous is None:
            return
        if not self.takes_previous:
            raise ValueError(
                f"{caller}: previous must be None: the loss does not depend on "
                "the weights of the step before with these settings."
            )
        shapes = [tuple(each.shape) for each in previous]
        shape = tuple(z.shape)
        if len(shapes) != 2 or not all(
            _can_be_equal(each, shape) for each in shapes
        ):
            raise ValueError(
                f"{caller}: previous must be two tensors of shape {shape}; "
                f"received {shapes}."
            )


def _can_be_equal(shape1, shape2):
    """Whether nothing that is known of two shapes differs."""
    return len(shape1) == len(shape2) and all(
        a == b or a is None or b is None
        for a, b in zip(shape1, shape2, strict=True)
    )


#: The objectives by their names in settings.
OBJECTIVES = Registry("objective", base=Objective)
