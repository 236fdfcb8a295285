"""The pages: what stands in them, and what must not."""

import html.parser
import json
import re
import types

import numpy as np
import pytest

from minc_tf import report
from minc_tf.report import figures, images

from .conftest import CONFIG, SUMMARY, finished_run, unfinished_run

#: Elements without an end.
VOID = {"meta", "link", "img", "br"}


class Page(html.parser.HTMLParser):
    """A page's elements and text; fails where elements do not nest."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.words, self._open = [], [], []
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.words += data.split()

    @property
    def text(self):
        """What a reader reads."""
        return " ".join(self.words)

    def all(self, tag):
        """The attributes of every element of a kind."""
        return [attrs for name, attrs in self.elements if name == tag]


def check_page(page):
    """What holds for every page: it stands alone, and is accessible."""
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    # Nothing else asks for a file either.
    assert not re.search(r"url\((?!'data:|#)|@import|fetch\(", page.source)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert all(image["alt"] for image in page.all("img"))
    for attrs in page.all("svg"):
        assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
    links = {attrs["href"][1:] for attrs in page.all("a")}
    assert links <= set(ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, snapshot):
    """A run with everything."""
    folder = tmp_path_factory.mktemp("runs") / "full"
    folder = finished_run(folder, snapshot)
    numbers = {
        "knn_accuracy_k20": 0.875,
        "linear_accuracy": 0.9,
        "linear_accuracy_ci95": 0.004,
        "linear_l2": 0.001,
    }
    rows = [{"dim": d, "knn_accuracy_k20": 0.5 + d / 64} for d in (2, 8, 16)]
    entry = {
        "savedmodel": "savedmodels/full/1",
        "output": "features",
        "settings": {},
        "results": numbers,
        "choices": {"semi_0.1_learning_rate": [0.1, 0.2]},
        "dims": {"embedding": rows, "pca": rows[:2]},
        "date": "2026-02-01T09:30:00+01:00",
    }
    (folder / "evaluation.json").write_text(json.dumps([entry]))
    return folder


@pytest.fixture(scope="module")
def single(folder):
    """Its page."""
    defaults = CONFIG | {"batch_size": 256, "optimizer": {}}
    path = report.write_report(folder, defaults=defaults)
    assert path == folder / "report.html"
    return Page(path)


def test_page_stands_alone(single):
    check_page(single)
    assert len(single.source) < 1_000_000
    # The map and its images, the views, the neighbours.
    assert len(single.all("img")) == 3
    assert "url('data:image/jpeg" in single.source


def test_page_says_what_happened(single):
    text = single.text
    assert "minc on shapes · small_resnet · 3 epochs · batch 64" in text
    assert "Ended 2026-01-31 14:05 after 1 h 2 min of training." in text
    assert "kNN accuracy 75.0 %" in text
    assert "Loss \N{MINUS SIGN}2.25" in text
    assert "Images per second 1,234" in text
    assert "There is no" not in text and "Collapsed" not in text


def test_page_has_a_chart_for_each_column(single):
    labels = [attrs.get("aria-label", "") for attrs in single.all("svg")]
    assert "kNN accuracy: 25.0 % at epoch 1, 75.0 % at epoch 3" in labels
    for title in ("Loss", "Rate of the second moment", "Training time"):
        assert sum(label.startswith(f"{title}: ") for label in labels) == 1
    assert any(label.startswith("Eigenvalues") for label in labels)


def test_curves_stand_in_groups_behind_four():
    names = (
        *("loss", "chi2_information", "knn_accuracy", "knn_accuracy_low"),
        *("knn_accuracy_high", "rank_me", "effective_rank", "my_own"),
        *("learning_rate", "rate", "seconds", "predictor_learning_rate"),
    )
    run = types.SimpleNamespace(curves=dict.fromkeys(names))
    assert figures.column_groups([run]) == {
        "The four that matter": [
            *("loss", "knn_accuracy", "effective_rank", "learning_rate")
        ],
        "Information": ["chi2_information"],
        "Geometry": ["rank_me"],
        "Optimisation": ["rate"],
        "Others": ["my_own", "predictor_learning_rate"],
        "Speed": ["seconds"],
    }


def test_page_has_evaluation_recipe_and_environment(single):
    text = single.text
    assert "full/1 · features · 2026-02-01 09:30" in text
    assert "Linear accuracy 90.0 % ± 0.4 %" in text
    assert "Semi 0.1 learning rate 0.1, 0.2" in text
    assert "kNN accuracy, k = 20, % of the first coordinates" in text
    assert "embedding of features pca of features" in text
    assert "batch_size 64 256" in text
    assert "optimizer.learning_rate 0.001 not set" in text
    assert "epochs 3 10" not in text
    assert "TensorFlow 2.21.0" in text and "Commit abc123" in text


def test_names_are_escaped(single):
    assert "<script>alert" not in single.source
    assert "<script>alert(1)</script> 20" in single.text
    data = re.search(r'id="map-data">(.*?)</script>', single.source, re.S)
    found = json.loads(data[1])
    assert found["names"][25] == "<script>alert(1)</script>"
    assert found["across"] == 8 and len(found["points"]) == 60


def test_settings_are_escaped(tmp_path):
    attack = "</pre><script>alert(2)</script>"
    folder = unfinished_run(tmp_path / "a", data={"name": attack})
    page = Page(report.write_report(folder, defaults={}))
    assert "<script>alert" not in page.source
    assert page.text.count("<script>alert(2)</script>") == 3


def test_run_that_has_not_ended(tmp_path):
    folder = unfinished_run(tmp_path / "a")
    page = Page(report.write_report(folder))
    check_page(page)
    assert "Has not ended: 0 of 3 epochs are done." in page.text
    for missing in (
        "no map in this folder ( embedding.npz ); the end of the run brings",
        "There is no picture of nearest neighbours",
        "metrics.csv has no rows",
        "There is no spectrum",
        "Not evaluated yet",
        "Versions are written when the run ends",
    ):
        assert missing in page.text
    assert len(page.all("img")) == 1


def test_collapse_is_said_first(tmp_path):
    reason = "the embeddings lie on a line"
    folder = finished_run(
        tmp_path / "a", summary=SUMMARY | {"collapse": reason}
    )
    page = Page(report.write_report(folder))
    assert page.text.index(reason) < page.text.index("kNN accuracy")


def test_unlabelled_and_many_classes(tmp_path, clusters):
    features, pixels, _ = clusters
    found = report.make_snapshot(features[:4], pixels[:4])
    page = Page(report.write_report(finished_run(tmp_path / "a", found)))
    assert "images without labels 4" in page.text
    labels = np.arange(60) // 2  # 30 classes, of which 24 have a mark
    labels[:2] = -1
    found = report.make_snapshot(features, pixels, labels)
    page = Page(report.write_report(finished_run(tmp_path / "b", found)))
    check_page(page)
    assert "5 other classes 10" in page.text and "no label 2" in page.text


def test_page_of_noise_is_small(tmp_path):
    """The images that compress worst, as many and as large as they get."""
    rng = np.random.default_rng(0)

    def noise(*shape):
        return rng.integers(0, 256, (*shape, 3), np.uint8)

    found = report.Snapshot(
        points=rng.normal(size=(2000, 2)),
        labels=rng.integers(0, 100, 2000),
        class_names=tuple(f"a class with a name, {i}" for i in range(100)),
        thumbnails=noise(2000, 32, 32),
        spectrum=np.ones(512),
    )
    folder = finished_run(tmp_path / "a", found)
    for name, shape in (("views", (700, 1500)), ("neighbours", (1500, 1500))):
        path = folder / "pictures" / f"{name}.png"
        path.write_bytes(images.encode_png(noise(*shape)))
    assert report.write_report(folder).stat().st_size < 3_000_000


def test_page_is_replaced_at_once(tmp_path, monkeypatch):
    folder = unfinished_run(tmp_path / "a")
    (folder / "report.html").write_text("of before")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        report.write_report(folder)
    assert (folder / "report.html").read_text() == "of before"


@pytest.fixture(scope="module")
def compared(folder, snapshot, tmp_path_factory):
    """The page of that run, a run of the same name and one at its start."""
    parent = tmp_path_factory.mktemp("others")
    config = {"batch_size": 128, "objective": {"name": "spectral"}}
    summary = SUMMARY | {"seconds": 60.0, "collapse": "a line"}
    same = finished_run(parent / "x" / "full", snapshot, summary, **config)
    metrics = (same / "metrics.csv").read_text()
    (same / "metrics.csv").write_text(metrics.replace("0.75", "0.5"))
    start = unfinished_run(parent / "start")
    path = parent / "comparison.html"
    assert report.write_report([folder, same, start], path) == path
    return Page(path)


def test_comparison_stands_alone(compared):
    check_page(compared)
    assert "3 runs" in compared.text
    assert "x/full collapsed: a line" in compared.text


def test_comparison_marks_the_best(compared):
    bold = re.findall(r"<strong>([^<]*)</strong>", compared.source)
    # Of the losses of different methods none is the best.
    assert bold == ["x/full collapsed:", "Bold", "75.0 %"]
    row = re.search(r"x/full</th>(.*?)</tr>", compared.source, re.S)
    assert "50.0 %" in row[1] and "1 min 0 s" in row[1]


def test_comparison_shows_what_differs(compared):
    text = compared.text
    assert "batch_size 64 128 64" in text
    assert "objective.dim 8 not set 8" in text
    assert "optimizer.name" not in text
    assert "Linear accuracy (features) 90.0 % ± 0.4 % — —" in text
    assert "start 0 of 3 epochs" in text
    assert "full, embedding" in text and "full, pca" not in text


def test_comparison_lays_curves_over_each_other(compared):
    """A line a run that has the column, in the colour of its name."""
    charts = re.findall(
        r'<svg[^>]*aria-label="Loss.*?</svg>', compared.source, re.S
    )
    (chart,) = charts
    series = re.findall(r"fill: none; stroke: var\(--series-(\d)\)", chart)
    assert series == ["0", "1"]


@pytest.mark.parametrize(
    ("names", "path", "error", "message"),
    [
        ([], None, ValueError, "none"),
        (["a", "b/../a"], None, ValueError, "given twice"),
        (["a", "missing"], None, FileNotFoundError, "missing.* holds no run"),
        (["a"], ".", ValueError, "is a folder"),
        (["a"], "no/page.html", ValueError, "has no folder"),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, names, path, error, message):
    monkeypatch.chdir(tmp_path)
    unfinished_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(error, match=message):
        report.write_report(names, path)


def test_comparison_goes_into_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [unfinished_run(tmp_path / name).name for name in ("a", "b")]
    assert report.write_report(names).resolve() == tmp_path / "report.html"
    assert (
        "No run has ended an epoch yet" in Page(tmp_path / "report.html").text
    )
