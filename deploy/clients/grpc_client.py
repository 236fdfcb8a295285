"""Embed images with TensorFlow Serving, by gRPC.

    python deploy/clients/grpc_client.py photo.jpg logo.png --out vectors

Or pixels already in the model's size, uint8 (H, W, 3) as NumPy saves them, in
the range that the manifest of the export asks for:

    python deploy/clients/grpc_client.py crop.npy --manifest manifest.json

Needs tensorflow-serving-api, and TensorFlow with it: the messages contain some
of TensorFlow's, which its package alone defines. rest_client.py needs neither.
"""

import argparse
import json
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
    server: str,
    model_name: str,
    images: list[bytes] | np.ndarray,
    timeout: float,
) -> dict[str, np.ndarray]:
    """Ask a server for the features and embeddings of images.

    Args:
        server: str, host:port.
        model_name: str, as in models.config.
        images: list of bytes, JPEG or PNG files; or an array for serve_views,
            as `read_views` returns it.
        timeout: float, seconds.

    Returns:
        Dict of `features`, float32 (B, F), and `embedding`, float32 (B, k).

    Raises:
        grpc.RpcError: the server cannot be reached, or refuses.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    signature, name = "serve_bytes", "image_bytes"
    if isinstance(images, np.ndarray):
        signature, name = "serve_views", "images"
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(images))
    # By default gRPC takes no answer above 4 MiB.
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=timeout)
    outputs = response.outputs
    return {name: tf.make_ndarray(outputs[name]) for name in sorted(outputs)}


def read_views(paths: list[str], manifest: dict) -> np.ndarray:
    """Read images of the model's size, in the range that the model expects.

    Args:
        paths: list of str, .npy files of uint8 (H, W, 3).
        manifest: dict, the manifest of the export.

    Returns:
        float32 array (B, H, W, 3).

    Raises:
        ValueError: a file has other contents.
    """
    try:
        taken = manifest["signatures"]["serve_views"]["images"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            "the manifest does not say what serve_views takes: export again"
        ) from error
    wanted = tuple(taken["shape"][1:])
    views = []
    for path in paths:
        pixels = np.load(path)
        if (pixels.dtype, pixels.shape) != (np.uint8, wanted):
            raise ValueError(
                f"{path} must be uint8 of shape {wanted}; received "
                f"{pixels.dtype} of shape {pixels.shape}"
            )
        views.append(pixels)
    # A server cannot tell images of a wrong range from dark ones.
    low, high = taken["value_range"]
    return np.stack(views).astype(np.float32) * ((high - low) / 255) + low


def one_line(message: str) -> str:
    """Bring an error of TensorFlow into one line, without names of nodes."""
    message = re.sub(r"\[\[\{\{.*?\}\}\]\]", "", message)
    return " ".join(message.split())


def main() -> None:
    """Embed the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="JPEG or PNG files")
    parser.add_argument(
        "--manifest", help="of the export; the files are then .npy, see above"
    )
    parser.add_argument("--server", default="127.0.0.1:8500", help="host:port")
    parser.add_argument("--model_name", default="encoder", help="as served")
    parser.add_argument("--out", help="folder for an .npy file of each output")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    args = parser.parse_args()
    parts, first = [], "image_bytes[0]"
    try:
        if args.manifest:
            manifest = json.loads(pathlib.Path(args.manifest).read_bytes())
            first = "images[0]"
        for start in range(0, len(args.images), BATCH):
            paths = args.images[start : start + BATCH]
            if args.manifest:
                images = read_views(paths, manifest)
            else:
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
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except grpc.RpcError as error:
        reason = f"{error.code().name}: {one_line(error.details())}"
        if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
            reason += f"; {first} is {paths[0]}"
        sys.exit(f"error: {args.server}: {reason}")


if __name__ == "__main__":
    main()
