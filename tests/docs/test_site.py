"""The site: whole, found in a search, and shown by a browser."""

import importlib
import re
import sys

import pytest
from accessibility import serious_faults

import minc_tf

from .conftest import ROOT, TOOLS

sys.path.insert(0, str(TOOLS))
import check
import links
import reference

# Building the site, and a browser.
pytestmark = pytest.mark.slow


def chapters():
    """The Markdown of docs/, by what it is called on the site."""
    return [path.name for path in (ROOT / "docs").glob("*.md")]


def test_every_chapter_is_in_the_navigation():
    text = (ROOT / "zensical.toml").read_text()
    nav = re.search(r"^nav = \[\n(.*?)^\]", text, re.M | re.S)[1]
    found = re.findall(r'"([\w/]+\.md)"', nav)
    assert len(found) == len(set(found))
    wanted = {*chapters(), *reference.pages(ROOT)}
    assert wanted <= set(found)


def test_chapters_are_pages(site):
    for name in chapters():
        assert (site / name.removesuffix(".md") / "index.html").is_file()
    for name in ("", "changelog", "contributing", "security", "records"):
        assert (site / name / "index.html").is_file()


@pytest.mark.parametrize("package", reference.PACKAGES)
def test_every_public_name_is_described(site, package):
    """Against the packages as they are imported."""
    page = site / "reference" / package.removeprefix("minc_tf.") / "index.html"
    text = page.read_text()
    module = importlib.import_module(package)
    missing = [
        name for name in module.__all__ if f'id="{package}.{name}"' not in text
    ]
    assert missing == []


def test_every_package_has_a_page():
    public = {"minc_tf"} | {
        f"minc_tf.{name}"
        for name in minc_tf.__all__
        if type(getattr(minc_tf, name)) is type(minc_tf)
    }
    assert set(reference.PACKAGES) == public


def test_arguments_and_examples_are_shown(site):
    text = (site / "reference/augment/index.html").read_text()
    # A session of Python in a block, not as three levels of quotation.
    assert "<blockquote>" not in text
    assert "MultiView(configs" in re.sub(r"<[^>]+>", "", text)
    text = (site / "reference/data/index.html").read_text()
    assert re.search(r"<code>num_examples</code>", text)


def test_files_that_are_no_pages_can_be_read(site):
    page = site / "files/recipes/minc_minimal.py/index.html"
    text = re.sub(r"<[^>]+>", "", page.read_text())
    first = (ROOT / "recipes/minc_minimal.py").read_text().splitlines()[0]
    assert first.strip('"') in text


def test_a_link_to_nothing_stops_the_build(tmp_path):
    site = links.Site(tmp_path, tmp_path / "out")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# A\n[b](docs/b.md) `[c](c)`\n")
    with pytest.raises(FileNotFoundError, match=r"README.md: .* docs/b.md"):
        site.add("README.md")
    (tmp_path / "docs/b.md").write_text("# B\n[home](../README.md#a)\n")
    site = links.Site(tmp_path, tmp_path / "out")
    site.add("README.md")
    assert (tmp_path / "out/index.md").read_text() == (
        "# A\n[b](b.md) `[c](c)`\n"
    )
    assert (tmp_path / "out/b.md").read_text() == "# B\n[home](index.md#a)\n"


def test_a_link_to_nothing_is_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="a/#x">1</a><a href="b/">2</a><a href="a/#y">3</a>'
        '<img src="c.png"><a href="https://example.org/z">4</a>'
    )
    (tmp_path / "a/index.html").write_text('<p id="x"><a href="..">up</a>')
    assert check.broken_links(tmp_path) == [
        "index.html: a/#y",
        "index.html: b/",
        "index.html: c.png",
    ]


def show(browser, width, theme="light"):
    """Sets the size and the theme of what the browser shows next."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {**size, "mobile": False}
    )
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [feature]}
    )


@pytest.mark.parametrize("page", ["", "methods/", "reference/data/"])
def test_pages_open(browser, address, page):
    colours = set()
    for width, theme in ((400, "light"), (1280, "light"), (1280, "dark")):
        show(browser, width, theme)
        browser.get(address + page)
        log = browser.get_log("browser")
        assert [entry for entry in log if entry["level"] == "SEVERE"] == []
        asked = browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert asked and all(name.startswith(address) for name in asked)
        wide = browser.execute_script(
            "return document.documentElement.scrollWidth"
        )
        assert wide <= width
        colours.add(
            browser.execute_script(
                "return getComputedStyle(document.body).backgroundColor"
            )
        )
    assert len(colours) == 2


def results_of(browser, words):
    """What the search box finds: addresses, the best first."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
    wait = WebDriverWait(browser, 20)
    # The box draws itself beside the page.
    root = wait.until(lambda b: b.switch_to.active_element.shadow_root)
    root.find_element(By.CSS_SELECTOR, "input").send_keys(words)
    found = wait.until(lambda b: root.find_elements(By.CSS_SELECTOR, "a"))
    return [link.get_attribute("href") for link in found]


@pytest.mark.parametrize(
    "words, wanted",
    [
        ("effective_rank", "reference/diagnostics/"),
        ("Kubernetes", "serving/"),
        ("collapse", "diagnostics/"),
    ],
)
def test_search_finds(browser, address, words, wanted):
    show(browser, 1280)
    browser.get(address)
    found = results_of(browser, words)
    paths = [link.removeprefix(address).partition("?")[0] for link in found]
    assert wanted in paths[:5]


#: Of text, formulas, tables, code with its output, and a reference. A theme
#: changes colours, which the pages share.
LIGHT = [
    "",
    "minc/",
    "records/",
    "notebooks/3_what_minc_learns/",
    "reference/objectives/",
    "changelog/",
]
DARK = ["", "notebooks/3_what_minc_learns/"]


@pytest.mark.parametrize(
    "page, theme",
    [(page, "light") for page in LIGHT] + [(page, "dark") for page in DARK],
)
def test_site_is_accessible(browser, address, page, theme):
    """axe-core finds no serious fault."""
    show(browser, 1280, theme)
    browser.get(address + page)
    assert serious_faults(browser) == []


def test_a_serious_fault_is_found(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<html lang="en"><title>A</title><main><a href="b"></a>')
    browser.get(page.as_uri())
    assert [fault[0] for fault in serious_faults(browser)] == ["link-name"]
