"""Write a trained model for runtimes other than TensorFlow."""

import contextlib
import itertools
import os
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from minc_tf._checks import check_choice
from minc_tf.export.checks import (
    check_described,
    check_model,
    check_output,
    resolve_image_shape,
)
from minc_tf.export.manifest import (
    describe_inputs,
    make_manifest,
    write_manifest,
)
from minc_tf.export.runtimes import (
    INPUT,
    OUTPUTS,
    RUNTIMES,
    reason_of,
    silenced,
)
from minc_tf.export.served import features_of, served_embedding
from minc_tf.export.value_range import (
    PIXELS,
    check_value_range,
    from_pixels,
    to_pixels,
)
from minc_tf.export.versions import write_version

#: The most that an output may differ, as a share of its largest value.
TOLERANCE = 1e-5

#: Sizes of the batches on which an export is checked.
_BATCHES = (1, 3)

_HALF = ("bfloat16", "float16")


def export_runtime(
    model: keras.Model,
    directory: str | os.PathLike,
    format: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    version: int | None = None,
    dims: int | None = None,
    whiten: bool = False,
    normalize: bool = False,
    value_range: tuple[float, float] = PIXELS,
    recipe: dict | None = None,
    evaluation: list[dict] | None = None,
    data_licence: str | None = None,
) -> str:
    """Write a model's encoder and projector for ONNX, OpenVINO or LiteRT.

    The file takes `images`, float32 (B, H, W, 3) with values of `value_range`,
    0..255, and any B, and returns `features`, float32 (B, F), and `embedding`,
    float32 (B, k), as the signature `serve_views` of `export_savedmodel` does.

    Before the version appears, its runtime computes a seeded batch of 1 and
    one of 3 images of random pixels on the CPU. For each batch and output, the
    largest absolute difference from the Keras model must be at most 1e-5 of
    the largest absolute value.

    The file computes in float32, also where layers of `model` compute in
    bfloat16 or float16, which these runtimes do not take as Keras writes
    them; then the Keras model with float32 layers is what it must agree with.

    In `<directory>/<format>/<version>/`, which TensorFlow Serving does not see,
    are `model.onnx`, or `model.xml` and `model.bin`, or `model.tflite`; and
    `assets.extra/manifest.json`, as that of `export_savedmodel`, with `format`,
    with `inputs`, which describes `images`, instead of `signatures`, and with
    `checked`: a dict of `runtime`, `version` and `max_difference`, the largest
    share found.

    Args:
        model: a built `minc_tf.models.TwoViewModel`, or any object with
            `encoder`, `projector` and `objective`.
        directory: path of the folder that gets `<format>/<version>/`; made
            where missing.
        format: `"onnx"`, `"openvino"` or `"litert"`; each needs the packages
            of the extra of that name.
        image_shape: (H, W, 3), in pixels; `None` takes the encoder's own,
            which then must be fixed.
        version: positive int; `None` takes the next free one.
        dims: int, only the first coordinates of the embedding, which must be
            ordered; `None` for all.
        whiten: bool, divide each coordinate by the root of its eigenvalue.
        normalize: bool, scale embeddings to L2 norm 1, last of all.
        value_range: tuple of the values of black and of white in `images`;
            `(0, 1)` for callers who have such images.
        recipe: dict of the settings that `model` was trained with, as JSON
            can hold it; `None` where they are unknown.
        evaluation: list of dicts with `results`, as
            `minc_tf.evaluation.read_records` reads them.
        data_licence: str, the licence of the images it was trained on.

    Returns:
        The path of the new version folder.

    Raises:
        ImportError: a package of the format is not installed.
        TypeError: `model` lacks a part, or an argument is of a wrong type or
            cannot be held by JSON.
        ValueError: the format is unknown, has no operation for something that
            the model does, or gives other vectors; or as
            `export_savedmodel`.

    Example:
    ```python
    path = minc_tf.export.export_runtime(model, "savedmodels/shapes", "onnx")
    session = onnxruntime.InferenceSession(f"{path}/model.onnx")
    features, z = session.run(["features", "embedding"], {"images": images})
    ```

    Source: https://keras.io/api/models/model_saving_apis/export/
    """
    check_choice("format", format, RUNTIMES)
    runtime = RUNTIMES[format]
    runtime.require()
    check_model(model)
    check_described(recipe, evaluation, data_licence)
    value_range = check_value_range(value_range)
    image_shape = resolve_image_shape(model.encoder, image_shape)
    served = served_embedding(
        model, dims=dims, whiten=whiten, normalize=normalize
    )

    batches = _random_images(image_shape, value_range)
    spec = tf.TensorSpec((None, *image_shape), tf.float32, INPUT)
    with in_float32([model.encoder, *served.layers]):
        expected, embedding_dim = _expected(
            model.encoder,
            served,
            [to_pixels(images, value_range) for images in batches],
        )
        manifest = make_manifest(
            model,
            served,
            image_shape=image_shape,
            features_dim=expected[0]["features"].shape[-1],
            embedding_dim=embedding_dim,
            max_pixels=None,
            value_range=value_range,
            recipe=recipe,
            evaluation=evaluation,
            data_licence=data_licence,
        )

        def write(folder):
            path = os.path.join(folder, runtime.file)
            network = _Network(model.encoder, served, value_range)
            found = _convert_and_run(network, spec, runtime, path, batches)
            checked = {
                "runtime": runtime.name,
                "version": runtime.version,
                "max_difference": _check_equal(runtime, expected, found),
            }
            entries = {
                "format": format,
                "inputs": describe_inputs([spec], value_range),
                "checked": checked,
            }
            write_manifest(folder, {**manifest, **entries})

        return _write(os.path.join(directory, format), write, version)


