"""The yardstick of the tests: its list, and what it makes of two faults."""

import json
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def faults(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import faults

    return faults


def test_the_list_fits_the_code():
    """Each text occurs once in its file, and its tests exist."""
    found = subprocess.run(
        [sys.executable, BENCHMARKS / "faults.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert int(found.stdout.split()[0]) >= 60


def test_what_does_not_fit_is_told(faults, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    rows = [
        faults.Fault("twice", "sign", "a.py", "x = 1", "x = 2", "a.py"),
        faults.Fault("none", "sign", "a.py", "y", "z", "jax:tests.py"),
        faults.Fault("none", "sign", "a.py", "2", "2", "a.py"),
    ]
    assert faults.problems(rows, tmp_path) == [
        "twice: its text occurs 2 times",
        "none: its text occurs 0 times",
        "none: there is no jax:tests.py",
        "none: its text occurs 0 times",
        "none: it replaces nothing",
        "none: twice",
    ]


def test_a_fault_is_caught_or_missed_and_taken_back(
    faults, tmp_path, monkeypatch
):
    (tmp_path / "half.py").write_text("def half(x):\n    return x / 2\n")
    (tmp_path / "test_half.py").write_text(
        "from half import half\n\n\ndef test():\n    assert half(4) == 2\n"
    )
    (tmp_path / "test_bad.py").write_text("def test():\n    assert False\n")
    copied = {p.name: p.read_text() for p in tmp_path.glob("*.py")}

    def copy(folder):
        for name, text in copied.items():
            (folder / name).write_text(text)

    monkeypatch.setattr(faults, "copy_tree", copy)
    rows = [
        faults.Fault(
            name, "sign", "half.py", "x / 2", replacement, f"test_{tests}.py"
        )
        for name, replacement, tests in (
            ("seen", "x * 2", "half"),
            ("unseen", "x - 2", "half"),
            ("untold", "x * 2", "bad"),
            ("broken", "x /", "half"),
        )
    ]
    tried, said = {}, []
    results = tmp_path / "results"
    results.mkdir()
    faults.try_out(
        rows,
        tried,
        5,
        lambda tried: faults.write(results, "faults", tried),
        log=said.append,
    )
    assert {name: row["outcome"] for name, row in tried.items()} == {
        "seen": "caught",
        "unseen": "missed",
        "broken": "pytest ended with 2",
    }
    assert "untold: test_bad.py fails without it, too" in said
    record = json.loads((results / "faults.json").read_text())
    assert record["faults"] == tried
    assert (
        "| unseen | sign | `test_half.py` | **missed** |"
        in (results / "faults.md").read_text()
    )
    # Only what still stands in the list as it was tried is taken over.
    again = [rows[0], rows[1]._replace(replacement="x - 3")]
    known = faults.read(results / "faults.json", again)
    assert list(known) == ["seen"]
