"""A search on the page: scatter, stages, finalists."""

import re

import pytest

from klayer.report import write_report
from klayer.report.page import Page
from klayer.report.run_view import RunView
from klayer.study import Run, Study
from klayer.study.launch import run_search
from klayer.study.search.tables import trial_table

BRIEF = {"hidden": [8], "batch_size": 100, "cycles": 1, "half_cycle": "1 epoch"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = Study.from_values(
        {
            "data": "digits",
            "settings": BRIEF,
            "search": {
                "stages": [{"l2": "1e-5:1e-1"}, {"l2": "1e-4:1e-2"}],
                "trials": 4,
                "finalists": {"top": 1, "cycles": 1, "seeds": 2},
                "published": [{"l2": 0.005, "test": 0.5355, "source": "somewhere"}],
            },
        }
    )
    run = run_search(config, out=tmp_path_factory.mktemp("runs") / "search", workers=1)
    write_report(run)
    return run


@pytest.fixture(scope="module")
def html(run):
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_search_is_a_section_with_a_scatter_and_a_table_a_stage(run, html):
    assert '<span class="number">1</span>Search</h2>' in html
    assert html.count('id="trials"') == 1
    assert html.count('id="search"') == 1
    assert re.findall(r"<summary>(Stage \d: \d trials)", html) == [
        "Stage 1: 4 trials",
        "Stage 2: 4 trials",
    ]
    assert (run.path / "figures" / "trials.svg").exists()
    assert (run.path / "tables" / "search-stage-2.csv").exists()


def test_trials_of_a_stage_are_sorted_by_validation_accuracy(run):
    tables = Page(RunView(run)).material.tables
    table = next(one for one in tables if one.name == "search-stage-1")
    values = [row[table.raw_head.index("validation_accuracy")] for row in table.raw]
    assert values == sorted(values, reverse=True)
    stored = [r.score("validation") for r in run.networks if r.part == "search"]
    assert set(values) <= set(stored)


def test_finalists_are_the_only_ones_with_a_test_accuracy(run, html):
    tested = [r for r in run.networks if r.score("test") is not None]
    assert {r.part for r in tested} == {"finalists"}
    assert "Of the search, only these networks have seen the test split" in html
    assert "The search ends at λ = " in html


def test_published_finalists_stand_beside_the_measured_ones(html):
    assert "53.55\u202f%" in html
    assert "Published results of such a search" in html


def test_page_without_a_search_has_no_search_section(run):
    (run.path / "search.json").rename(run.path / "hidden.json")
    try:
        view = RunView(Run(run.path))
        assert not trial_table(view.run)
        assert "search" not in {part.id for part in Page(view).parts}
    finally:
        (run.path / "hidden.json").rename(run.path / "search.json")


def test_search_of_two_parameters_has_a_panel_each_on_page_and_in_files(tmp_path):
    stages = [{"l2": "1e-5:1e-1", "batch_norm": ["none", "all"]}]
    values = {"data": "digits", "settings": BRIEF, "search": {"stages": stages, "trials": 4}}
    config = Study.from_values(values)
    run = run_search(config, out=tmp_path / "two", workers=1)
    page = write_report(run)[0].read_text(encoding="utf-8")
    assert 'id="spec-trials-1"' in page
    svg = (run.path / "figures" / "trials.svg").read_text(encoding="utf-8")
    assert "λ" in svg
    assert "batch norm" in svg
