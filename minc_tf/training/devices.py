"""Where a run trains; `tensorflow_devices` and `jax_devices` extend it."""

import contextlib
from collections.abc import Callable, Iterator

import keras
from ml_collections import ConfigDict


class Devices:
    """The devices of a run, and the processes that train in step with this one.

    As it stands, this process alone. The methods that compare are collective:
    every process calls them at the same point of the run.
    """

    chief = True  # writes the files of the run
    ahead = 0  # steps begun before the logs of the first are looked at
    compiles = False  # `jit_compile` of the model

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which the model and its optimizer are made."""
        return contextlib.nullcontext()

    def in_use(
        self, last_checkpoint: Callable
    ) -> contextlib.AbstractContextManager:
        """A context of the run; `last_checkpoint` returns a path or None."""
        return contextlib.nullcontext()

    def steps(self, model: keras.Model, batches) -> Iterator[dict]:
        """Train a step at each `next`; its logs need not be computed yet."""
        raise NotImplementedError

    def settle(self, model: keras.Model) -> None:
        """Give the model's variables their values after the last step."""

    def any(self, flag: bool) -> bool:
        """Whether the flag of any process is true."""
        return bool(flag)

    def wait(self) -> None:
        """Wait until every process is here."""

    def leave(self, done: Callable[[], bool]) -> None:
        """Wait for the last time: a process that is here may end.

        Where one ended before all were known to be here, `done` tells whether
        what it ended after was done.
        """

    def check_same_step(self, step: int) -> None:
        """Raise ValueError where processes go on from different steps."""

    def left_out(self, config: ConfigDict) -> list[str]:
        """What is not made here though the settings ask for it, in words."""
        return []
