"""Training steps on whatever accelerator there is: rate, utilisation, shares.

    KERAS_BACKEND=jax python benchmarks/accelerator.py

Runs on Keras's JAX or TensorFlow backend; needs no data. Everything is warmed
up, measured in rounds in turn, and given as medians:

- `steps`: a train step of ResNet-18 on 32 x 32 (CIFAR stem) and of ResNet-50 on
  224 x 224 pixels, in float32 and bfloat16, on views that lie on the device:
  MINC, spectral, NT-Xent, BYOL, and supervised training of the same encoder and
  projector (cross-entropy of the projector's output). Images per second count
  an image once, not once a view. The utilisation is the floating-point
  operations of the network's convolutions and products (three times a forward
  pass) in relation to what a large matrix product reaches on this device.
- `views`: the same MINC step from uint8 images with `TwoViews` inside.
- `objectives`: value and gradient of each objective alone, against B and d.
- `pytorch`, where it is installed: the same network and batch in plain PyTorch,
  channels last, bfloat16, `torch.compile`, NT-Xent. Both sides in this run.

`--quick` takes small batches and fewer rounds, for a CPU. Writes
`benchmarks/results/accelerator_<device>_<backend>.json` and `.md`.
"""

import json
import pathlib
import re
import statistics

import keras
from absl import app, flags
from device_steps import (
    device_name,
    forward_flops,
    matmul_rate,
    objective_call,
    step_call,
    timed_in_turn,
)
from record import ROOT, origin

import minc_tf

