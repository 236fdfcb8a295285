"""Stand-ins for TensorFlow Serving: its messages, around a real SavedModel.

As the server does, they run the graph in a session, by the names of tensors
that each signature records. What they leave out: batching, several versions,
classify and regress, REST by rows.
"""

import base64
import contextlib
import http.server
import json
import re
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

#: As grpc_status_util.cc of TensorFlow Serving cuts messages.
MESSAGE_LIMIT = 1024


class ServedModel:
    """A version of a SavedModel under a name.

    Args:
        name: str, as in models.config.
        path: path of the version's folder.
        version: int.
    """

    def __init__(self, name, path, version=1):
        self.name = name
        self.version = version
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(path)
            )
        self.signatures = meta_graph.signature_def

    def run(self, signature_name, inputs):
        """Run a signature; a dict of arrays in, a dict of arrays out."""
        signature = self.signatures[signature_name or "serving_default"]
        feed = {signature.inputs[k].name: v for k, v in inputs.items()}
        fetch = {k: v.name for k, v in signature.outputs.items()}
        return self._session.run(fetch, feed)

    def dtype(self, signature_name, input_name):
        """The NumPy type of an input."""
        signature = self.signatures[signature_name or "serving_default"]
        return tf.as_dtype(signature.inputs[input_name].dtype).as_numpy_dtype

    def status(self):
        """The answer to a question for its status."""
        return status_response(self.version, "AVAILABLE")


def status_response(version, state):
    """What a server says of a version in a state, such as LOADING."""
    response = get_model_status_pb2.GetModelStatusResponse()
    status = response.model_version_status.add(version=version)
    status.state = status.State.Value(state)
    return response


def message_of(error):
    """The message as C++ has it, without what Python puts in front."""
    return error.message.removeprefix("Graph execution error:\n\n")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers Predict and GetModelMetadata for one model."""

    def __init__(self, model):
        self._model = model

    def Predict(self, request, context):  # noqa: N802
        """Run the signature that the request names."""
        self._check_name(request, context)
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        name = request.model_spec.signature_name
        try:
            outputs = self._model.run(name, inputs)
        except tf.errors.InvalidArgumentError as error:
            message = message_of(error)
            if len(message) > MESSAGE_LIMIT:
                message = message[:MESSAGE_LIMIT] + "...TRUNCATED"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = self._model.name
        response.model_spec.version.value = self._model.version
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(_as_fields(value))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        """Return the signatures."""
        self._check_name(request, context)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self._model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self._model.name
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _check_name(self, request, context):
        name = request.model_spec.name
        if name != self._model.name:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Latest({name})",
            )


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Answers GetModelStatus for one model."""

    def __init__(self, model):
        self._model = model

    def GetModelStatus(self, request, context):  # noqa: N802
        """Say that the model is ready."""
        return self._model.status()


def _as_fields(array):
    """As the server packs tensors: a field of values, not of bytes."""
    proto = tf.make_tensor_proto(array)
    proto.tensor_content = b""
    proto.float_val.extend(array.ravel().tolist())
    return proto


@contextlib.contextmanager
def serve_grpc(model):
    """Serve a model by gRPC on a free port; yields host:port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(2),
        options=[("grpc.max_receive_message_length", -1)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(model), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(model), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _rest_handler(model):
    """The class of a handler of REST's JSON for one model."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != f"/v1/models/{model.name}":
                return self._not_found()
            answer = json_format.MessageToJson(
                model.status(),
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            return self._reply(200, answer)

        def do_POST(self):
            if self.path != f"/v1/models/{model.name}:predict":
                return self._not_found()
            length = int(self.headers["Content-Length"])
            request = json.loads(self.rfile.read(length))
            name = request.get("signature_name")
            inputs = {
                key: np.array(_decoded(value), model.dtype(name, key))
                for key, value in request["inputs"].items()
            }
            try:
                outputs = model.run(name, inputs)
            except tf.errors.InvalidArgumentError as error:
                return self._refuse(400, message_of(error))
            outputs = {key: value.tolist() for key, value in outputs.items()}
            if len(outputs) == 1:
                (outputs,) = outputs.values()
            return self._reply(200, json.dumps({"outputs": outputs}, indent=4))

        def log_message(self, *args):
            """Say nothing."""

        def _not_found(self):
            name = re.split("[/:]", self.path)[3]
            message = f"Could not find any versions of model {name}"
            self._refuse(404, message)

        def _refuse(self, status, message):
            self._reply(status, json.dumps({"error": message}))

        def _reply(self, status, text):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

    return Handler


def _decoded(value):
    """What JSON stands for: `{"b64": ...}` for bytes, in lists of any depth."""
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value


@contextlib.contextmanager
def serve_rest(model):
    """Serve a model by REST on a free port; yields host:port."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), _rest_handler(model)
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
