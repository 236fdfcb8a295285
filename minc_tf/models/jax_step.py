"""The train and test step of `TwoViewModel` on JAX.

A thin shell around the model's `step_loss`: variables come in and go out as
lists of arrays, as Keras's trainer for JAX has it. Batches are global there,
on however many devices (`keras.distribution`): XLA exchanges what is needed.
"""

import jax
import keras
from keras import ops

from minc_tf.models.backend import shares
from minc_tf.models.inputs import make_views, unpack_views
from minc_tf.models.view_pairs import join_views, not_divided
from minc_tf.models.watch import KEY, look_at_step


def train_step(model, state, data) -> tuple:
    """One step of training, from values to (logs, state): all that it changes.

    `state`: lists of arrays, of the trainable, non-trainable, optimizer's and
    metrics' variables. `data`: views, or images alone for a model with `views`.
    """
    trainable, held, optimizer, metrics = state
    found = {}
    if model.watches:
        found[KEY] = look_at_step(model, data, trainable)
    views, held = _views(model, trainable, held, data)
    differentiate = _gradients if model.micro_batches == 1 else _in_parts
    gradients, losses, held = differentiate(
        model, trainable, held, optimizer, views
    )
    trainable, optimizer = model.optimizer.stateless_apply(
        optimizer, gradients, trainable
    )
    with _scope(model, trainable, held) as scope:
        model.finish_step()
    held = _values(scope, model.non_trainable_variables)
    logs, metrics = _update_metrics(model, trainable, held, metrics, losses)
    return logs | found, (trainable, held, optimizer, metrics)


def test_step(model, state, data) -> tuple:
    """The loss and metrics of one batch, nothing else updated."""
    trainable, held, metrics = state
    views, _ = _views(model, trainable, held, data)
    with _scope(model, trainable, held):
        losses = model.step_loss(*views, training=False)
    logs, metrics = _update_metrics(model, trainable, held, metrics, losses)
    return logs, (trainable, held, metrics)


def _views(model, trainable, held, data):
    """The views of a batch, and what drawing them makes of the state."""
    with _scope(model, trainable, held) as scope:
        data = make_views(model, data)
    held = _values(scope, model.non_trainable_variables)
    return unpack_views(model, data), held


def _scope(model, trainable, held, optimizer=None, metrics=None):
    """A scope in which the model's variables have the given values."""
    mapping = [
        *zip(model.trainable_variables, trainable, strict=True),
        *zip(model.non_trainable_variables, held, strict=True),
    ]
    if optimizer is not None:
        mapping += zip(model.optimizer.variables, optimizer, strict=True)
    if metrics is not None:
        mapping += zip(model.metrics_variables, metrics, strict=True)
    return keras.StatelessScope(state_mapping=mapping, collect_losses=True)


def _values(scope, variables):
    """What variables of a scope are at its end."""
    return [scope.get_current_value(variable) for variable in variables]


def _update_metrics(model, trainable, held, metrics, losses):
    """The logs of a step, and the values of the metrics' variables."""
    with _scope(model, trainable, held, metrics=metrics) as scope:
        logs = model.update_metrics(*losses)
    return logs, _values(scope, model.metrics_variables)


def _gradients(model, trainable, held, optimizer, views):
    """Gradients, `(total, loss)`, and the non-trainable values of a step."""

    def scaled_loss(trainable):
        with _scope(model, trainable, held, optimizer) as scope:
            losses = model.step_loss(*views, training=True)
            scaled = model.optimizer.scale_loss(losses[0])
        return scaled, (losses, _values(scope, model.non_trainable_variables))

    gradients, (losses, held) = jax.grad(scaled_loss, has_aux=True)(trainable)
    return gradients, losses, held


