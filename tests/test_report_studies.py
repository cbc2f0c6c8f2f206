"""Pages of studies that are not the report's: their own factors, named, compared, drawn, concluded."""

import csv
import json
import re
import shutil
import zlib
from html import unescape

import numpy as np
import pytest
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.data import from_arrays
from klayer.errors import KlayerError
from klayer.report import compare_runs, write_report
from klayer.report.comparisons import Comparisons
from klayer.report.conclusion import conclusion
from klayer.report.overview import MOST_ROWS
from klayer.report.page import Page
from klayer.report.prose import answer
from klayer.report.run_view import RunView
from klayer.report.sections.search import _figure
from klayer.report.two_runs import pairs
from klayer.study import Run, Study
from klayer.study.launch import resume_study, run_search, run_study
from run_files import store_lines

TINY = {
    "hidden": [4],
    "batch_size": 200,
    "cycles": 1,
    "half_cycle": "1 updates",
    "points_per_cycle": 2,
}


def a_run(folder, reached=None, seeds=5, settings=(), **values):
    """Train a study for two updates and let its networks reach what a function says of them.

    ``reached(record)`` gives a test accuracy, or a state and an accuracy.
    """
    study = Study.from_values({"seeds": seeds, "settings": {**TINY, **dict(settings)}, **values})
    run = run_study(study, out=folder, workers=1)
    if reached is None:
        return run
    lines = []
    for record in run.networks:
        found = reached(record)
        state, value = found if isinstance(found, tuple) else ("trained", found)
        lines.append({**record.to_json(), "state": state, "test_accuracy": value})
    store_lines(run.path / "networks.jsonl", lines)
    return Run(run.path)


def text_of(page):
    """Return what a page says, without scripts, styles and charts."""
    html = re.sub(r"<(script|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", html)).replace("\u00a0", " ")


def noise(record):
    """Return a network's own luck, a fraction of a point."""
    return (zlib.crc32(f"{record.arm} {record.seed}".encode()) % 1000 - 500) / 250_000


WIDTHS = {"hidden": [[4], [8], [16]], "lr_max": [0.05, 0.1]}


@pytest.fixture(scope="module")
def widths(tmp_path_factory):
    """What width buys: two points, and four; the rate nothing."""

    def reached(record):
        return 0.9 + {4: 0, 8: 0.02, 16: 0.04}[record.settings.hidden[0]] + noise(record)

    return a_run(tmp_path_factory.mktemp("widths") / "run", reached, title="What does width buy?",
                 grid=WIDTHS)  # fmt: skip


def test_the_page_answers_what_width_buys_before_the_picture(widths):
    page = Page(RunView(widths)).html()
    first = page[: page.index('<figure id="overview"')]
    said = text_of(first)
    assert "What does width buy?" in said
    assert "With width 16, test accuracy is 4.0 points higher than with width 4" in said
    assert "No difference in test accuracy to rate 0.05 is shown for rate 0.1" in said
    assert "would have shown differences from" in said


def test_arms_are_named_by_what_varies_everywhere(widths):
    page = Page(RunView(widths))
    wanted = [f"width {w}, rate {r}" for w in (4, 8, 16) for r in ("0.05", "0.1")]
    assert [arm.label for arm in page.view.arms] == wanted
    table = next(one for one in page.material.tables if one.name == "arms")
    assert [row[0] for row in table.body] == wanted
    legends = {key.label for figure in page.material.figures for key in figure.legend}
    assert {"width 4", "width 8", "width 16"} <= legends | set(wanted)
    assert {figure.name for figure in page.material.figures} >= {
        "overview", "curves-rate-0.05", "curves-rate-0.1"
    }  # fmt: skip
    spoken = page.material.figures[0].panels[0].alt
    assert all(label in spoken for label in wanted)
    assert text_of(page.html()).count("The same in all arms: 2 layers, no BN, He.") == 1


def test_what_the_study_is_not_about_is_not_on_its_page(widths):
    said = text_of(Page(RunView(widths)).html())
    for word in ("atch normalisation", "Gaussian", "Published", "initialisation", "robust"):
        assert word not in said.replace("no BN", "")


