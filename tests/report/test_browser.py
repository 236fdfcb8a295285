"""The pages and TensorBoard in a browser, where there is one."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import tensorflow as tf
from accessibility import serious_faults

from minc_tf import report

from .conftest import ROWS, finished_run, write_rows

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"
)

#: Seconds after which TensorBoard will not answer any more.
PATIENCE = 120


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.add_argument("--disable-dev-shm-usage")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    with webdriver.Chrome(options, service) as driver:
        yield driver


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clusters):
    """A run with its page and events."""
    features, images, labels = clusters
    folder = finished_run(tmp_path_factory.mktemp("browser") / "run")
    writer = tf.summary.create_file_writer(str(folder / "events" / "train"))
    with writer.as_default():
        for row in ROWS:
            tf.summary.scalar("loss", row["loss"], row["step"])
    writer.close()
    report.finish_run(
        folder,
        features=features,
        embeddings=features,
        images=images,
        labels=labels,
        class_names=("red", "<script>alert(1)</script>", "a & b"),
        step=12,
    )
    return folder


def show(browser, width, theme="light"):
    """Sets the size and the theme of what the browser shows next."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": False,
        },
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )


def errors(browser):
    """What the console has of errors, which empties it."""
    log = browser.get_log("browser")
    return [entry for entry in log if entry["level"] == "SEVERE"]


def background(browser):
    """The colour of the page."""
    return browser.execute_script(
        "return getComputedStyle(document.body).backgroundColor"
    )


@pytest.mark.parametrize("kind", ["single", "comparison"])
def test_page_opens(browser, folder, tmp_path, kind):
    path = folder / "report.html"
    if kind == "comparison":
        other = finished_run(tmp_path / "other")
        path = report.write_report([folder, other], tmp_path / "page.html")
    colours = set()
    for width, theme in ((400, "light"), (1200, "light"), (1200, "dark")):
        show(browser, width, theme)
        browser.get(path.as_uri())
        assert errors(browser) == []
        loaded = browser.execute_script(
            "return [...document.images].map(image => image.naturalWidth)"
        )
        assert len(loaded) == (3 if kind == "single" else 0)
        assert all(loaded)
        asked = browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert [name for name in asked if not name.startswith("data:")] == []
        wide = browser.execute_script(
            "return document.documentElement.scrollWidth"
        )
        assert wide <= width
        colours.add(background(browser))
    assert colours == {"rgb(255, 255, 255)", "rgb(20, 23, 26)"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["single", "comparison"])
def test_page_is_accessible(browser, folder, tmp_path, kind, theme):
    """axe-core finds no serious fault."""
    path = folder / "report.html"
    if kind == "comparison":
        other = finished_run(tmp_path / "other")
        path = report.write_report([folder, other], tmp_path / "page.html")
    show(browser, 1280, theme)
    browser.get(path.as_uri())
    assert serious_faults(browser) == []


def test_tables_of_many_runs_fit(browser, tmp_path):
    """At 1280 pixels, whatever was measured of them, nothing is cut off."""
    names = [
        *("loss", "knn_accuracy", "chi2_information", "embedding_rank"),
        *("chi2_information_held_out", "embedding_std", "rank_me", "rate"),
        *("alignment", "uniformity", "second_moment_trace", "learning_rate"),
        *("embedding_std_min", "embedding_std_mean", "gradient_variance"),
        *("effective_rank_held_out", "chi2_information_held_out_minc"),
        *(f"captured_share_{count}" for count in (8, 16, 32, 64)),
    ]
    evaluation = [
        {"output": "features", "results": {"linear_accuracy": 0.98765}}
    ]
    folders = []
    for index in range(8):
        name = f"a_run_of_{index}_with_a_long_name_that_says_all_of_it"
        folder = finished_run(tmp_path / name, seed=index, epochs=10 + index)
        row = {name: -123.456 for name in names} | {"epoch": 1, "step": 4}
        write_rows(folder / "metrics.csv", [row])
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
        folders.append(folder)
    path = report.write_report(folders, tmp_path / "page.html")
    show(browser, 1280)
    browser.get(path.as_uri())
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')].map("
        "box => box.scrollWidth - box.clientWidth)"
    )
    assert len(cut) > 4 and max(cut) <= 0
    heads = browser.execute_script(
        "return [...document.querySelectorAll('#curves h3')]"
        ".map(head => head.textContent)"
    )
    assert heads[0] == "The four that matter" and len(heads) == 5


