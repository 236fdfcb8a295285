# %% [markdown]
# # Notebook 1: pretrain on a folder of photos, look, search
#
# From files without labels to an encoder that finds similar ones. Here the
# "photos" are rendered pictures in files of different sizes, so that nothing is
# downloaded; with a folder of your own leave the first cell out. Two CPU cores
# need a minute or two.

# %%
import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import minc_tf

PHOTOS = 2000
EPOCHS = 12

images, figures = minc_tf.data.render_shapes(PHOTOS, "train")
for number, image in enumerate(images):
    path = pathlib.Path(f"photos/{number % 10}/{number:04d}.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    side = 40 + 4 * (number % 5)
    Image.fromarray(image).resize((side, side)).save(path, quality=90)
print(len(list(pathlib.Path("photos").rglob("*.jpg"))), "files")

# %% [markdown]
# ## Two views of a photo
#
# Training makes two random crops of each photo, with other colours, and asks
# that their embeddings agree. Look at them first: what you would search for
# must still be seen in both. (`area` is the share of a photo that a crop has.)

# %% alt="Rows of photos, each above two random crops of it in other colours."
source = minc_tf.data.load("folder", data_dir="photos", image_size=32)
presets = minc_tf.augment.presets.simclr(
    32, strength=0.5, blur=False, area=(0.5, 1.0)
)
views = minc_tf.augment.MultiView(presets, size=32)
batches = minc_tf.data.view_batches(source, views, batch_size=64)

view1, view2 = next(iter(batches))
figure, axes = plt.subplots(2, 8, figsize=(8, 2.1))
for column in range(8):
    for row, view in enumerate((view1, view2)):
        axes[row, column].imshow(np.uint8(view[column]))
        axes[row, column].axis("off")
figure.tight_layout(pad=0.3)
plt.show()

# %% [markdown]
# ## Train
#
# `MINCModel` is a Keras model: `compile`, then `fit`. The loss is `-J`, and the
# metric `chi2_information` says how much one view tells about the other.

# %% alt="Two curves over the epochs: the loss falls, the effective rank rises."
keras.utils.set_random_seed(0)
encoder = minc_tf.models.small_resnet(filters=(16, 32, 64))
untrained = encoder.get_weights()
projector = minc_tf.models.mlp(64, (256, 64))
objective = minc_tf.objectives.MINC(dim=64, mu=10.0, triangular=False)
model = minc_tf.MINCModel(encoder, projector, objective=objective)
model.compile(
    optimizer=keras.optimizers.AdamW(8e-3, weight_decay=0.05, epsilon=1e-4)
)
history = model.fit(batches, epochs=EPOCHS, verbose=0).history

figure, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for axis, name in zip(axes, ("loss", "effective_rank"), strict=True):
    axis.plot(history[name])
    axis.set(xlabel="epoch", title=name)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Search
#
# Embed the photos, and sort them by the cosine to one of them. The left column
# is asked for, the others are its nearest neighbours.

# %% alt="Five photos, each followed by its six nearest neighbours."
encode = minc_tf.evaluation.encoder_function(encoder)
vectors, _ = minc_tf.evaluation.extract(encode, source.examples(100))
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

figure, axes = plt.subplots(5, 7, figsize=(7, 5.2))
for row, asked in enumerate(range(0, 50, 10)):
    nearest = np.argsort(-(vectors @ vectors[asked]))[:7]
    for axis, index in zip(axes[row], nearest, strict=True):
        axis.imshow(np.asarray(source.at(int(index))["image"]))
        axis.axis("off")
figure.tight_layout(pad=0.3)
plt.show()

# %% [markdown]
# ## Was it worth it?
#
# Pictures of the same kind, with the names of their figures, which training
# never saw: how often do the nearest neighbours have the same one? Compare with
# the network before training: without that number an accuracy says nothing.

# %%
known = minc_tf.data.load("shapes", "train", num_examples=1000)
unseen = minc_tf.data.load("shapes", "test", num_examples=500)


def accuracy():
    encode = minc_tf.evaluation.encoder_function(encoder)
    (x, y), (new_x, new_y) = (
        minc_tf.evaluation.extract(encode, each.examples(100))
        for each in (known, unseen)
    )
    return minc_tf.evaluation.knn_accuracy(x, y, new_x, new_y, k=10)


after = accuracy()
encoder.set_weights(untrained)
print(
    f"kNN before training {100 * accuracy():.1f} %, after {100 * after:.1f} %"
)

# %% [markdown]
# From here: a run with checkpoints and a report, `minc-embed` for a table of
# vectors, a classifier from a few labels: [the guide](../photos.md).
