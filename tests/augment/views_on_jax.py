"""A program: views of random images from random numbers, on JAX.

python views_on_jax.py output.npz
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import numpy as np

from minc_tf.augment import ViewConfig, device_views


def main(path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 23, 31, 3)).astype(np.uint8)
    numbers = rng.uniform(size=(20, 2, device_views.DRAWS))
    numbers = numbers.astype(np.float32)
    results = {"images": images, "numbers": numbers}
    for semantics in ("torchvision", "tf", "tf_byol"):
        config = ViewConfig(semantics=semantics, blur_kernel=5, solarize_p=0.5)

        @jax.jit
        def make(images, numbers, configs=(config, config)):
            chosen = device_views.draw_parameters(numbers, configs, 23, 31)
            return chosen, device_views.make_views(
                images, chosen, configs, (16, 16)
            )

        chosen, views = make(images, numbers)
        for name, values in chosen._asdict().items():
            results[f"{semantics}/{name}"] = np.asarray(values)
        results[f"{semantics}/views"] = np.stack(views)
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1])
