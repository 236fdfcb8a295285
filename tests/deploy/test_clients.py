"""The clients of deploy/, against stand-ins that run an exported encoder."""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import types

import grpc
import keras
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from minc_tf.export import export_savedmodel, read_manifest

from . import servers
from .conftest import DEPLOY

CLIENTS = ["grpc_client", "rest_client"]
SCRIPT = DEPLOY / "clients" / "client.sh"

needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")),
    reason="curl and bash are not here",
)


@pytest.fixture
def addresses(grpc_server, rest_server):
    """The address that each client needs."""
    return {"grpc_client": grpc_server, "rest_client": rest_server}


@pytest.fixture
def client(monkeypatch, capsys):
    """Runs a client in this process, which has imported TensorFlow."""

    def run(name, *arguments):
        path = str(DEPLOY / "clients" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        capsys.readouterr()
        code = None
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = end.code
        out, _ = capsys.readouterr()
        return types.SimpleNamespace(out=out, code=code)

    return run


def free_address():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "{}:{}".format(*probe.getsockname())


def curl(*images, server):
    return subprocess.run(
        [str(SCRIPT), *map(str, images)],
        env={**os.environ, "SERVER": server, "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", CLIENTS)
def test_vectors_are_those_of_the_savedmodel(
    client, addresses, name, photos, expected, tmp_path
):
    folder = tmp_path / "vectors"
    server = addresses[name]
    result = client(name, *photos, "--server", server, "--out", folder)
    assert result.code is None
    assert result.out == "embedding (3, 4)\nfeatures (3, 6)\n"
    assert sorted(p.name for p in folder.iterdir()) == [
        "embedding.npy",
        "features.npy",
    ]
    for output, vectors in expected.items():
        found = np.load(folder / f"{output}.npy")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, vectors, atol=1e-5)


@pytest.mark.parametrize("name", CLIENTS)
def test_nothing_is_written_without_out(
    client, addresses, name, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = client(name, photos[0], "--server", addresses[name])
    assert result.out == "embedding (1, 4)\nfeatures (1, 6)\n"
    assert not list(tmp_path.iterdir())


def test_rest_needs_python_alone(rest_server, photos):
    path = DEPLOY / "clients" / "rest_client.py"
    # -S: without the packages of the environment.
    command = [sys.executable, "-I", "-S", path, photos[1]]
    result = subprocess.run(
        [*command, "--server", rest_server],
        env={"no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "embedding (1, 4)\nfeatures (1, 6)\n"


@pytest.mark.parametrize("name", CLIENTS)
def test_bad_images_are_named(client, addresses, name, photos, tmp_path):
    text, empty = tmp_path / "notes.jpg", tmp_path / "empty.jpg"
    text.write_text("not an image")
    empty.touch()
    server = addresses[name]
    result = client(name, photos[0], text, empty, "--server", server)
    assert result.code.startswith(f"error: {server}: ")
    assert "image_bytes[1] is neither JPEG nor PNG" in result.code
    assert "image_bytes[2] is empty" in result.code
    assert "\n" not in result.code
    assert "{{node" not in result.code
    assert not result.out


@pytest.mark.parametrize("name", CLIENTS)
def test_more_files_than_a_request_holds(
    client, addresses, name, photos, expected, tmp_path
):
    folder = tmp_path / "vectors"
    server = addresses[name]
    result = client(name, *photos * 12, "--server", server, "--out", folder)
    assert result.out == "embedding (36, 4)\nfeatures (36, 6)\n"
    for output, vectors in expected.items():
        found = np.load(folder / f"{output}.npy")
        np.testing.assert_allclose(found, np.tile(vectors, (12, 1)), atol=1e-5)


@pytest.mark.parametrize("name", CLIENTS)
def test_many_bad_images_are_one_line(
    client, addresses, name, photos, tmp_path
):
    """Also that of the second request, whose places count from 0."""
    empty = tmp_path / "empty.jpg"
    empty.touch()
    images = [photos[0]] * 32 + [photos[1]] + [empty] * 31
    result = client(name, *images, "--server", addresses[name])
    assert "image_bytes[1] is empty" in result.code
    assert result.code.endswith(f"; image_bytes[0] is {photos[1]}")
    assert "\n" not in result.code
    assert "TRUNCATED" not in result.code
    assert not result.out


@pytest.mark.parametrize("name", CLIENTS)
def test_server_that_is_down(client, name, photos):
    address = free_address()
    result = client(name, photos[0], "--server", address)
    assert result.code.startswith(f"error: {address}: ")
    assert "refused" in result.code
    assert "\n" not in result.code


def test_wrong_port(client, photos, addresses):
    for name, address in zip(
        CLIENTS, reversed(addresses.values()), strict=True
    ):
        result = client(name, photos[0], "--server", address)
        assert result.code.startswith(f"error: {address}: ")
        assert "\n" not in result.code


@pytest.mark.parametrize("name", CLIENTS)
def test_unknown_model(client, addresses, name, photos):
    flags = ["--server", addresses[name], "--model_name", "decoder"]
    result = client(name, photos[0], *flags)
    assert "decoder" in result.code
    assert "NOT_FOUND" in result.code or "404" in result.code


@pytest.mark.parametrize("name", CLIENTS)
def test_missing_file(client, addresses, name, tmp_path):
    missing = tmp_path / "missing.jpg"
    result = client(name, missing, "--server", addresses[name])
    assert result.code.startswith("error: ")
    assert str(missing) in result.code


def test_messages_of_several_roots_are_one_line():
    """Of two errors TensorFlow tells both, each with its node."""
    message = (
        "2 root error(s) found.\n  (0) INVALID_ARGUMENT: assertion failed: "
        "[image_bytes[1] is empty]\n\t [[{{node Assert/Assert}}]]\n  (1) "
        "INVALID_ARGUMENT: assertion failed: [image_bytes[1] is empty]\n"
        "\t [[{{node Assert/Assert}}]]\n\t [[{{function_node f}}{{node g}}]]"
    )
    answer = json.dumps({"error": message}).encode()
    by_grpc = runpy.run_path(str(DEPLOY / "clients" / "grpc_client.py"))
    by_rest = runpy.run_path(str(DEPLOY / "clients" / "rest_client.py"))
    one = "INVALID_ARGUMENT: assertion failed: [image_bytes[1] is empty]"
    expected = f"2 root error(s) found. (0) {one} (1) {one}"
    assert by_grpc["one_line"](message) == expected
    assert by_rest["error_message"](answer) == expected
    assert by_rest["error_message"](b"<h1>Bad\nGateway</h1>") == (
        "<h1>Bad Gateway</h1>"
    )


@pytest.fixture
def crops(tmp_path):
    """Paths of two images of the model's size, and their pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
    paths = [tmp_path / f"crop{i}.npy" for i in range(2)]
    for path, image in zip(paths, pixels, strict=True):
        np.save(path, image)
    return paths, pixels


@pytest.fixture(scope="module", params=[(0, 255), (0, 1), (-1.5, 1)], ids=str)
def ranged(request, tiny_model, tmp_path_factory):
    """The path of an export for images of a range."""
    folder = tmp_path_factory.mktemp("ranged")
    return export_savedmodel(tiny_model, folder, value_range=request.param)


def test_views_are_sent_in_the_range_of_the_manifest(
    client, ranged, tiny_model, crops, tmp_path
):
    paths, pixels = crops
    features = tiny_model.encoder(pixels.astype("float32"))
    wanted = {
        "features": features,
        "embedding": tiny_model.projector(features),
    }
    manifest = os.path.join(ranged, "assets.extra", "manifest.json")
    model = servers.ServedModel("encoder", ranged)
    serve = {
        "grpc_client": servers.serve_grpc,
        "rest_client": servers.serve_rest,
    }
    for name in CLIENTS:
        with serve[name](model) as server:
            flags = ["--server", server, "--manifest", manifest]
            result = client(name, *paths, *flags, "--out", tmp_path / name)
        assert result.code is None
        for output, vectors in wanted.items():
            found = np.load(tmp_path / name / f"{output}.npy")
            vectors = keras.ops.convert_to_numpy(vectors)
            np.testing.assert_allclose(found, vectors, atol=1e-5)


@pytest.mark.parametrize("name", CLIENTS)
def test_views_that_are_none(client, exported, name, crops, photos, tmp_path):
    paths, pixels = crops
    manifest = os.path.join(exported, "assets.extra", "manifest.json")
    old = tmp_path / "old.json"
    signatures = read_manifest(exported) | {"signatures": {}}
    old.write_text(json.dumps(signatures))
    wide, floats, cut = (tmp_path / f"{i}.npy" for i in range(3))
    np.save(wide, pixels[0][:, :7])
    np.save(floats, pixels[0].astype("float32"))
    cut.write_bytes(paths[0].read_bytes()[:-1])
    for path, described, message in (
        (wide, manifest, "wide must be uint8 of shape (8, 8, 3)"),
        (floats, manifest, "floats must be uint8 of shape (8, 8, 3)"),
        (cut, manifest, ""),
        (photos[0], manifest, ""),
        (paths[0], old, "does not say what serve_views takes"),
        (paths[0], photos[0], ""),
        (paths[0], tmp_path / "missing", "missing"),
    ):
        result = client(name, path, "--manifest", described)
        assert result.code.startswith("error: ")
        message = message.replace("wide", str(wide))
        assert message.replace("floats", str(floats)) in result.code
        assert "\n" not in result.code


@needs_curl
def test_curl(rest_server, photos, expected):
    result = curl(*photos, server=rest_server)
    assert result.returncode == 0, result.stderr
    outputs = json.loads(result.stdout)["outputs"]
    for name, vectors in expected.items():
        np.testing.assert_allclose(outputs[name], vectors, atol=1e-5)


@needs_curl
def test_errors_of_curl(rest_server, photos, tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    address = free_address()
    for images, server, message in (
        ([photos[0], empty], rest_server, "image_bytes[1] is empty"),
        ([photos[0]], address, "Failed to connect"),
        ([tmp_path / "missing.jpg"], rest_server, "missing.jpg cannot be read"),
        ([], rest_server, "name one image or more"),
    ):
        result = curl(*images, server=server)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert "{{node" not in result.stderr
        assert not result.stdout


def test_signatures_as_a_server_tells_them(grpc_server):
    """What a client in another language is written from."""
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "encoder"
    request.metadata_field.append("signature_def")
    with grpc.insecure_channel(grpc_server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    found = {
        name: {
            key: (tensor.dtype, [d.size for d in tensor.tensor_shape.dim])
            for key, tensor in signatures.signature_def[name].inputs.items()
        }
        for name in ("serving_default", "serve_bytes", "serve_images")
    }
    string, uint8 = 7, 4
    assert found == {
        "serving_default": {"image_bytes": (string, [-1])},
        "serve_bytes": {"image_bytes": (string, [-1])},
        "serve_images": {"images": (uint8, [-1, -1, -1, 3])},
    }
    outputs = signatures.signature_def["serve_bytes"].outputs
    shapes = {
        k: [d.size for d in v.tensor_shape.dim] for k, v in outputs.items()
    }
    assert shapes == {"features": [-1, 6], "embedding": [-1, 4]}


def test_status_by_grpc(grpc_server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "encoder"
    with grpc.insecure_channel(grpc_server) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        (status,) = stub.GetModelStatus(request).model_version_status
    assert (status.version, status.state) == (1, status.AVAILABLE)
