"""`minc-report`."""

import json

import pytest


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with two runs that have just begun."""
    monkeypatch.chdir(tmp_path)
    for name, epochs in (("a", 3), ("b", 10)):
        (tmp_path / name).mkdir()
        text = json.dumps({"epochs": epochs})
        (tmp_path / name / "config.json").write_text(text)
    return tmp_path


def test_page_of_a_run(command, runs):
    result = command("report", "a")
    assert (result.code, result.err) == (0, "")
    assert result.out == "a/report.html\n"
    text = (runs / "a" / "report.html").read_text()
    assert "Settings that differ from the defaults" in text


def test_comparison(command, runs):
    result = command("report", "a", "b", "--out", "page.html")
    assert (result.code, result.out) == (0, "page.html\n")
    assert "Comparison of 2 runs" in (runs / "page.html").read_text()


def test_errors_are_one_line(command, runs):
    for arguments, message in (
        ([], "the folder of a run must be named"),
        (["a", "a"], "run 'a' is given twice"),
        (["c"], "'c' holds no run"),
        (["a", "--out=b"], "path 'b' is a folder"),
    ):
        result = command("report", *arguments)
        assert result.code == 2
        assert result.err.startswith("error: ") and message in result.err
        assert result.err.count("\n") == 1
