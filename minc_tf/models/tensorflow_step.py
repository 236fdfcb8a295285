"""The train and test step of `TwoViewModel` on TensorFlow.

A thin shell around the model's `step_loss`: gradient tape, micro-batches,
optimizer, target update, logs.
"""

import tensorflow as tf

from minc_tf.models.inputs import make_views, unpack_views
from minc_tf.models.view_pairs import not_divided
from minc_tf.models.watch import KEY, look_at_step
from minc_tf.objectives import replicas


def train_step(model, data) -> dict:
    """One step of training; returns the running metrics by name.

    `data`: views (B, H, W, C), or images alone for a model with `views`.
    """
    views = unpack_views(model, make_views(model, data))
    variables = model.trainable_variables
    found = {}
    if model.watches:
        found[KEY] = look_at_step(model, data, variables)
    if model.micro_batches == 1:
        with tf.GradientTape() as tape:
            total, loss = model.step_loss(*views, training=True)
            scaled = _scale(model, total)
        gradients = tape.gradient(scaled, variables)
    else:
        total, loss, gradients = _cached_gradients(model, *views, variables)
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    model.finish_step()
    return _reducible(model.update_metrics(total, loss) | found)


def test_step(model, data) -> dict:
    """The loss and metrics of one batch, nothing updated."""
    states = [] if model.views is None else model.views.variables
    before = [tf.identity(state) for state in states]
    views = unpack_views(model, make_views(model, data))
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    losses = model.step_loss(*views, training=False)
    return _reducible(model.update_metrics(*losses))


def _reducible(logs):
    """Logs that Keras can average over the workers of a cluster."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    # It reduces over the first axis (3.15), which scalars lack.
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}


def _scale(model, loss):
    """The loss to differentiate: Keras sums gradients over replicas."""
    return model.optimizer.scale_loss(loss / replicas.count())


def _cached_gradients(model, view1, view2, variables):
    """Losses and gradients of a batch that passes in `micro_batches` parts.

    Gradient caching: embed all parts without a tape, differentiate the
    objective with respect to the embeddings, then propagate part by part.
    """
    count = model.micro_batches
    message = not_divided(count)
    batch = view1.shape[0]
    if batch is not None and batch % count:
        raise ValueError(f"{message} {batch}.")
    if batch is None:
        batch = tf.shape(view1)[0]
        divides = tf.equal(batch % count, 0)
        with tf.control_dependencies(
            [tf.debugging.Assert(divides, [message, batch])]
        ):
            view1, view2 = tf.identity(view1), tf.identity(view2)
    parts = [
        tf.concat(pair, axis=0)
        for pair in zip(
            tf.split(view1, count), tf.split(view2, count), strict=True
        )
    ]

    # Both passes must see the same dropout masks, and the moving statistics
    # must move once.
    states = model.online_states
    before = [tf.identity(state) for state in states]
    found = [model.embed_joined(images, training=True) for images in parts]
    for state, value in zip(states, before, strict=True):
        state.assign(value)

    # What is cached is float32, whatever the heads compute in.
    outputs = tf.cast(_join([part.outputs for part in found]), tf.float32)
    targets = _join([part.targets for part in found])
    previous = None
    if found[0].previous is not None:
        previous = _join([part.previous[0] for part in found]), ()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = model.pair_loss(
            outputs, targets, previous=previous, training=True
        )
        scaled = _scale(model, loss)
    own = model.objective.trainable_variables
    cached, own_gradients = tape.gradient(
        scaled, [outputs, own], unconnected_gradients="zero"
    )
    cached = _part(cached, count)

    extra = 0.0
    online = [v for p in model.online_layers for v in p.trainable_variables]
    gradients = [tf.zeros(v.shape, v.dtype) for v in online]
    for images, gradient in zip(parts, cached, strict=True):
        # One part at a time: that is what bounds the memory.
        with tf.control_dependencies(gradients):
            images = tf.identity(images)
        with tf.GradientTape() as tape:
            output, _ = model.embed_online(images, training=True)
            output = tf.cast(output, tf.float32)
            # The layers' own losses are means over a batch, or its constants.
            losses = model.layer_losses() / count
            propagated = tf.reduce_sum(output * tf.stop_gradient(gradient))
            propagated += _scale(model, losses)
        extra += losses
        new = tape.gradient(propagated, online, unconnected_gradients="zero")
        gradients = [a + b for a, b in zip(gradients, new, strict=True)]
    # No weight may move before the last part was propagated through it. The
    # outputs of this pass are not needed, and where TensorFlow prunes them it
    # loses the order of a weight's update and of its use in the gradient.
    with tf.control_dependencies(gradients):
        gradients = [tf.identity(gradient) for gradient in gradients]
    by_variable = dict(
        zip(map(id, (*online, *own)), (*gradients, *own_gradients), strict=True)
    )
    return loss + extra, loss, [by_variable[id(v)] for v in variables]


def _join(parts):
    """Parts of [first views, second views] -> one batch of that layout."""
    halves = [tf.split(part, 2) for part in parts]
    first, second = zip(*halves, strict=True)
    return tf.concat([*first, *second], axis=0)


def _part(batch, count):
    """The inverse of `_join`."""
    first, second = tf.split(batch, 2)
    return [
        tf.concat(pair, axis=0)
        for pair in zip(
            tf.split(first, count), tf.split(second, count), strict=True
        )
    ]
