"""Kills a run at random moments and restarts it; nothing may be lost.

    python benchmarks/kill.py --kills 20

A short run is trained once without interruption. Then the same command is
started again and again: each time the process gets SIGKILL, until it has been
killed so often; the last start is left to end. By turns the kill comes while a
checkpoint is being written, a random time after one, and a random time after
the start, which is often before training begins. The last checkpoint (weights,
second moment, optimizer, random generators) and metrics.csv must be the same
to the bit, and TensorBoard must have each step once. Checkpoints are written
every other step, so that most kills fall near one. Prints what was found, and
ends with an error if anything differs.
"""

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

RECIPE = [
    "--config.batch_size=32",
    "--config.epochs=30",
    "--config.data.num_examples=320",
    "--config.encoder.filters=(8, 16)",
    "--config.monitor.every=3",
    "--config.monitor.num_examples=100",
    "--config.monitor.k=5",
    "--config.checkpoint.every_steps=2",
    "--config.diagnostics.every=5",
    "--config.report.num_examples=64",
]


def command(workdir, *overrides):
    """The command of the run."""
    recipe = pathlib.Path(__file__).parents[1] / "recipes/shapes/minc.py"
    return [
        sys.executable,
        "-m",
        "minc_tf.cli.pretrain",
        f"--config={recipe}",
        f"--workdir={workdir}",
        *RECIPE,
        *overrides,
    ]


def train(workdir, *overrides):
    """Runs the command to its end; returns the seconds it took."""
    start = time.perf_counter()
    done = subprocess.run(
        command(workdir, *overrides),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return time.perf_counter() - start


def kill_in(workdir, moment, seconds, *overrides):
    """Starts the command and kills it.

    Args:
        workdir: path of the run's folder.
        moment: `"start"`: so many seconds after it; `"checkpoint"`: so many
            after the first new one; `"writing"`: after these, and once the
            next one is half written.
        seconds: float.
        *overrides: further settings.

    Returns:
        The step of the newest checkpoint; None if the run ended before.
    """
    folder = workdir / "checkpoints"
    known = newest(folder)
    with subprocess.Popen(
        command(workdir, *overrides),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        if moment != "start":
            wait_for(process, lambda: newest(folder) != known)
        time.sleep(seconds)
        if moment == "writing":
            wait_for(process, lambda: any(folder.glob(".*.part.npz")))
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
    return None if ended else newest(folder)


def wait_for(process, condition):
    """Waits for a condition, or the end of a process."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def newest(folder):
    """The step of the newest checkpoint, or -1."""
    return max((int(p.stem[5:]) for p in folder.glob("step-*.npz")), default=-1)


def differences(one, other):
    """What differs between two finished runs, as a list of strings."""
    found = []
    files = [
        sorted((r / "checkpoints").glob("*.npz"))[-1] for r in (one, other)
    ]
    if files[0].name != files[1].name:
        return [f"last checkpoint: {files[0].name}, {files[1].name}"]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        if set(first) != set(second):
            found.append("variables")
        found += [
            name
            for name in first
            if not np.array_equal(first[name], second[name])
        ]
    tables = [(run / "metrics.csv").read_bytes() for run in (one, other)]
    if tables[0] != tables[1]:
        found.append("metrics.csv")
    if logged_steps(one) != logged_steps(other):
        found.append("TensorBoard")
    return found


def logged_steps(run):
    """The steps of the loss in the events of a run, in order."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(
        str(run / "events" / "train"), {event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return [event.step for event in events.Tensors("loss")]


def trial(root, kills, seed, *overrides, log=print):
    """Kills a run so often, and compares it with one that was left alone.

    Args:
        root: folder for both runs.
        kills: int.
        seed: int, of the moments.
        *overrides: further settings.
        log: function that takes a line.

    Returns:
        (kills, differences): how often it was killed, and what differs.
    """
    draw = random.Random(seed)
    whole, killed = root / "whole", root / "killed"
    seconds = train(whole, *overrides)
    log(f"uninterrupted: {seconds:.0f} s")
    done = 0
    while done < kills:
        moment = ("writing", "checkpoint", "start")[done % 3]
        longest = 15.0 if moment == "start" else 0.4
        step = kill_in(killed, moment, draw.uniform(0, longest), *overrides)
        if step is None:
            break  # a run that ended cannot be killed
        done += 1
        log(f"kill {done} ({moment}): newest checkpoint of step {step}")
    train(killed, *overrides)
    return done, differences(whole, killed)


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        done, found = trial(pathlib.Path(root), arguments.kills, arguments.seed)
    print(f"killed {done} times; different: {', '.join(found) or 'nothing'}")
    sys.exit(1 if found or done < arguments.kills else 0)


if __name__ == "__main__":
    main()