def test_a_number_that_varies_is_the_axis_of_the_picture(widths):
    figure = Page(RunView(widths)).material.figures[0]
    layers = figure.panels[0].spec["layer"]
    values = layers[-1]["data"]["values"]
    assert {row["x"] for row in values} == {4, 8, 16}
    assert len(values) == 30
    axis = layers[-1]["encoding"]["y"]
    assert 0.88 < axis["scale"]["domain"][0] < 0.92, "the axis follows the data"


@pytest.mark.parametrize(
    ("settings", "grid", "words"),
    [
        ({}, {"batch_size": [100, 200, 400]}, "batch size 400"),
        ({}, {"optimiser": ["sgd", "momentum"]}, "momentum"),
        ({}, {"activation": ["relu", "tanh"]}, "tanh"),
        ({}, {"init": ["he", "xavier"]}, "Xavier"),
        ({}, {"l2": [0.0, 1e-4, 1e-2]}, "λ = 0.01"),
        ({}, {"hidden": [[4], [4, 4]]}, "3-layer"),
        ({}, {"train_samples": [100, 300, 900]}, "900 rows"),
        ({"optimiser": "momentum"}, {"momentum": [0.5, 0.9]}, "momentum 0.9"),
        ({}, {"batch_norm": ["none", "hidden"]}, "BN"),
        ({}, {"schedule": ["triangular", "cosine"]}, "schedule cosine"),
    ],
)
def test_whatever_varies_is_compared_drawn_and_concluded(tmp_path, settings, grid, words):
    (name, levels), *_ = grid.items()

    def reached(record):
        value = record.settings.as_dict()[name]
        gain = 0.05 * levels.index(list(value) if isinstance(value, list) else value)
        return 0.7 + gain + noise(record) / 10

    run = a_run(tmp_path / "run", reached, seeds=4, settings=settings, grid=grid)
    page = Page(RunView(run))
    found = page.material.comparisons
    assert len(found.arms) == len(levels) - 1
    claims = [one.text for one in conclusion(page.view, found) if one.carried]
    assert any(
        f"with {words}, test accuracy is" in claim.replace("With", "with") for claim in claims
    )
    assert page.material.figures[0].name == "overview"
    said = text_of(page.html())
    assert re.search(rf"highest mean test accuracy has {re.escape(words)}:", said)


def test_arms_that_differ_in_several_settings_are_compared_as_such(tmp_path):
    arms = [
        {"name": "small and slow", "hidden": [4], "lr_max": 0.01},
        {"name": "large", "hidden": [16], "lr_max": 0.1, "batch_size": 100},
        {"name": "odd <b>&</b>", "hidden": [8, 8], "activation": "tanh", "lr_max": 0.2},
    ]
    run = a_run(tmp_path / "run", lambda r: 0.5 + noise(r), arms=arms)
    page = Page(RunView(run))
    assert [arm.label for arm in page.view.arms] == [arm["name"] for arm in arms]
    assert len(page.material.comparisons.arms) == 2
    html = page.html()
    assert "odd &lt;b&gt;" in html
    assert "odd <b>" not in html.split('id="results"')[0]


def test_many_arms_make_a_picture_that_fits_and_a_table_of_all(tmp_path):
    grid = {
        "hidden": [[4], [5], [6, 6], [7, 7, 7]],
        "batch_norm": ["none", "hidden", "all"],
        "init": ["he", "xavier"],
        "activation": ["relu", "tanh"],
        "lr_max": [0.05, 0.1],
    }
    run = a_run(tmp_path / "run", lambda r: 0.5 + noise(r), seeds=2, grid=grid)
    page = Page(RunView(run))
    figure = page.material.figures[0]
    labels = next(
        layer["data"]["values"] for layer in figure.panels[0].spec["layer"]
        if "main" in layer.get("data", {}).get("values", [{}])[0]
    )  # fmt: skip
    assert len({row["y"] for row in labels}) <= MOST_ROWS
    assert "all arms are in the table" in figure.caption
    axis = figure.panels[0].spec["layer"][0]["encoding"]["y"]["axis"]
    lifted = {one["value"] for one in axis["labelOffset"]["condition"]}
    assert lifted <= {-7.0, -14.0}, "labels of several lines have their middle beside their row"
    table = next(one for one in page.material.tables if one.name == "arms")
    assert len(table.body) == 96
    assert sum(one.name.startswith("curves") for one in page.material.figures) <= 12
    for shown in (page.material.figures, page.material.tables):
        names = [one.name for one in shown]
        assert len(set(names)) == len(names)


