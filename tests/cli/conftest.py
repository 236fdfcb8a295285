"""The commands, in this process."""

import importlib
import logging
import sys
import types

import pytest
from absl import app, flags
from absl import logging as absl_logging


@pytest.fixture
def command(monkeypatch, capsys):
    """Calls a command of `minc_tf.cli` as the shell would.

    The flags that it defines are taken back: each command is made for a
    process of its own.
    """
    app.define_help_flags()  # Once a process, so they stay.
    verbosity = absl_logging.get_verbosity()
    level = logging.getLogger("minc_tf").level

    def call(name, *arguments):
        before = set(flags.FLAGS)
        monkeypatch.setattr(sys, "argv", [f"minc-{name}", *map(str, arguments)])
        capsys.readouterr()
        module = importlib.import_module(f"minc_tf.cli.{name}")
        try:
            module.run()
        except SystemExit as end:
            code = end.code or 0
        finally:
            del sys.modules[module.__name__]
            for flag in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, flag)
            flags.FLAGS.unparse_flags()
        out, err = capsys.readouterr()
        return types.SimpleNamespace(code=code, out=out, err=err)

    yield call
    absl_logging.set_verbosity(verbosity)
    logging.getLogger("minc_tf").setLevel(level)
