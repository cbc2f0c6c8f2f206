"""Rows, frames and data sets given in Python for the data that a study names."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix

import klayer as kl
from klayer.cli.app import main
from klayer.errors import KlayerError
from klayer.report.page import Page
from klayer.report.run_view import RunView

VALUES = {
    "seeds": 2,
    "settings": {"hidden": [4], "half_cycle": "1 epoch"},
    "search": {
        "trials": 2,
        "stages": [{"l2": "1e-5:1e-1"}],
        "finalists": {"top": 1, "cycles": 1, "seeds": 1},
    },
}
STUDY = kl.Study.from_values({name: one for name, one in VALUES.items() if name != "search"})
SEARCH = kl.Study.from_values(VALUES)
X = np.random.default_rng(0).normal(size=(90, 3))
Y = np.where(X[:, 0] > 0, "right", "left")
FRAME = pd.DataFrame(X, columns=["u", "v", "w"])
WHOLE = FRAME.assign(side=Y)
PARTS = {"validation": (X[:20], Y[:20]), "test": (X[20:40], Y[20:40])}

GIVEN = {
    "arrays": (X, Y, {}),
    "float32, by columns": (np.asfortranarray(X, np.float32), Y, {}),
    "a pair": ((X, Y), None, {}),
    "rows of their own": (X, Y, PARTS),
    "lists": (X.tolist(), Y.tolist(), {}),
    "a sparse matrix": (csr_matrix(X), Y, {}),
    "a frame and a series": (FRAME, pd.Series(Y, name="side"), {}),
    "a frame": (WHOLE, None, {"target": "side"}),
    "a frame of polars": (pl.DataFrame(dict(WHOLE)), None, {"target": "side", "drop": ["w"]}),
    "images": (X[:, :2].repeat(8, axis=1).reshape(90, 4, 4), Y, {}),
    "targets": (X, X[:, 1], {"name": "slopes"}),
    "several labels": (X, (X[:, :2] > 0).astype(int), {"task": "multilabel"}),
}


def scores(run):
    return [(one.key, one.scores, one.history) for one in run.networks]


@pytest.mark.parametrize("name", GIVEN)
def test_a_study_trains_on_what_fit_trains_on(name, tmp_path):
    data, y, said = GIVEN[name]
    run = kl.run_study(STUDY, data, y, out=tmp_path / "run", **said)
    alone = kl.fit(data, y, STUDY.arms[0].settings, seeds=2, **_of_fit(said))
    assert run.info["data"]["fingerprint"] == alone.feed.dataset.fingerprint
    reached = alone.evaluate("test")
    score = "r2" if alone.feed.dataset.task == "regression" else "loss"
    found = [getattr(one.scores["test"], score) for one in run.networks]
    np.testing.assert_array_equal(found, np.asarray(reached[score], float))


def _of_fit(said):
    return {name: one for name, one in said.items() if name != "name"}


@pytest.mark.parametrize("name", GIVEN)
def test_it_goes_on_with_the_same_data_given_again_and_refuses_others(name, tmp_path):
    data, y, said = GIVEN[name]
    run = kl.run_study(STUDY, data, y, out=tmp_path / "run", **said)
    wanted = scores(run)
    (run.path / "summary.json").unlink()
    lines = (run.path / "networks.jsonl").read_text().splitlines(keepends=True)
    (run.path / "networks.jsonl").write_text(lines[0])
    with pytest.raises(KlayerError, match=r"given in Python .*kl\.resume_study\('.*run', X, y\)"):
        kl.resume_study(run.path)
    parts = {part: one for part, one in said.items() if part in ("validation", "test")}
    if parts:
        with pytest.raises(KlayerError, match="what differs: features, labels, split"):
            kl.resume_study(run.path, data, y)
    # What was said of the data is known: `target`, `drop`, `task`.
    assert scores(kl.resume_study(run.path, data, y, **parts)) == wanted


def test_what_differs_is_named(tmp_path):
    run = kl.run_study(STUDY, X, Y, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for data, y, what in [
        (X + 1, Y, "features, labels, split, standardiser"),
        (X, Y[::-1], "labels"),
        (X[::-1], Y[::-1], "split"),
        (X, np.where(Y == "left", "a", "b"), "the names of what is predicted"),
        (X[:50], Y[:50], "features"),
        (X[:, :2], Y, "features"),
    ]:
        with pytest.raises(KlayerError, match=f"that are given differ .*what differs: .*{what}"):
            kl.resume_study(run.path, data, y)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("scheduler", ["local", "join", "processes:2"])
def test_every_executor_takes_them(scheduler, tmp_path):
    wanted = kl.run_study(STUDY, X, Y, out=tmp_path / "alone")
    run = kl.run_study(STUDY, X, Y, out=tmp_path / "run", scheduler=scheduler)
    assert scores(run) == scores(wanted)
    again = kl.resume_study(run.path, X, Y, scheduler=scheduler)
    assert scores(again) == scores(wanted)


def test_a_search_takes_them_too(tmp_path):
    run = kl.run_search(SEARCH, WHOLE, target="side", out=tmp_path / "run")
    assert run.info["data"]["class_names"] == ["left", "right"]
    (run.path / "summary.json").unlink()
    with pytest.raises(KlayerError, match=r"kl\.resume_search\('.*run', X, y\)"):
        kl.resume_search(run.path)
    assert scores(kl.resume_search(run.path, WHOLE)) == scores(run)


def test_what_the_study_says_of_its_data_holds_of_rows(tmp_path):
    study = kl.Study.from_values({**STUDY.document, "target": ["side"], "drop": ["w"]})
    run = kl.run_study(study, WHOLE, out=tmp_path / "run")
    assert (run.info["data"]["n_features"], run.info["config"]["drop"]) == (2, ["w"])
    other = kl.run_study(study, WHOLE, drop=["u", "v"], out=tmp_path / "other")
    assert (other.info["data"]["n_features"], other.info["config"]["drop"]) == (1, ["u", "v"])
    # A data set is complete.
    whole = kl.load(WHOLE, target="side")
    complete = kl.run_study(study, whole, out=tmp_path / "complete")
    assert complete.info["data"]["n_features"] == 3
    assert not {"drop", "target"} & complete.info["config"].keys()


def test_a_name_or_a_path_stands_in_the_place_of_the_studys(tmp_path):
    WHOLE.to_csv(tmp_path / "sides.csv", index=False)
    run = kl.run_study(STUDY, tmp_path / "sides.csv", target="side", out=tmp_path / "run")
    assert scores(kl.resume_study(run.path)) == scores(run)  # a name leads there
    named = kl.run_study(STUDY, kl.load("digits"), out=tmp_path / "digits")
    assert scores(kl.resume_study(named.path)) == scores(named)
    changed = replace(kl.load("digits"), splits={"train": kl.load("digits").splits["test"]})
    other = kl.run_study(STUDY, changed, out=tmp_path / "other")
    with pytest.raises(KlayerError, match="given in Python"):
        kl.resume_study(other.path)


def test_the_page_says_what_the_data_were_and_shows_them_where_they_are(tmp_path):
    run = kl.run_study(STUDY, FRAME, Y, name="sides", out=tmp_path / "run")
    page = Page(RunView(run)).html()
    assert "sides: pandas.DataFrame, given in Python" in page
    assert "can&#39;t be read here" not in page
    later = kl.Run(run.path)
    assert "was made with data that were given in Python" in Page(RunView(later)).html()
    later.use_data(FRAME, Y)
    assert "was made with data that were given in Python" not in Page(RunView(later)).html()


def test_the_command_says_that_python_has_to_go_on(tmp_path, capsys, monkeypatch):
    run = kl.run_study(STUDY, X, Y, out=tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["klayer", "study", "--resume", str(run.path), "-q"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "kl.resume_study(" in capsys.readouterr().err


def test_a_run_of_a_population_can_be_reported_later(tmp_path):
    run = kl.run_of(kl.fit(X, Y, STUDY.arms[0].settings, seeds=2), tmp_path / "run")
    with pytest.raises(KlayerError, match="given in Python"):
        kl.Run(run.path).load_data()
    kl.Run(run.path).use_data(X, Y)


@pytest.mark.parametrize(
    ("given", "said", "message"),
    [
        ((None, Y), {}, "`y` is what is to be predicted of rows"),
        ((X,), {}, "the column to predict must be named"),
        ((X, Y[:5]), {}, "must have as many rows"),
        ((X, Y), {"seeds": 3}, r"`seeds` belongs to the study.*read_study\(\.\.\., seeds="),
        ((X, Y), {"lr_max": 3}, "`lr_max` belongs to the study"),
        ((X, Y), {"traget": "side"}, "did you mean 'target'"),
        ((X, Y), {"data_dir": "/"}, "`data_dir` is for named data sets"),
        (("digits", Y), {}, "'digits' has its own labels"),
        (("digits",), PARTS, "it has its own splits"),
        ((kl.load("digits"),), {"target": "x"}, "a data set is complete, but got target"),
        ((np.full((9, 2), np.nan), Y[:9]), {}, "none is left"),
        (("digit",), {}, "did you mean 'digits'"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_is_written(given, said, message, tmp_path):
    for run in (kl.run_study, kl.run_search):
        with pytest.raises(KlayerError, match=message):
            run(SEARCH, *given, out=tmp_path / "run", **said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", [WHOLE, X, (X, Y), kl.load("digits")])
def test_a_study_names_data_and_holds_none(data):
    for read in (
        lambda: kl.read_study("quick", data=data),
        lambda: kl.Study.from_values({"data": data}),
    ):
        with pytest.raises(
            KlayerError, match=r"`data` must be the name .*kl\.run_study\(study, X, y\)"
        ):
            read()
