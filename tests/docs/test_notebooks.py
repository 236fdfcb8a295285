"""The notebooks run, in short form; their pages show what they gave."""

import itertools
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


#: What takes long, whatever the numbers: layers to trace, images to embed.
SMALLER = {
    "filters=(16, 32, 64)": "filters=(8,)",
    "mlp(64, ": "mlp(8, ",
    "num_examples=1000": "num_examples=100",
    "num_examples=500": "num_examples=50",
}
#: XLA compiles the jitter of colours anew for each pipeline.
WITHOUT_JITTER = """
import minc_tf

def simclr(*args, made=minc_tf.augment.presets.simclr, **kwargs):
    import dataclasses  # Names of the notebook are reset.

    first, second = made(*args, **kwargs)
    return (dataclasses.replace(first, jitter_p=0.0, grey_p=0.0),) * 2

minc_tf.augment.presets.simclr = simclr
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The code cells of each notebook, with what they gave.

    All in one process, which imports TensorFlow once, and in one folder; each
    begins without the names of the one before.
    """
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package)
    import nbformat

    cells = {
        name: notebooks.shortened(
            notebooks.SOURCES / f"{name}.py", SHORTER[name]
        ).cells
        for name in notebooks.names()
    }
    for cell in itertools.chain(*cells.values()):
        for long, short in SMALLER.items():
            cell.source = cell.source.replace(long, short)
    joined = nbformat.v4.new_notebook()
    joined.cells.append(nbformat.v4.new_code_cell(WITHOUT_JITTER))
    for each in cells.values():
        joined.cells += [nbformat.v4.new_code_cell("%reset -f"), *each]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        notebooks.execute(joined, tmp_path_factory.mktemp("notebooks"))
    return {
        name: [cell for cell in each if cell.cell_type == "code"]
        for name, each in cells.items()
    }


@pytest.mark.slow  # All run, in a process that imports TensorFlow.
@pytest.mark.parametrize("name", notebooks.names())
def test_a_notebook_runs(name, executed):
    cells = executed[name]
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


def test_a_name_that_is_not_set_is_an_error(tmp_path):
    source = tmp_path / "a.py"
    source.write_text("# %%\nN = 3\n")
    with pytest.raises(ValueError, match=r"a\.py must set M once; it does 0"):
        notebooks.shortened(source, {"M": 1})
