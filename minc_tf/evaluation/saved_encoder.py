"""An exported encoder, loaded."""

import os
from collections.abc import Callable

import tensorflow as tf

from minc_tf.export import find_version, read_manifest


class SavedEncoder:
    """An exported encoder, loaded; made by `load_savedmodel`.

    Attributes:
        path: str, the version folder.
        manifest: dict, see `minc_tf.export.read_manifest`; `None` for a
            SavedModel that `minc_tf` did not write.
        signatures: sorted list of the names of its signatures.

    Args:
        path: str, a version folder.

    Example:
    ```python
    encoder = minc_tf.evaluation.load_savedmodel("savedmodels/shapes")
    encode = encoder.signature("features")
    encode(tf.zeros((1, 32, 32, 3)))  # (1, F)
    ```
    """

    def __init__(self, path: str):
        self.path = path
        self.manifest = read_manifest(path)
        # Signatures do not keep the variables alive: the module must be held.
        self._module = tf.saved_model.load(path)
        self.signatures = sorted(self._module.signatures)

    def signature(self, name: str) -> Callable:
        """Return one signature as a function of a batch of images.

        Args:
            name: str, such as `"features"` or `"embedding"`.

        Returns:
            Function from images (B, H, W, 3), 0..255, any dtype, to the
            float32 tensor of the signature.

        Raises:
            ValueError: there is no such signature.

        Example:
        ```python
        features = encoder.signature("features")(images)
        ```
        """
        function, argument, spec = self._entry(name)
        outputs = list(function.structured_outputs)
        key = name if name in outputs else outputs[0]

        def encode(images):
            check_image_shape(images.shape[1:], spec.shape[1:])
            return function(**{argument: tf.cast(images, spec.dtype)})[key]

        return encode

    def image_shape(self, name: str = "serving_default") -> tf.TensorShape:
        """Return the size of the images that a signature takes.

        Args:
            name: str, the signature.

        Returns:
            `tf.TensorShape` (H, W, 3), in pixels.

        Raises:
            ValueError: there is no such signature.

        Example:
        ```python
        encoder.image_shape().as_list()  # [32, 32, 3]
        ```
        """
        return self._entry(name)[2].shape[1:]

    def trainable(self):
        """Return the encoder as it can be trained, weights and all.

        Training changes the weights of the signatures, too, but no file.

        Returns:
            The loaded object: a function of float32 images and `training`
            that returns the features, with the attributes `variables` and
            `trainable_variables`.

        Raises:
            ValueError: it has none to train.

        Example:
        ```python
        network = encoder.trainable()
        network(images, training=True)  # (B, F)
        ```

        Source: https://www.tensorflow.org/hub/reusable_saved_models
        """
        weights = getattr(self._module, "trainable_variables", ())
        if not callable(self._module) or not len(weights):
            raise ValueError(
                "path must be a SavedModel with a function and weights to "
                "train, as export_savedmodel writes them (but did not always: "
                f"export again), received {self.path!r}"
            )
        return self._module

    def _entry(self, name):
        """Return a signature, and the name and spec of its one argument."""
        if name not in self.signatures:
            raise ValueError(
                f"output must be one of {', '.join(self.signatures)}, the "
                f"signatures of {self.path!r}, received {name!r}"
            )
        function = self._module.signatures[name]
        ((argument, spec),) = function.structured_input_signature[1].items()
        return function, argument, spec


def load_savedmodel(path: str | os.PathLike) -> SavedEncoder:
    """Load an exported encoder.

    Args:
        path: a version folder, or the folder of versions, of which the latest
            is taken.

    Returns:
        A `SavedEncoder`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.

    Example:
    ```python
    encoder = minc_tf.evaluation.load_savedmodel("savedmodels/shapes")
    encoder.signatures  # ['embedding', 'features', 'serving_default']
    ```
    """
    return SavedEncoder(find_version(path))


def output_function(encoder: SavedEncoder, output: str) -> Callable:
    """Return the function of a signature, without a constant coordinate.

    Args:
        encoder: `SavedEncoder`.
        output: str, the signature.

    Returns:
        Function from images (B, H, W, 3), 0..255, to a float32 tensor (B, D).
        Of an `"embedding"` that the manifest calls ordered the first
        coordinate, the constant function, is left out.

    Raises:
        ValueError: there is no such signature.

    Example:
    ```python
    encoder = minc_tf.evaluation.load_savedmodel("savedmodels/shapes")
    encode = output_function(encoder, "embedding")
    ```
    """
    encode = encoder.signature(output)
    ordered = (encoder.manifest or {}).get("embedding_ordered")
    if output != "embedding" or not ordered:
        return encode
    return lambda images: encode(images)[:, 1:]


def check_image_shape(received, expected) -> None:
    """Refuse images of another size than a model's.

    Args:
        received: shape (H, W, C) of images.
        expected: shape that the model takes; None where any will do.

    Raises:
        ValueError: the shapes do not fit.

    Example:
    ```python
    check_image_shape((32, 32, 3), (None, None, 3))
    ```
    """
    if not tf.TensorShape(received).is_compatible_with(expected):
        raise ValueError(
            f"images must have shape {tuple(expected)}, which the model was "
            f"built for, received {tuple(received)}"
        )
