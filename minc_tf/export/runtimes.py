"""The runtimes other than TensorFlow: their files, and how to run one."""

import contextlib
import dataclasses
import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

#: What exported files take and return.
INPUT = "images"
OUTPUTS = ("features", "embedding")

#: The errors of exporters and runtimes about operations that they lack.
_UNKNOWN = re.compile(
    r"(?:No conversion rule found for operations"
    r"|no translator found for operation\(s\)): (?P<openvino>[\w, ]+)"
    r"|'tf\.(?P<litert>\w+)' op is neither a custom op nor a flex op"
    r"|No Op registered for (?P<onnx>\w+)"
)

#: The most characters of a foreign error that go into one of ours.
_LENGTH = 300


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A format that Keras exports to, and the runtime that reads it.

    `write` takes a model from images to a dict of `OUTPUTS`, the spec of the
    images, and a path; what `load` returns takes float32 (B, H, W, 3).
    """

    format: str  # Keras's name of it
    file: str  # its name; OpenVINO writes `.bin` beside it
    modules: tuple[str, ...]  # that are needed, the runtime's last
    write: Callable[[keras.Model, tf.TensorSpec, str], None]
    load: Callable[[str], Callable[[np.ndarray], dict]]

    def require(self) -> None:
        """Raise ImportError where a package is missing or does not load."""
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ImportError(
                    f"format {self.format!r} needs {module} ({error}); pip "
                    f"install minc_tf[{self.format}]"
                ) from error

    @property
    def name(self) -> str:
        """The runtime's module, as `onnxruntime`."""
        return self.modules[-1]

    @property
    def version(self) -> str:
        """The version of the runtime that is installed."""
        full = importlib.import_module(self.name).__version__
        return full.split("-")[0]  # OpenVINO's goes on with its build


class _Stateless(keras.Model):
    """A network that takes its weights as further inputs.

    tf2onnx copies constants at each of its many optimisations and frees none:
    100 times the weights. What else a graph has from outside, as the mean of a
    `Normalization`, it takes for inputs; that must become constants before.
    """

    def __init__(self, network, spec):
        super().__init__(name="stateless", dtype="float32")

        def compute(images, *weights):
            pairs = zip(network.variables, weights, strict=True)
            with keras.StatelessScope(state_mapping=pairs):
                return network(images)

        self.specs = [spec]
        for i, v in enumerate(network.variables):
            name = f"weight_{i}"
            self.specs.append(tf.TensorSpec(v.shape, v.dtype, name))
        traced = tf.function(compute).get_concrete_function(*self.specs)
        self._structure = traced.structured_outputs
        self._function = convert_variables_to_constants_v2(traced)
        self.built = True

    def call(self, *inputs):
        outputs = self._function(*inputs)  # a list
        return tf.nest.pack_sequence_as(self._structure, outputs)


def _write_onnx(network, spec, path):
    import onnx

    stateless = _Stateless(network, spec)
    stateless.export(
        path,
        format="onnx",
        verbose=False,
        input_signature=stateless.specs,
    )
    model = onnx.load(path)
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    for weight, value in zip(
        stateless.specs[1:], network.variables, strict=True
    ):
        if weight.name in used:
            value = keras.ops.convert_to_numpy(value)
            tensor = onnx.numpy_helper.from_array(value, weight.name)
            graph.initializer.append(tensor)
    images = [value for value in graph.input if value.name == INPUT]
    del graph.input[:]
    graph.input.extend(images)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, path)


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    return lambda images: dict(
        zip(OUTPUTS, session.run(OUTPUTS, {INPUT: images}), strict=True)
    )


def _write_openvino(network, spec, path):
    network.export(
        path, format="openvino", verbose=False, input_signature=[spec]
    )


def _load_openvino(path):
    import openvino

    compiled = openvino.Core().compile_model(
        path,
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},  # else bfloat16 where it is fast
    )

    def run(images):
        found = compiled({INPUT: images})
        return {name: found[name] for name in OUTPUTS}

    return run


def _write_litert(network, spec, path):
    # Keras would also allow TensorFlow's operations, for which the runtime
    # must be built with TensorFlow.
    operations = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    network.export(
        path,
        format="litert",
        verbose=False,
        input_signature=[spec],
        target_spec=operations,
    )


def _load_litert(path):
    from ai_edge_litert import interpreter

    loaded = interpreter.Interpreter(model_path=path)
    runner = loaded.get_signature_runner("serving_default")
    return lambda images: runner(**{INPUT: images})


_ALL = (
    Runtime(
        "onnx",
        "model.onnx",
        ("tf2onnx", "onnx", "onnxruntime"),
        _write_onnx,
        _load_onnx,
    ),
    Runtime(
        "openvino",
        "model.xml",
        ("openvino",),
        _write_openvino,
        _load_openvino,
    ),
    Runtime(
        "litert",
        "model.tflite",
        ("ai_edge_litert",),
        _write_litert,
        _load_litert,
    ),
)

#: By format.
RUNTIMES = {runtime.format: runtime for runtime in _ALL}


def reason_of(error: Exception) -> str:
    """Why a model does not convert: unknown operations, or the first words."""
    text = str(error)
    found = [m[m.lastgroup] for m in _UNKNOWN.finditer(text)]
    if found:
        unknown = {name.strip() for each in found for name in each.split(",")}
        return f"it has no operation for {', '.join(sorted(unknown))}"
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}..."


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what exporters print off the terminal, from C++ too."""
    streams = [s for s in (sys.stdout, sys.stderr) if s is not None]
    for stream in streams:
        stream.flush()
    saved = [os.dup(number) for number in (1, 2)]
    try:
        with contextlib.ExitStack() as stack:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            # In notebooks and tests these are not the files 1 and 2.
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
            yield
    finally:
        for stream in streams:
            stream.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