def test_arms_that_tie_are_said_to_tie(tmp_path):
    grid = {"hidden": [[4], [8], [16], [32]]}
    run = a_run(tmp_path / "run", lambda _: 1.0, seeds=3, grid=grid)
    view = RunView(run)
    said = answer(view, Comparisons(view))
    assert said[0].startswith("Four of 4 arms tie for the highest mean test accuracy")
    assert all(f"width {width}" in said[0] for width in (4, 8, 16, 32))
    assert "have the same test accuracy, seed by seed" in " ".join(said)


def test_equal_differences_are_no_spread_to_judge_by(tmp_path):
    def reached(record):
        return 0.5 + 0.0625 * (record.settings.hidden == (8,)) + record.seed / 128

    run = a_run(tmp_path / "run", reached, grid={"hidden": [[4], [8]]})
    view = RunView(run)
    (found,) = conclusion(view, Comparisons(view))
    assert not found.carried
    assert "the same with every seed, so there is no spread to judge it by" in found.text


def test_arms_near_the_best_are_named(widths):
    view = RunView(widths)
    line = answer(view, Comparisons(view))[0]
    assert "has width 16, rate 0." in line
    assert "Not told apart from it: width 16, rate 0." in line


def test_no_interval_leaves_0_to_100_percent(tmp_path):
    values = [1.0, 0.93, 1.0, 0.96, 1.0]

    def reached(record):
        return values[record.seed] if record.settings.hidden == (4,) else 1 - values[record.seed]

    run = a_run(tmp_path / "run", reached, grid={"hidden": [[4], [8]]})
    said = text_of(Page(RunView(run)).html())
    shares = [float(one) for one in re.findall(r"(?<![\d−.+])(\d+\.\d+)\u202f%", said)]
    assert shares
    assert max(shares) <= 100
    assert "to 100.0\u202f%" in said
    differences = [float(one.replace("−", "-")) for one in re.findall(r"[+−]\d+\.\d", said)]
    assert min(differences) >= -100


def test_what_the_rows_leave_open_stands_beside_the_seeds(widths):
    page = Page(RunView(widths))
    said = text_of(page.html())
    assert re.search(r"The test split has \d+ rows, the same for every seed", said)
    table = next(one for one in page.material.tables if one.name == "arms")
    assert "Rows leave open" in table.head


def test_every_p_in_the_text_is_one_of_the_tables(tmp_path):
    def reached(record):
        bare = record.settings.batch_norm == "none"
        if bare and record.settings.init != "he":
            return "at chance", 0.1
        return 0.9 + noise(record) + 0.02 * (not bare)

    grid = {"hidden": [[4], [8, 8]], "batch_norm": ["none", "hidden"],
            "init": ["he", "gaussian:0.1", "gaussian:0.01"]}  # fmt: skip
    run = a_run(tmp_path / "run", reached, grid=grid)
    page = Page(RunView(run))
    html = page.html()
    said = text_of(html[: html.index('id="comparisons"')])
    told = set(re.findall(r"p = (\d\.\d+)|p (< 0\.001)", said))
    told = {"".join(one) for one in told}
    column = [
        row[table.head.index("p (Holm)")]
        for table in page.material.tables
        if "p (Holm)" in table.head
        for row in table.body
    ]
    interactions = {f"{one.p_holm:.2g}" for one in page.material.comparisons.interactions.values()}
    assert told
    assert told <= set(column) | interactions
    # 5 of 5 against 0 of 5: one number wherever it stands.
    fisher = [one.result for one in page.material.comparisons.arms if one.result.test == "Fisher"]
    assert [one.p_holm for one in fisher if one.trained == (0, 5)] == pytest.approx([8 / 252] * 4)


