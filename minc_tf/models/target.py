"""The target network: the online one under weights that follow its own."""

import keras
from keras import ops


class Target(keras.layers.Layer):
    """Calls a layer under other weights, which are those of this one.

    No layer is copied, so that whatever the online one is made of works, and
    what it holds beside weights is there. A layer that is frozen or unfrozen
    is so here.

    Args:
        source: Keras layer, the online one.
        is_new: function without arguments; True: nothing was trained yet, and
            a call from outside of a step sees the weights of the source.
        name: string, the layer's name.
    """

    def __init__(self, source: keras.Layer, is_new, name: str | None = None):
        """See the class."""
        # What is called sees to the precision of what it is given.
        super().__init__(name=name, dtype="float32", autocast=False)
        # In functions the source is not tracked as a part of this layer.
        self._find_source = lambda: source
        self._is_new = is_new
        self._kept = []

    def build(self, input_shape):
        """Makes a weight for each of the source, which is built."""
        if self._kept:
            return
        for index, weight in enumerate(self._find_source().weights):
            kept = self.add_weight(
                name=f"{index}_{weight.name}",
                shape=weight.shape,
                dtype=weight.dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
                aggregation=weight.aggregation,
            )
            self._kept.append(kept)
        self.start()

    def pairs(self):
        """Pairs of a weight and the one of the source that it stands for."""
        return zip(self._kept, self._find_source().weights, strict=True)

    def start(self) -> None:
        """Takes the weights of the source as they are."""
        for kept, weight in self.pairs():
            # Makes a copy: JAX gives each variable's buffer away.
            kept.assign(ops.copy(weight.value))

    def follow(self, momentum) -> None:
        """Moves: `target <- m target + (1 - m) online`.

        Args:
            momentum: scalar in [0, 1], m.
        """
        for kept, weight in self.pairs():
            # What is frozen, and statistics, stay as they are.
            if not weight.trainable:
                continue
            m = ops.cast(momentum, kept.dtype)
            old, new = ops.convert_to_tensor(kept), weight.value
            kept.assign(m * old + (1.0 - m) * ops.cast(new, old.dtype))

    def call(self, inputs, training=None):
        """The source's output; in training, statistics move, but not its own.

        Masks of dropout are those that the source would draw next.
        """
        if not training and self._is_new():
            self.start()
        source = self._find_source()
        # A scope inside a scope knows only what it is told. Of a variable that
        # is told twice, the second value counts.
        told = [(v, v.value) for v in source.variables]
        told += [(weight, kept.value) for kept, weight in self.pairs()]
        with keras.StatelessScope(
            state_mapping=told, collect_losses=True
        ) as scope:
            outputs = source(inputs, training=training)
        if training:
            for (kept, weight), (_, before) in zip(
                self.pairs(), told[-len(self._kept) :], strict=True
            ):
                after = scope.get_current_value(weight)
                if after is not before:
                    kept.assign(after)
        return outputs

    def load_own_variables(self, store):
        """Loads the weights, and says what a file of before had instead."""
        if self._kept and not len(store.keys()):
            raise ValueError(
                "TwoViewModel: the file has the layers of a copy for a target "
                "network, as saved by an earlier version, and not its weights; "
                "load it with that version, or train anew."
            )
        super().load_own_variables(store)
