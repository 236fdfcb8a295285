"""Runs that end before their last epoch, and go on when started again."""

import signal
import threading

#: Exit code of a command that can be given again, `EX_TEMPFAIL` of sysexits.
TRY_AGAIN = 75


class PreemptedError(Exception):
    """The run was told to end (SIGTERM) and saved: it can be started again."""

    exit_code = TRY_AGAIN


class WorkerLostError(ConnectionError):
    """Another worker of the cluster ended; all can be started again."""

    exit_code = TRY_AGAIN


class Termination:
    """Remembers SIGTERM, which schedulers send before they kill."""

    def __init__(self):
        self.requested = False
        self._before = None

    def __enter__(self):
        """Set the handler."""
        self.watch()
        return self

    def watch(self) -> None:
        """Set the handler, also where another library has set its own."""
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, self._request)
            if self._before is None:
                self._before = before

    def __exit__(self, *exception):
        """Put the handler back that was there before."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _request(self, number, frame):
        self.requested = True