def test_networks_that_left_chance_are_not_called_a_success(tmp_path):
    def reached(record):
        if record.settings.init == "he":
            return 0.9 + noise(record)
        return (
            0.4 + 0.06 * record.seed if record.settings.batch_norm != "none" else ("at chance", 0.1)
        )

    grid = {"batch_norm": ["none", "hidden"], "init": ["he", "gaussian:0.001"]}
    run = a_run(tmp_path / "run", reached, grid=grid)
    said = text_of(Page(RunView(run)).html())
    assert "5 of 5 with BN (at 40.0\u202f% to 64.0\u202f%), 0 of 5 without" in said
    assert "robust" not in said
    assert "far apart" in said
    assert "standard deviation above 5.0 points" in said, "the caption says what far apart means"


def test_one_seed_says_that_nothing_is_known_of_its_spread(tmp_path):
    run = a_run(tmp_path / "run", lambda r: 0.5 + r.settings.hidden[0] / 100, seeds=1,
                grid={"hidden": [[4], [8]]})  # fmt: skip
    said = text_of(Page(RunView(run)).html())
    assert "one seed, so nothing is known about its spread" in said
    assert "width 8 +4.0 points" in said
    assert "nan" not in said.lower()


@pytest.mark.parametrize("state", ["at chance", "diverged"])
def test_a_study_of_which_nothing_trained_says_so(tmp_path, state):
    value = 0.1 if state == "at chance" else None
    run = a_run(tmp_path / "run", lambda _: (state, value), grid={"hidden": [[4], [8], [16]]})
    view = RunView(run)
    line = answer(view, Comparisons(view))[0]
    assert line.startswith("None of the 15 networks")
    assert Page(view).html()


def test_a_level_at_chance_is_not_what_the_others_are_compared_with(tmp_path):
    reached = {0.01: ("at chance", 0.1), 0.1: 0.5, 1.0: 0.9}

    def luck(record):
        found = reached[record.settings.lr_max]
        return found if isinstance(found, tuple) else found + noise(record)

    run = a_run(tmp_path / "run", luck, grid={"lr_max": list(reached), "l2": [0.0, 0.01]})
    said = text_of(Page(RunView(run)).html())
    assert "With rate 1, test accuracy is 40.1 points higher than with rate 0.1" in said
    assert [one.reference for one in RunView(run).factors] == [0.0, 0.1]


def test_an_interval_without_0_that_shows_nothing_says_why(tmp_path):
    def reached(record):
        # Widths 8 to 64 all gain 2 points, give or take a little less than that.
        luck = [0.0, 0.014, -0.014][record.seed] * (record.settings.hidden[0] > 4)
        return 0.9 + 0.04 * (record.settings.hidden[0] > 4) + luck

    grid = {"hidden": [[4], [8], [16], [32], [64]]}
    said = text_of(Page(RunView(a_run(tmp_path / "run", reached, seeds=3, grid=grid))).html())
    found = re.search(r"No difference in test accuracy to width 4 is shown for .*?\.\s", said)
    assert "interval +0.5 to +7.5" in found[0]
    assert re.search(r"after Holm's correction for all of them \(p = 0\.15", found[0])


def test_all_panels_of_a_picture_have_one_axis(tmp_path):
    def reached(record):
        return 0.2 * record.settings.l2 + record.settings.lr_max / 2 + noise(record)

    grid = {"hidden": [[4], [8], [16]], "lr_max": [0.5, 1.0], "l2": [0.0, 1.0]}
    panels = Page(RunView(a_run(tmp_path / "run", reached, grid=grid))).material.figures[0].panels
    axes = [panel.spec["layer"][-1]["encoding"]["y"]["scale"]["domain"] for panel in panels]
    assert len(axes) == 2
    assert axes[0] == axes[1]


