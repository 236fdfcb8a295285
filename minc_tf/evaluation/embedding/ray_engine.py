"""Parts made by the workers of Ray, on one machine or a cluster: Ray code."""

import collections
import logging
import os
from collections.abc import Callable, Iterator

_LOGGER = logging.getLogger(__name__)

#: A part that so many workers died of is given up, the others are not.
_TRIES = 3

#: Seconds without a worker after which it is said what is waited for.
_PATIENCE = 60


class WorkerDiedError(RuntimeError):
    """Workers died of a part; the same command tries it again."""

    exit_code = 75


def import_ray():
    """Import Ray, or tell in a line how to install it."""
    # Nothing is told to its makers unless the user asks for that.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "the engine 'ray' needs Ray, which is not installed: pip install "
            "'minc_tf[ray]'"
        ) from error
    return ray


class _Worker:
    """A process of Ray's that makes parts."""

    def __init__(self, job, threads):
        # Imports wait for the first part: an error in here would be
        # told as the worker's death.
        self._job, self._threads, self._make = job, threads, None

    def ready(self):
        """Answer as soon as there is a process."""

    def make(self, part, images):
        """Make a part; return how many images are good, and bad."""
        if self._make is None:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            from minc_tf.evaluation.embedding import part_worker

            job = part_worker.Job(**self._job)
            self._make = part_worker.PartWorker(job, self._threads)
        return self._make(part, images)


def make_parts(
    job: dict,
    parts: list[str],
    images_of_part: Callable,
    *,
    workers: int | None,
    worker_cpus: int,
    worker_gpus: float,
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield parts as they are made, and how many images are (good, bad).

    Joins the cluster that `ray start` or `RAY_ADDRESS` names, else starts Ray.
    A part whose worker died is made again by another; for parts given up,
    WorkerDiedError is raised when all others are made.
    """
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        # What it says of its start; a worker's death is told below.
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    pool = None
    try:
        room = _room(ray, worker_cpus, worker_gpus)
        count = min(len(parts), room if workers is None else workers)
        remote = ray.remote(
            num_cpus=worker_cpus, num_gpus=worker_gpus, max_restarts=0
        )(_Worker)
        pool = _Pool(ray, lambda: remote.remote(job, worker_cpus), count)
        yield from pool.run(parts, images_of_part)
    finally:
        if started:
            ray.shutdown()
        elif pool is not None:
            pool.close()


def _room(ray, cpus, gpus):
    """How many workers there is room for now, at least one."""
    has = ray.cluster_resources()
    rooms = [int(has.get("CPU", 0) // cpus)]
    if gpus:
        rooms.append(int(has.get("GPU", 0) / gpus))
    if not min(rooms):
        _LOGGER.warning(
            "no machine of Ray's has room for a worker of %s cores and %s "
            "GPUs (all: %s cores, %s GPUs); waiting for one that is added",
            cpus,
            gpus,
            int(has.get("CPU", 0)),
            int(has.get("GPU", 0)),
        )
    return max(1, min(rooms))


class _Pool:
    """Workers, each of which has one part at a time, or is starting."""

    def __init__(self, ray, start, count):
        self._ray, self._start = ray, start
        self._running = {}
        for _ in range(count):
            self._add()

    def _add(self):
        worker = self._start()
        self._running[worker.ready.remote()] = worker, None

    def run(self, parts, images_of_part):
        """Yield parts and their counts; raise for those given up."""
        todo, deaths = collections.deque(parts), collections.Counter()
        failures, lost, working = collections.Counter(), [], 0
        while todo or working:
            done, _ = self._ray.wait([*self._running], timeout=_PATIENCE)
            if not done and not working:
                _LOGGER.warning("waiting for a worker of Ray's to start")
            for reference in done:
                worker, part = self._running.pop(reference)
                working -= part is not None
                try:
                    counts = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:
                    failures[part] += 1
                    _check_passing(error, part, failures[part])
                    todo.append(part)
                except self._ray.exceptions.RayError:
                    self._bury(worker, part, deaths, todo, lost)
                    continue
                else:
                    if part is not None:
                        yield part, counts
                if todo:
                    part = todo.popleft()
                    images = images_of_part(part)
                    made = worker.make.remote(part, images)
                    self._running[made] = worker, part
                    working += 1
        if lost:
            raise WorkerDiedError(
                f"{_TRIES} workers died of each of {len(lost)} parts, the "
                f"first {min(lost)!r} (too little memory for --batch_size, or "
                "for an image?); the same command tries them again"
            )

    def _bury(self, worker, part, deaths, todo, lost):
        """Replace a worker that died, and have its part made again."""
        self._ray.kill(worker)
        deaths[part] += 1
        if part is None and deaths[part] > 10 * _TRIES:
            raise WorkerDiedError(
                "workers of Ray's die before they begin; its logs tell why"
            )
        if part is not None and deaths[part] < _TRIES:
            _LOGGER.warning("a worker died; %s is made again", part)
            todo.append(part)
        elif part is not None:
            lost.append(part)
        self._add()

    def close(self):
        """End the workers, in a cluster that others go on with."""
        for worker, _ in self._running.values():
            self._ray.kill(worker)


def _check_passing(error, part, count):
    """Raise what a worker raised, but for what may pass the next time."""
    cause = error.cause
    # A store or a disk that does not answer.
    passing = isinstance(cause, OSError) and not isinstance(
        cause, FileNotFoundError
    )
    if not passing or count == _TRIES:
        known = isinstance(cause, Exception)
        raise (cause if known else error) from None
    _LOGGER.warning("%s is made again after an error: %s", part, cause)
