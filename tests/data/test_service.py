"""Views that other processes make are those that this one makes."""

import contextlib
import pathlib
import socket
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from record_files import IMAGES, LABELS, RECORDS, example, png, write_shards

import minc_tf.data
from minc_tf import augment
from minc_tf.data import service as service_module
from minc_tf.data import view_batches

PROGRAM = pathlib.Path(__file__).with_name("tf_service.py")
SERVICE = tf.data.experimental.service


@pytest.fixture(scope="module")
def services():
    """The addresses of dispatchers in another process, with a worker each."""
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        stack.enter_context(process)  # waits in the end,
        stack.callback(process.kill)  # which comes before
        addresses = [process.stdout.readline().strip() for _ in range(2)]
        assert all(address.startswith("grpc://") for address in addresses)
        yield addresses


@pytest.fixture
def one_process():
    """A dispatcher in this process, and a function that adds a worker."""
    dispatcher = SERVICE.DispatchServer()
    workers = []

    def add_worker():
        address = dispatcher.target.removeprefix("grpc://")
        config = SERVICE.WorkerConfig(dispatcher_address=address)
        workers.append(SERVICE.WorkerServer(config))

    return dispatcher.target, add_worker


class _Plain:
    """Views of any images that tell which image came, with which seed."""

    def __call__(self, batch):
        images = tf.cast(batch["images"], tf.float32)
        return images, tf.cast(batch["augmentation_seed"], tf.float32)

    def crop(self, image, seed):
        return image[:3, :3], tf.cast(seed, tf.uint8)

    def finish(self, crops, seeds):
        return tuple(tf.cast(crop, tf.float32) for crop in crops)


def _assert_equal(found, expected, steps):
    assert found.element_spec == expected.element_spec
    count = 0
    for pair in zip(found.take(steps), expected.take(steps), strict=True):
        for a, b in zip(*pair, strict=True):
            np.testing.assert_array_equal(a, b)
        count += 1
    assert count == steps


@pytest.mark.slow  # Waits for a process to start.
def test_arrays(services):
    """Two services in turn, from a step on, over the end of an epoch."""
    source = minc_tf.data.load("shapes", num_examples=32)
    views = _Plain()
    service = ",".join(services)
    made = view_batches(source, views, 8, seed=3, start_step=2, service=service)
    assert made.element_spec[0].shape == (8, 32, 32, 3)
    _assert_equal(made, view_batches(source, views, 8, seed=3).skip(2), 7)


