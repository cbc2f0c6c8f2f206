"""ReportSection 1 of the report: the right networks, the published numbers, data and HTML."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.gradcheck import check_gradients, check_network, report_section
from klayer.gradcheck.section import PUBLISHED
from klayer.nn import Network
from klayer.shown import page


@pytest.fixture(scope="module")
def section():
    return report_section(layers=(2, 3))


class Outline(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)
        assert self.open == [], "tags are balanced"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def count(self, tag, **attributes):
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.tags)


def test_the_networks_of_the_report_are_proved_right(section):
    assert section.ok
    assert {(row.layers, row.batch_norm) for row in section.rows} == {
        (layers, norm) for layers in (2, 3) for norm in ("none", "hidden", "all")
    }
    assert max(row.norm_error for row in section.rows) <= 1e-13
    assert max(row.scaled_error for row in section.rows) <= 1e-8
    for (layers, norm), check in section.checks.items():
        assert check.method == "complex"
        assert {row.term for row in check.rows} == {"data", "l2", "cost"}
        first = check.row("W1")
        assert (first.shape, first.checked) == ((50, 20), 1000)
        assert (f"gamma{layers}" in {row.name for row in check.rows}) == (norm == "all")


def test_every_published_number_has_a_measured_one_beside_it(section):
    published = {
        (row.layers, row.batch_norm, row.name): row for row in section.rows if row.published
    }
    assert len(published) == sum(len(table) for table in PUBLISHED.values()) == 25
    for (layers, norm, name), row in published.items():
        assert row.published == PUBLISHED[layers, norm][name]
        assert row.central < 1e-3  # differences, as in the report
        assert row.measured < 1e-10  # the complex step
    assert sum(value < 0 for table in PUBLISHED.values() for value in table.values()) == 3


def test_inputs_can_be_given_and_are_cut_to_50_features():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((10, 3072)), rng.integers(10, size=10)
    told = []
    given = report_section(x, labels, layers=(2,), inputs="pixels", progress=told.append)
    assert given.ok
    assert (given.features, given.samples) == (50, 10)
    assert "50 inputs (pixels)" in given.setting
    assert told == [f"2 layers, batch normalisation: {norm}" for norm in ("none", "hidden", "all")]
    with pytest.raises(KlayerError, match=r"`x` must have shape \(N, D\), but got \(3,\)"):
        report_section(np.zeros(3), np.zeros(3, int))


def test_the_section_as_text_labels_published_numbers_as_published(section):
    text = section.text()
    assert "published  central  complex" in text
    assert "3 layers  none    W1       -1.9e-03" in text
    assert "Published: as the report prints it" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_section_as_json_is_strict_and_complete(section):
    data = json.loads(section.to_json())
    assert data["ok"] is True
    assert len(data["rows"]) == len(section.rows)
    assert data["rows"][0]["published"] == pytest.approx(1.4673426882692818e-4)
    assert {check["verdict"] for check in data["checks"]} == {"right"}


def test_the_section_as_html_is_an_accessible_fragment(section):
    html = section.html()
    outline = Outline(html)
    assert outline.count("table") == outline.count("caption") == 6
    assert outline.count("th", scope="row") == len(section.rows)
    assert outline.count("th", scope="col") == 6 * 7
    assert outline.count("script") == outline.count("link") == outline.count("img") == 0
    assert "http" not in html


def failing():
    network = Network(3, (4,), 2, batch_norm="hidden")
    params = {name: value[0] for name, value in network.init("he", [0], np.float64).items()}
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((6, 3)), rng.integers(2, size=6)

    def function(params):
        stacked = {name.strip("<>&"): value[None] for name, value in params.items()}
        loss, penalty, grads = network.loss_and_grads(stacked, x, labels, 0.1)
        grads = {f"<{name}>&": grad[0].real for name, grad in grads.items()}
        grads["<W2>&"] *= 2
        return (loss + penalty)[0], grads

    return check_gradients(function, {f"<{name}>&": value for name, value in params.items()})


def test_a_check_as_html_escapes_what_users_named():
    check = failing()
    html = check.html("A <b>heading</b>")
    assert "<b>" not in html
    assert "&lt;W2&gt;&amp;" in html
    outline = Outline(html)
    assert outline.count("table") == 2  # the rows, and the curve
    assert outline.count("th", scope="row") == len(check.rows) + len(check.curve)
    assert outline.count("div", role="region", tabindex="0") == 2
    assert "color:" not in html.replace("border-color:", "")  # colours are the page's own
    assert outline.count("h2") == 1
    whole = Outline(page(check.html("A heading", level=1), "t < u"))
    assert whole.count("h1") == 1
    assert whole.count("html", lang="en") == whole.count("main") == 1
    assert whole.count("meta", name="color-scheme", content="light dark") == 1


def test_a_check_as_json_is_strict_even_with_nan():
    def function(params):
        return (params["a"] ** 2).sum(), {"a": np.array([np.nan, 1.0])}

    data = json.loads(check_gradients(function, {"a": np.ones(2)}).to_json())
    assert data["schema"] == "klayer.gradcheck/1"
    assert data["rows"][0]["analytic"] == "nan"
    assert data["rows"][0]["scaled_error"] == "inf"
    assert (data["ok"], data["verdict"]) == (False, "wrong")


def test_a_check_as_text_tells_everything():
    check = failing()
    text = str(check)
    assert text.startswith("The gradient is WRONG.")
    for part in ("likely cause 1:", "enters at: <W2>&", "WRONG: 8", "method: complex step",
                 "coverage: all", "tolerance: 1e-08, step 1e-30", "repeatable: two evaluations",
                 "kinks:", "scaled error", "central differences of the worst entry"):  # fmt: skip
        assert part in text, part
    right = check_network(Network(3, (4,), 2), networks=2)
    assert "of each of 2 networks" in right.text()
    assert max(map(len, right.text(80).split("method:")[1].splitlines())) <= 80
    with pytest.raises(KlayerError, match="no row for 'W9', term None"):
        right.row("W9")
