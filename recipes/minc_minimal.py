"""MINC in one file: the loss on one screen, the training loop on another.

    python recipes/minc_minimal.py

Trains a small network on the embedded shapes for about three minutes on two
cores and prints its kNN accuracy. Only images and views come from the
library; everything about the method is here. The library
does the same with mixed precision, micro-batches, replicas and checkpoints.

Paper: Guo, Avila Pires, Khetarpal, Schuurmans, Dai, arXiv 2504.16667.
"""

import keras
import tensorflow as tf

import minc_tf

DIM, BATCH, STEPS, MU, RATE = 128, 64, 3000, 10.0, 0.3


def clip_norm(z):
    """Bounds the norm of each embedding by sqrt(MU)."""
    norm = tf.maximum(tf.norm(z, axis=1, keepdims=True), 1e-12)
    return tf.where(norm < MU**0.5, z, MU**0.5 * z / norm)


def batch_moment(z1, z2):
    """Second moment of the embeddings of a batch."""
    z = tf.concat([z1, z2], axis=0)
    return tf.matmul(z, z, transpose_a=True) / (2.0 * BATCH)


def update(second_moment, trend, z1, z2):
    """Lambda after a batch, and its trend: no lag while it drifts steadily.

    A running mean alone would lag behind the network, which costs more than
    noise does (docs/minc.md). The library does better still: it also embeds
    the batch with the weights of the step before, and leaves each image out
    of the Lambda that repels it.
    """
    expected = second_moment + trend
    surprise = batch_moment(z1, z2) - expected
    second_moment = expected + (1.0 - (1.0 - RATE) ** 2) * surprise
    return second_moment, trend + RATE**2 * surprise


def minc_loss(z1, z2, second_moment):
    """A scalar with MINC's gradient: attract the pair, repel from Lambda.

    d/dz1 = (2 / B) (-z2 + LT(Lambda) z1), and the same with 1 and 2 exchanged.
    The lower triangle LT lets coordinate i see only those before it, so that
    the coordinates come out in the order of their eigenvalues.
    """
    repulsion = tf.linalg.band_part(second_moment, -1, 0)
    push1 = tf.stop_gradient(tf.matmul(z1, repulsion, transpose_b=True))
    push2 = tf.stop_gradient(tf.matmul(z2, repulsion, transpose_b=True))
    pairs = tf.reduce_sum(z1 * push1 + z2 * push2 - z1 * z2, axis=1)
    return 2.0 * tf.reduce_mean(pairs)


def information(z1, z2, second_moment):
    """J - 1, which bounds the chi-square information of the views."""
    attraction = 2.0 * tf.reduce_mean(tf.reduce_sum(z1 * z2, axis=1))
    z = tf.concat([z1, z2], axis=0)
    repulsion = tf.reduce_sum(z * tf.matmul(z, second_moment), axis=1)
    return attraction - tf.reduce_mean(repulsion) - 1.0


def main(steps: int = STEPS) -> float:
    """Trains, and returns the kNN accuracy (k = 200) of the features."""
    keras.utils.set_random_seed(0)
    train, test = (minc_tf.data.load("shapes", s) for s in ("train", "test"))
    configs = minc_tf.augment.presets.simclr(
        32, strength=0.5, blur=False, area=(0.5, 1.0)
    )
    views = minc_tf.augment.MultiView(configs, size=32)
    encoder = minc_tf.models.small_resnet(filters=(32, 64, 128))
    projector = minc_tf.models.mlp(128, (512, DIM))
    weights = encoder.trainable_variables + projector.trainable_variables
    rate = minc_tf.optimizers.warmup_cosine(
        8e-3, steps=steps, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.05)
    optimizer.build(weights)
    second_moment = tf.Variable(tf.zeros((DIM, DIM)), trainable=False)
    trend = tf.Variable(tf.zeros((DIM, DIM)), trainable=False)

    def embed(view1, view2):
        images = tf.concat([view1, view2], axis=0)
        z = projector(encoder(images, training=True), training=True)
        return tf.split(clip_norm(z), 2)

    @tf.function
    def step(view1, view2):
        with tf.GradientTape() as tape:
            z1, z2 = embed(view1, view2)
            held = tf.stop_gradient(z1), tf.stop_gradient(z2)
            moved = update(second_moment, trend, *held)
            second_moment.assign(moved[0])
            trend.assign(moved[1])
            loss = minc_loss(z1, z2, second_moment)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )
        return information(z1, z2, second_moment)

    batches = minc_tf.data.view_batches(train, views, BATCH).take(steps)
    # An arbitrary start would make the first steps blow up.
    second_moment.assign(batch_moment(*embed(*next(iter(batches)))))
    for index, (view1, view2) in enumerate(batches, start=1):
        found = step(view1, view2)
        if index % 200 == 0 or index == steps:
            print(f"step {index:4d}  chi-square information {found:.3f}")

    features = [
        minc_tf.evaluation.extract(encoder, minc_tf.data.eval_batches(s, 256))
        for s in (train, test)
    ]
    accuracy = minc_tf.evaluation.knn_accuracy(*features[0], *features[1])
    print(f"kNN accuracy {100 * accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
