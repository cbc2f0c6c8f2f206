"""One description, written as text and as HTML."""

import re
from html import unescape

import numpy as np
import pytest

from klayer.gradcheck import check_gradients, check_network
from klayer.nn import Network
from klayer.shown import Facts, Shown, ShownColumn, ShownSentence, ShownTable, number, to_text


class Result(Shown):
    heading, title = "A heading", "A title"

    def parts(self):
        columns = (
            ShownColumn("group", ["a", "a", "b"], words=True, text_only=True),
            ShownColumn("name", ["x", "long", "<y>"], words=True, header=True),
            ShownColumn("value", ["1", "10", "100"]),
        )
        return [
            Facts([("cause", "one"), ("note", "two")], lead="It is so."),
            ShownTable(columns, ["first", "first", "second"], [False, True, False]),
            ShownTable(columns, ["told"] * 3, [False] * 3, announced=True),
            ShownSentence("Small print.", small=True),
        ]

    def to_dict(self):
        return {"value": 1.0}


def test_text_aligns_words_on_the_left_and_numbers_on_the_right():
    assert Result().text().split("\n\n") == [
        "A title",
        "It is so.\ncause: one\nnote: two",
        "group  name  value\na      x         1\na      long     10\nb      <y>     100",
        "told:\ngroup  name  value\na      x         1\na      long     10\nb      <y>     100",
        "Small print.",
    ]
    assert str(Result()) == Result().text()


def test_html_makes_a_table_of_the_rows_that_share_a_caption():
    html = Result().html(level=3)
    assert html.count("<table") == 3
    assert re.findall(r"<caption[^>]*>(\w+)</caption>", html) == ["first", "second", "told"]
    assert "group" not in html
    assert "<strong>long</strong>" in html
    assert "&lt;y&gt;" in html
    assert "<h3>A heading</h3>" in html
    assert "<h2>Mine</h2>" in Result().html("Mine")


def test_text_is_wrapped_at_the_width():
    check = check_network(Network(3, (4,), 2))
    lines = check.text(60).split("method:")[1].splitlines()
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_what_a_check_tells_as_text_it_tells_as_html(factor):
    def function(params):
        a = params["a"]
        return (np.exp(a) + a**2).sum(), {"a": factor * (np.exp(a) + 2 * a).real}

    check = check_gradients(function, {"a": np.arange(1.0, 4.0)})
    html = " ".join(unescape(re.sub(r"<[^>]+>", " ", check.html())).split())
    for line in check.text(width=1000).splitlines():
        for word in line.replace(":", " ").split():
            assert word in html.replace(":", " ") or set(word) == {"#"}, word


def test_numbers_are_short_and_never_wrong():
    assert [number(one) for one in (None, 0.0, 1.234e-7, np.inf)] == ["-", "0", "1.2e-07", "inf"]


NAMES = ["9-layer [50, 30, 20, 20], BN hidden, gaussian:0.001"]
NAMES += [name.replace("0.001", "0.0001") for name in NAMES]


def wide():
    return ShownTable(
        [
            ShownColumn("arm", NAMES, words=True),
            ShownColumn("n", ["5", "7"], rank=3),
            ShownColumn("train", ["43.26 ± 1.23%", "43.27 ± 1.23%"], rank=2),
            ShownColumn("test", ["33.26 ± 1.23%", "33.27 ± 1.23%"]),
            ShownColumn("l2", ["4.32602e-05", "4.32602e-04"]),
        ],
        ["Results"] * 2,
        [False] * 2,
    )


@pytest.mark.parametrize("width", [120, 100, 80, 72, 60, 50, 40])
def test_a_table_fits_and_no_two_rows_or_numbers_become_the_same(width):
    text = to_text([wide()], "", width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for name in NAMES:
        for word in name.split() if width >= 50 else ():
            assert word in text
    for whole in ("33.26 ± 1.23%", "33.27 ± 1.23%", "4.32602e-05", "4.32602e-04"):
        assert whole in text
    assert "…" not in text
    gone = [head for head in ("n", "train") if not re.search(rf"\b{head}\b", lines[0])]
    assert (f"leave no room for: {', '.join(gone)}" in text.replace("\n", " ")) == bool(gone)


def test_the_column_of_the_highest_rank_goes_first():
    head = to_text([wide()], "", 68).splitlines()[0].split()
    assert head == ["arm", "train", "test", "l2"]
    assert to_text([wide()], "", 60).splitlines()[0].split() == ["arm", "test", "l2"]


def test_wide_characters_take_two_columns():
    table = ShownTable(
        [ShownColumn("class", ["猫猫猫", "dog"], words=True), ShownColumn("n", ["1", "2"])],
        [""] * 2,
        [False] * 2,
    )
    assert to_text([table], "", 80).splitlines()[1:] == ["猫猫猫  1", "dog     2"]


def test_a_notebook_shows_what_describes_itself():
    assert Result()._repr_html_().startswith('<section class="klayer-shown">\n<h4>A heading</h4>')
