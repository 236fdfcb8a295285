"""What the console commands share: flags, and errors on one line."""

import logging
import sys
from collections.abc import Callable

#: Exit code for a run that was set up wrongly, as argparse and absl use it.
USAGE_ERROR = 2

_EXPECTED = (
    AttributeError,
    FileNotFoundError,
    FloatingPointError,
    ImportError,
    KeyError,
    PermissionError,
    TypeError,
    ValueError,
)


def launch(main: Callable[[list[str]], None]) -> None:
    """Runs a command: parses flags, calls `main`, prints errors on one line.

    Args:
        main: takes the command line left over by the flags.

    Raises:
        SystemExit: always, with 0, or 2 for an error of the user's. With
            `--debug` that error is raised with its traceback instead.
    """
    from absl import app, flags
    from absl import logging as absl_logging

    if "debug" not in flags.FLAGS:
        flags.DEFINE_bool("debug", False, "Show tracebacks of errors.")

    def guarded(argv):
        # TensorFlow tells of each step of an export; the run tells of itself.
        logging.getLogger("tensorflow").setLevel(logging.WARNING)
        absl_logging.set_verbosity(absl_logging.WARNING)
        logging.getLogger("minc_tf").setLevel(logging.INFO)
        if len(argv) > 1:
            fail(f"unexpected argument {argv[1]!r}; see --help")
        try:
            main(argv)
        except _EXPECTED as error:
            if flags.FLAGS.debug:
                raise
            fail(str(error))

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            fail(str(error))
        except (AttributeError, KeyError, ValueError, OSError) as error:
            # An override of a setting that does not exist ends here.
            fail(str(error))

    app.run(guarded, flags_parser=parse)


def fail(message: str) -> None:
    """Prints an error on one line and leaves with exit code 2."""
    line = " ".join(message.strip("'\"").split())
    print(f"error: {line}", file=sys.stderr)
    sys.exit(USAGE_ERROR)
