"""An exported encoder, loaded."""

import os
from collections.abc import Callable

import tensorflow as tf

from minc_tf._checks import check_image_shape
from minc_tf.export.manifest import read_manifest
from minc_tf.export.value_range import (
    PIXELS,
    check_value_range,
    from_pixels,
)
from minc_tf.export.versions import find_version

#: What TensorFlow raises on loading what is damaged or no SavedModel.
_UNREADABLE = (
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)

#: The signature of decoded images that returns what is served, and its outputs.
_SERVED, _SERVED_OUTPUTS = "serve_views", ("features", "embedding")


class SavedEncoder:
    """An exported encoder, loaded; made by `load_savedmodel`.

    Attributes:
        path: str, the version folder.
        manifest: dict, see `minc_tf.export.read_manifest`; `None` for a
            SavedModel that `minc_tf` did not write.
        signatures: sorted list of the names of its signatures.
        value_range: tuple of the values of black and white of the float
            images that it takes. Its functions here take 0..255 all the same.

    Args:
        path: str, a version folder.

    Raises:
        ValueError: the folder is damaged, or has no signatures.

    Example:
    ```python
    encoder = minc_tf.export.load_savedmodel("savedmodels/shapes")
    encode = encoder.signature("features")
    encode(tf.zeros((1, 32, 32, 3)))  # (1, F)
    ```
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = _manifest(path)
        self.value_range = _value_range(path, self.manifest)
        # Signatures do not keep the variables alive: the module must be held.
        self._module = _module(path)
        self.signatures = sorted(getattr(self._module, "signatures", ()))
        if not self.signatures:
            raise ValueError(
                "path must be a SavedModel with signatures; received "
                f"{path!r}, which has none"
            )

    def signature(self, name: str, key: str | None = None) -> Callable:
        """Return one signature as a function of a batch of images.

        Args:
            name: str, such as `"features"` or `"embedding"`.
            key: str, which of its outputs; by default the one of its own name,
                or the only one.

        Returns:
            Function from images (B, H, W, 3), 0..255, any dtype, to the
            float32 tensor of the signature.

        Raises:
            ValueError: there is no such signature, or it does not make vectors
                of images.

        Example:
        ```python
        features = encoder.signature("features")(images)
        ```
        """
        function, argument, spec = self._entry(name)
        key, _ = self._output(name, key)

        def encode(images):
            check_image_shape(images.shape[1:], spec.shape[1:])
            if spec.dtype.is_floating:
                images = _in_range(images, self.value_range)
            return function(**{argument: tf.cast(images, spec.dtype)})[key]

        return encode

    def encoder_function(
        self, output: str = "features", *, as_served: bool = False
    ) -> Callable:
        """Return the function from images to vectors of an output.

        Of an `"embedding"` whose first coordinate is the constant function, as
        the manifest says, that one is left out.

        Args:
            output: str, the signature.
            as_served: bool, whether vectors are those of `serving_default`,
                as the options of the export cut and scaled them. Exports that
                are older or from elsewhere have no others.

        Returns:
            Function from images (B, H, W, 3), 0..255, any dtype, to a float32
            tensor (B, D).

        Raises:
            ValueError: as `signature`.

        Example:
        ```python
        encode = encoder.encoder_function("embedding")
        encode(images)  # (B, 127)
        ```
        """
        encode = self.signature(output)
        served = _SERVED in self.signatures and output in _SERVED_OUTPUTS
        if as_served and served:
            return self.signature(_SERVED, output)
        if not self._has_constant(output):
            return encode
        return lambda images: encode(images)[:, 1:]

    def image_shape(self, name: str | None = None) -> tf.TensorShape:
        """Return the size of the images that a signature takes.

        Args:
            name: str, the signature; by default `"features"`, or where that
                does not exist `"serving_default"`, or the first.

        Returns:
            `tf.TensorShape` (H, W, 3), in pixels.

        Raises:
            ValueError: there is no such signature, or it takes no images.

        Example:
        ```python
        encoder.image_shape().as_list()  # [32, 32, 3]
        ```
        """
        if name is None:
            usual = ("features", "serving_default", *self.signatures)
            name = next(n for n in usual if n in self.signatures)
        return self._entry(name)[2].shape[1:]

    def dim(self, name: str) -> int | None:
        """Return the length of the vectors that a signature returns.

        Args:
            name: str, the signature.

        Returns:
            int; `None` where the SavedModel does not tell.

        Raises:
            ValueError: as `signature`.

        Example:
        ```python
        encoder.dim("features")  # 512
        ```
        """
        shape = self._output(name)[1].shape
        return None if shape.rank is None else shape[-1]

    def encoder_dim(self, output: str = "features") -> int | None:
        """Return the length of the vectors of `encoder_function`.

        As `dim`, but without a coordinate that is left out there.
        """
        dim = self.dim(output)
        return None if dim is None else dim - self._has_constant(output)

    def trainable(self) -> Callable:
        """Return the encoder as it can be trained, weights and all.

        Training changes the weights of the signatures, too, but no file.

        Returns:
            The loaded object: a function of float32 images, 0..255, and
            `training` that returns the features, with the attributes
            `variables` and `trainable_variables`. Of an export for another
            range, a function like it that brings images to that range.

        Raises:
            ValueError: it has none to train.

        Example:
        ```python
        network = encoder.trainable()
        network(images, training=True)  # (B, F)
        ```

        Source: https://www.tensorflow.org/hub/reusable_saved_models
        """
        module = self._module
        weights = getattr(module, "trainable_variables", ())
        known = hasattr(module, "variables") and len(weights)
        if not callable(module) or not known:
            raise not_trainable(self.path)
        if self.value_range == PIXELS:
            return module
        return _InRange(module, self.value_range)

    def _has_constant(self, output):
        """Whether an output's first coordinate is the constant function."""
        manifest = self.manifest or {}
        ordered = bool(manifest.get("embedding_ordered"))
        # Older manifests do not say, and all dropped it.
        served = manifest.get("served_embedding") or {}
        constant = ordered and served.get("constant_dropped", True)
        return output == "embedding" and constant

    def _entry(self, name):
        """Return a signature, and the name and spec of its one argument."""
        if name not in self.signatures:
            raise ValueError(
                f"output must be one of {', '.join(self.signatures)}, the "
                f"signatures of {self.path!r}; received {name!r}"
            )
        function = self._module.signatures[name]
        inputs = function.structured_input_signature[1]
        specs = list(inputs.values())
        if len(specs) != 1 or not _is_batch(specs[0], (None, 4)):
            raise ValueError(
                f"signature {name!r} of {self.path!r} must take one tensor of "
                "numbers, a batch of images of any size; received the inputs "
                f"{_described(inputs)}"
            )
        return function, *next(iter(inputs.items()))

    def _output(self, name, key=None):
        """Return the key of a signature's vectors, and their spec."""
        outputs = self._entry(name)[0].structured_outputs
        wanted = key or name
        only = len(outputs) == 1 and key is None
        key = next(iter(outputs)) if only else wanted
        if (
            key not in outputs
            or not outputs[key].dtype.is_floating
            or not _is_batch(outputs[key], (None, 2))
        ):
            raise ValueError(
                f"signature {name!r} of {self.path!r} must return floats of "
                "shape (batch, features), one output or one of the name "
                f"{wanted!r}; received the outputs {_described(outputs)}"
            )
        return key, outputs[key]


