"""What Keras's trainers must be told of a model of several views."""

import keras

from minc_tf.models.unpack import make_views, unpack_views


class FitsViews:
    """Mix-in for a `TwoViewModel`: how the first batch builds it.

    Keras builds a model by calling it on what `x` is in a batch of labelled
    data, and views are not that; on JAX `predict` does it without values of
    the weights, of which a target network starts as a copy.
    """

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; on JAX it builds the model beforehand."""
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
