"""Charts: well-formed, in the page's colours, with the data in them."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from minc_tf.report import charts, numbers


def paths(svg):
    """The coordinates of the lines of series, in points."""
    pattern = r'<path d="([^"]*)"[^>]*stroke: var\(--series-(\d)\)'
    found = []
    for text, series in re.findall(pattern, svg):
        points = re.findall(r"[ML] ([\d.-]+) ([\d.-]+)", text)
        found.append((int(series), np.array(points, float)))
    return [line for line in found if len(line[1]) > 1]


def test_line_is_the_data():
    """Positions in the drawing are an affine function of the data."""
    x, y = np.arange(40), np.random.default_rng(0).normal(size=40)
    svg = charts.line_chart([charts.Line(x, y)], "noise", x_label="epoch")
    ((series, points),) = paths(svg)
    assert series == 0
    for data, drawn in ((x, points[:, 0]), (y, -points[:, 1])):
        slope, offset = np.polyfit(data, drawn, 1)
        assert slope > 0
        np.testing.assert_allclose(slope * data + offset, drawn, atol=1e-3)


def test_svg_stands_in_a_page():
    lines = [
        charts.Line([1, 2, 4], [0.1, 0.5, 0.9], style, ([0, 0, 0], [1, 1, 1]))
        for style in (0, 5, 6)
    ]
    svg = charts.line_chart(
        lines, 'a "<b>"', x_label="dims", x_scale="log2", percent=True
    )
    root = ElementTree.fromstring(
        svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1)
    )
    assert root.tag == "svg" and root.get("aria-label") == 'a "<b>"'
    assert "width" not in root.attrib
    texts = {element.text.strip() for element in root.iter("text")}
    assert {"dims", "1", "2", "4", "25", "100"} <= texts
    # Colours come from the page; the seventh line is the first, dashed.
    assert {series for series, _ in paths(svg)} == {0, 5}
    assert "stroke-dasharray" in svg
    assert not re.search("#[0-9a-f]{6}|url\\((?!#)|id=.figure", svg)


def test_same_chart_same_text_and_other_names_within():
    line = charts.Line([1, 2], [1, 2])
    one, again, other = (
        charts.line_chart([line], text, x_label="epoch")
        for text in ("one", "one", "other")
    )
    assert one == again
    names = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other)]
    assert names[0] and not names[0] & names[1]


def test_zeros_of_a_spectrum_are_left_out():
    line = charts.spectrum_line(np.array([2.0, 1.0, 1e-9, 0.0]))
    np.testing.assert_array_equal(line.x, [1, 2])
    np.testing.assert_array_equal(line.y, [2.0, 1.0])
    assert charts.spectrum_picture([0.0, 0.0]).std() > 1.0
    picture = charts.spectrum_picture([2.0, 1.0, 0.0])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.std() > 1.0
    with pytest.raises(ValueError, match="spectrum"):
        charts.spectrum_picture([])


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("knn_accuracy", 0.9231, "92.3 %"),
        ("images", 10000, "10,000"),
        ("loss", -0.123456, "\N{MINUS SIGN}0.1235"),
        ("loss", 1234.5, "1,234"),
        ("loss", float("nan"), "nan"),
        ("seconds", 59.96, "60.0 s"),
        ("seconds", 60.2, "1 min 0 s"),
        ("seconds", 3723, "1 h 2 min"),
        ("seconds", 200_000, "2 d 7 h"),
        ("any", None, "—"),
        ("semi_0.1_learning_rate", [0.1, 2.0], "0.1, 2"),
        ("collapse", "a line", "a line"),
    ],
)
def test_numbers(key, value, text):
    assert numbers.show(key, value) == text


def test_names():
    assert numbers.title("knn_accuracy_k20") == "kNN accuracy, k = 20"
    assert numbers.title("some_new_metric") == "Some new metric"
    assert numbers.title("map") == "mAP"
    assert numbers.title("chi2_knn") == "χ² kNN"
    title = "Information in the first 32 coordinates"
    assert numbers.title("captured_share_32") == title
    assert numbers.moment("2026-01-31T14:05:59+0000") == "2026-01-31 14:05"
    assert numbers.moment("yesterday") == "yesterday"
