"""Statistics of batch normalisation that are those of the present weights."""

import contextlib
import weakref
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras import ops

from minc_tf._types import Tensor

#: What batch normalisation keeps for inference; the last with `renorm` only.
_NAMES = ("moving_mean", "moving_variance", "moving_stddev")
#: Of the images that a measurement has: at most so many, so many at once.
_IMAGES, _AT_ONCE = 1024, 256
#: A momentum that no model is too young for.
_MOMENTUM = 0.9
#: What was recomputed last, by layer; training moves on from it.
_RECOMPUTED = weakref.WeakKeyDictionary()


def recompute_statistics(model: keras.Layer, batches: Iterable) -> int:
    """Recompute what batch normalisation normalises with at inference.

    Moving statistics lag behind the weights: with Keras's momentum of 0.99 by
    hundreds of steps. Here each becomes the mean over the batches of what it
    is in a batch, whatever the momentum. Each batch passes once, as in
    training. Weights, random generators and metrics stay as they are, no loss
    is added, and the statistics of a layer that is frozen, or called for
    inference, stay.

    Args:
        model: built Keras model or layer of images, nested as it may be. Of a
            `TwoViewModel` encoder and projector are passed.
        batches: finite iterable of images (B, H, W, C) as the model takes
            them, arrays or tensors, or of dicts that hold them as `image`:
            a list, a generator, a `tf.data.Dataset`. The larger a batch, the
            nearer are its statistics to those of all images.

    Returns:
        int, the number of batches; 0, and none is taken, where the model has
        nothing to recompute.

    Raises:
        TypeError: if `batches` is one array, or nothing to iterate over.
        ValueError: for a model that is not built, for no batches, and for a
            batch that is no array or holds no images.
        FloatingPointError: if statistics are not finite. After any error they
            are what they were.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    images = keras.random.uniform((64, 32, 32, 3), 0, 255, seed=0)
    batches = [images[:32], images[32:]]
    print(minc_tf.models.recompute_statistics(encoder, batches))  # 2
    ```

    Source: Izmailov et al. 2018, arXiv 1803.05407, section 3.2; Wu and
    Johnson 2021, arXiv 2105.07576, section 3.
    """
    layers = [layer for layer in _normalisations(model) if layer.trainable]
    if not layers:
        return 0
    if not model.built:
        raise ValueError(
            f"recompute_statistics: model must be built; {model.name!r} is "
            "not. Call it once on a batch of images (B, H, W, C)."
        )
    if hasattr(batches, "shape") or not isinstance(batches, Iterable):
        raise TypeError(
            "recompute_statistics: batches must be an iterable of batches of "
            f"images; received {type(batches).__name__}."
        )
    scope = _Recorder(layers)
    count = 0
    for batch in batches:
        images = _images(batch)
        with _without_momentum(layers), scope:
            model(images, training=True)
        scope.add_up()
        count += 1
    if not count:
        raise ValueError(
            "recompute_statistics: batches must hold images; received none."
        )
    scope.check()
    scope.assign()
    for layer in layers:
        _RECOMPUTED[layer] = ops.convert_to_numpy(layer.moving_mean)
    return count


@contextlib.contextmanager
def recomputed_statistics(
    model: keras.Layer, batches: Iterable
) -> Iterator[int]:
    """Recompute the statistics of batch normalisation, for a while.

    Args:
        model: as for `recompute_statistics`.
        batches: as for `recompute_statistics`.

    Returns:
        Context manager that gives the number of batches. At its end the
        statistics are what they were, to the bit.

    Raises:
        TypeError, ValueError, FloatingPointError: as `recompute_statistics`.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    images = keras.random.uniform((64, 32, 32, 3), 0, 255, seed=0)
    with minc_tf.models.recomputed_statistics(encoder, [images]):
        features = encoder(images)
    ```
    """
    kept = [
        (variable, ops.convert_to_numpy(variable).copy())
        for layer in _normalisations(model)
        for variable in _statistics(layer)
    ]
    count = recompute_statistics(model, batches)
    try:
        yield count
    finally:
        for variable, value in kept:
            variable.assign(value)


class RecomputeStatistics(keras.callbacks.Callback):
    """Recompute the statistics of batch normalisation at the end of epochs.

    Put it in front of the callbacks that measure or save: they then see the
    statistics that belong to the weights, which stay in the model. Training
    itself does not use them.

    Args:
        batches: as for `recompute_statistics`; the first 1,024 images are
            used, in batches of 256 at most.

    Example:
    ```python
    import keras, minc_tf

    source = minc_tf.data.load("shapes", num_examples=256)
    recompute = minc_tf.models.RecomputeStatistics(source.examples(128))
    # model.fit(views, callbacks=[recompute, keras.callbacks.ModelCheckpoint(
    #     "model.keras")])
    ```
    """

    def __init__(self, batches: Iterable) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Recompute, over a part of the images."""
        recompute_statistics(self.model, _some(self.batches))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Recompute where the weights have become averages."""
        optimizer = getattr(self.model, "optimizer", None)
        if getattr(optimizer, "use_ema", False):
            recompute_statistics(self.model, _some(self.batches))