class _InRange:
    """A loaded encoder as a function of images of 0..255."""

    def __init__(self, module, value_range):
        self.variables = module.variables
        self.trainable_variables = module.trainable_variables
        self._module = module  # held for its variables
        self._value_range = value_range

    def __call__(self, images, training=False):
        images = _in_range(images, self._value_range)
        return self._module(images, training=training)


def load_savedmodel(path: str | os.PathLike | SavedEncoder) -> SavedEncoder:
    """Load an exported encoder.

    Args:
        path: a version folder, or the folder of versions, of which the latest
            is taken; or a `SavedEncoder`, which is returned as it is.

    Returns:
        A `SavedEncoder`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        ValueError: it is damaged, or has no signatures.

    Example:
    ```python
    encoder = minc_tf.export.load_savedmodel("savedmodels/shapes")
    encoder.signatures  # ['embedding', 'features', 'serve_bytes', ...]
    ```
    """
    if isinstance(path, SavedEncoder):
        return path
    return SavedEncoder(find_version(path))


def not_trainable(path: str) -> ValueError:
    """The error of a SavedModel that has signatures, but cannot be trained."""
    return ValueError(
        "path must be a SavedModel that can be trained, with a function and "
        "weights as export_savedmodel writes them (but did not always: export "
        f"again); received {path!r}"
    )


def _manifest(path):
    """The manifest of a version folder; None where there is none."""
    try:
        manifest = read_manifest(path)
    except ValueError as error:
        raise ValueError(
            f"the manifest of {path!r} must be JSON; it is damaged: {error}"
        ) from error
    if manifest is None:
        return None
    recipe = manifest.get("recipe") if isinstance(manifest, dict) else manifest
    if not isinstance(manifest, dict) or not isinstance(
        recipe, (dict, type(None))
    ):
        raise ValueError(
            f"the manifest of {path!r} must be a dict, and its recipe, too; it "
            f"is damaged: received {recipe!r}"
        )
    return manifest


def _value_range(path, manifest):
    """The range of float images; 0..255 where the manifest says nothing."""
    preprocessing = (manifest or {}).get("preprocessing") or {}
    try:
        return check_value_range(preprocessing.get("pixel_range", PIXELS))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"the manifest of {path!r} must give preprocessing.pixel_range as "
            f"two numbers; it is damaged: received {preprocessing!r}"
        ) from error


def _in_range(images, value_range):
    if value_range == PIXELS:
        return images
    return from_pixels(tf.cast(images, tf.float32), value_range)


def _module(path):
    try:
        return tf.saved_model.load(path)
    except _UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"path {path!r} is damaged or no SavedModel: {reason}"
        ) from error


def _is_batch(spec, ranks):
    """Whether a spec is of numbers, of such a rank, for batches of any size."""
    numeric = spec.dtype.is_floating or spec.dtype.is_integer
    if not numeric or spec.shape.rank not in ranks:
        return False
    return spec.shape.rank is None or spec.shape[0] is None


def _described(specs):
    """Names, types and shapes of tensors, as text."""
    found = sorted(f"{k}: {v.dtype.name} {v.shape}" for k, v in specs.items())
    return ", ".join(found) or "none"
