# %% [markdown]
# # Notebook 4: export, serve, call
#
# From a model to answers over HTTP. An export is a SavedModel that decodes
# files inside its graph and needs no `minc_tf` to run. Two minutes on two
# CPU cores, most of it training.

# %%
import base64
import http.server
import json
import threading
import urllib.request

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import minc_tf

tf.get_logger().setLevel("ERROR")
PICTURES = 2000
EPOCHS = 10

keras.utils.set_random_seed(0)
source = minc_tf.data.load("shapes", "train", num_examples=PICTURES)
presets = minc_tf.augment.presets.simclr(
    32, strength=0.5, blur=False, area=(0.5, 1.0)
)
views = minc_tf.augment.MultiView(presets, size=32)
encoder = minc_tf.models.small_resnet(filters=(16, 32, 64))
model = minc_tf.build(
    "minc", encoder, projector_widths=(256, 64), triangular=False
)
model.compile(
    optimizer=keras.optimizers.AdamW(8e-3, weight_decay=0.05, epsilon=1e-4)
)
batches = minc_tf.data.view_batches(source, views, batch_size=64)
history = model.fit(batches, epochs=EPOCHS, verbose=0).history
print("chi-square information:", round(history["chi2_information"][-1], 2))

# %% [markdown]
# ## Export

# %%
minc_tf.export.export_savedmodel(model, "savedmodels/notebook")
manifest = minc_tf.export.read_manifest("savedmodels/notebook")
for name, takes in manifest["signatures"].items():
    print(f"{name}: {takes}")

# %% [markdown]
# ## What a server does
#
# It loads the folder, and calls a signature with the bytes of files, of any
# size.

# %%
served = tf.saved_model.load("savedmodels/notebook/1")
photo = tf.io.encode_jpeg(
    tf.image.resize(source.at(0)["image"], (90, 60)).numpy().astype("uint8")
)
vectors = served.signatures["serving_default"](image_bytes=[photo])
print({name: tuple(value.shape) for name, value in vectors.items()})

# %% [markdown]
# ## Serve
#
# With Docker: `make serve MODEL=notebook` starts TensorFlow Serving. Here a few
# lines stand in for it, which understand the same request, so that the client
# below is the one that you need.


# %%
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))
        files = request["inputs"]["image_bytes"]
        contents = [base64.b64decode(file["b64"]) for file in files]
        signature = served.signatures[request["signature_name"]]
        found = signature(image_bytes=tf.constant(contents))
        outputs = {
            name: value.numpy().tolist() for name, value in found.items()
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"outputs": outputs}).encode())

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1/models/encoder:predict"

# %% [markdown]
# ## Call
#
# Files go as base64. The client needs Python alone.


# %%
def embed(files):
    """Features (B, F) of the bytes of image files."""
    body = {
        "signature_name": "serve_bytes",
        "inputs": {
            "image_bytes": [
                {"b64": base64.b64encode(file).decode()} for file in files
            ]
        },
    }
    request = urllib.request.Request(address, json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return np.asarray(json.load(answer)["outputs"]["features"])


images, _ = minc_tf.data.render_shapes(200, "test")
files = [tf.io.encode_jpeg(image, quality=95).numpy() for image in images]
features = np.concatenate([embed(files[i : i + 32]) for i in range(0, 200, 32)])
print(features.shape)

# %% alt="Four pictures that were sent, each with the five most similar."
features /= np.linalg.norm(features, axis=1, keepdims=True)
figure, axes = plt.subplots(4, 6, figsize=(6, 4.2))
for row in range(4):
    nearest = np.argsort(-(features @ features[row]))[:6]
    for axis, index in zip(axes[row], nearest, strict=True):
        axis.imshow(images[index])
        axis.axis("off")
figure.tight_layout(pad=0.3)
plt.show()
server.shutdown()

# %% [markdown]
# gRPC, batching, limits, Kubernetes: [serving](../serving.md). Other runtimes:
# [formats](../formats.md).