@contextlib.contextmanager
def present_statistics(model: keras.Layer, batches: Iterable) -> Iterator[None]:
    """Within it a model is measured with statistics of its present weights.

    Recomputed over a part of the batches, if anything was trained since.
    """
    layers = [layer for layer in _normalisations(model) if layer.trainable]
    if all(_is_recomputed(layer) for layer in layers):
        yield
        return
    with recomputed_statistics(model, _some(batches)):
        yield


def _is_recomputed(layer):
    found = _RECOMPUTED.get(layer)
    return found is not None and np.array_equal(
        found, ops.convert_to_numpy(layer.moving_mean)
    )


@contextlib.contextmanager
def warm_statistics(model: keras.Layer, steps: Tensor) -> Iterator[None]:
    """Within it moving statistics move as fast as a young model needs.

    A momentum above 0.9 is at most `(1 + t) / (10 + t)` after t steps, except
    in renormalisation, which trains with them. Threads of replicas share it.
    """
    layers = [
        layer
        for layer in _normalisations(model)
        if isinstance(layer.momentum, _WarmMomentum)
        or (layer.momentum > _MOMENTUM and not layer.renorm)
    ]
    for layer in layers:
        if not isinstance(layer.momentum, _WarmMomentum):
            layer.momentum = _WarmMomentum(layer.momentum, steps)
        layer.momentum.users += 1
    try:
        yield
    finally:
        for layer in layers:
            layer.momentum.users -= 1
            if not layer.momentum.users:
                layer.momentum = layer.momentum.limit


class _WarmMomentum:
    """Stands for a momentum, which is made anew in the graph that uses it.

    Replicas trace their steps in turns, each in a graph of its own perhaps.
    """

    def __init__(self, limit, steps):
        self.limit = limit
        self.users = 0
        self._steps = steps

    def _value(self):
        taken = ops.cast(self._steps, "float32")
        warm = ops.maximum((1.0 + taken) / (10.0 + taken), _MOMENTUM)
        return ops.minimum(warm, self.limit)

    def __rmul__(self, other):
        return other * self._value()

    def __rsub__(self, other):
        return other - self._value()


def _some(batches):
    """The first images of some batches, in parts that fit into memory."""
    left, first = _IMAGES, 0
    for batch in batches:
        # Of a pair of views the first.
        images = _images(batch[0] if isinstance(batch, tuple) else batch)
        for start in range(0, min(len(images), left), _AT_ONCE):
            part = images[start : start + min(_AT_ONCE, left - start)]
            # The statistics of a remainder would count as much as the others.
            if len(part) * 2 >= first:
                first = first or len(part)
                yield part
        left -= len(images)
        if left <= 0:
            return


class _Recorder(keras.StatelessScope):
    """Keeps the statistics of each batch apart, and all else out of the model.

    What else a pass changes, random generators say, the next one goes on from.
    """

    def __init__(self, layers):
        super().__init__()
        self._layers = layers
        self._watched = {
            id(variable): variable
            for layer in layers
            for variable in (layer.moving_mean, layer.moving_variance)
        }
        self._found = []
        self._sums = {key: [0.0, 0] for key in self._watched}

    def add_update(self, update):
        """Where Keras brings what is assigned to a variable."""
        variable, value = update
        if id(variable) in self._watched:
            self._found.append((id(variable), value))
        else:
            super().add_update(update)

    def add_up(self):
        """Takes what a pass has found; a layer can be called several times."""
        for key, value in self._found:
            self._sums[key][0] += ops.convert_to_numpy(value).astype("float64")
            self._sums[key][1] += 1
        self._found = []

    def check(self):
        """Refuses what is not finite."""
        for key, (total, _) in self._sums.items():
            if not np.isfinite(total).all():
                raise FloatingPointError(
                    "recompute_statistics: the batches must give finite "
                    f"statistics; those of {self._watched[key].path!r} are not."
                )

    def assign(self):
        """Puts the means in their place."""
        for key, (total, count) in self._sums.items():
            if count:
                self._watched[key].assign((total / count).astype("float32"))
        for layer in self._layers:
            if layer.renorm:
                variance = ops.convert_to_tensor(layer.moving_variance)
                layer.moving_stddev.assign(ops.sqrt(variance + layer.epsilon))


@contextlib.contextmanager
def _without_momentum(layers):
    """Where what is assigned to moving statistics is the batch's own."""
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


def _normalisations(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def _statistics(layer):
    found = (getattr(layer, name, None) for name in _NAMES)
    return [variable for variable in found if variable is not None]


def _images(batch):
    images = batch.get("image") if isinstance(batch, dict) else batch
    shape = getattr(images, "shape", None)
    if shape is None or len(shape) < 2 or not shape[0]:
        raise ValueError(
            "recompute_statistics: batches must hold images (B, H, W, C); "
            f"received {type(images).__name__}"
            + (f" of shape {tuple(shape)}." if shape is not None else ".")
        )
    return ops.cast(images, "float32")