def test_pictures_follow_the_theme(browser, folder):
    """Gaps and empty cells of pictures have the colour of the page."""
    show(browser, 1200, "dark")
    browser.get((folder / "report.html").as_uri())
    clear = browser.execute_script(
        """
        return [...document.images].map(image => {
          const canvas = document.createElement("canvas");
          canvas.width = image.naturalWidth;
          canvas.height = image.naturalHeight;
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const {data} = context.getImageData(
              0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let i = 3; i < data.length; i += 4) count += data[i] < 128;
          return count / canvas.width / canvas.height;
        })
        """
    )
    mosaic = clear[0]
    assert 0.5 < mosaic < 1


def test_map_shows_images(browser, folder):
    """By pointer, by keys, and by class."""
    from selenium.webdriver import ActionChains, Keys

    show(browser, 1200)
    browser.get((folder / "report.html").as_uri())

    def find(selector):
        return browser.find_element("css selector", selector)

    points = json.loads(find("#map-data").get_attribute("textContent"))
    drawing, tip = find("svg.points"), find(".tip")
    assert not tip.is_displayed()
    middle = "{block: 'center', behavior: 'instant'}"
    browser.execute_script(f"arguments[0].scrollIntoView({middle})", drawing)
    index = 25
    x, y = points["points"][index]
    box = drawing.rect
    scale = box["width"] / 960
    ActionChains(browser).move_to_element_with_offset(
        drawing,
        round(x * scale - box["width"] / 2),
        round(y * scale - box["height"] / 2),
    ).perform()
    assert tip.is_displayed()
    assert tip.text == points["names"][index] == "<script>alert(1)</script>"
    drawing.send_keys(Keys.ARROW_LEFT)
    ring = find("svg.points .ring")
    assert float(ring.get_attribute("cx")) < x
    drawing.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    ActionChains(browser).move_to_element(find(".classes li")).perform()
    dimmed = browser.execute_script(
        "return [...document.querySelectorAll('svg.points g')]"
        ".map(group => group.classList.contains('dim'))"
    )
    assert dimmed == [False, True, True]
    assert errors(browser) == []


def test_page_without_script(browser, folder):
    """The map, its legend and its images are there all the same."""
    setting = "Emulation.setScriptExecutionDisabled"
    show(browser, 1200)
    browser.execute_cdp_cmd(setting, {"value": True})
    try:
        browser.get((folder / "report.html").as_uri())
        names = browser.find_element("css selector", ".classes").text
        assert "a & b 20" in names
        assert not browser.find_element("css selector", ".hint").is_displayed()
        titles = browser.find_elements("css selector", "svg.points g title")
        assert len(titles) == 3
    finally:
        browser.execute_cdp_cmd(setting, {"value": False})


@contextlib.contextmanager
def tensorboard(logdir, log):
    """TensorBoard on a port of its own; yields its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--load_fast=false"]
    command += ["--host=127.0.0.1", "--port=0", f"--logdir={logdir}"]
    with (
        open(log, "wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file) as process,
    ):
        try:
            yield wait_for(lambda: address(log))
        finally:
            process.terminate()


def address(log):
    """The address that TensorBoard says it is at."""
    words = log.read_text().split()
    return next((word for word in words if word.startswith("http://127")), None)


def wait_for(what):
    """The first result that is not empty."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError):
            if found := what():
                return found
        time.sleep(0.2)
    raise TimeoutError


@pytest.mark.slow  # TensorBoard and a browser start.
def test_tensorboard_opens(browser, folder, tmp_path):
    with tensorboard(folder, tmp_path / "log") as url:

        def get(path):
            with urllib.request.urlopen(f"{url}data/{path}", timeout=60) as it:
                return it.read()

        def get_json(path):
            return json.loads(get(path))

        wait_for(lambda: len(get_json("runs")) == 2)
        images = get_json("plugin/images/tags")
        assert list(images) == ["events/embedding"]
        assert list(images["events/embedding"]) == ["spectrum"]
        assert "loss" in get_json("plugin/scalars/tags")["events/train"]
        assert get_json("plugin/projector/runs") == ["events/embedding"]
        query = "sprite_image?run=events/embedding&name=embedding"
        assert get(f"plugin/projector/{query}").startswith(b"\x89PNG")

        show(browser, 1200)
        errors(browser)
        browser.get(f"{url}#projector")
        wait_for(
            lambda: (
                "PROJECTOR"
                in browser.execute_script(
                    "return document.body.innerText"
                ).upper()
            )
        )
        # TensorBoard may miss fonts of other hosts, where there is no network.
        own = [entry for entry in errors(browser) if url in entry["message"]]
        assert own == []
