"""The notebooks run, in short form; their pages show what they gave."""

import json
import shutil
import sys

import pytest

from .conftest import ROOT, TOOLS

sys.path.insert(0, str(TOOLS))
import notebooks

jupytext = pytest.importorskip("jupytext")

#: What makes a run of seconds of each.
SHORTER = {
    "1_photos": {"PHOTOS": 100, "EPOCHS": 1},
    "2_own_model": {"PICTURES": 100, "LABELLED": 20, "EPOCHS": 1},
    "3_what_minc_learns": {"STEPS": 20, "BATCHES": 20},
    "4_serve": {"PICTURES": 100, "EPOCHS": 1},
}


@pytest.mark.slow  # Each in a process of its own, which imports TensorFlow.
@pytest.mark.parametrize("name", notebooks.names())
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = notebooks.SOURCES / f"{name}.py"
    notebook = notebooks.run(path, tmp_path, SHORTER[name])
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [notebooks.given(cell)[1] for cell in cells]
    # Each picture has a description, and each description a picture.
    described = [bool(cell.metadata.get("alt")) for cell in cells]
    assert [bool(found) for found in pictures] == described
    assert sum(described) >= 1


@pytest.mark.parametrize("name", notebooks.names())
def test_a_page_shows_what_its_cells_gave(name):
    text = notebooks.page(name)
    assert text.startswith("# Notebook")
    assert text.count("![") == len(
        list(notebooks.OUTPUTS.glob(f"{name}-*.png"))
    )


def test_outputs_of_other_code_are_refused(tmp_path, monkeypatch):
    source, outputs = tmp_path / "a.py", tmp_path / "outputs"
    monkeypatch.setattr(notebooks, "SOURCES", tmp_path)
    monkeypatch.setattr(notebooks, "OUTPUTS", outputs)
    source.write_text("# %% [markdown]\n# # A\n\n# %%\nprint(1)\n")
    cell = notebooks.read(source).cells[1]
    outputs.mkdir()
    entry = {"code": notebooks.code_sum(cell), "text": "1", "pictures": []}
    (outputs / "a.json").write_text(json.dumps([entry]))
    assert "```python\nprint(1)\n```\n\n```text\n1\n```" in notebooks.page("a")
    source.write_text(source.read_text().replace("print(1)", "print(2)"))
    with pytest.raises(ValueError, match=r"a\.py was changed since"):
        notebooks.page("a")
    shutil.rmtree(outputs)


def test_a_name_that_is_not_set_is_an_error(tmp_path, monkeypatch):
    source = tmp_path / "a.py"
    source.write_text("# %%\nN = 3\n")
    with pytest.raises(ValueError, match=r"a\.py must set M once; it does 0"):
        notebooks.run(source, tmp_path, {"M": 1})
