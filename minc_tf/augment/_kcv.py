"""The one place that imports keras-cv, whose last release is 0.9.0."""

from keras_cv.layers import VectorizedBaseImageAugmentationLayer

__all__ = ["VectorizedBaseImageAugmentationLayer"]
