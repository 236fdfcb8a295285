"""The picture of docs/search.md: images, and what is found for them.

    python benchmarks/search_picture.py

A small encoder is trained with MINC on the embedded shapes for a minute, and
exported; 2,000 other shapes are written as files, embedded, indexed and
searched with three more. Writes `docs/pictures/search.png`.
"""

import pathlib
import tempfile

import grid
import keras
import tensorflow as tf
from record import ROOT

import minc_tf
from minc_tf import data, evaluation, search
from minc_tf.cli import app

STEPS, BATCH, FILTERS, COUNT, QUERIES = 400, 64, (16, 32, 64), 2000, (1, 2, 6)


def main(_) -> None:
    """Trains, embeds, searches and draws."""
    with tempfile.TemporaryDirectory() as folder:
        draw(pathlib.Path(folder))


def draw(folder):
    """Writes the picture; everything else goes into a folder."""
    model = trained()
    path = minc_tf.export.export_savedmodel(model, folder / "shapes")
    images, _ = data.render_shapes(COUNT + max(QUERIES) + 1, "test")
    for number, image in enumerate(images):
        kind = "photos" if number < COUNT else "asked"
        name = str(folder / kind / f"{number:04d}.png")
        tf.io.write_file(name, tf.io.encode_png(image))
    evaluation.embed_images(
        path, folder / "photos", folder / "v.parquet", output="embedding"
    )
    index = search.FunnelIndex.build(folder / "v.parquet", folder / "index")
    asked = [folder / "asked" / f"{COUNT + each:04d}.png" for each in QUERIES]
    found = search.search_images(index, path, asked, k=5)
    pictures = ROOT / "docs" / "pictures"
    search.contact_sheet(
        found, folder / "photos", pictures / "search.png", side=80
    )


def trained():
    """An encoder that has seen 25,600 shapes."""
    keras.utils.set_random_seed(0)
    model = grid.build("minc", 10.0, 32, FILTERS)
    schedule = minc_tf.optimizers.warmup_cosine(
        4e-3, steps=STEPS, warmup_steps=STEPS // 20
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.05))
    train = grid.arrays(grid.SHAPES, "train")
    model.fit(
        grid.view_batches(grid.SHAPES, train, BATCH, 0),
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=0,
    )
    return model


if __name__ == "__main__":
    app.launch(main)
