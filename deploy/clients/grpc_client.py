"""Embed images with TensorFlow Serving, by gRPC.

    python deploy/clients/grpc_client.py photo.jpg logo.png --out vectors

Needs tensorflow-serving-api, and TensorFlow with it: the messages contain some
of TensorFlow's, which its package alone defines. rest_client.py needs neither.
"""

import argparse
import os
import pathlib
import re
import sys

# TensorFlow's start-up messages say nothing about the request.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

#: Images in a request; at most max_batch_size of batching.config.
BATCH = 32


def predict(
    server: str, model_name: str, images: list[bytes], timeout: float
) -> dict[str, np.ndarray]:
    """Ask a server for the features and embeddings of encoded images.

    Args:
        server: str, host:port.
        model_name: str, as in models.config.
        images: list of bytes, JPEG or PNG files.
        timeout: float, seconds.

    Returns:
        Dict of `features`, float32 (B, F), and `embedding`, float32 (B, k).

    Raises:
        grpc.RpcError: the server cannot be reached, or refuses.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = "serve_bytes"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    # By default gRPC takes no answer above 4 MiB.
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=timeout)
    outputs = response.outputs
    return {name: tf.make_ndarray(outputs[name]) for name in sorted(outputs)}


def one_line(message: str) -> str:
    """Bring an error of TensorFlow into one line, without names of nodes."""
    message = re.sub(r"\[\[\{\{.*?\}\}\]\]", "", message)
    return " ".join(message.split())


def main() -> None:
    """Embed the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="JPEG or PNG files")
    parser.add_argument("--server", default="127.0.0.1:8500", help="host:port")
    parser.add_argument("--model_name", default="encoder", help="as served")
    parser.add_argument("--out", help="folder for an .npy file of each output")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    args = parser.parse_args()
    parts = []
    try:
        for start in range(0, len(args.images), BATCH):
            paths = args.images[start : start + BATCH]
            images = [pathlib.Path(path).read_bytes() for path in paths]
            parts.append(
                predict(args.server, args.model_name, images, args.timeout)
            )
        if args.out:
            os.makedirs(args.out, exist_ok=True)
        for name in parts[0]:
            array = np.concatenate([part[name] for part in parts])
            print(name, array.shape)
            if args.out:
                np.save(os.path.join(args.out, f"{name}.npy"), array)
    except OSError as error:
        sys.exit(f"error: {error}")
    except grpc.RpcError as error:
        reason = f"{error.code().name}: {one_line(error.details())}"
        if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
            reason += f"; image_bytes[0] is {paths[0]}"
        sys.exit(f"error: {args.server}: {reason}")


if __name__ == "__main__":
    main()
