"""Show what a recipe feeds to the network: images, views, their speed.

Example:
  minc-inspect --config minc_tf:shapes:minc --out look
"""

import json
import tempfile

from absl import flags

from minc_tf.cli import app

_CONFIG = app.define_recipe(
    "The recipe, minc_tf:NAME:ARGUMENT or FILE.py:ARGUMENT; "
    "--config.KEY=VALUE overrides."
)
_OUT = flags.DEFINE_string(
    "out", None, "The folder of the picture; a temporary one by default."
)
_BATCHES = flags.DEFINE_integer(
    "batches", 20, "Batches over which speed is measured.", lower_bound=1
)
_IMAGES = flags.DEFINE_integer(
    "images", 8, "Images in the picture.", lower_bound=1
)
_JSON = flags.DEFINE_bool("json", False, "Print the report as JSON.")
flags.mark_flags_as_required(["config"])


def main(_) -> None:
    """Inspect, and prints the report."""
    from minc_tf import training

    folder = _OUT.value or tempfile.mkdtemp(prefix="minc-inspect-")
    report = training.inspect(
        _CONFIG.value, folder, batches=_BATCHES.value, images=_IMAGES.value
    )
    if _JSON.value:
        print(json.dumps(report, indent=2))
        return
    found = report["data"]
    shape = " x ".join(str(size or "?") for size in found["image_shape"])
    print(
        f"{found['name']}/{found['split']}: {found['images']} images, {shape}"
    )
    classes = report["classes"]
    if classes:
        counts = classes.values()
        print(
            f"{len(classes)} classes of {min(counts)} to {max(counts)} images"
        )
        for name, count in list(classes.items())[:20]:
            print(f"{count:>10}  {name}")
    else:
        print("no labels")
    for index, view in enumerate(report["views"], start=1):
        print(
            f"view {index}: {tuple(view['shape'])}, values {view['min']:.1f} "
            f"to {view['max']:.1f}, mean {view['mean']:.1f}, standard "
            f"deviation {view['std']:.1f}"
        )
    for stage, speed in report["images_per_second"].items():
        print(f"{stage:>10}: {speed:,.0f} images/s")
    for name in report["skipped"]:
        print(f"skipped: {name}")
    print(report["picture"])


def run() -> None:
    """The console command."""
    app.launch(main)


if __name__ == "__main__":
    run()