class _Network(keras.Model):
    """Encoder and served embedding as one model that Keras can export.

    Not a functional model, which takes no two layers of one name.
    """

    def __init__(self, encoder, served, value_range):
        super().__init__(name="network", dtype="float32")
        self.encoder = encoder
        self.projector = served.layers  # tracked here, for their weights
        self.served = served
        self.value_range = value_range
        self.built = True

    def call(self, images):
        images = to_pixels(images, self.value_range)
        features = features_of(self.encoder, images)
        z = self.served.select(self.served.project(features))
        return {"features": features, "embedding": z}


@contextlib.contextmanager
def in_float32(layers: list[keras.Layer]) -> Iterator[None]:
    """Let layers of mixed precision compute in float32, for a while."""
    found = itertools.chain(*(each._flatten_layers() for each in layers))
    changes = [change for layer in found for change in _to_float32(layer)]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _to_float32(layer):
    """What to set for it, as (object, attribute, value)."""
    if layer.dtype_policy.name in ("mixed_bfloat16", "mixed_float16"):
        yield layer, "dtype_policy", "float32"
    for name, value in vars(layer).items():
        if isinstance(value, tf.Tensor) and value.dtype in _HALF:
            # A constant, as Normalization has.
            yield layer, name, tf.cast(value, tf.float32)
    if isinstance(layer, keras.layers.InputLayer) and layer.dtype in _HALF:
        # That of a Sequential without an Input, which takes its precision
        # from the layer that comes next.
        yield layer, "_dtype", "float32"
        yield layer.output, "_dtype", "float32"


def _random_images(image_shape, value_range):
    rng = np.random.default_rng(0)
    batches = [rng.uniform(0, 255, (n, *image_shape)) for n in _BATCHES]
    return [from_pixels(x, value_range).astype("float32") for x in batches]


def _expected(encoder, served, batches):
    """What Keras gives for each batch, and the dimension d of z."""
    found = []
    # On the CPU, for a GPU may round the inputs of products to 10 bits.
    with tf.device("CPU:0"):
        for images in batches:
            features = features_of(encoder, images)
            check_output("features", features.shape)
            z = served.project(features)
            check_output("embedding", z.shape)
            outputs = {"features": features, "embedding": served.select(z)}
            found.append(keras.tree.map_structure(np.asarray, outputs))
    for name in OUTPUTS:
        if not all(np.isfinite(outputs[name]).all() for outputs in found):
            raise ValueError(
                f"model must give finite {name}; received NaN or infinite "
                "values for images of random pixels; export an earlier "
                "checkpoint"
            )
    return found, z.shape[-1]


def _convert_and_run(network, spec, runtime, path, batches):
    """Write the file; return what the runtime computes with it."""
    try:
        with silenced():
            runtime.write(network, spec, path)
            run = runtime.load(path)
            return [run(images) for images in batches]
    except (OSError, MemoryError):
        raise
    except Exception as error:  # each has types of its own
        raise ValueError(
            f"format {runtime.format!r} cannot hold this model: "
            f"{reason_of(error)}"
        ) from error


def _check_equal(runtime, expected, found):
    """Return the largest share by which an output differs from Keras's."""
    largest = 0.0
    for ours, theirs in zip(expected, found, strict=True):
        for name in OUTPUTS:
            a, b = ours[name], theirs[name]
            if a.shape != b.shape:
                raise ValueError(
                    f"format {runtime.format!r} does not hold this model: "
                    f"{runtime.name} gives {name} of shape {b.shape}, Keras "
                    f"{a.shape}"
                )
            scale = max(np.abs(a).max(), np.finfo("float32").tiny)
            share = float(np.abs(b - a).max() / scale)
            if not share <= TOLERANCE:  # NaN is no agreement either
                raise ValueError(
                    f"format {runtime.format!r} does not hold this model: "
                    f"{name} of {runtime.name} {runtime.version} differ from "
                    f"Keras's by {share:.2g} of the largest value, more than "
                    f"{TOLERANCE:g}"
                )
            largest = max(largest, share)
    return largest


def _write(folder, write, version):
    """`write_version`, after whose failure no empty folder is left."""
    made = [
        path
        for path in (folder, os.path.dirname(folder))
        if not os.path.lexists(path)
    ]
    try:
        return write_version(folder, write, version)
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
