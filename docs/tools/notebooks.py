"""The notebooks: run, and shown on the site with what they gave.

A source is text, `docs/notebooks/NAME.py` in jupytext's percent format. What
its cells gave when they were last run whole is stored beside it, in `outputs/`:
the site shows what a reader will see, and is built without a run. Each output
is stored with a sum of its cell's code, so that a changed cell with the results
of another one is an error. `python docs/tools/notebooks.py [NAME...]`, or `make
notebooks`, runs them anew.
"""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import sys

SOURCES = pathlib.Path(__file__).parents[1] / "notebooks"
OUTPUTS = SOURCES / "outputs"
#: Seconds that a notebook may take.
LIMIT = 1800


def read(path: pathlib.Path):
    """The notebook of a source."""
    import jupytext

    return jupytext.read(path, fmt="py:percent")


def names() -> list[str]:
    """The notebooks, in their order."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def code_sum(cell) -> str:
    """What tells whether the code of a cell was changed."""
    return hashlib.sha256(cell.source.encode()).hexdigest()[:16]


def shortened(path: pathlib.Path, shorter: dict):
    """The notebook of a source, with other values of some names.

    Args:
        path: the source.
        shorter: dict from names to values: assignments to these names at the
            beginning of a line are of these values instead.

    Raises:
        ValueError: for a name of `shorter` that is never set.
    """
    notebook = read(path)
    for name, value in shorter.items():
        changed = 0
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source, count = re.subn(
                    rf"^{name} = .*$",
                    f"{name} = {value!r}",
                    cell.source,
                    flags=re.M,
                )
                changed += count
        if changed != 1:
            raise ValueError(
                f"{path.name} must set {name} once; it does {changed}."
            )
    return notebook


def execute(notebook, folder: pathlib.Path) -> None:
    """Runs a notebook in a folder; its cells have outputs then.

    Raises:
        nbclient.exceptions.CellExecutionError: for a cell that fails.
    """
    import nbclient

    client = nbclient.NotebookClient(
        notebook,
        timeout=LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()


def given(cell) -> tuple[str, list[bytes]]:
    """The text and the PNG pictures that a cell gave."""
    texts, pictures = [], []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        data = output.get("data", {})
        if "image/png" in data:
            pictures.append(base64.b64decode(data["image/png"]))
        elif "text/plain" in data:
            texts.append(data["text/plain"])
    return "".join(texts).strip("\n"), pictures


def smaller(picture: bytes) -> bytes:
    """A PNG of 128 colours, a third of the size."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    file = io.BytesIO()
    image.quantize(128).save(file, "PNG", optimize=True)
    return file.getvalue()


def store(name: str, notebook) -> None:
    """Stores what the cells of a notebook gave."""
    OUTPUTS.mkdir(exist_ok=True)
    for old in OUTPUTS.glob(f"{name}-*.png"):
        old.unlink()
    stored, count = [], 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        text, pictures = given(cell)
        files = []
        for picture in pictures:
            count += 1
            files.append(f"{name}-{count}.png")
            (OUTPUTS / files[-1]).write_bytes(smaller(picture))
        stored.append({"code": code_sum(cell), "text": text, "pictures": files})
    path = OUTPUTS / f"{name}.json"
    path.write_text(json.dumps(stored, indent=1) + "\n")


def page(name: str) -> str:
    """A notebook as a page of Markdown.

    Raises:
        ValueError: for a cell whose outputs are those of other code, or a
            picture that no `alt` of its cell describes.
    """
    path = SOURCES / f"{name}.py"
    stored = json.loads((OUTPUTS / f"{name}.json").read_text())
    cells = read(path).cells
    code = [code_sum(cell) for cell in cells if cell.cell_type == "code"]
    if [entry["code"] for entry in stored] != code:
        raise ValueError(
            f"{path.name} was changed since its outputs were stored: make "
            "notebooks"
        )
    entries = iter(stored)
    parts = []
    for cell in cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        entry = next(entries)
        parts.append(f"```python\n{cell.source}\n```")
        if entry["text"]:
            parts.append(f"```text\n{entry['text']}\n```")
        for picture in entry["pictures"]:
            alt = cell.metadata.get("alt")
            if not alt:
                raise ValueError(f"{path.name}: no alt=... for {picture}")
            parts.append(f"![{alt}](outputs/{picture})")
    parts.append(f"The source, to run: `docs/notebooks/{path.name}`.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Runs notebooks whole, and stores what they gave."""
    import tempfile
    import time

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in sys.argv[1:] or names():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = read(SOURCES / f"{name}.py")
            execute(notebook, pathlib.Path(folder))
        store(name, notebook)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
