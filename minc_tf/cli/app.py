"""What the console commands share: flags, logs, and errors on one line."""

import contextlib
import copy
import keyword
import logging
import os
import select
import sys
from collections.abc import Callable

from absl import flags

from minc_tf import _recipes
from minc_tf.cli import startup, usage

# The flags that are defined here belong to the command that asks for them.
flags.disclaim_key_flags()

#: Exit code of a command that was set up rightly and failed.
FAILED = 1

#: Exit code for a run that was set up wrongly, as argparse and absl use it.
USAGE_ERROR = 2

#: Exit code of a command that was stopped with Ctrl-C, as shells have it.
INTERRUPTED = 130

#: Exit code where nobody reads on, as of `| head`, as shells have it.
UNREAD = 141

#: Errors that one line tells; those of the first kind are no user's mistake.
_FAILURES = (FloatingPointError, MemoryError)
_EXPECTED = (*_FAILURES, ImportError, OSError, TypeError, ValueError)


def define_recipe(help_text: str) -> flags.FlagHolder:
    """Define `--config RECIPE` and its overrides `--config.KEY=VALUE`."""
    from ml_collections import config_flags

    holder = config_flags.DEFINE_config_file(
        "config",
        None,
        help_text,
        # What is no setting is left to `minc_tf.training.run` to refuse.
        lock_config=False,
        accept_new_attributes=True,
    )
    # ml_collections' own loader answers errors with tracebacks, or later.
    flags.FLAGS["config"].parser = _RecipeParser()
    return holder


def _spelt(argument):
    """Make `--config.init.from=` valid Python: `--config.init["from"]=`."""
    name, equals, value = argument.partition("=")
    first, *parts = name.split(".")
    if first not in ("--config", "-config"):
        return argument
    parts = [f'["{p}"]' if keyword.iskeyword(p) else f".{p}" for p in parts]
    return "".join([first, *parts, equals, value])


class _RecipeParser(flags.ArgumentParser):
    """From the name of a recipe to its settings."""

    def parse(self, path):
        from minc_tf import training

        return training.load_recipe(path).unlock()

    def flag_type(self):
        return "recipe"


class _NameParser(flags.ArgumentParser):
    """From the name of a recipe that exists to this name."""

    def parse(self, path):
        _recipes.locate(path)
        return path


def _check(argv):
    """Check flags before the recipe's slow load; return what they leave."""
    known = copy.deepcopy(flags.FLAGS)
    if "config" in known:
        plain = flags.Flag(
            _NameParser(), None, "config", None, "", allow_override=True
        )
        plain.validators = known["config"].validators
        known["config"] = plain
    return known([arg for arg in argv if not _is_override(arg)])


def _is_override(argument):
    return argument.lstrip("-").startswith("config.") and argument[0] == "-"


def launch(
    main: Callable[[list[str]], None], *, arguments: bool = False
) -> None:
    """Run a command: parse flags, call `main`, print errors on one line.

    The docstring of `main`'s module opens `--help`. Exits with 0; 1, a failure;
    2, the user's error; 75, the run was told to end or lost a worker, and the
    same command goes on with it; 130, Ctrl-C; 141, nobody reads what it prints.
    """
    from absl import app

    if "debug" not in flags.FLAGS:
        flags.DEFINE_bool("debug", False, "Show tracebacks of errors.")
        flags.DEFINE_bool(
            "quiet", False, "No progress bars; warnings, errors and results."
        )
        flags.DEFINE_string(
            "log_file", None, "Also add what is logged to this file."
        )
    usage.define_help(main.__globals__["__doc__"], lambda: _names_of(main))

    # As in `python -m`: "module:Name" finds a file beside the recipe.
    if "" not in sys.path:
        sys.path.append("")

    def parse(argv):
        try:
            rest = _check(argv)
            if len(rest) > 1 and not arguments:
                fail(f"unexpected argument {rest[1]!r}; see --help")
            startup.quieten()
            return flags.FLAGS(argv)
        except KeyError as error:
            # An override in a section that does not exist.
            fail(f"--config.KEY=VALUE: unknown key {error.args[0]}")
        except (flags.Error, *_EXPECTED) as error:
            _leave_if_unread(error)
            fail(str(error))

    # Where ml_collections looks for the overrides.
    sys.argv[1:] = map(_spelt, sys.argv[1:])
    app.run(lambda argv: _guarded(main, argv), flags_parser=parse)


def _names_of(main):
    """The names of a command's flags, its own first."""
    own = flags.FLAGS.get_key_flags_for_module(main.__module__)
    names = [flag.name for flag in own]
    common = ("debug", "quiet", "log_file", "version", "help")
    return list(dict.fromkeys([*names, *common]))


def _guarded(main, argv):
    """Call `main`, and print an error on one line."""
    from absl import logging as absl_logging

    # TensorFlow tells of each step of an export; the run tells of itself.
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("minc_tf").setLevel(logging.INFO)
    if quiet():  # on the terminal; a log file gets the rest
        absl_logging.get_absl_handler().setLevel(logging.WARNING)
    try:
        with _log_file():
            main(argv)
        sys.stdout.flush()
    except Exception as error:
        _leave_if_unread(error)
        code = getattr(error, "exit_code", None)
        known = code is not None or isinstance(error, _EXPECTED)
        if flags.FLAGS.debug or not known:
            raise
        failed = isinstance(error, _FAILURES)
        fail(str(error), code or (FAILED if failed else USAGE_ERROR))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _leave_if_unread(error):
    """End without a word where what is printed lost its reader."""
    if not isinstance(error, BrokenPipeError):
        return
    output = sys.stdout.fileno()
    # Of a pipe without a reader this is all there is to poll.
    state = select.poll()
    state.register(output, 0)
    if state.poll(0):
        # Python itself would flush it again, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        sys.exit(UNREAD)


def quiet() -> bool:
    """Whether the command was given `--quiet`."""
    return flags.FLAGS.quiet


def _log_file():
    """The context in which the command logs to `--log_file`, if given."""
    path = flags.FLAGS.log_file
    if path is None:
        return contextlib.nullcontext()
    from minc_tf import training

    # What is raised while the file is open is not about the file.
    with contextlib.ExitStack() as opened:
        try:
            opened.enter_context(training.log_file(path))
        except OSError as error:
            raise ValueError(
                "--log_file must name a file that can be written; received "
                f"{path!r}: {error.strerror}."
            ) from error
        return opened.pop_all()


def fail(message: str, code: int = USAGE_ERROR) -> None:
    """Print an error on one line and leave with an exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
