"""The page in a real browser, from disk, with the network cut."""

import os
import re
import shutil
from pathlib import Path

import pytest

from klayer.report import compare_runs, pdf
from report_runs import make_study

pytestmark = pytest.mark.timeout(300)

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OUTPUT = Path(__file__).parents[1] / "test-output"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def study(small_study):
    return small_study


class Opened:
    """A page opened from disk, with what it said and asked for."""

    def __init__(self, browser, path, **options):
        options = {
            "viewport": {"width": 1280, "height": 900},
            "reduced_motion": "reduce",
        } | options
        self.context = browser.new_context(**options)
        self.context.set_offline(True)
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        self.messages, self.requests = [], []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(Path(path).resolve().as_uri())

    def draw_all(self):
        """Scroll through, so that every visible chart is drawn."""
        charts = self.page.locator(".chart")
        for i in range(charts.count()):
            if charts.nth(i).is_visible():
                charts.nth(i).scroll_into_view_if_needed()
                self.page.wait_for_function(
                    "i => document.querySelectorAll('.chart')[i].classList.contains('drawn')", arg=i
                )
        self.page.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")

    def hover(self, place):
        """Move the pointer over a place, as a hand does, until a tooltip shows; return its text."""
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        tooltip = self.page.locator("#vg-tooltip-element.visible")
        for step in range(40):
            part = 0.35 + 0.3 * (step % 10) / 10
            self.page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.4 * box["height"])
            self.page.wait_for_timeout(100)
            if tooltip.count():
                return tooltip.inner_text()
        raise AssertionError("no tooltip came")

    def picture(self, name):
        """Keep a screenshot as test output."""
        OUTPUT.mkdir(exist_ok=True)
        self.page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)

    def overflow(self):
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def opened(browser):
    contexts = []

    def open_page(path, **options):
        found = Opened(browser, path, **options)
        contexts.append(found.context)
        return found

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def light(browser, study):
    """The page in a wide window with light colours, every chart drawn."""
    found = Opened(browser, study.path / "report.html", color_scheme="light")
    found.draw_all()
    yield found
    found.context.close()


def test_page_draws_every_chart_offline_without_a_word_on_the_console(light):
    assert light.messages == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in light.requests)
    charts = light.page.locator(".chart").count()
    assert charts == light.page.locator(".chart.drawn").count() >= 14
    for name in ("Conclusion", "Published and measured", "The best network", "How it was made"):
        assert light.page.get_by_role("heading", name=name).is_visible()
    assert light.overflow() <= 0
    light.picture("light")


def test_pointing_at_a_curve_shows_the_values_there(light):
    chart = light.page.locator("#curves-2-layer-he .chart").nth(2)
    chart.scroll_into_view_if_needed()
    text = light.hover(chart)
    for word in ("epoch", "no BN, train", "BN, validation", "learning rate", "%"):
        assert word in text
    assert "undefined" not in text


def test_grid_names_network_seed_and_accuracy_on_hover(light):
    text = light.hover(light.page.locator("#overview .live .mark-rect path").first)
    for word in ("2-layer", "seed", "test accuracy"):
        assert word in text


