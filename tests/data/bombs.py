"""Data that ask for more memory than there is, met by a process of little.

Run as a script it prints what became of each case, as JSON.
"""

import json
import pathlib
import resource
import struct
import sys
import zlib


def png(height, width):
    """A black grey PNG, some thousandth of its pixels."""

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes(width + 1)) for _ in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", b"".join(rows) + packer.flush())
        + chunk(b"IEND", b"")
    )


def _cases(root):
    import numpy as np
    from record_files import example, write_tfrecord

    from minc_tf import data
    from minc_tf.evaluation import checks
    from minc_tf.evaluation.embedding.named_images import named_images

    small, huge, large = png(8, 9), png(16_000, 16_000), png(9_000, 9_000)
    for name, contents in (("huge", huge), ("large", large)):
        (root / name).mkdir()
        (root / name / "a.png").write_bytes(small)
        (root / name / "b.png").write_bytes(contents)
        images = [example(image=one) for one in (small, contents)]
        write_tfrecord(root / f"{name}.tfrecord", images)
    images = np.zeros((10, 4, 4, 3), np.uint8)
    labels = [0] * 9 + [10**9]
    np.savez(root / "far.npz", images=images, labels=labels)
    far = [example(image=small, label=label) for label in labels]
    write_tfrecord(root / "far.tfrecord", far)
    most = {"max_pixels": 2**27 - 1, "skip_bad": True, "image_size": 8}

    def stream(source):
        return [int(e["index"][0]) for e in source.examples(1)], source.skipped

    def embedded(folder, **options):
        from minc_tf.evaluation.embedding.images_to_table import _batches

        named = named_images(folder, **options)
        return sum(len(batch["row"]) for batch in _batches(named, (8, 8), 0, 4))

    def records(name, **options):
        return data.load_records(
            "tfrecord", root / f"{name}.tfrecord", **options
        )

    header = {"check": "header", **most}
    yield "npz", lambda: data.load_npz(root / "far.npz")
    yield "arrays", lambda: data.ArraySource(images, labels)
    yield (
        "files",
        lambda: data.EncodedSource(
            [small] * 10, labels, (8, 9, 3), files=False
        ),
    )
    yield "labels of records", lambda: records("far")
    yield "probe", lambda: checks.check_training(np.zeros((10, 2)), labels)
    yield "folder", lambda: data.load_folder(root / "huge", image_size=8)
    yield (
        "folder, skipped",
        lambda: stream(
            data.load_folder(root / "huge", image_size=8, skip_bad=True)
        ),
    )
    yield (
        "folder, late",
        lambda: stream(
            data.load_folder(
                root / "huge", image_size=8, check="header", skip_bad=True
            )
        ),
    )
    yield "records", lambda: records("huge", image_size=8)
    yield (
        "records on disk",
        lambda: stream(
            records("huge", image_size=8, max_bytes=0, skip_bad=True)
        ),
    )
    yield "embed", lambda: embedded(root / "huge")
    # From here on images that are allowed, and no memory for them.
    yield "no memory", lambda: data.load_folder(root / "large", **most)
    yield (
        "no memory, late",
        lambda: stream(data.load_folder(root / "large", **header)),
    )
    yield "no memory for records", lambda: records("large", **most)
    yield (
        "no memory for records on disk",
        lambda: stream(records("large", max_bytes=0, **most)),
    )
    yield (
        "no memory to embed",
        lambda: embedded(root / "large", max_pixels=2**27 - 1),
    )


def _used():
    fields = dict(
        line.split(":", 1)
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    )
    return 1024 * int(fields["VmSize"].split()[0])


def main(root):
    found, limit = {}, 0
    for name, run in _cases(pathlib.Path(root)):
        # What is there already, threads and stacks, and so much more.
        spare = 2**30 if not name.startswith("no memory") else 200 * 2**20
        limit = _used() + spare
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            found[name] = ["done", str(run())]
        except BaseException as error:
            found[name] = [type(error).__name__, str(error)]
    resource.setrlimit(
        resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