def _write_photos(folder):
    """JPEGs of many sizes, some of which say how the camera was held."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(12):
        height, width = rng.integers(20, 60, 2)
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([y * 4, x * 4, 0 * x + 20 * i], -1)
        exif = PIL.Image.Exif()
        exif[0x010F] = "maker"
        exif[0x0112] = 1 + i % 8
        options = {"exif": exif} if i % 3 else {}
        image = PIL.Image.fromarray(pixels.astype(np.uint8))
        image.save(folder / f"{i}.jpg", **options)


@pytest.mark.slow
def test_photos(services, tmp_path, monkeypatch):
    """By a relative path, upright, and one of two shards.

    Of the views XLA compiles a part, here and in the worker.
    """
    _write_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    source = minc_tf.data.load_folder("photos", check="header")
    assert source.varies
    assert source.on_bad == "raise"
    options = {"seed": 1, "num_shards": 2, "shard": 1}
    configs = augment.presets.simclr(12, blur=False)
    views = augment.MultiView(configs, size=12)
    made = view_batches(source, views, 6, service=services[0], **options)
    _assert_equal(made, view_batches(source, views, 6, **options), 5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["files", "memory"])
def test_records(services, tmp_path, kind):
    write_shards(tmp_path, "tfrecord", RECORDS)
    source = minc_tf.data.load_records(
        "tfrecord",
        tmp_path,
        image_size=(6, 8),
        max_bytes=0 if kind == "files" else 2**30,
    )
    source = minc_tf.data.select_classes(source, ["2", "0"])
    _assert_equal(
        view_batches(source, _Plain(), 16, service=services[0]),
        view_batches(source, _Plain(), 16),
        8,
    )


@pytest.mark.slow
def test_a_bad_image(services, tmp_path):
    """The worker's error comes here."""
    _write_photos(tmp_path / "photos")
    path = tmp_path / "photos" / "7.jpg"
    path.write_bytes(path.read_bytes()[:300] + b"\xff\xd9")
    source = minc_tf.data.load_folder(tmp_path / "photos", check="header")
    stream = view_batches(source, _Plain(), 6, service=services[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
        list(stream.take(2))


def _source():
    return minc_tf.data.ArraySource(IMAGES, LABELS)


def test_a_second_worker_is_found(one_process):
    """Each worker makes the whole stream: at the start, and later."""
    address, add_worker = one_process
    with pytest.raises(ValueError, match="must have a worker; none") as error:
        service_module.check_services([address], answer_seconds=1.5)
    assert repr(address) in str(error.value)
    add_worker()
    stream = iter(view_batches(_source(), _Plain(), 4, service=address))
    next(stream)
    add_worker()
    with pytest.raises(ValueError, match="one worker; it has 2"):
        view_batches(_source(), _Plain(), 4, service=address)
    message = f"service {address} has sent step 0 where step [0-9]+ was due"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        for _ in range(2000):
            next(stream)


@pytest.mark.parametrize(
    "service",
    [
        "",
        "localhost:5050",
        "http://localhost:5050",
        "grpc://localhost",
        "grpc://localhost:port",
        "grpc://localhost:99999",
        "grpc://localhost:5050/path",
        "grpc://:5050",
        "grpc://a:1;grpc://b:1",
        "grpc://a:1,",
        ["grpc://a:1", "b:1"],
        [],
        5050,
    ],
)
def test_wrong_addresses(service):
    message = r"service must be an address 'grpc://host:port'.*received "
    with pytest.raises(ValueError, match=message) as error:
        view_batches(_source(), _Plain(), 4, service=service)
    assert str(error.value).endswith(f"{service!r}.")


def test_several_addresses():
    both = ["grpc://a:1", "grpc://[::1]:20"]
    assert service_module.parse_services("grpc://a:1, grpc://[::1]:20") == both
    assert service_module.parse_services(tuple(both)) == both


def test_a_service_that_cannot_be_reached():
    with socket.socket() as other:
        other.bind(("localhost", 0))
        address = f"grpc://localhost:{other.getsockname()[1]}"
        # Bound and not listening: whoever connects is refused.
        with pytest.raises(ValueError, match="cannot be reached") as error:
            view_batches(_source(), _Plain(), 4, service=address)
        assert repr(address) in str(error.value)
        assert "\n" not in str(error.value)


def test_views_that_call_python(one_process):
    address, add_worker = one_process
    add_worker()

    def views(batch):
        images = tf.cast(batch["images"], tf.float32)

        def inner():
            made = tf.numpy_function(np.negative, [images], tf.float32)
            return tf.ensure_shape(made, images.shape)

        return images, tf.cond(images[0, 0, 0, 0] > 9, inner, lambda: images)

    with pytest.raises(ValueError, match=r"graph code.*Python \(PyFunc"):
        view_batches(_source(), views, 4, service=address)


def test_sources_that_no_service_can_read(tmp_path, monkeypatch):
    def message(source):
        with pytest.raises(ValueError, match="service") as error:
            view_batches(source, _Plain(), 4, service="grpc://localhost:1")
        assert "\n" not in str(error.value)
        return str(error.value)

    write_shards(tmp_path, "arrayrecord", RECORDS)
    options = {"image_size": (6, 8), "max_bytes": 0}
    source = minc_tf.data.load_records("arrayrecord", tmp_path, **options)
    assert "must be in TFRecord files" in message(source)
    write_shards(tmp_path, "tfrecord", RECORDS)
    source = minc_tf.data.load_records(
        "tfrecord", tmp_path, skip_bad=True, **options
    )
    assert "skip_bad must be false" in message(source)
    _write_photos(tmp_path / "photos")
    source = minc_tf.data.load_folder(
        tmp_path / "photos", check="header", skip_bad=True
    )
    assert "skip_bad must be false" in message(source)
    assert "check='all'" in message(source)
    monkeypatch.setattr("minc_tf.data.source.MOST_SENT", 2**10)
    assert "GiB in memory to be sent" in message(_source())


@pytest.mark.parametrize("labelled", [True, False])
def test_large_images_in_memory_are_read_from_files(
    tmp_path, monkeypatch, labelled
):
    """Of record files, with the images that were chosen of them."""
    records = RECORDS
    if not labelled:
        records = [example(image=png(image)) for image in IMAGES]
    write_shards(tmp_path, "tfrecord", records)
    source = minc_tf.data.load_records("tfrecord", tmp_path).subset(50, seed=1)
    if labelled:
        source = minc_tf.data.select_classes(source, ["3", "1"])
    assert not isinstance(source.portable(), minc_tf.data.RecordSource)
    monkeypatch.setattr("minc_tf.data.encoded.MOST_SENT", 2**10)
    on_disk = source.portable()
    assert isinstance(on_disk, minc_tf.data.RecordSource)
    assert on_disk.class_names == source.class_names
    np.testing.assert_array_equal(on_disk.labels, source.labels)
    np.testing.assert_array_equal(on_disk.at(3)["image"], source.at(3)["image"])
    pairs = zip(source.examples(20), on_disk.examples(20), strict=True)
    for pair in pairs:
        for a, b in zip(*map(tf.nest.flatten, pair), strict=True):
            np.testing.assert_array_equal(a, b)
