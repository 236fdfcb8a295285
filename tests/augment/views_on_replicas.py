"""A program: the views that two replicas make, and those of one device.

python views_on_replicas.py output.npz
"""

import sys

import numpy as np
import tensorflow as tf

from minc_tf.augment import TwoViews, presets


def main(path):
    results = {"imports_keras_cv": "keras_cv" in sys.modules}
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    images = tf.constant(np.tile(image, (8, 1, 1, 1)), tf.uint8)
    configs = presets.simclr(16, blur=False)

    one = TwoViews(configs, 16, seed=0)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        many = TwoViews(configs, 16, seed=0)
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: images[:4]
    )

    @tf.function
    def step(parts):
        return strategy.run(many, args=(parts,))

    for index in range(2):
        results[f"one/{index}"] = np.stack(one(images))
        views = [strategy.experimental_local_results(v) for v in step(parts)]
        # (replica, view, image, height, width, channel)
        results[f"replicas/{index}"] = np.stack(views).swapaxes(0, 1)
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1])
