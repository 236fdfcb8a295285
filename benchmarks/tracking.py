"""What each way of MINC to follow its second moment costs a step.

    python benchmarks/tracking.py

Whole training steps of a `MINCModel` on views of 32 px (small_resnet (32, 64,
128), d = 128, full matrix), against the paper's form, which neither leads nor
corrects nor leaves images out of their own Lambda; and the objective alone,
value and gradient, at B = 4096, d = 256 (triangular, the default), against the
spectral loss over all B x B products. Calls take turns; a ratio is the median
of the ratios within a turn. Writes `tracking.json` and `tracking.md` in
`benchmarks/results`; some minutes on two cores.
"""

import json
import pathlib
import statistics

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from device_steps import step_call, timed_in_turn
from record import ROOT, origin
from scaling import embeddings, full_matrix_loss

import minc_tf
from minc_tf import objectives
from minc_tf.cli import app

PAPER, SPECTRAL, ALL_PAIRS = "the paper's form", "spectral", "spectral, B x B"
FORMS = {
    PAPER: {"tracking": "mean", "rate": 0.3, "self_pairs": True},
    "lead": {"tracking": "lead"},
    "corrected": {"tracking": "corrected"},
}
BATCHES, SIZE, DIM = (16, 64, 256), 32, 128
HEADLINE_BATCH, HEADLINE_DIM = 4096, 256

_ROUNDS = flags.DEFINE_integer("rounds", 30, "Turns.", lower_bound=3)
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Measures and records."""
    tf.get_logger().setLevel("ERROR")
    rounds = _ROUNDS.value
    record = {
        **origin(),
        "steps": {
            batch: relative(timed_in_turn(steps(batch), rounds), PAPER)
            for batch in BATCHES
        },
        "objectives": relative(timed_in_turn(alone(), rounds), "corrected"),
    }
    folder = pathlib.Path(_RESULTS.value)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1) + "\n"
    (folder / "tracking.json").write_text(text)
    (folder / "tracking.md").write_text(table(record))
    print(table(record))


def steps(batch: int) -> dict:
    """Training steps at a batch, by the form of the objective."""
    made = {}
    for name, options in {**FORMS, SPECTRAL: None}.items():
        keras.utils.set_random_seed(0)
        encoder = minc_tf.models.small_resnet(
            filters=(32, 64, 128), image_shape=(SIZE, SIZE, 3)
        )
        method, options = (
            ("spectral", {})
            if options is None
            else (
                "minc",
                {"triangular": False, **options},
            )
        )
        model = minc_tf.build(
            method, encoder, projector_widths=(512, DIM), mu=10.0, **options
        )
        model.compile(keras.optimizers.AdamW(1e-3), jit_compile=False)
        made[name] = step_call(model, method, batch, SIZE, classes=10)
    return made


def alone() -> dict:
    """Value and gradient of objectives at the headline's size."""
    pair = embeddings(HEADLINE_BATCH, HEADLINE_DIM)
    before = tuple(0.99 * z for z in pair)
    made = {}
    for name, options in FORMS.items():
        objective = objectives.MINC(dim=HEADLINE_DIM, **options)
        given = {"previous": before} if name == "corrected" else {}
        made[name] = _gradients(objective, pair, training=True, **given)
    made[ALL_PAIRS] = _gradients(full_matrix_loss, pair)
    return made


def _gradients(loss_of, pair, **given):
    @tf.function
    def gradients(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = loss_of(z1, z2, **given)
        return loss, tape.gradient(loss, (z1, z2))

    return lambda: gradients(*pair)[0].numpy()


def relative(seconds: dict, base: str) -> dict:
    """Median seconds, and ratios to one of them within a turn."""
    found = {}
    for name, each in seconds.items():
        ratios = np.divide(each, seconds[base])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        found[name] = {
            "seconds": round(statistics.median(each), 5),
            "ratio": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
    return found


def table(record: dict) -> str:
    """The ratios, as Markdown."""
    lines = [
        f"| a step, against {PAPER} | B = "
        + " | B = ".join(map(str, BATCHES))
        + " |",
        "| --- |" + " --- |" * len(BATCHES),
    ]
    for name in record["steps"][BATCHES[0]]:
        each = [_shown(record["steps"][batch][name]) for batch in BATCHES]
        lines.append(f"| {name} | {' | '.join(each)} |")
    lines += [
        "",
        f"| the objective alone, B = {HEADLINE_BATCH}, d = {HEADLINE_DIM} | ms "
        "| against corrected |",
        "| --- | --- | --- |",
    ]
    for name, each in record["objectives"].items():
        milliseconds = 1e3 * each["seconds"]
        lines.append(f"| {name} | {milliseconds:.1f} | {_shown(each)} |")
    return "\n".join(lines) + "\n"


def _shown(each: dict) -> str:
    low, high = each["quartiles"]
    return f"{each['ratio']:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    app.launch(main)
