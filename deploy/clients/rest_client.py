"""Embed images with TensorFlow Serving, by REST.

    python deploy/clients/rest_client.py photo.jpg logo.png --out vectors

Or pixels already in the model's size, uint8 (H, W, 3) as NumPy saves them, in
the range that the manifest of the export asks for:

    python deploy/clients/rest_client.py crop.npy --manifest manifest.json

Needs Python alone.
"""

import argparse
import array
import base64
import http
import http.client
import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.request

#: Images in a request; at most max_batch_size of batching.config.
BATCH = 32


def predict(
    server: str, model_name: str, images: list, timeout: float
) -> dict[str, list[list[float]]]:
    """Ask a server for the features and embeddings of images.

    Args:
        server: str, host:port.
        model_name: str, as in models.config.
        images: list of bytes, JPEG or PNG files; or of nested lists for
            serve_views, as `read_view` returns them.
        timeout: float, seconds.

    Returns:
        Dict of `features`, B lists of F floats, and `embedding`, B of k.

    Raises:
        urllib.error.HTTPError: the server refuses.
        OSError, http.client.HTTPException: the server cannot be reached, does
            not answer in time, or does not speak HTTP.
    """
    body = {"signature_name": "serve_views", "inputs": {"images": images}}
    if isinstance(images[0], bytes):
        encoded = [{"b64": base64.b64encode(data).decode()} for data in images]
        body = {
            "signature_name": "serve_bytes",
            "inputs": {"image_bytes": encoded},
        }
    request = urllib.request.Request(
        f"http://{server}/v1/models/{model_name}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        outputs = json.load(answer)["outputs"]
    return {name: outputs[name] for name in sorted(outputs)}


def read_view(path: str, manifest: dict) -> list:
    """Read an image of the model's size, in the range that the model expects.

    Args:
        path: str, an .npy file of uint8 (H, W, 3).
        manifest: dict, the manifest of the export.

    Returns:
        H lists of W lists of 3 floats.

    Raises:
        ValueError: the file has other contents.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    try:
        taken = manifest["signatures"]["serve_views"]["images"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            "the manifest does not say what serve_views takes: export again"
        ) from error
    height, width, channels = taken["shape"][1:]
    contents = pathlib.Path(path).read_bytes()
    start = 10 + int.from_bytes(contents[8:10], "little")
    shape, size = (height, width, channels), len(contents) - start
    wanted = f"{{'descr':'|u1','fortran_order':False,'shape':{shape},}}"
    header = contents[10:start].decode("latin1").split()
    known = contents.startswith(b"\x93NUMPY\x01")
    known = known and "".join(header) == wanted.replace(" ", "")
    if not known or size != height * width * channels:
        raise ValueError(f"{path} must be uint8 of shape {shape}")
    # A server cannot tell images of a wrong range from dark ones.
    low, high = taken["value_range"]
    values = [low + i * (high - low) / 255 for i in range(256)]
    floats = [values[pixel] for pixel in contents[start:]]
    pixels = [floats[i : i + channels] for i in range(0, size, channels)]
    return [pixels[i : i + width] for i in range(0, len(pixels), width)]


def write_npy(path: str, rows: list[list[float]]) -> None:
    """Write lists of floats, all of one length, as NumPy's float32 file.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    order = "<" if sys.byteorder == "little" else ">"
    shape = (len(rows), len(rows[0]))
    header = f"{{'descr': '{order}f4', 'fortran_order': False, 'shape': {shape}"
    # Ends at a multiple of 64 bytes, of which ten come before it.
    header += ", }" + " " * (-(len(header) + 14) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little"))
        file.write(header.encode("latin1"))
        for row in rows:
            array.array("f", row).tofile(file)


def error_message(answer: bytes) -> str:
    """Find the message in a refusal, in one line, without names of nodes."""
    try:
        message = json.loads(answer)["error"]
    except (ValueError, LookupError, TypeError):  # of a proxy, perhaps
        message = answer.decode(errors="replace")
    message = re.sub(r"\[\[\{\{.*?\}\}\]\]", "", message)
    return " ".join(message.split())


def main() -> None:
    """Embed the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", help="JPEG or PNG files")
    parser.add_argument(
        "--manifest", help="of the export; the files are then .npy, see above"
    )
    parser.add_argument("--server", default="127.0.0.1:8501", help="host:port")
    parser.add_argument("--model_name", default="encoder", help="as served")
    parser.add_argument("--out", help="folder for an .npy file of each output")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    args = parser.parse_args()
    vectors, first = {}, "image_bytes[0]"
    try:
        if args.manifest:
            manifest = json.loads(pathlib.Path(args.manifest).read_bytes())
            first = "images[0]"
        for start in range(0, len(args.images), BATCH):
            paths = args.images[start : start + BATCH]
            if args.manifest:
                images = [read_view(path, manifest) for path in paths]
            else:
                images = [pathlib.Path(path).read_bytes() for path in paths]
            found = predict(args.server, args.model_name, images, args.timeout)
            for name, rows in found.items():
                vectors.setdefault(name, []).extend(rows)
        if args.out:
            os.makedirs(args.out, exist_ok=True)
        for name, rows in vectors.items():
            print(name, (len(rows), len(rows[0])))
            if args.out:
                write_npy(os.path.join(args.out, f"{name}.npy"), rows)
    except urllib.error.HTTPError as error:
        reason = f"{error.code}: {error_message(error.read())}"
        if error.code == http.HTTPStatus.BAD_REQUEST:
            reason += f"; {first} is {paths[0]}"
        sys.exit(f"error: {args.server}: {reason}")
    except urllib.error.URLError as error:
        sys.exit(f"error: {args.server}: {error.reason}")
    except (TimeoutError, http.client.HTTPException) as error:
        reason = f"no answer by HTTP ({type(error).__name__})"
        sys.exit(f"error: {args.server}: {reason}; is it the port of REST?")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
