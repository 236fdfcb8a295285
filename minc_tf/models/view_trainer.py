"""What Keras's trainers must be told of a model of several views."""

import warnings
from typing import Any

import keras

from minc_tf._pixels import check_array
from minc_tf._types import Tensor
from minc_tf.models import replication
from minc_tf.models.backend import step_module
from minc_tf.models.inputs import arguments_of, make_views, unpack_views
from minc_tf.models.watch import trace_for, watched

_STEP = step_module()


class ViewTrainer(keras.Model):
    """The `keras.Model` under `TwoViewModel`: compiled, fitted, built, saved.

    Keras builds a model by calling it on `x` of labelled data, which views are
    not; on JAX `predict` does it without the values that a target starts from.
    """

    #: Whether a step also says what is wrong with what it was given.
    watches = False

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running means of the loss and of the objective's scalars."""
        return list(self._trackers)

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
        _check_compiled(self, kwargs)
        super().compile(optimizer=optimizer, **kwargs)
        _check_optimizer(self)

    def compile_from_config(self, config):
        """Compiles a loaded model and creates the optimizer's variables."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *args, **kwargs):
        """`keras.Model.fit` on views, or on images for a model that makes them.

        On what `minc_tf.data.view_batches` returns an epoch is as many steps
        as fill its images once, unless `steps_per_epoch` is given.

        Raises:
            ValueError: for labels, `sample_weight` or `class_weight`, an
                endless data set or generator without `steps_per_epoch`, or
                images that contradict `value_range`.
            FloatingPointError: at the first step with an image, a weight or a
                loss that is not finite.

        Warns:
            UserWarning: without `steps_per_epoch`, for a generator of which it
                cannot be seen whether it ends.
        """
        arguments = arguments_of(self, super().fit, args, kwargs)
        return super().fit(**watched(self, arguments))

    def evaluate(self, *args, **kwargs):
        """`keras.Model.evaluate`, with the checks of `fit`."""
        arguments = arguments_of(self, super().evaluate, args, kwargs)
        return super().evaluate(**arguments)

    def train_on_batch(self, *args, **kwargs):
        """`keras.Model.train_on_batch`, with the checks of `fit`."""
        arguments = arguments_of(self, super().train_on_batch, args, kwargs)
        trace_for(self, watches=False)
        return super().train_on_batch(**arguments)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; on JAX it builds the model beforehand."""
        check_array(f"{type(self).__name__}.predict", x, self.value_range)
        self._build_for("predict", x)
        return super().predict(x, *args, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`; see `predict`."""
        self._build_for("predict_on_batch", x)
        return super().predict_on_batch(x)

    def make_train_function(self, *args, **kwargs):
        """Where every training begins: see `start_targets`."""
        self.start_targets()
        # A first step that creates variables is traced a second time.
        if self.built and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(*args, **kwargs)

    def make_test_function(self, *args, **kwargs):
        """Where every evaluation begins."""
        self.start_targets()
        return super().make_test_function(*args, **kwargs)

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

    @property
    def replica_count(self) -> int:
        """Replicas of TensorFlow that the model was made for."""
        if keras.backend.backend() != "tensorflow":
            return 1
        return self.distribute_strategy.num_replicas_in_sync

    def spread_random_states(self) -> None:
        """Gives each replica random numbers of its own, in dropout say."""
        if keras.backend.backend() == "tensorflow":
            # The layer of the views sees to that itself.
            own = {id(v) for v in getattr(self.views, "variables", ())}
            states = [v for v in self._random_states() if id(v) not in own]
            # Wherever this is called, in the strategy's scope or not.
            replication.spread_random_states(states, self.distribute_strategy)

    def _random_states(self):
        known = {id(v) for v in (*self.weights, *self.metrics_variables)}
        return [v for v in self.variables if id(v) not in known]

    def save_own_variables(self, store):
        """Adds the states of the random generators, which Keras leaves out."""
        super().save_own_variables(store)
        replication.save_random_states(self._random_states(), store)

    def load_own_variables(self, store):
        """Restores what `save_own_variables` saved."""
        states = self._random_states()
        rest = replication.load_random_states(states, store)
        super().load_own_variables(rest)
        self.spread_random_states()


def _check_compiled(model, arguments):
    """Refuses arguments of `compile`, but for the optimizer."""
    for key in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if arguments.get(key) is not None:
            raise ValueError(
                f"TwoViewModel.compile: {key} cannot be given; the loss "
                "and its metrics are those of the objective."
            )
    if model.replica_count == 1:
        return
    where = f"{model.replica_count} replicas of "
    where += type(model.distribute_strategy).__name__
    if arguments.get("jit_compile") is True:
        import tensorflow as tf

        advice = "leave it out"
        if isinstance(model.distribute_strategy, tf.distribute.TPUStrategy):
            advice += ": on a TPU every step is compiled"
        raise ValueError(
            f"TwoViewModel.compile: jit_compile=True does not work on {where}; "
            f"{advice}."
        )
    steps = arguments.get("steps_per_execution", 1)
    if steps > 1:
        raise ValueError(
            "TwoViewModel.compile: steps_per_execution must be 1 on "
            f"{where}; received {steps}."
        )


def _check_optimizer(model):
    """Refuses, or warns of, what a model's optimizer would do to it."""
    # Under mixed_float16 Keras wraps the optimizer in a loss scaling one.
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    for optimizer in getattr(inner, "optimizers", [inner]):
        _check_clipping(model, optimizer)
        _warn_of_averages(model, optimizer)
        if optimizer.gradient_accumulation_steps:
            raise ValueError(
                "TwoViewModel.compile: the optimizer has "
                "gradient_accumulation_steps="
                f"{optimizer.gradient_accumulation_steps}, which would "
                "compute statistics over parts of a batch; pass "
                "micro_batches to the model instead."
            )


def _check_clipping(model, optimizer):
    # Keras (3.15) clips the gradient of each replica, then adds them up.
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        value = getattr(optimizer, name)
        if value is not None and model.replica_count > 1:
            raise ValueError(
                f"{type(model).__name__}.compile: the optimizer has "
                f"{name}={value}, which Keras would apply to the gradient "
                f"of each of the {model.replica_count} replicas and not to "
                "their sum; leave it out."
            )


def _warn_of_averages(model, optimizer):
    if not getattr(optimizer, "use_ema", False):
        return
    stale = []
    if model.objective.keeps_statistics:
        stale.append("the objective's second moment")
    if any(
        isinstance(layer, keras.layers.BatchNormalization)
        for layer in model._flatten_layers()
    ):
        stale.append("the statistics of batch normalisation")
    if stale:
        warnings.warn(
            "TwoViewModel.compile: with use_ema=True fit ends with (and "
            "SwapEMAWeights measures) averaged weights, but "
            f"{' and '.join(stale)} stay those of the last step's; a "
            "further epoch after compile(keras.optimizers.SGD(0.0)) makes "
            "them anew and leaves the weights.",
            stacklevel=4,
        )
