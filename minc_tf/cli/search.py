r"""Search a collection with images: build an index of vectors, and query it.

Example:
  minc-search build --vectors=embeddings.parquet --out=index
  minc-search query --index=index --savedmodel=savedmodels/shapes \
      --images=photo.jpg --k=5 --sheet=found.png
"""

import json

from absl import flags

from minc_tf.cli import app
from minc_tf.data.limits import MAX_PIXELS

_VECTORS = flags.DEFINE_list(
    "vectors",
    None,
    "build: the table that minc-embed wrote, or a folder of its parts; several "
    "with commas between.",
)
_OUT = flags.DEFINE_string("out", None, "build: the folder of the index.")
_STAGES = flags.DEFINE_string(
    "stages",
    None,
    "build: COORDINATES:KEPT,...; how many of the first coordinates a stage "
    "compares, how many vectors it keeps; or exact. An eighth of the "
    "coordinates and 200 by default.",
)
_ORDER = flags.DEFINE_string(
    "order",
    None,
    "build: given, as an ordered embedding is (the default); pca puts the "
    "coordinates of other vectors in order.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "build: replace an index in --out."
)
_INDEX = flags.DEFINE_string("index", None, "query: the folder of the index.")
_SAVEDMODEL = flags.DEFINE_string(
    "savedmodel",
    None,
    "query: the model of the vectors, NAME/ or NAME/VERSION/.",
)
_IMAGES = flags.DEFINE_string(
    "images", None, "query: an image, or a folder of some."
)
_K = flags.DEFINE_integer(
    "k", 10, "query: how many are found for each.", lower_bound=1
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    MAX_PIXELS,
    "query: the most pixels of an image; others are bad.",
)
_JSON = flags.DEFINE_bool("json", False, "query: print JSON.")
_SHEET = flags.DEFINE_string(
    "sheet", None, "query: a picture of what was found to write, .png or .jpg."
)
_COLLECTION = flags.DEFINE_string(
    "collection",
    None,
    "query: where the images of the index are, for --sheet; by default where "
    "they were when they were embedded.",
)

_NEEDED = {
    "build": ("vectors", "out"),
    "query": ("index", "savedmodel", "images"),
}
_OTHERS = {
    "build": ("stages", "order", "overwrite"),
    "query": ("k", "max_pixels", "json", "sheet", "collection"),
}


def main(argv: list[str]) -> None:
    """Build or query, as the first word says."""
    what = _check_flags(argv[1:])
    {"build": _build, "query": _query}[what]()


def _check_flags(words):
    """Return which of the two it is; refuse what does not belong to it."""
    if len(words) != 1 or words[0] not in _NEEDED:
        raise ValueError(
            "minc-search must be followed by build or query; received "
            f"{' '.join(words) or 'neither'!r}; see --help."
        )
    what = words[0]
    for name in _NEEDED[what]:
        if not flags.FLAGS[name].value:
            raise ValueError(f"minc-search {what} needs --{name}.")
    (other,) = set(_NEEDED) - {what}
    for name in (*_NEEDED[other], *_OTHERS[other]):
        if flags.FLAGS[name].present:
            raise ValueError(
                f"--{name} is for minc-search {other}; received it for {what}."
            )
    if _COLLECTION.value and not _SHEET.value:
        raise ValueError("--collection needs --sheet; received none.")
    return what


def _build():
    """Write an index, and tell what is in it."""
    from minc_tf.search import FunnelIndex
    from minc_tf.search.stages import parse_stages

    stages = _STAGES.value
    index = FunnelIndex.build(
        _VECTORS.value,
        _OUT.value,
        stages=None if stages is None else parse_stages(stages),
        order=_ORDER.value or "given",
        overwrite=_OVERWRITE.value,
    )
    shown = ", ".join(
        f"{d} coordinates, {kept} kept" for d, kept in index.stages
    )
    part = index.multiply_adds() / (len(index) * index.dimension)
    print(
        f"{_OUT.value}: {len(index)} vectors of {index.dimension}; "
        f"{shown + ', then all' if shown else 'exact'}: {part:.1%} of the "
        "multiply-adds of an exact search"
    )


def _query():
    """Search, and print a block of lines for each image."""
    from minc_tf.search import FunnelIndex, contact_sheet, search_images
    from minc_tf.search.sheet import check_picture

    index = FunnelIndex.load(_INDEX.value)
    if _SHEET.value:
        check_picture(_SHEET.value)
    found = search_images(
        index,
        _SAVEDMODEL.value,
        _IMAGES.value,
        _K.value,
        max_pixels=_MAX_PIXELS.value,
    )
    if _JSON.value:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    if _SHEET.value:
        collection = _COLLECTION.value or index.metadata.get("images", "")
        contact_sheet(
            found, collection, _SHEET.value, max_pixels=_MAX_PIXELS.value
        )
        if not _JSON.value:
            print(_SHEET.value)


def _print(found):
    for row in found:
        if "error" in row:
            print(f"{row['image']}: bad, left out: {row['error']}")
            continue
        print(f"{row['image']}:")
        for match in row["found"]:
            print(f"  {match['cosine']:.4f}  {match['name']}")


def run() -> None:
    """The console command."""
    app.launch(main, arguments=True)


if __name__ == "__main__":
    run()