def _in_parts(model, trainable, held, optimizer, views):
    """Gradient caching: the same for a batch that passes in parts.

    Embed all parts, differentiate by the embeddings, propagate part by part.
    Loops of XLA bound the memory; it would merge two passes side by side.
    """
    count, batch = model.micro_batches, len(views[0])
    if batch % (count * shares()):
        raise ValueError(f"{not_divided(count, shares())} {batch}.")
    parts = _to_parts(join_views(views), count)
    outputs, targets, previous, held = _embed_parts(
        model, trainable, held, parts
    )

    def scaled_loss(trainable, outputs):
        with _scope(model, trainable, held, optimizer) as scope:
            loss = model.pair_loss(
                outputs, targets, previous=previous, training=True
            )
            scaled = model.optimizer.scale_loss(loss)
        return scaled, (loss, _values(scope, model.non_trainable_variables))

    # Of the weights, only those of the objective have a gradient here.
    (own, cached), (loss, held) = jax.grad(
        scaled_loss, argnums=(0, 1), has_aux=True
    )(trainable, outputs)
    cached = _to_parts(cached, count)
    gradients, extra, held = _propagate_parts(
        model, trainable, held, optimizer, parts, cached
    )
    gradients = [a + b for a, b in zip(own, gradients, strict=True)]
    return gradients, (loss + extra, loss), held


def _embed_parts(model, trainable, held, parts):
    """Outputs and targets (2B, d), `previous`, and non-trainable values."""
    states = model.non_trainable_variables

    def embed(held, images):
        with _scope(model, trainable, held) as scope:
            found = model.embed_joined(images, training=True)
        # What is cached is float32, whatever the heads compute in.
        output = ops.cast(found.outputs, "float32")
        before = None if found.previous is None else found.previous[0]
        return _values(scope, states), (output, found.targets, before)

    moved, (outputs, targets, before) = jax.lax.scan(embed, held, parts)
    # Both passes must see the same dropout masks, and the moving statistics
    # must move once.
    online = {id(state) for state in model.online_states}
    held = [
        before if id(state) in online else after
        for state, before, after in zip(states, held, moved, strict=True)
    ]
    previous = None if before is None else (_from_parts(before), ())
    return _from_parts(outputs), _from_parts(targets), previous, held


def _propagate_parts(model, trainable, held, optimizer, parts, cached):
    """Gradients, the layers' own losses, and non-trainable values."""

    def product(trainable, held, images, gradient):
        with _scope(model, trainable, held, optimizer) as scope:
            output, _ = model.embed_online(images, training=True)
            # These are means over a batch, or constants of it.
            losses = model.layer_losses() / model.micro_batches
            losses = ops.cast(losses, "float32")
            value = ops.sum(ops.cast(output, "float32") * gradient)
            value += model.optimizer.scale_loss(losses)
        values = _values(scope, model.non_trainable_variables)
        return value, (losses, values)

    def add_part(carried, part):
        gradients, extra, held = carried
        more, (losses, held) = jax.grad(product, has_aux=True)(
            trainable, held, *part
        )
        gradients = [a + b for a, b in zip(gradients, more, strict=True)]
        return (gradients, extra + losses, held), None

    start = [ops.zeros_like(value) for value in trainable], ops.zeros(()), held
    return jax.lax.scan(add_part, start, (parts, cached))[0]


def _to_parts(batch, count):
    """Rows of `join_views`, (2B, ...) -> (count, 2B / count, ...), like them.

    Each device gives a share of its images to each part.
    """
    shape = (shares(), 2, count, -1, *batch.shape[1:])
    parts = ops.moveaxis(ops.reshape(batch, shape), 2, 0)
    return ops.reshape(parts, (count, -1, *batch.shape[1:]))


def _from_parts(parts):
    """The inverse of `_to_parts`."""
    shape = (len(parts), shares(), 2, -1, *parts.shape[2:])
    batch = ops.moveaxis(ops.reshape(parts, shape), 0, 2)
    return ops.reshape(batch, (-1, *parts.shape[2:]))