def test_r2_without_bounds_is_written_short_and_drawn_at_the_edge(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 3))
    data = from_arrays(X, X @ [1.0, 2.0, 3.0], name="slopes")
    monkeypatch.setattr(Study, "load_data", lambda *_, **__: data)
    run = a_run(tmp_path / "run", seeds=2, grid={"hidden": [[4], [8], [16]]}, data="slopes")
    lines = []
    for one in run.networks:
        grew = one.settings.hidden[0] == 4
        state, value = ("at chance", -2.18e20) if grew else ("trained", 0.9 + noise(one))
        lines.append({**one.to_json(), "state": state, "test_r2": value})
    store_lines(run.path / "networks.jsonl", lines)
    page = Page(RunView(Run(run.path)))
    figure = page.material.figures[0]
    scale = figure.panels[0].spec["layer"][-1]["encoding"]["y"]["scale"]
    assert scale["domain"][0] == -1
    assert scale["clamp"]
    assert "What lies below \u22121 is drawn there." in figure.caption
    table = next(one for one in page.material.tables if one.name == "arms")
    assert all(len(cell) < 60 for row in table.body for cell in row)
    assert "\u22122.18e+20" in " ".join(table.body[0])
    assert page.view.measure.show(-0.0001) == "0.000", "without a minus"
    assert "3 features, 1 target" in text_of(page.html())


def test_a_trial_that_grew_without_bounds_leaves_the_picture_of_a_search_as_it_is():
    rows = [
        {"trial": i, "stage": 1, "lr_max": 10.0**i, "validation_r2": r2, "train_r2": r2,
         "state": "trained"}
        for i, r2 in enumerate((0.9, 0.5, -3e6))
    ]  # fmt: skip
    figure = _figure(rows, ["lr_max"])
    points = figure.panels[0].spec["data"]["values"]
    assert [one["d"] for one in points] == [0.9, 0.5, -1]
    assert [one["v"] for one in points] == [0.9, 0.5, -3e6]
    assert "below \u22121 is drawn there" in figure.caption


def test_a_search_and_a_study_are_said_to_share_no_arm(search, widths, tmp_path):
    with pytest.raises(KlayerError, match="no arm with the same settings"):
        compare_runs(search, widths, tmp_path / "both.html")


def test_the_page_carries_its_results_as_json(widths):
    html = Page(RunView(widths)).html()
    found = json.loads(re.search(r'id="results">(.*?)</script>', html, re.DOTALL)[1])
    assert [one["label"] for one in found["arms"]][:2] == [
        "width 4, rate 0.05",
        "width 4, rate 0.1",
    ]
    assert {one["name"] for one in found["factors"]} == {"width", "lr_max"}
    assert len(found["networks"]) == 30
    stored = [one.score("test") for one in widths.networks]
    assert [one["scores"]["test"]["accuracy"] for one in found["networks"]] == stored
    arm = found["arms"][0]
    values = [one.score("test") for one in widths.networks if one.arm == arm["name"]]
    assert arm["test"]["mean"] == pytest.approx(np.mean(values))
    assert {one["verdict"] for one in found["comparisons"]} <= {"higher", "lower", "not told apart"}


def test_what_each_source_contributes_is_said(tmp_path):
    spread = {"init": 0.001, "order": 0.004, "split": 0.01}

    def reached(record):
        if record.part == "arms":
            return 0.8 + 0.012 * (record.seed - 1)
        source = record.arm.split(": ")[1].split()[0]
        other = record.arm.split()[-1]
        number = record.seed if source == "init" else int(other)
        return 0.8 - 0.012 + spread[source] * number

    run = a_run(tmp_path / "run", reached, seeds=3, vary=["init", "order", "split"])
    view = RunView(run)
    assert view.finished
    page = Page(view)
    said = text_of(page.html())
    assert "Where the spread comes from" in said
    table = next(one for one in page.material.tables if one.name == "variance")
    sds = {row[0]: row[1] for row in table.raw}
    # 0, s and 2 s have the standard deviation s.
    assert sds["init"] == pytest.approx(0.001)
    assert sds["split"] == pytest.approx(0.01)
    assert sds["all together"] == pytest.approx(0.012)
    assert "initial weights 0.1 points, order of the batches 0.4 points" in said
    assert "3 networks: 1 arm, 3 seeds each" in said


def test_an_arm_is_found_by_what_the_page_calls_it(widths):
    best = widths.best("width 8, rate 0.1")
    assert (best.settings.hidden, best.settings.lr_max) == ((8,), 0.1)
    assert widths.best(best.arm).key == best.key


def test_networks_that_part_the_variance_are_not_chosen(tmp_path):
    run = a_run(tmp_path / "run", seeds=2, vary=["init", "order"])
    assert run.best().part == RunView(run).best.part == "arms"


