# %% [markdown]
# # Notebook 2: add MINC to a model of your own
#
# A classifier with a hundred labelled pictures and two thousand without: the
# loss of MINC is added to it, so that the unlabelled ones shape its features,
# too. Any functional Keras model takes it in one line. Two CPU cores need two
# minutes.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import minc_tf

PICTURES = 2000
LABELLED = 100
EPOCHS = 10

source = minc_tf.data.load("shapes", "train", num_examples=PICTURES)
unseen = minc_tf.data.load("shapes", "test", num_examples=500)
labels = np.asarray(source.labels)
print(
    PICTURES,
    "pictures of",
    source.num_classes,
    "figures:",
    LABELLED,
    "labelled",
)

# %% [markdown]
# ## The model
#
# The tower embeds two views of a picture. `attach` returns both embeddings
# unchanged and adds the loss to whatever model they end up in; the classifier
# reads the first. A picture without a label has weight zero in the classifier's
# loss, and its place in MINC's.


# %%
def build(with_minc):
    keras.utils.set_random_seed(0)
    tower = keras.Sequential(
        [
            minc_tf.models.small_resnet(filters=(16, 32, 64)),
            minc_tf.models.mlp(64, (256, 64)),
        ]
    )
    view1, view2 = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    z1, z2 = tower(view1), tower(view2)
    if with_minc:
        objective = minc_tf.objectives.MINC(dim=64, mu=10.0, triangular=False)
        z1, z2 = objective.attach(z1, z2)
    figure = keras.layers.Dense(10, name="figure")(z1)
    model = keras.Model([view1, view2], figure)
    model.compile(
        optimizer=keras.optimizers.AdamW(8e-3, weight_decay=0.05, epsilon=1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


model = build(with_minc=True)
print([layer.name for layer in model.layers])

# %% [markdown]
# ## The views
#
# Two random crops of each picture, made once for each epoch, with the labels
# and their weights.

# %% alt="Two rows of random crops of eight pictures, in changed colours."
presets = minc_tf.augment.presets.simclr(
    32, strength=0.5, blur=False, area=(0.5, 1.0)
)
views = minc_tf.augment.MultiView(presets, size=32, seed=0)
images = np.stack([source.at(i)["image"] for i in range(PICTURES)])
weights = np.float32(np.arange(PICTURES) < LABELLED)

view1, view2 = views(images[:8])
figure, axes = plt.subplots(2, 8, figsize=(8, 2.1))
for column in range(8):
    for row, view in enumerate((view1, view2)):
        axes[row, column].imshow(np.uint8(view[column]))
        axes[row, column].axis("off")
figure.tight_layout(pad=0.3)
plt.show()

# %% [markdown]
# ## Train, with MINC and without
#
# Both see the same batches, of which some three pictures in 64 have a label.


# %% alt="Accuracy over the epochs, of the model with MINC and the one without."
def accuracy_of(model):
    tests = np.stack([unseen.at(i)["image"] for i in range(len(unseen))])
    logits = model.predict([tests, tests], verbose=0)
    return np.mean(logits.argmax(1) == np.asarray(unseen.labels))


curves, spectrum = {}, None
for name, with_minc in (("with MINC", True), ("labels alone", False)):
    model = build(with_minc)
    curves[name] = []
    for _ in range(EPOCHS):
        pairs = [np.asarray(view) for view in views(images)]
        model.fit(
            pairs,
            labels,
            sample_weight=weights,
            batch_size=64,
            verbose=0,
        )
        curves[name].append(accuracy_of(model))
    if with_minc:
        (endpoint,) = (
            layer
            for layer in model.layers
            if isinstance(layer, minc_tf.objectives.Endpoint)
        )
        spectrum = np.asarray(endpoint.objective.eigenvalues())

figure, axis = plt.subplots(figsize=(6, 3))
for name, curve in curves.items():
    axis.plot(100 * np.asarray(curve), label=f"{name}: {100 * curve[-1]:.1f} %")
axis.set(xlabel="epoch", ylabel="accuracy on unseen pictures, %")
axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What is in Lambda
#
# The second moment of the embeddings is a weight of the model. Its eigenvalues,
# estimates of those of the views, tell how many directions of the embedding the
# two views agree on.

# %% alt="Bars: the eigenvalues of the second moment, falling."
figure, axis = plt.subplots(figsize=(6, 2.6))
axis.bar(np.arange(len(spectrum)), np.sort(spectrum)[::-1])
axis.set(xlabel="coordinate, sorted", ylabel="second moment")
figure.tight_layout()
plt.show()

# %% [markdown]
# Subclasses, a `train_step` and loops of your own, on TensorFlow and JAX: [the
# guide](../own_model.md).
