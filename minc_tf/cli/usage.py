"""What `--help` and `--version` of the console commands print."""

import sys
import textwrap
from collections.abc import Callable, Iterable

from absl import app as absl_app
from absl import flags

import minc_tf

# The flags that are defined here belong to the command that asks for them.
flags.disclaim_key_flags()

#: Distributions that have the backends, by the names of these.
_BACKENDS = {
    "keras": ("keras",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tf-nightly"),
    "jax": ("jax",),
}

_EXIT_CODES = """\
Exit codes:
  0 done; 1 failed; 2 a flag, a setting or a file is wrong; 75 stopped or lost
  a worker, give the same command again to go on; 130 Ctrl-C.
"""

_SETTINGS = """\
Settings of --config, each also on the command line as --config.KEY=VALUE:
  epochs, batch_size, seed  how long, how many images a step, which chance
  data.name, data.data_dir  shapes, a data set of TensorFlow Datasets, folder,
                            npz; and where it is
  views.size, views.preset  the images that the network gets
  encoder.name              small_resnet, resnet18, resnet50, ..., or
                            "package.module:function"
  objective.name, ...       minc, spectral, nt_xent, ...; and its arguments
  optimizer.learning_rate   at its peak
  strategy                  default, mirrored, multiworker, tpu
  precision, jit_compile    mixed_bfloat16 or float32; XLA
  monitor.every             epochs between measurements of kNN accuracy
All of them: docs/runs.md, help(minc_tf.training.default_config).
"""


class _PrintFlag(flags.BooleanFlag):
    """A flag that prints something and leaves, whatever else is given."""

    def __init__(self, name, help_text, text, short_name=None):
        super().__init__(
            name, False, help_text, short_name, allow_override=True
        )
        self.text = text

    def parse(self, argument):
        """Print, unless it is `--noNAME`."""
        if argument:
            print(self.text(), flush=True)
            sys.exit(0)


def define_printing(
    name: str,
    help_text: str,
    text: Callable[[], str],
    short_name: str | None = None,
) -> None:
    """Define a flag that prints a text and ends the command with 0."""
    flags.DEFINE_flag(_PrintFlag(name, help_text, text, short_name))


def define_help(docstring: str, names: Callable[[], Iterable[str]]) -> None:
    """Define `--help` and `--version`; absl's help ends with 1.

    A command whose own `--version` takes a number prints versions without one.
    """
    absl_app.define_help_flags()  # once a process; app.run would later
    for name in ("helpfull", "helpshort", "helpxml"):
        if name in flags.FLAGS:
            delattr(flags.FLAGS, name)
    define_printing(
        "help", "Print this.", lambda: _help(docstring, names()), "h"
    )
    if "version" not in flags.FLAGS or _prints("version"):
        define_printing("version", "Print versions.", versions)
    elif _without_number(sys.argv):
        print(versions())
        sys.exit(0)


def _prints(name):
    """Whether a flag prints something and leaves."""
    return isinstance(flags.FLAGS[name], _PrintFlag)


def _without_number(argv):
    """Whether `--version` stands on a command line without a number."""
    following = [*argv[1:], ""]
    return any(
        word in ("--version", "-version") and not after.lstrip("-").isdigit()
        for word, after in zip(argv, following, strict=True)
    )


def versions() -> str:
    """The version of the library and of the backends, a line each."""
    lines = [f"minc_tf {minc_tf.__version__}"]
    for name, distributions in _BACKENDS.items():
        found = filter(None, map(_version, distributions))
        lines.append(f"{name} {next(found, 'is not installed')}")
    return "\n".join(lines)


def _version(distribution):
    """The version of a distribution; None where there is none."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _help(docstring, names):
    """The description, the flags, the settings, the exit codes."""
    parts = [docstring.strip()]
    names = list(names)
    parts.append("Flags:\n" + "\n".join(map(_flag, names)))
    if "config" in names:
        parts.append(_SETTINGS.strip())
    return "\n\n".join([*parts, _EXIT_CODES.strip()])


def _flag(name):
    """A flag, its default and its help, on lines of 80 columns."""
    flag = flags.FLAGS[name]
    switch = flag.boolean and not _prints(name)
    spelt = f"--[no]{name}" if switch else f"--{name}"
    if flag.short_name:
        spelt = f"-{flag.short_name}, {spelt}"
    default = (flag.default_as_str or "").strip("'")
    if default in ("", "None", "false") or _prints(name):
        default = ""
    else:
        default = f" Default: {default}."
    text = textwrap.fill(
        flag.help + default,
        80,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
    )
    return f"  {spelt}\n{text}"
