"""Tables of vectors, as an engine writes them: in parts, with bad rows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

METADATA = {"savedmodel": "a", "output": "features"}


def write_part(
    path,
    x,
    labels,
    *,
    start=0,
    bad=(),
    null=True,
    kind=None,
    metadata=None,
    **options,
):
    """Write vectors (n, D) whose rows are counted from `start` on.

    Those in `bad` have an error, and their vector is null if `null`.
    """
    numbers = range(start, start + len(x))
    wrong = [number in bad for number in numbers]
    vectors = [
        None if w and null else row
        for w, row in zip(wrong, x.tolist(), strict=True)
    ]
    columns = {
        "path": pa.array([f"{i:06d}.jpg" for i in numbers], pa.string()),
        "label": labels,
        "vector": pa.array(vectors, kind or pa.list_(pa.float32(), x.shape[1])),
        "error": pa.array(["empty" if w else None for w in wrong], pa.string()),
    }
    if labels is None:
        del columns["label"]
    else:
        columns["label"] = pa.array(np.where(wrong, -1, labels), pa.int64())
    table = pa.table(columns)
    table = table.replace_schema_metadata(metadata or METADATA)
    pq.write_table(table, path, **options)


def write_parts(folder, x, labels, sizes, bad=()):
    """Write `part-*.parquet` of these sizes, which together are all rows."""
    assert sum(sizes) == len(x)
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for number, size in enumerate(sizes):
        rows = slice(start, start + size)
        path = folder / f"part-{number:05d}.parquet"
        write_part(path, x[rows], labels[rows], start=start, bad=bad)
        start += size
    return folder
