"""What Keras's trainers must be told of a model of several views."""

import warnings

import keras

from minc_tf._pixels import check_array
from minc_tf.models.arguments import check_accumulation, check_compile
from minc_tf.models.given import bind, check_arguments
from minc_tf.models.unpack import make_views, unpack_views
from minc_tf.models.watch import Watch


class FitsViews:
    """Mix-in for a `TwoViewModel`: how it is compiled, fitted and built.

    Keras builds a model by calling it on what `x` is in a batch of labelled
    data, and views are not that; on JAX `predict` does it without values of
    the weights, of which a target network starts as a copy.
    """

    #: Whether a step also says what is wrong with what it was given.
    watches = False

    def compile(self, optimizer="adam", **kwargs):
        """Configures training.

        Args:
            optimizer: a Keras optimizer, or its name.
            **kwargs: `jit_compile`, `steps_per_execution`, `run_eagerly` and
                `auto_scale_loss` of `keras.Model.compile`.

        Raises:
            ValueError: for a loss or metrics (the objective has its own), for
                `gradient_accumulation_steps` in the optimizer, and on several
                replicas for `jit_compile=True`, `steps_per_execution` or an
                optimizer that clips gradients.

        Warns:
            UserWarning: for `use_ema=True` in the optimizer, where the model
                has statistics that belong to other weights than the averages.
        """
        check_compile(kwargs)
        self.check_strategy(**kwargs)
        super().compile(optimizer=optimizer, **kwargs)
        # Under mixed_float16 Keras wraps the optimizer in a loss scaling one.
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        for part in getattr(inner, "optimizers", [inner]):
            self.check_clipping(part)
            self.warn_of_averages(part)
            check_accumulation(part)

    def compile_from_config(self, config):
        """Compiles a loaded model and creates the optimizer's variables."""
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**config)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *args, **kwargs):
        """`keras.Model.fit` on views, or on images for a model that makes them.

        On what `minc_tf.data.view_batches` returns an epoch is as many steps
        as fill its images once, unless `steps_per_epoch` is given.

        Raises:
            ValueError: for labels, `sample_weight` or `class_weight`, an
                endless data set without `steps_per_epoch`, or images that
                contradict `value_range`.
            FloatingPointError: at the first step with an image, a weight or a
                loss that is not finite.
        """
        arguments = bind(super().fit, args, kwargs)
        steps = getattr(arguments.get("x"), "steps_per_epoch", None)
        if arguments.get("steps_per_epoch") is None and steps:
            arguments["steps_per_epoch"] = steps
        self._check("fit", arguments)
        callbacks = arguments.get("callbacks")
        own = isinstance(callbacks, keras.callbacks.CallbackList)
        self._watch(not own)
        if not own:
            given = keras.tree.flatten(callbacks or [])
            # In front of those that show the logs.
            arguments["callbacks"] = [Watch(), *given]
        return super().fit(**arguments)

    def evaluate(self, *args, **kwargs):
        """`keras.Model.evaluate`, with the checks of `fit`."""
        arguments = bind(super().evaluate, args, kwargs)
        # Within `fit` the options that follow are Keras's own.
        arguments |= arguments.pop("kwargs", {})
        self._check("evaluate", arguments)
        return super().evaluate(**arguments)

    def train_on_batch(self, *args, **kwargs):
        """`keras.Model.train_on_batch`, with the checks of `fit`."""
        arguments = bind(super().train_on_batch, args, kwargs)
        self._check("train_on_batch", arguments)
        self._watch(False)
        return super().train_on_batch(**arguments)

    def make_train_function(self, *args, **kwargs):
        """`keras.Model.make_train_function`, which every training begins with.

        A target network starts here; see `TwoViewModel.start_targets`.
        """
        self.start_targets()
        return super().make_train_function(*args, **kwargs)

    def make_test_function(self, *args, **kwargs):
        """`keras.Model.make_test_function`; see `make_train_function`."""
        self.start_targets()
        return super().make_test_function(*args, **kwargs)

    def warn_of_averages(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Warns of an optimizer that puts averaged weights in their place.

        Args:
            optimizer: Keras optimizer, not one that wraps others.
        """
        if not getattr(optimizer, "use_ema", False):
            return
        stale = []
        if self.objective.keeps_statistics:
            stale.append("the objective's second moment")
        if any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in self._flatten_layers()
        ):
            stale.append("the statistics of batch normalisation")
        if stale:
            warnings.warn(
                "TwoViewModel.compile: with use_ema=True fit ends with (and "
                "SwapEMAWeights measures) averaged weights, but "
                f"{' and '.join(stale)} stay those of the last step's; a "
                "further epoch after compile(keras.optimizers.SGD(0.0)) makes "
                "them anew and leaves the weights.",
                stacklevel=3,
            )

    def _check(self, caller, arguments):
        check_arguments(f"{type(self).__name__}.{caller}", self, arguments)

    def _watch(self, watches):
        if watches != self.watches:
            self.watches = watches
            self.train_function = None  # it was traced for the other

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; on JAX it builds the model beforehand."""
        check_array(f"{type(self).__name__}.predict", x, self.value_range)
        self._build_for("predict", x)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`; see `predict`."""
        self._build_for("predict_on_batch", x)
        return super().predict_on_batch(x)

    def _build_for(self, caller, images):
        if self.built or keras.backend.backend() != "jax":
            return
        shape = getattr(images, "shape", None)
        if shape is None:
            raise ValueError(
                f"TwoViewModel.{caller}: a model that is not built needs an "
                f"array of images on JAX; received {type(images).__name__}. "
                "Call build((None, height, width, channels)) first."
            )
        self.build((None, *shape[1:]))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras (3.15) averages a batch over the replicas to see its shape,
        # which fails on several workers; a built model has nothing to see.
        if self.built and self.optimizer.built:
            return
        super()._maybe_symbolic_build(iterator, data_batch)

    def _symbolic_build(self, iterator=None, data_batch=None):
        # TensorFlow's trainer, which sees views in its train step, comes here
        # on replicas only.
        unbuilt = not self.built and keras.backend.backend() == "jax"
        if unbuilt or self.views is not None:
            if data_batch is None:
                _, _, batches = next(iter(iterator))
                data_batch = next(batches)
            # Of views only the shape is needed, and nothing is to be drawn.
            data_batch = make_views(self, data_batch, training=False)
            data_batch = unpack_views(self, data_batch)[:1]
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def _get_jax_state(self, *args, purge_model_variables=False, **kwargs):
        # Keras (3.15) takes the values from the variables to save memory, and
        # loses them where a step cannot be traced. A compiled step frees them
        # anyway, as it is run.
        compiled = self.jit_compile and not self.run_eagerly
        return super()._get_jax_state(
            *args,
            purge_model_variables=purge_model_variables and not compiled,
            **kwargs,
        )
