"""Image representations from unlabelled images, on TensorFlow and Keras 3."""

from minc_tf import objectives

__all__ = ["objectives"]