def test_control_and_wheel_zoom_and_the_bare_wheel_scrolls_the_page(light):
    chart = light.page.locator("#curves-2-layer-he .chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    light.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = chart.locator(".role-axis-label").first
    before = label.text_content()
    light.page.keyboard.down("Control")
    light.page.mouse.wheel(0, -400)
    light.page.keyboard.up("Control")
    playwright.expect(label).not_to_have_text(before)
    top = light.page.evaluate("window.scrollY")
    light.page.mouse.wheel(0, 300)
    light.page.wait_for_function("top => window.scrollY !== top", arg=top)
    assert light.messages == []


@pytest.mark.parametrize("width", [390, 768])
def test_page_is_never_wider_than_its_window(opened, study, width):
    found = opened(study.path / "report.html", viewport={"width": width, "height": 844})
    found.draw_all()
    assert found.overflow() <= 0
    if width == 390:
        found.picture("phone")


@pytest.fixture(scope="module")
def dark(browser, study):
    """The page with dark colours, every chart drawn."""
    found = Opened(browser, study.path / "report.html", color_scheme="dark")
    found.draw_all()
    yield found
    found.context.close()


def test_dark_scheme_reaches_text_charts_and_tooltips(dark):
    colour = "e => getComputedStyle(e).{}"
    paper = dark.page.locator("body").evaluate(colour.format("backgroundColor"))
    line = dark.page.locator("#curves-2-layer-he .live path[stroke='#b4450d']").first
    assert paper == "rgb(21, 23, 27)"
    assert line.evaluate(colour.format("stroke")) == "rgb(240, 129, 74)"
    dark.picture("dark")


def test_button_changes_the_scheme_and_says_so(opened, study):
    found = opened(study.path / "report.html", color_scheme="light")
    button = found.page.get_by_role("button", name="Dark colours")
    button.focus()
    found.page.keyboard.press("Enter")
    assert found.page.get_by_role("button", name="Light colours").is_visible()
    colour = found.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb(21, 23, 27)"
    found.page.reload()
    colour = found.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb(21, 23, 27)", "the choice is remembered"


def test_values_of_a_chart_are_reached_by_keyboard(opened, study):
    found = opened(study.path / "report.html")
    chart = found.page.locator("#overview .chart")
    chart.focus()
    found.page.wait_for_function("document.querySelector('#overview .chart.drawn')")
    said = []
    for _ in range(3):
        found.page.keyboard.press("ArrowRight")
        found.page.wait_for_timeout(100)
        said.append(found.page.locator("#said").inner_text())
    assert len(set(said)) == 3
    assert all("test accuracy" in text and "seed" in text for text in said)
    assert found.page.locator("#vg-tooltip-element.visible").count() == 1


def test_values_of_a_chart_are_reached_by_a_tap(opened, study):
    found = opened(
        study.path / "report.html", viewport={"width": 390, "height": 844}, has_touch=True
    )
    chart = found.page.locator("#overview .chart")
    chart.scroll_into_view_if_needed()
    found.page.wait_for_function("document.querySelector('#overview .chart.drawn')")
    chart.tap()
    found.page.wait_for_selector("#vg-tooltip-element.visible")
    assert "test accuracy" in found.page.locator("#vg-tooltip-element").inner_text()


BEYOND = """() => [...document.querySelectorAll(
    'p, caption, figcaption, h1, h2, h3, h4, li, summary, dt, dd, pre, button')].filter(e => {
        const at = e.getBoundingClientRect();
        return at.width && (at.right > window.innerWidth + 1 || e.scrollWidth > e.clientWidth + 1)
            && getComputedStyle(e).display !== 'inline' && !e.closest('.skip, .away');
    }).map(e => e.tagName + ' ' + e.innerText.slice(0, 60))"""
CUT = """() => [...document.querySelectorAll('.table')].filter(
    t => t.offsetWidth && t.scrollWidth > t.clientWidth + 1).map(t => t.ariaLabel)"""


@pytest.mark.parametrize("width", [390, 500, 768, 1280])
def test_no_table_is_cut(opened, study, width):
    found = opened(study.path / "report.html", viewport={"width": width, "height": 900})
    found.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert found.page.evaluate(BEYOND) == []
    cut = found.page.evaluate(CUT)
    if width in (390, 500, 1280):
        assert cut == []
    else:  # the first column stays, and a shadow says that there is more
        sticky = "t => getComputedStyle(t.querySelector('tbody th')).position"
        for name in cut:
            table = found.page.locator(f'.table[aria-label="{name}"]')
            assert table.evaluate(sticky) == "sticky"


def test_a_row_of_a_table_is_a_card_on_a_phone(opened, study):
    found = opened(study.path / "report.html", viewport={"width": 390, "height": 844})
    cell = found.page.locator("#all-arms td").first
    title = cell.evaluate("e => getComputedStyle(e, '::before').content")
    assert title == '"Seeds"'
    box = found.page.locator("#all-arms td").last.bounding_box()
    assert box["x"] + box["width"] <= 390


def test_confusion_matrix_has_dark_colours_of_its_own(dark):
    cells = dark.page.locator("#confusion .live .mark-rect path")
    darkest = cells.evaluate_all("all => all.map(e => getComputedStyle(e).fill)")
    words = dark.page.locator("#confusion .live .mark-text text").first
    assert "rgb(30, 33, 38)" in darkest, "no share"
    assert words.evaluate("e => getComputedStyle(e).fill") == "rgb(240, 238, 233)"


AXE = os.environ.get("AXE_CORE")


@pytest.mark.skipif(not AXE, reason="AXE_CORE names no axe.min.js: npm install axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(opened, study, scheme, width):
    found = opened(
        study.path / "report.html", viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    found.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found.draw_all()
    found.page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    result = found.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [one["id"] for one in result["violations"]] == []


def test_the_printed_page_is_a4_with_numbers(study, tmp_path):
    if pdf.find_chromium() is None:
        pytest.skip("Chromium is not installed")
    copy = tmp_path / "report.html"
    shutil.copy(study.path / "report.html", copy)
    content = pdf.print_pdf(copy).read_bytes()
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content)
    assert [round(float(side)) for side in box.groups()] == [595, 842]


def contrast(a, b):
    """Ratio of the luminances of two colours, after WCAG 2."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_colours_have_contrast_aa_on_their_ground(light, dark, scheme):
    found = light if scheme == "light" else dark
    value = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    colours = {
        name: found.page.evaluate(value, f"--{name}")
        for name in ("paper", "soft", "ink", "muted", "link", "good", "bad", *["s0", "s1", "s2"])
    }
    colours = {
        name: c if len(c) == 7 else "#" + "".join(2 * one for one in c[1:])
        for name, c in colours.items()
    }
    for name in ("ink", "muted", "link", "good", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours[name], colours["soft"]) >= 4.5, name
    for name in ("s0", "s1", "s2"):
        assert contrast(colours[name], colours["paper"]) >= 3, name


def test_without_scripts_the_static_pictures_stand_in(opened, study):
    found = opened(study.path / "report.html", java_script_enabled=False)
    picture = found.page.locator("#overview .static svg")
    assert picture.is_visible()
    assert picture.bounding_box()["height"] > 100


def test_print_shows_static_pictures_in_light_colours(dark):
    found = dark
    found.page.emulate_media(media="print")
    assert found.page.locator("#overview .static svg").is_visible()
    assert not found.page.locator("#overview .live").is_visible()
    colour = found.page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert colour == "rgb(255, 255, 255)"
    found.picture("print")
    found.page.emulate_media(media="screen")


def test_page_of_data_without_images_is_complete(opened, study_of_vectors):
    found = opened(study_of_vectors.path / "report.html")
    found.draw_all()
    assert found.messages == []
    assert found.page.get_by_role("heading", name="The best network").is_visible()
    assert found.page.locator("#mistakes").count() == 0
    found.picture("no-images")


def test_comparing_page_draws_offline(opened, study, tmp_path):
    grid = {"hidden": [[16]], "batch_norm": ["none", "hidden"], "init": ["he", "gaussian:0.0001"]}
    other = make_study(tmp_path / "other", seeds=2, grid=grid)
    found = opened(compare_runs(study, other, tmp_path / "both.html"))
    found.draw_all()
    assert found.messages == []
    assert found.overflow() <= 0
    found.picture("compare")
