"""Arms that build on one another: recognised, drawn, tested step by step, told by the numbers alone."""

import csv
from itertools import pairwise

import pytest

from klayer.report.conclusion import conclusion
from klayer.report.page import Page
from klayer.report.run_view import RunView
from klayer.study import Run, Study
from klayer.study.ladder import ladder
from run_files import store_lines
from test_report_studies import a_run, noise, text_of

STEPS = [
    {"name": "plain"},
    {"name": "batch normalisation", "batch_norm": "hidden"},
    {"name": "smoothing", "batch_norm": "hidden", "smoothing": 0.1},
    {"name": "dropout", "batch_norm": "hidden", "smoothing": 0.1, "dropout": 0.5},
]


def reach(**means):
    """Return what networks reach: the mean of their arm, and some luck of their own."""
    return lambda record: means[record.arm.split()[0]] + noise(record)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    found = reach(plain=0.5, batch=0.54, smoothing=0.5402, dropout=0.52)
    return a_run(tmp_path_factory.mktemp("ladder") / "run", found, arms=STEPS)


def of(*arms):
    return Study.from_values({"arms": list(arms)}).arms


@pytest.mark.parametrize(
    ("arms", "added"),
    [
        (STEPS, [[], ["batch_norm"], ["smoothing"], ["dropout"]]),
        # Two settings at once; what comes into effect by itself is not said to be added.
        ([{}, {"optimiser": "adam", "lr_max": 0.01}, {"optimiser": "adam", "lr_max": 0.01, "l2": 0}],
         [[], ["optimiser", "lr_max"], ["l2"]]),
        # A list that grows.
        ([{}, {"augment": "mirror"}, {"augment": "mirror,crop:2"}], [[], ["augment"], ["augment"]]),
        ([{}, {"dropout": 0.1}], []),  # two arms are a comparison
        ([{"l2": 0.1}, {"l2": 0.2}, {"l2": 0.3}], []),  # a number that varies
        ([{}, {"dropout": 0.1}, {"smoothing": 0.1}], []),  # one of several
        ([{}, {"dropout": 0.1}, {"l2": 0}], []),  # taken back
        ([{"name": "a"}, {"name": "b"}, {"name": "c", "dropout": 0.1}], []),  # nothing added
        ([{}, {"augment": "mirror,crop:2"}, {"augment": "crop:2"}], []),
    ],
)  # fmt: skip
def test_arms_are_a_ladder_if_each_adds_to_the_one_before(arms, added):
    assert [sorted(one) for one in ladder(of(*arms)).values()] == [sorted(one) for one in added]


def test_a_grid_is_no_ladder():
    grid = {"batch_norm": ["none", "hidden"], "dropout": [0, 0.1]}
    assert not ladder(Study.from_values({"grid": grid}).arms)
    assert not ladder([])


def test_each_step_is_tested_against_the_one_before_and_corrected_with_all(run):
    page = Page(RunView(run))
    found = page.material.comparisons.arms
    assert [(one.a.name, one.b.name) for one in found] == [
        ("plain", "batch normalisation"),
        ("batch normalisation", "smoothing"),
        ("smoothing", "dropout"),
    ]
    assert [one.result.together for one in found] == [3, 3, 3]
    assert [one.result.verdict for one in found] == ["higher", "not told apart", "lower"]
    # Holm by hand: the least p times 3, the next times 2, the last as it is; none below one before.
    ps = sorted((one.result.p, one.result.p_holm) for one in found)
    wanted, so_far = [], 0.0
    for factor, (p, _) in zip((3, 2, 1), ps, strict=True):
        so_far = max(so_far, min(1.0, factor * p))
        wanted.append(so_far)
    assert [held for _, held in ps] == pytest.approx(wanted)


def test_words_follow_the_numbers_and_hold_back(run):
    view = RunView(run)
    said = {one.text: one.carried for one in conclusion(view, Page(view).material.comparisons)}
    whole, up, down, rest, order = said
    assert whole.startswith(
        "Test accuracy rises from 50.0\u202f% to 52.0\u202f% over 3 steps, from plain"
    )
    assert up.startswith("Beyond the step before it, batch normalisation (+4.1 points, ")
    assert up.endswith("raises test accuracy.")
    assert down.startswith("Beyond the step before it, dropout (−2.1 points, ")
    assert rest.startswith("No difference to the step before is shown for smoothing (")
    assert "would have shown differences from" in rest
    assert "in another order" in order
    assert list(said.values()) == [True, True, True, False, False]


def test_where_nothing_is_shown_nothing_is_claimed(tmp_path):
    found = reach(plain=0.5, batch=0.5, smoothing=0.5, dropout=0.5)
    view = RunView(a_run(tmp_path / "run", found, arms=STEPS))
    page = Page(view)
    said = conclusion(view, page.material.comparisons)
    assert not any(one.carried for one in said)
    assert "is not shown to change over 3 steps" in said[0].text
    assert not any(word in text_of(page.html()) for word in ("raises test", "lowers test"))
    figure = page.material.figures[0]
    bars = figure.panels[0].spec["layer"][1]["data"]["values"]
    assert len({row["tint"] for row in bars}) == 1