# Two runs.


def test_identical_runs_are_identical_arm_by_arm_also_at_chance(tmp_path):
    def reached(record):
        if record.settings.init != "he":
            return ("at chance", 0.1) if record.settings.hidden == (4,) else ("diverged", None)
        return 0.5 + noise(record)

    grid = {"hidden": [[4], [8]], "init": ["he", "gaussian:0.1"]}
    one = a_run(tmp_path / "a", reached, grid=grid)
    other = a_run(tmp_path / "b", reached, grid=grid)
    assert all(pair.identical for pair in pairs(RunView(one), RunView(other)))
    html = compare_runs(one, other, tmp_path / "x.html").read_text(encoding="utf-8")
    said = text_of(html)
    assert "4 of 4 have the same accuracies, seed by seed." in said
    assert "<h1>a and b compared</h1>" in html
    assert said.index("same configuration") < said.index("arms that both runs have")


def test_a_comparison_says_first_what_differs(tmp_path):
    one = a_run(tmp_path / "a", grid={"hidden": [[4], [8]]}, seeds=2)
    other = a_run(tmp_path / "b", grid={"hidden": [[4], [8]]}, seeds=2, settings={"l2": 0.01})
    said = text_of(compare_runs(one, other, tmp_path / "x.html").read_text(encoding="utf-8"))
    assert "The runs differ in settings.l2 (– / 0.01)." in said
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    found = json.loads(re.search(r'id="results">(.*?)</script>', html, re.DOTALL)[1])
    assert found["differing"] == [{"what": "settings.l2", "values": ["–", "0.01"]}]
    assert [one["label"] for one in found["arms"]] == ["width 4", "width 8"]


# Searches.


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    stages = [{"l2": "1e-5:1e-1", "lr_max": "0.01:0.3", "batch_norm": ["none", "hidden"]}]
    values = {
        "data": "digits",
        "settings": {**TINY, "half_cycle": "1 epoch"},
        "search": {"stages": stages, "trials": 6, "finalists": {"top": 2, "cycles": 1, "seeds": 2}},
    }
    run = run_search(Study.from_values(values), out=tmp_path_factory.mktemp("search") / "run")
    write_report(run)
    return run


def test_a_search_over_three_parameters_has_a_page_and_finalists(search):
    html = (search.path / "report.html").read_text(encoding="utf-8")
    assert "The search ends at" in html
    assert (search.path / "figures" / "trials.svg").exists()
    assert (search.path / "finalists.csv").exists()


def test_nothing_that_a_search_writes_tests_a_trial(search):
    trials = [one for one in search.networks if one.part == "search"]
    page = Page(RunView(search))
    assert page.view.best.part == "finalists"
    assert all(one.score("test") is None for one in trials)
    for path in search.path.rglob("*"):
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as f:
                for row in csv.DictReader(f):
                    if row.get("part") == "search" or "trials" in path.name:
                        assert not any(
                            value for key, value in row.items() if key.startswith("test")
                        ), path
        if path.suffix == ".json":
            for row in _rows(json.loads(path.read_text(encoding="utf-8"))):
                if row.get("part") == "search" or str(row.get("arm", "")).startswith("trial"):
                    tested = {k: v for k, v in row.items() if k.startswith("test")}
                    assert not any(_numbers(tested)), path
    html = (search.path / "report.html").read_text(encoding="utf-8")
    results = json.loads(re.search(r'id="results">(.*?)</script>', html, re.DOTALL)[1])
    tested = {one["part"] for one in results["networks"] if "test" in one["scores"]}
    assert tested == {"finalists"}
    assert "among 4 networks of the finalists" in text_of(html)


