"""Tensors of every shape, fed as TensorFlow Serving feeds them: unchecked.

In processes of their own, for oneDNN ends the process on some of them.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import types

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from minc_tf.export import export_savedmodel
from minc_tf.export.value_range import from_pixels

from .tiny import DIM, FEATURES, Ordering, make_encoder, make_projector

ROOT = pathlib.Path(__file__).parents[2]
HEIGHT, WIDTH = SIZE = (8, 6)
WIDE = 300

#: Name to (d, triangular or None for no order, options) of each kind.
KINDS = {
    "plain": (DIM, None, {}),
    "whitened": (DIM, False, {"dims": 3, "whiten": True, "normalize": True}),
    "wide": (WIDE, None, {}),
    "views": (DIM, True, {"serving_default": "views"}),
    "ranged": (DIM, None, {"value_range": (0, 1)}),
}

#: Type of what is taken, and the shape as the errors have it.
INPUTS = {
    "features": ("float32", f"[?,{HEIGHT},{WIDTH},3]"),
    "embedding": ("float32", f"[?,{HEIGHT},{WIDTH},3]"),
    "serve_views": ("float32", f"[?,{HEIGHT},{WIDTH},3]"),
    "serve_images": ("uint8", "[?,?,?,3]"),
    "serve_bytes": ("object", "[?]"),
}


def taken(kind, signature):
    """What a signature takes: a key of `INPUTS`."""
    if signature == "serving_default":
        return "serve_views" if kind == "views" else "serve_bytes"
    return signature


def refused(name):
    """Shapes that are wrong, each with a part of the error."""
    dtype, wanted = INPUTS[name]
    if dtype == "object":
        found = dict.fromkeys(
            [(), (2, 2), (2, 1), (1, 1, 1), (1,) * 4, (1,) * 5, (0, 2)], wanted
        )
        return {**found, (0,): "image_bytes is an empty batch"}
    whole = (HEIGHT, WIDTH, 3)
    shapes = [(), (0,), (WIDTH,), (1,), SIZE, (0, 0), whole, (0, 0, 0)]
    shapes += [(1, 1, *whole), (1, *whole, 1), (2, 0, *whole)]
    shapes += [(n, *SIZE, c) for c in (0, 1, 2, 4, 6) for n in (0, 1, 2)]
    sizes = [(0, 0), (0, WIDTH), (HEIGHT, 0)]
    sizes += [(1, 1), (1, WIDTH), (HEIGHT, 1), (WIDTH, HEIGHT), (64, 64)]
    sizes += [(HEIGHT + i, WIDTH + j) for i, j in ((1, 0), (0, 1), (-1, -1))]
    if name == "serve_images":
        found = dict.fromkeys(shapes, wanted)
        pixels = "no pixels: expected shape (batch, height, width, 3)"
        found |= {(2, *size, 3): pixels for size in sizes[:3]}
        found |= {(0, *size, 3): "images is an empty batch" for size in sizes}
        return found
    shapes += [(n, *size, 3) for size in sizes for n in (0, 2)]
    found = dict.fromkeys(shapes, wanted)
    return {**found, (0, *whole): "images is an empty batch"}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """The model and the path of an export of each kind."""
    keras.utils.set_random_seed(0)
    encoder = make_encoder(shape=(*SIZE, 3))
    narrow = make_projector()
    wide = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(WIDE)]
    )
    found = {}
    for kind, (dim, triangular, options) in KINDS.items():
        model = types.SimpleNamespace(
            encoder=encoder,
            projector=wide if dim == WIDE else narrow,
            objective=object() if triangular is None else Ordering(triangular),
        )
        folder = tmp_path_factory.mktemp(kind)
        found[kind] = model, export_savedmodel(model, folder, **options)
    return found


@pytest.fixture(scope="module")
def pixels():
    """Three images of the model's size."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def requests(exports, pixels, tmp_path_factory):
    """Right ones and wrong ones, by kind: lists for `feeding.py`."""
    folder = tmp_path_factory.mktemp("requests")
    files = []
    for i, image in enumerate(pixels):
        files.append(str(folder / f"{i}.png"))
        PIL.Image.fromarray(image).save(files[-1])
    exif = PIL.Image.Exif()
    others = []
    for orientation in (1, 3, 6):  # one is as Keras's own, the rest is turned
        exif[0x0112] = orientation
        others.append(str(folder / f"turned{orientation}.jpg"))
        PIL.Image.fromarray(pixels[0]).save(others[-1], exif=exif)
    others.append(str(folder / "alpha.png"))
    PIL.Image.fromarray(pixels[0]).convert("RGBA").save(others[-1])
    right, wrong = {}, {}
    for kind, (_, _, options) in KINDS.items():
        right[kind], wrong[kind] = [], []
        arrays = {"uint8": str(folder / f"{kind}-uint8.npy")}
        np.save(arrays["uint8"], pixels)
        arrays["float32"] = str(folder / f"{kind}-float32.npy")
        views = from_pixels(
            pixels.astype("float32"), options.get("value_range", (0, 255))
        )
        np.save(arrays["float32"], views)
        for signature in (*INPUTS, "serving_default"):
            name = taken(kind, signature)
            dtype = INPUTS[name][0]
            if dtype == "object":
                right[kind].append((signature, "files", files))
                right[kind].append((signature, "files", others))
            else:
                right[kind].append((signature, "array", arrays[dtype]))
            if name == "serve_images":
                for size in ((1, 1), (9, 6), (8, 5), (7, 30)):
                    right[kind].append((signature, "shape", (2, *size, 3)))
            wrong[kind] += [(signature, "shape", s) for s in refused(name)]
    return right, wrong


