"""Write the page of a run, or one page that compares several.

Example:
  minc-report runs/a runs/b --out comparison.html
"""

from absl import flags

from minc_tf.cli import app

_OUT = flags.DEFINE_string(
    "out",
    None,
    "The page; by default RUN/report.html, of several runs report.html here.",
)


def main(argv: list[str]) -> None:
    """Write the page and print where it is."""
    from minc_tf import report, training

    runs = argv[1:]
    if not runs:
        raise ValueError(
            "the folder of a run must be named, as in minc-report runs/a; "
            "received none."
        )
    defaults = training.default_config().to_dict()
    print(report.write_report(runs, _OUT.value, defaults=defaults))


def run() -> None:
    """The console command."""
    app.launch(main, arguments=True)


if __name__ == "__main__":
    run()