def _rows(value):
    """Yield every table in a JSON value."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _rows(one)
    elif isinstance(value, list):
        for one in value:
            yield from _rows(one)


def _numbers(value):
    if isinstance(value, dict):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_a_search_without_finalists_looks_at_its_best_trial_on_the_validation_split(tmp_path):
    values = {
        "data": "digits",
        "settings": {**TINY, "half_cycle": "1 epoch"},
        "search": {"stages": [{"l2": "1e-5:1e-1"}], "trials": 2, "finalists": {"top": 0}},
    }
    run = run_search(Study.from_values(values), out=tmp_path / "run")
    page = Page(RunView(run))
    said = text_of(page.html())
    assert "trials are not tested: what follows is the validation split" in said
    assert not re.search(r"test accuracy|Test accuracy", said)
    confusion = next(one for one in page.material.figures if one.name == "confusion")
    assert "validation split" in confusion.caption


def test_two_searches_are_compared_by_their_finalists(search, tmp_path):
    said = text_of(compare_runs(search, search, tmp_path / "x.html").read_text(encoding="utf-8"))
    assert "2 finalists that both runs have, paired by rank." in said


# Other tasks.


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A regression and a study of rows with several labels."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(300, 6))
    answers = {
        "regression": 50 + 10 * X[:, :1] + rng.normal(size=(300, 1)),
        "multilabel": (X[:, :3] + 0.1 * rng.normal(size=(300, 3)) > 0).astype(np.uint8),
    }
    folder, found = tmp_path_factory.mktemp("tasks"), {}
    for task, y in answers.items():
        dataset = from_arrays(X, y)
        assert dataset.task == task
        values = {
            "seeds": 3, "grid": {"hidden": [[8], [16]]},
            "settings": {"batch_size": 20, "cycles": 1, "half_cycle": "8 epochs"},
        }  # fmt: skip
        found[task] = run_study(Study.from_values(values), dataset, out=folder / task)
    return found


@pytest.fixture(params=["regression", "multilabel"])
def task(request, tasks):
    return request.param, Page(RunView(tasks[request.param]))


def test_the_page_of_another_task_speaks_of_its_own_score(task):
    name, page = task
    said = text_of(page.html())
    if name == "regression":
        assert "The highest mean test R² has width" in said or "tie for" in said
        assert "ccuracy" not in said
        assert "\u202f% ±" not in said
        table = next(one for one in page.material.tables if one.name == "arms")
        assert "RMSE" in table.head
        scores = next(one for one in page.material.tables if one.name == "targets")
        assert 0.8 < scores.raw[0][2] < 1
        assert scores.raw[0][3] < scores.raw[0][2] < scores.raw[0][4]
    else:
        assert "test accuracy per label" in said
        table = next(one for one in page.material.tables if one.name == "labels")
        assert len(table.body) == 3
        assert "Exact match" in next(o for o in page.material.tables if o.name == "arms").head


def test_the_best_network_of_another_task_is_shown_with_what_it_answers(task):
    name, page = task
    figures = {one.name for one in page.material.figures}
    assert ("predicted" if name == "regression" else "per-label") in figures
    assert "confusion" not in figures
    assert "can't be read here" not in text_of(page.html())


# What is written.


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--data", "digits", "--hidden", "4", "--cycles", "1", "--half-cycle", "2 updates"],
        ["search", "--l2", "1e-4:1e-2", "--trials", "2", "--hidden", "4", "--cycles", "1",
         "--half-cycle", "2 updates", "--final-cycles", "1"],
    ],
)  # fmt: skip
def test_without_a_report_there_is_no_page_until_it_is_asked_for(tmp_path, words):
    done = CliRunner().invoke(app, [*words, "--no-report", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "figures").exists()
    assert (tmp_path / "run" / "summary.json").exists()
    assert CliRunner().invoke(app, ["report", str(tmp_path / "run")]).exit_code == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_a_study_cannot_print_the_page_that_it_does_not_write():
    with pytest.raises(KlayerError, match="`--pdf` prints the page"):
        raise CliRunner().invoke(app, ["study", "--pdf", "--no-report"]).exception


def test_a_study_that_varies_more_goes_on_to_the_same_bits(tmp_path):
    run = a_run(tmp_path / "whole", seeds=2, vary=["init", "order", "split"])
    copy = tmp_path / "half"
    shutil.copytree(run.path, copy)
    (copy / "summary.json").unlink()
    store_lines(copy / "networks.jsonl", run.networks[:2])
    half = resume_study(copy, workers=1)
    assert half.networks[0].population == run.networks[0].population
    assert {one.key: one.scores for one in half.networks} == {
        one.key: one.scores for one in run.networks
    }