def test_the_picture_is_the_stairs(run):
    page = Page(RunView(run))
    figure = page.material.figures[0]
    assert figure.name == "ladder"
    stairs, times = figure.panels
    bars = stairs.spec["layer"][1]["data"]["values"]
    assert [row["name"] for row in bars] == ["batch normalisation", "smoothing", "dropout"]
    for before, row in pairwise(bars):
        assert row["from"] == before["to"], "each begins where the one before it ends"
    for row in bars:
        assert row["low"] < row["to"] < row["high"]
    assert "batch normalisation: 54.1\u202f%" in stairs.alt
    assert times.spec["data"]["values"][0]["name"] == "plain"
    assert all(row["to"] > 0 for row in times.spec["data"]["values"])


def test_the_table_has_every_step_with_its_interval_and_time(run):
    page = Page(RunView(run))
    page.save()
    with (run.path / "tables" / "ladder.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == [one["name"] for one in STEPS]
    assert [row["adds"] for row in rows] == ["", "BN", "label smoothing 0.1", "dropout 0.5"]
    assert float(rows[1]["gain"]) == pytest.approx(0.04, abs=0.002)
    assert float(rows[1]["low95"]) < float(rows[1]["gain"]) < float(rows[1]["high95"])
    assert [row["verdict"] for row in rows] == ["", "higher", "not told apart", "lower"]
    assert all(float(row["seconds_per_epoch"]) > 0 for row in rows)
    assert (run.path / "figures" / "ladder.svg").exists()


def test_steps_without_names_are_called_by_what_they_add(tmp_path):
    arms = [{key: value for key, value in one.items() if key != "name"} for one in STEPS]
    page = Page(RunView(a_run(tmp_path / "run", arms=arms)))
    table = next(one for one in page.material.tables if one.name == "ladder")
    assert [row[0] for row in table.body][1:] == [
        "+ BN", "+ label smoothing 0.1", "+ dropout 0.5"
    ]  # fmt: skip


@pytest.mark.parametrize("sign", ["", "+ ", "+"])
@pytest.mark.parametrize("kind", ["arms", "steps"])
def test_a_step_has_one_name_everywhere(tmp_path, sign, kind):
    steps = [one | {"name": f"{sign}the {one['name']}"} for one in STEPS]
    found = reach(**{f"{sign}the": 0.5} if sign != "+ " else {"+": 0.5})
    page = Page(RunView(a_run(tmp_path / "run", found, **{kind: steps})))
    names = [one["name"] for one in steps]
    table = next(one for one in page.material.tables if one.name == "ladder")
    assert [row[0] for row in table.body] == names
    bars = page.material.figures[0].panels[0].spec["layer"][1]["data"]["values"]
    assert [row["name"] for row in bars] == names[1:]
    said = text_of(page.html())
    for name in names:
        stem = name.removeprefix(sign)
        assert said.count(stem) == said.count(name) > 3
        assert said.count(stem.capitalize()) == 0
    if sign != "+":
        assert "+ + the" not in said


@pytest.mark.parametrize("stuck", ["plain", "batch", "dropout"])
def test_an_arm_that_never_left_chance_is_counted_not_drawn(tmp_path, stuck):
    means = reach(plain=0.5, batch=0.54, smoothing=0.54, dropout=0.52)

    def reached(record):
        return ("at chance", 0.1) if record.arm.startswith(stuck) else means(record)

    view = RunView(a_run(tmp_path / "run", reached, arms=STEPS))
    page = Page(view)
    said = text_of(page.html())
    assert "left chance" in said
    figure = next(one for one in page.material.figures if one.name == "ladder")
    drawn = [row["name"] for row in figure.panels[0].spec["layer"][1]["data"]["values"]]
    assert not any(stuck in name for name in drawn)


def test_one_seed_has_no_interval_and_no_claim(tmp_path):
    found = reach(plain=0.5, batch=0.54, smoothing=0.54, dropout=0.52)
    view = RunView(a_run(tmp_path / "run", found, seeds=1, arms=STEPS))
    page = Page(view)
    said = conclusion(view, page.material.comparisons)
    assert not any(one.carried for one in said)
    assert "one seed, so no interval" in said[0].text
    page.html()


def test_a_regression_has_a_ladder_of_its_own_score(tmp_path, rng):
    import numpy as np

    X = rng.normal(size=(300, 4))
    np.savez(tmp_path / "data.npz", X=X, y=X[:, 0] * 3 + rng.normal(size=300))
    arms = [{}, {"batch_norm": "hidden"}, {"batch_norm": "hidden", "dropout": 0.1}]
    run = a_run(tmp_path / "run", data=str(tmp_path / "data.npz"), task="regression", arms=arms)
    page = Page(RunView(run))
    figure = page.material.figures[0]
    assert figure.name == "ladder"
    assert figure.panels[0].title == "Test R²"


def test_an_interval_without_0_that_shows_nothing_says_why(tmp_path):
    # Of the one step each seed gains about a point and a half, give or take half of that.
    luck = {0: -0.008, 1: 0.008, 2: -0.004, 3: 0.004, 4: 0.0}

    def reached(record):
        gained = 0.009 + luck[record.seed] if record.arm != "plain" else 0.0
        return 0.5 + gained + noise(record)

    view = RunView(a_run(tmp_path / "run", reached, arms=STEPS))
    page = Page(view)
    step = page.material.comparisons.arms[0].result
    assert step.difference.low > 0
    assert step.verdict == "not told apart"
    said = [one.text for one in conclusion(view, page.material.comparisons)]
    assert any("after Holm's correction for all of them (p" in text for text in said)


def test_what_a_step_changes_is_not_said_to_be_the_same_in_all_arms(run):
    assert RunView(run).constant == "2 layers (4 hidden), He"
    assert "no BN, He" not in text_of(Page(RunView(run)).html())


def test_steps_that_end_where_they_began_have_a_page(tmp_path):
    there = [{"name": "plain"}, {"name": "batch", "batch_norm": "hidden"}, {"name": "plain again"}]
    run = a_run(tmp_path / "run", reach(plain=0.5, batch=0.54), arms=there)
    view = RunView(run)
    text = " ".join(one.text for one in conclusion(view, Page(view).material.comparisons))
    assert "means over 2 pairs of arms" in text


def steps_page(folder, reached, **values):
    return Page(RunView(a_run(folder, reached, **values)))


def test_steps_that_change_one_setting_twice_are_stairs_with_the_written_names(tmp_path):
    steps = [
        {"name": "slow", "lr_min": 1e-5, "lr_max": 0.01},
        {"name": "boom", "lr_max": 1e20},
        {"name": "zero", "lr_min": 0, "lr_max": 0},
        {"name": "good", "lr_max": 0.1},
    ]

    def reached(record):
        means = {"slow": 0.5, "good": 0.6, "zero": 0.1}
        if record.arm == "boom":
            return "diverged", None
        return ("at chance", 0.1) if record.arm == "zero" else means[record.arm] + noise(record)

    page = steps_page(tmp_path / "run", reached, steps=steps)
    assert page.material.figures[0].name == "ladder"
    table = next(one for one in page.material.tables if one.name == "ladder")
    assert [row[:2] for row in table.body] == [
        ["slow", "–"], ["boom", "rate 1e+20"],
        ["zero", "lowest rate 0, rate 0"], ["good", "rate 0.1"],
    ]  # fmt: skip
    said = text_of(page.html())
    assert "over 3 steps, from slow to good" in said
    assert "lowest rate 1e-05" not in said


def test_beside_steps_arms_stay_arms_on_the_page(tmp_path):
    means = reach(plain=0.5, batch=0.54, smoothing=0.5402, dropout=0.52, beside=0.6, second=0.52)
    arms = [{"name": "beside", "hidden": [6]}, {"name": "second", "hidden": [5]}]
    steps = [STEPS[0], STEPS[1], {"name": "smoothing", "smoothing": 0.1}]
    page = steps_page(tmp_path / "run", means, arms=arms, steps=steps)
    stairs = page.material.figures[0]
    assert [row["name"] for row in stairs.panels[0].spec["layer"][1]["data"]["values"]] == [
        "batch normalisation", "smoothing"
    ]  # fmt: skip
    assert "2 arms beside the steps" in stairs.caption
    found = page.material.comparisons.arms
    assert [(one.a.name, one.b.name, one.result.together) for one in found] == [
        ("plain", "batch normalisation", 2),
        ("batch normalisation", "smoothing", 2),
        ("smoothing", "beside", 2),
        ("smoothing", "second", 2),
    ]
    captions = [one.caption for one in page.material.tables if one.name.startswith("comparisons")]
    assert captions == [
        "Each step against the one before it: 2 comparisons, corrected together",
        "Arms beside the steps against the last of these, smoothing: 2 comparisons, corrected together",
    ]
    said = text_of(page.html())
    assert "over 2 steps, from plain to smoothing" in said
    assert "beside against smoothing: +5.9 points" in said
    assert "The highest mean test accuracy has beside" in said
    table = next(one for one in page.material.tables if one.name == "arms")
    assert [row[0] for row in table.body] == ["beside", "second", *(one["name"] for one in steps)]


@pytest.mark.parametrize("missing", ["plain", "smoothing", "every step", "beside", "all but plain"])
def test_a_page_of_unfinished_steps_beside_arms_shows_what_there_is(tmp_path, missing):
    arms, steps = (
        [{"name": "beside", "hidden": [6]}],
        [STEPS[0], {"name": "smoothing", "dropout": 0.1}],
    )
    run = a_run(tmp_path / "run", lambda _: 0.5, arms=arms, steps=steps)
    left = {
        "every step": {"plain", "smoothing"},
        "all but plain": {"smoothing", "beside"},
    }.get(missing, {missing})
    (run.path / "summary.json").unlink()
    lines = [one.to_json() for one in run.networks if one.arm not in left]
    store_lines(run.path / "networks.jsonl", lines)
    assert "not finished" in text_of(Page(RunView(Run(run.path))).html())