_QUICK = flags.DEFINE_bool("quick", False, "Small batches, few rounds.")
_ROUNDS = flags.DEFINE_integer("rounds", None, "Rounds of all steps in turn.")
_NETWORKS = flags.DEFINE_list(
    "networks", ["resnet18", "resnet50"], "Which of the two."
)
_PRECISIONS = flags.DEFINE_list(
    "precisions", ["float32", "bfloat16"], "Which of the two."
)
_BATCH = flags.DEFINE_integer("batch", None, "Images a step, in place of ours.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

#: Depth, size of the images, stem, batch, batch of `--quick`.
NETWORKS = {
    "resnet18": (18, 32, "cifar", 512, 16),
    "resnet50": (50, 224, "imagenet", 256, 2),
}
METHODS = ("minc", "spectral", "simclr", "byol")
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
DIM = 256
#: The projector's layers.
WIDTHS = (2048, DIM)

#: B and d of the objectives alone.
BATCHES = (256, 1024, 4096)
DIMS = (64, 256, 1024)


def build_model(method: str, network: str, views=None) -> keras.Model:
    """A compiled model of a method, or of supervised training."""
    depth, size, stem, *_ = NETWORKS[network]
    keras.utils.set_random_seed(0)
    encoder = minc_tf.models.resnet(
        depth, image_shape=(size, size, 3), stem=stem, synchronized=False
    )
    features = encoder.output_shape[-1]
    if method == "supervised":
        projector = minc_tf.models.mlp(features, WIDTHS)
        images = keras.Input((size, size, 3))
        model = keras.Model(images, projector(encoder(images)))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(_optimizer(), loss=loss, jit_compile=_compiled())
        return model
    # BYOL's heads are a part of the method.
    widths = None if method == "byol" else WIDTHS
    model = minc_tf.build(method, encoder, projector_widths=widths, views=views)
    model.compile(_optimizer(), jit_compile=_compiled())
    return model


def _optimizer():
    return keras.optimizers.SGD(0.03, momentum=0.9)


def _compiled():
    """XLA, but not of TensorFlow on a CPU, where it is slower."""
    on_cpu = "cpu" in device_name().lower()
    return not (on_cpu and keras.backend.backend() == "tensorflow")


def measure_steps(network: str, precision: str, rounds: int, batch: int):
    """Rows of the steps of all methods of one network and precision."""
    _, size, *_ = NETWORKS[network]
    keras.config.set_dtype_policy(POLICIES[precision])
    calls, flops = {}, {}
    for method in ("supervised", *METHODS):
        model = build_model(method, network)
        calls[method] = step_call(model, method, batch, size, DIM)
        parts = [model]
        if method != "supervised":
            parts = model.online_layers
        forward = sum(forward_flops(part) for part in parts)
        flops[method] = 2 * batch * 3 * forward  # two views of each image
        if method == "byol":  # the target sees both views, forward only
            target = (model.encoder, model.projector)
            flops[method] += 2 * batch * sum(map(forward_flops, target))
    calls["views"] = _views_call(network, batch, size)
    flops["views"] = flops["minc"]
    seconds = timed_in_turn(calls, rounds)
    peak = matmul_rate(precision)
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        rows.append(
            {
                "network": network,
                "precision": precision,
                "step": name,
                "batch": batch,
                "milliseconds": 1e3 * median,
                "images_per_second": batch / median,
                "utilisation": flops[name] / median / peak,
                "over_supervised": statistics.median(
                    a / b
                    for a, b in zip(times, seconds["supervised"], strict=True)
                ),
            }
        )
    without = zip(seconds["views"], seconds["minc"], strict=True)
    share = statistics.median(1 - b / a for a, b in without)
    rows[-1]["share_of_views"] = share
    return rows, peak


def _views_call(network, batch, size):
    """MINC's step from uint8 images, views made inside."""
    preset = minc_tf.augment.presets.simclr(size, strength=0.5, blur=size > 32)
    views = minc_tf.augment.TwoViews(preset, size=size, seed=0)
    model = build_model("minc", network, views)
    return step_call(model, "views", batch, size, DIM)


def measure_objectives(rounds: int, quick: bool) -> list[dict]:
    """Rows of the objectives alone, milliseconds by B and d."""
    keras.config.set_dtype_policy("float32")
    make = {
        "MINC": lambda dim: minc_tf.objectives.MINC(dim=dim, mu=10.0),
        "SpectralContrastive": lambda _: (
            minc_tf.objectives.SpectralContrastive()
        ),
        "NTXent": lambda _: minc_tf.objectives.NTXent(),
        "VICReg": lambda _: minc_tf.objectives.VICReg(),
        "BarlowTwins": lambda _: minc_tf.objectives.BarlowTwins(),
        "NegativeCosine": lambda _: minc_tf.objectives.NegativeCosine(),
    }
    sizes = [(batch, 256) for batch in BATCHES]
    sizes += [(1024, dim) for dim in DIMS if dim != 256]
    if quick:
        sizes = [(256, 64), (256, 256), (1024, 64)]
    rows = []
    for batch, dim in sizes:
        calls = {
            name: objective_call(build(dim), batch, dim)
            for name, build in make.items()
        }
        times = timed_in_turn(calls, rounds)
        rows += [
            {
                "objective": name,
                "batch": batch,
                "dim": dim,
                "milliseconds": 1e3 * statistics.median(values),
            }
            for name, values in times.items()
        ]
    return rows


def measure_pytorch(rounds: int, batch: int) -> dict | None:
    """The PyTorch step against ours, in turn; None where there is no PyTorch.

    bfloat16, NT-Xent, ResNet-18 on 32 x 32 pixels.
    """
    try:
        import torch_step
    except ImportError:
        return None
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_model("simclr", "resnet18")
    objective = minc_tf.objectives.NTXent()
    calls = {
        "step, ours": step_call(model, "simclr", batch, 32, DIM),
        "step, PyTorch": torch_step.step_call(batch, 32, WIDTHS),
        "objective, ours": objective_call(objective, batch, DIM),
        "objective, PyTorch": torch_step.objective_call(batch, DIM),
    }
    times = timed_in_turn(calls, rounds)
    ratios = {}
    for kind in ("step", "objective"):
        pairs = zip(
            times[f"{kind}, PyTorch"], times[f"{kind}, ours"], strict=True
        )
        # Above 1 ours is faster.
        ratios[kind] = statistics.median(a / b for a, b in pairs)
    medians = {name: 1e3 * statistics.median(t) for name, t in times.items()}
    return {
        "version": torch_step.version(),
        "batch": batch,
        "milliseconds": medians,
        "ours_to_pytorch": ratios,
    }


def table(record: dict) -> str:
    """The record as Markdown."""
    lines = [
        f"# {record['device']}, {record['backend']}",
        "",
        "| network, batch | precision | step | images/s | utilisation | "
        "/ supervised |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["steps"]:
        lines.append(
            f"| {row['network']}, {row['batch']} | {row['precision']} | "
            f"{row['step']} | {row['images_per_second']:,.1f} | "
            f"{100 * row['utilisation']:.1f} % | "
            f"{row['over_supervised']:.3f} |"
        )
    lines += ["", "| objective | B | d | ms |", "| --- | --- | --- | --- |"]
    for row in record["objectives"]:
        lines.append(
            f"| {row['objective']} | {row['batch']} | {row['dim']} | "
            f"{row['milliseconds']:.3f} |"
        )
    if record["pytorch"]:
        ratios = record["pytorch"]["ours_to_pytorch"]
        lines += [
            "",
            f"Against PyTorch {record['pytorch']['version']} (its time over "
            f"ours): step {ratios['step']:.2f}, objective "
            f"{ratios['objective']:.2f}.",
        ]
    return "\n".join(lines) + "\n"


def main(_) -> None:
    """Measures, prints and records."""
    quick = _QUICK.value
    rounds = _ROUNDS.value or (11 if quick else 30)
    record = {
        **origin(),
        "device": device_name(),
        "backend": f"{keras.backend.backend()}, Keras {keras.__version__}",
        "rounds": rounds,
        "matmul_flops": {},
        "steps": [],
    }
    for network in _NETWORKS.value:
        batch = _BATCH.value or NETWORKS[network][4 if quick else 3]
        for precision in _PRECISIONS.value:
            rows, peak = measure_steps(network, precision, rounds, batch)
            record["steps"] += rows
            record["matmul_flops"][precision] = peak
            for row in rows:
                print(json.dumps(row), flush=True)
    record["objectives"] = measure_objectives(rounds, quick)
    batch = _BATCH.value or NETWORKS["resnet18"][4 if quick else 3]
    record["pytorch"] = measure_pytorch(rounds, batch)
    name = f"{record['device']} {keras.backend.backend()}".lower()
    name = re.sub(r"\W+", "_", name).strip("_")
    file = pathlib.Path(_RESULTS.value) / f"accelerator_{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")
    file.with_suffix(".md").write_text(table(record))
    print(table(record))


if __name__ == "__main__":
    app.run(main)