#: With the checks of oneDNN's kernels, and on those of Eigen, in which only the
#: network differs.
LIBRARIES = {"onednn": ("1", tuple(KINDS)), "eigen": ("0", ("plain",))}


@pytest.fixture(scope="module", params=LIBRARIES)
def fed(request, exports, requests, tmp_path_factory):
    """What came of all requests: (kind, request, answer); and what was logged.

    Right requests first, so that their log is that of first calls.
    """
    flag, kinds = LIBRARIES[request.param]
    sent = [(kind, part[kind]) for part in requests for kind in kinds]
    cases = tmp_path_factory.mktemp("cases") / "cases.json"
    cases.write_text(json.dumps([(exports[k][1], asked) for k, asked in sent]))
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "tests" / "export" / "feeding.py"),
            *(ROOT / "benchmarks", cases),
        ],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "TF_ENABLE_ONEDNN_OPTS": flag,
            "TF_CPP_MIN_LOG_LEVEL": "0",
            "CUDA_VISIBLE_DEVICES": "-1",
        },
        timeout=300,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    asked = [(kind, each) for kind, part in sent for each in part]
    assert done.returncode == 0, (
        f"{asked[len(answers)]} ended the process: {done.stderr[-2000:]}"
    )
    results = [
        (kind, each, answer)
        for (kind, each), answer in zip(asked, answers, strict=True)
    ]
    return results, done.stderr


def test_wrong_shapes_are_refused_by_name(fed, requests):
    results, _ = fed
    count = 0
    for kind, (signature, how, shape), answer in results:
        message = refused(taken(kind, signature)).get(tuple(shape))
        if how != "shape" or message is None:
            continue
        assert isinstance(answer, list), (kind, signature, shape, "was served")
        assert answer[0] == "InvalidArgumentError", (kind, signature, shape)
        assert message in answer[1], (kind, signature, shape)
        count += 1
    kinds = {kind for kind, *_ in results}
    assert count == sum(len(requests[1][kind]) for kind in kinds)


def test_right_ones_give_the_vectors_of_keras(fed, exports, pixels):
    results, _ = fed
    seen = set()
    for kind, (signature, how, _), answer in results:
        if how == "shape" or (how == "files" and len(answer["features"]) != 3):
            continue
        model, _ = exports[kind]
        features = model.encoder(pixels.astype("float32"), training=False)
        z = model.projector(features, training=False).numpy()
        wanted = {"features": features, "embedding": _served(model, kind, z)}
        if signature == "embedding":
            wanted = {"embedding": _ordered(model, z)}
        if signature == "features":
            del wanted["embedding"]
        assert set(answer) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(
                answer[name], values, rtol=1e-3, atol=1e-5
            )
        seen.add((kind, signature))
    kinds = {kind for kind, *_ in results}
    assert len(seen) == len(kinds) * (len(INPUTS) + 1)


def _ordered(model, z):
    if not isinstance(model.objective, Ordering) or model.objective.triangular:
        return z
    return z @ model.objective.rotation().numpy()


def _served(model, kind, z):
    """The served coordinates, in NumPy."""
    _, triangular, options = KINDS[kind]
    z = _ordered(model, z)
    if triangular is None:
        return z
    moment = model.objective.second_moment
    values = np.diagonal(moment)
    if not triangular:
        values = np.linalg.eigvalsh(moment.astype("float64"))[::-1]
    kept = slice(1, 1 + options.get("dims", DIM))
    z, values = z[:, kept], values[kept]
    if options.get("whiten"):
        z = z / np.sqrt(values)
    if options.get("normalize"):
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return z


def test_other_sizes_and_kinds_of_files_are_served(fed):
    results, _ = fed
    served = [
        answer
        for kind, (signature, how, what), answer in results
        if (how == "files" and len(what) == 4)
        or (how == "shape" and isinstance(answer, dict))
    ]
    kinds = {kind for kind, *_ in results}
    # The kind "views" serves no files by default.
    assert len(served) == 6 * len(kinds) - ("views" in kinds)
    for answer in served:
        assert np.isfinite(answer["features"]).all()
        assert np.isfinite(answer["embedding"]).all()


def test_first_calls_log_nothing(fed):
    """Nothing above INFO, that is; refusals, which come later, are logged."""
    _, log = fed
    lines = log[log.index("loaded\n") :].splitlines()[1:]
    above = [x for x in lines if re.match(r"[WEF]\d{4} |\S+ \S+: [WEF] ", x)]
    refusal = next(
        (i for i, x in enumerate(above) if "not compatible with exp" in x),
        len(above),
    )
    assert above[:refusal] == []


def test_the_public_function_refuses_other_shapes(exports):
    """The object that is loaded, which no server reaches."""
    loaded = tf.saved_model.load(exports["plain"][1])
    for shape in ((HEIGHT, WIDTH, 3), (2, WIDTH, HEIGHT, 3), (2, *SIZE, 6)):
        with pytest.raises((TypeError, ValueError)):
            loaded(np.zeros(shape, "float32"))
