"""What the tests see: faults put in one at a time, and the tests that should.

    python benchmarks/faults.py --check
    nice python benchmarks/faults.py --minutes 60
    nice python benchmarks/faults.py --only objectives/

`faults.json` lists the faults: what goes wrong, of which kind, the text that is
replaced (once in its file), what takes its place, and the file of tests which
should fail then, with `jax:` in front where the backend is JAX. Each is put
into a copy of the tracked files, after these tests have passed without it.
Caught: the tests fail, or take longer than five minutes. A fault that was tried
is not tried again while its line is the same, so that the command can be
stopped and given again; `--again` tries them anew. Writes
`benchmarks/results/faults.json` and `faults.md`.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from record import ROOT, origin

ON_JAX = "jax:"
JAX = {
    "KERAS_BACKEND": "jax",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2 "
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
}
LIMIT = 300
#: Exit codes of pytest. What cannot be collected says nothing of the tests.
OUTCOMES = {0: "missed", 1: "caught", None: "caught"}


class Fault(NamedTuple):
    """A line of the list."""

    name: str
    kind: str
    file: str
    text: str
    replacement: str
    tests: str


def load() -> list[Fault]:
    """The list."""
    listed = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())
    faults = []
    for group in listed["groups"]:
        file, tests = group["file"], group["tests"]
        stem = file.removeprefix("minc_tf/").removesuffix(".py")
        for what, kind, text, replacement in group["faults"]:
            assert kind in listed["kinds"], kind
            faults.append(
                Fault(f"{stem}: {what}", kind, file, text, replacement, tests)
            )
    return faults


def problems(faults: list[Fault], root: pathlib.Path = ROOT) -> list[str]:
    """What is wrong with the list, a line each."""
    found = []
    for fault in faults:
        count = (root / fault.file).read_text().count(fault.text)
        if count != 1:
            found.append(f"{fault.name}: its text occurs {count} times")
        if fault.text == fault.replacement:
            found.append(f"{fault.name}: it replaces nothing")
        if not (root / fault.tests.removeprefix(ON_JAX)).is_file():
            found.append(f"{fault.name}: there is no {fault.tests}")
    names = [fault.name for fault in faults]
    found += [f"{n}: twice" for n in sorted(set(names)) if names.count(n) > 1]
    return found


def copy_tree(folder: pathlib.Path) -> None:
    """Copies the tracked files as they stand."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def run_tests(folder: pathlib.Path, tests: str) -> tuple[int | None, float]:
    """Exit code of pytest, None where it ran too long, and seconds."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if tests.startswith(ON_JAX):
        environment |= JAX
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
    begun = time.monotonic()
    # In a group of its own, whose children end with it.
    process = subprocess.Popen(
        [*command, tests.removeprefix(ON_JAX)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = process.wait(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, time.monotonic() - begun


def outcome(folder: pathlib.Path, fault: Fault) -> tuple[str, float]:
    """Whether its tests catch a fault, and how many seconds that took."""
    path = folder / fault.file
    whole = path.read_text()
    path.write_text(whole.replace(fault.text, fault.replacement))
    try:
        code, seconds = run_tests(folder, fault.tests)
    finally:
        path.write_text(whole)
    return OUTCOMES.get(code, f"pytest ended with {code}"), seconds


def table(tried: dict) -> str:
    """The record as Markdown."""
    caught = sum(row["outcome"] == "caught" for row in tried.values())
    lines = [
        f"{caught} of {len(tried)} faults caught.",
        "",
        "| fault | kind | tests | outcome |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in tried.items():
        tests = row["tests"].replace("tests/", "")
        shown = row["outcome"]
        shown = shown if shown == "caught" else f"**{shown}**"
        lines.append(f"| {name} | {row['kind']} | `{tests}` | {shown} |")
    return "\n".join(lines) + "\n"


def write(folder: pathlib.Path, name: str, tried: dict) -> None:
    """Writes the record and its table; a stop in between loses nothing."""
    text = json.dumps({"origin": origin(), "faults": tried}, indent=1) + "\n"
    for path, content in (
        (folder / f"{name}.json", text),
        (folder / f"{name}.md", table(tried)),
    ):
        part = path.with_name(f".{path.name}.part")
        part.write_text(content)
        os.replace(part, path)


def read(path: pathlib.Path, faults: list[Fault]) -> dict:
    """What was tried and still stands in the list as it was tried."""
    if not path.exists():
        return {}
    known = {fault.name: fault._asdict() for fault in faults}
    rows = json.loads(path.read_text())["faults"]
    return {
        name: row
        for name, row in rows.items()
        if name in known
        and all(row[k] == v for k, v in known[name].items() if k != "name")
    }


def try_out(faults, tried, minutes, save, log=print) -> None:
    """Tries faults until the time is over, and records each."""
    end = time.monotonic() + 60.0 * minutes
    sound = {}
    with tempfile.TemporaryDirectory() as root:
        folder = pathlib.Path(root)
        copy_tree(folder)
        for fault in faults:
            if time.monotonic() > end:
                log("the time is over")
                return
            if fault.tests not in sound:
                sound[fault.tests], _ = run_tests(folder, fault.tests)
            if sound[fault.tests] != 0:
                log(f"{fault.name}: {fault.tests} fails without it, too")
                continue
            found, seconds = outcome(folder, fault)
            log(f"{fault.name}: {found} in {seconds:.0f} s")
            row = {k: v for k, v in fault._asdict().items() if k != "name"}
            tried[fault.name] = {
                **row,
                "outcome": found,
                "seconds": round(seconds, 1),
                "commit": origin()["commit"],
            }
            save(tried)


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only the list")
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--again", action="store_true", help="the tried ones")
    parser.add_argument("--name", default="faults", help="of the record")
    parser.add_argument(
        "--results", type=pathlib.Path, default=ROOT / "benchmarks/results"
    )
    arguments = parser.parse_args()
    faults = load()
    wrong = problems(faults)
    if wrong or arguments.check:
        print("\n".join(wrong) or f"{len(faults)} faults")
        sys.exit(bool(wrong))
    path = arguments.results / f"{arguments.name}.json"
    tried = read(path, faults)
    chosen = [f for f in faults if arguments.only in f.name]
    try_out(
        [f for f in chosen if arguments.again or f.name not in tried],
        tried,
        arguments.minutes,
        lambda tried: write(arguments.results, arguments.name, tried),
    )
    missed = [n for n, row in tried.items() if row["outcome"] != "caught"]
    print(f"{len(tried)} of {len(faults)} tried; {len(missed)} not caught")
    print("\n".join(missed))


if __name__ == "__main__":
    main()
