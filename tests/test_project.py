"""What the files of the project itself say."""

import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")


def entries():
    """The entries of references.bib, each a dict of its fields."""
    text = (ROOT / "docs/references.bib").read_text()
    for body in re.findall(r"^@\w+\{\w+,\n(.*?)^\}$", text, re.M | re.S):
        fields = re.findall(r"(\w+) = \{(.*?)\},\n(?=  \w|\Z)", body, re.S)
        yield {name: " ".join(value.split()) for name, value in fields}


def test_every_method_can_be_cited():
    """The papers in the table of the methods, and those alone."""
    found = list(entries())
    assert all({"title", "author", "year", "eprint"} <= set(e) for e in found)
    # The rows; prose also names papers that are no method's.
    table = re.findall(
        r"^\| `.*$", (ROOT / "docs/methods.md").read_text(), re.M
    )
    cited = {number for row in table for number in ARXIV.findall(row)}
    assert {entry["eprint"] for entry in found} == cited


def test_citation_file_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}
    assert required <= set(citation)
    (paper,) = citation["references"]
    minc = next(e for e in entries() if e["eprint"] == "2504.16667")
    assert paper["title"] == minc["title"]
    names = [
        f"{author['family-names']}, {author['given-names']}"
        for author in paper["authors"]
    ]
    assert " and ".join(names) == minc["author"]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_the_guides_name_exist(name):
    """Links, paths of the repository in code marks, and targets of make."""
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link
    tops = "|".join(("minc_tf", "tests", "docs", "deploy", "recipes"))
    for path in re.findall(rf"(?:{tops})/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([\w-]+)", text):
        assert f"\n{target}:" in makefile, target
