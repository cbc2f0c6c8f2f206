"""Networks of a run directory that answer together, in Python and by the command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import klayer as kl
from klayer.cli.app import app
from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.launch import run_search, run_study

BRIEF = {"hidden": [12], "half_cycle": "1 epoch", "batch_size": 50}


@pytest.fixture(scope="module")
def digits():
    return kl.load("digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    arms = [
        {"name": "narrow", "snapshots": "cycles"},
        {"name": "wide", "hidden": [16], "snapshots": "cycles"},
    ]
    study = Study.from_values({"data": "digits", "seeds": 2, "settings": BRIEF, "arms": arms})
    return run_study(study, out=tmp_path_factory.mktemp("ensemble") / "run", workers=1)


def predicted(*args):
    result = CliRunner().invoke(app, ["predict", *map(str, args)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_all_networks_of_a_run_answer_by_their_mean(run, digits):
    rows = digits.splits["test"].features[:50]
    each = [run.model(record).predict(rows)[0] for record in run.networks]
    ensemble = run.ensemble()
    assert len(ensemble) == 4
    np.testing.assert_allclose(ensemble.predict(rows), np.mean(each, axis=0), rtol=1e-6)
    two = run.ensemble(arm="wide")
    np.testing.assert_allclose(two.predict(rows), np.mean(each[2:], axis=0), rtol=1e-6)
    one = run.ensemble(run.networks[1:2])
    np.testing.assert_allclose(one.predict(rows), each[1], rtol=1e-6)
    assert len(run.ensemble(seed=1)) == 2


def test_snapshots_answer_too(run, digits):
    rows = digits.splits["test"].features[:50]
    each = [run.model(one, cycle).predict(rows)[0] for one in run.networks for cycle in (1, None)]
    found = run.ensemble(snapshots=True)
    assert len(found) == 8
    np.testing.assert_allclose(found.predict(rows), np.mean(each, axis=0), rtol=1e-5)


def test_greedy_selection_is_by_the_validation_split(run, digits):
    held = digits.splits["validation"]
    models = [run.models([r for r in run.networks if r.arm == arm]) for arm in ("narrow", "wide")]
    wanted = kl.Ensemble.select(models, held.features, held.labels, size=7)
    found = run.ensemble(greedy=True, size=7)
    np.testing.assert_array_equal(found.weights, wanted.weights)
    assert found.scores(held.features, held.labels)["accuracy"] >= max(
        record.score("validation") for record in run.networks
    )


def test_the_command_gives_the_ensembles_answers(run, digits, tmp_path):
    rows = digits.splits["test"].features[:6]
    np.save(tmp_path / "rows.npy", rows)
    for flags, options in (
        (["--ensemble"], {}),
        (["--ensemble", "--greedy"], {"greedy": True}),
        (["--ensemble", "--snapshots", "--mirror"], {"snapshots": True, "mirror": True}),
        (["--ensemble", "--arm", "wide"], {"arm": "wide"}),
        (["--mirror"], {"records": [run.best()], "mirror": True}),
    ):
        result = predicted(run.path, tmp_path / "rows.npy", "--json", *flags)
        told = json.loads(result.stdout)
        if "--ensemble" in flags:
            assert told["ensemble"] == {"networks": len(run.ensemble(**options)), "left_out": []}
            assert "left out" not in result.stderr
            told = told["rows"]
        told = [list(one["probabilities"].values()) for one in told]
        np.testing.assert_allclose(told, run.ensemble(**options).predict(rows), atol=1e-7)
        assert ("Ensemble of" in result.stderr) == ("--ensemble" in flags)


@pytest.mark.parametrize("flag", ["--greedy", "--snapshots"])
def test_what_needs_an_ensemble_says_so(run, tmp_path, flag):
    np.save(tmp_path / "rows.npy", np.zeros((1, 64), np.uint8))
    with pytest.raises(KlayerError, match=f"`{flag}` is about networks that answer together"):
        predicted(run.path, tmp_path / "rows.npy", flag)


def test_what_a_run_has_not_is_refused_with_the_next_step(tmp_path, rng):
    X, y = rng.normal(size=(120, 3)), rng.integers(0, 2, 120)
    np.savez(tmp_path / "table.npz", X=X, y=y)
    values = {"seeds": 2, "settings": {"hidden": [4], "half_cycle": "2 updates", "batch_size": 20}}
    study = Study.from_values({"data": str(tmp_path / "table.npz"), **values})
    run = run_study(study, out=tmp_path / "run", workers=1)
    assert len(run.ensemble()) == 2
    with pytest.raises(KlayerError, match="holds no images: leave it away"):
        run.ensemble(mirror=True)
    with pytest.raises(KlayerError, match="snapshots = 'cycles' and two cycles"):
        run.ensemble(snapshots=True)
    with pytest.raises(KlayerError, match="has the seed 7"):
        run.ensemble(seed=7)
    with pytest.raises(KlayerError, match="has the arm 'deep'"):
        run.ensemble(arm="deep")
    with pytest.raises(KlayerError, match="at least one network"):
        run.ensemble([])


def test_greedy_refuses_networks_with_other_validation_rows(tmp_path):
    study = Study.from_values(
        {"data": "digits", "seeds": 2, "settings": BRIEF, "vary": ["init", "split"]}
    )
    run = run_study(study, out=tmp_path / "run", workers=1)
    with pytest.raises(KlayerError, match="split_seeds 0, 1, each with other rows"):
        run.ensemble(greedy=True)
    one = run.ensemble(seed=1, greedy=True)
    assert len(one) == 1
    assert {why.why for why in one.left_out} == {"trained to part the variance"}


def test_of_a_search_the_finalists_answer(tmp_path):
    search = {
        "stages": [{"l2": "1e-4:1e-2"}],
        "trials": 3,
        "settings": {**BRIEF, "cycles": 1},
        "finalists": {"top": 1, "cycles": 1, "seeds": 2},
    }
    study = Study.from_values({"data": "digits", "seeds": 1, "search": search})
    run = Run(run_search(study, out=tmp_path / "run", workers=1).path)
    found = run.ensemble()
    assert len(found) == 2
    assert {one.why for one in found.left_out} == {"beside the finalists"}
    assert sorted(one.arm for one in found.left_out) == ["trial 0", "trial 1", "trial 2"]
    assert len(run.ensemble(arm="trial 0")) == 1


def test_a_greedy_ensemble_says_what_it_needs_the_data_for(run, monkeypatch):
    def gone(*_, **__):
        raise KlayerError("sold.csv: no such file.")

    monkeypatch.setattr(Run, "load_data", gone)
    with pytest.raises(KlayerError, match=r"`greedy` .* sold.csv: no such file. Put the data back"):
        run.ensemble(greedy=True)


def test_an_arm_that_diverged_is_told_so_and_not_listed(tmp_path):
    arms = [{"name": "calm"}, {"name": "wild", "lr_min": 1e20, "lr_max": 1e30}]
    shared = {"hidden": [4], "half_cycle": "2 updates", "batch_size": 20}
    study = Study.from_values({"data": "digits", "seeds": 1, "settings": shared, "arms": arms})
    run = run_study(study, out=tmp_path / "run", workers=1)
    with pytest.raises(KlayerError, match=r"'wild': 1 diverged .* Arms: 'calm'\. Seeds: 0\."):
        run.ensemble(arm="wild")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two arms that learn, one that stays at chance, one that diverges, of two seeds each."""
    arms = [
        {"name": "good"},
        {"name": "still", "lr_min": 0.0, "lr_max": 0.0},
        {"name": "wild", "lr_min": 1e20, "lr_max": 1e30},
        {"l2": 0.001},
    ]
    study = Study.from_values({"data": "digits", "seeds": 2, "settings": BRIEF, "arms": arms})
    return run_study(study, out=tmp_path_factory.mktemp("mixed") / "run", workers=1)


def test_an_ensemble_says_whom_it_leaves_out_and_why(mixed):
    found = mixed.ensemble()
    assert len(found) == 4
    assert [(one.arm, one.seed, one.why) for one in found.left_out] == [
        ("still", 0, "at chance"),
        ("still", 1, "at chance"),
        ("wild", 0, "diverged"),
        ("wild", 1, "diverged"),
    ]
    assert repr(found) == (
        "Ensemble of 4 of 4 networks for classification; left out: 2 at chance: still (seeds 0, 1); "
        "2 diverged: wild (seeds 0, 1)"
    )
    assert mixed.ensemble(greedy=True, size=3).left_out == found.left_out
    held = mixed.load_data().splits["validation"]
    assert found.calibrated(held.features, held.labels).left_out == found.left_out


def test_only_those_asked_for_can_be_left_out(mixed):
    assert mixed.ensemble(arm="good").left_out == ()
    assert [one.arm for one in mixed.ensemble(seed=1).left_out] == ["still", "wild"]
    assert mixed.ensemble(mixed.networks[:2]).left_out == ()
    still = mixed.ensemble(arm="still")  # where all are at chance, all answer
    assert (len(still), still.left_out) == (2, ())
    label = next(label for name, label in mixed.study.labels.items() if name != label)
    assert (len(mixed.ensemble(arm=label)), mixed.ensemble(arm=label).left_out) == (2, ())


@pytest.mark.parametrize("flags", [["--json"], [], ["--out", "told.json"], ["--out", "told.csv"]])
def test_the_command_says_whom_an_ensemble_leaves_out(mixed, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.zeros((3, 64), np.uint8))
    result = predicted(mixed.path, "rows.npy", "--ensemble", *flags)
    assert (
        "left out: 2 at chance: still (seeds 0, 1); 2 diverged: wild (seeds 0, 1)." in result.stderr
    )
    assert "left out" not in result.stdout
    if "--json" in flags or "told.json" in flags:
        text = result.stdout if "--json" in flags else (tmp_path / "told.json").read_text()
        told = json.loads(text)
        assert told["ensemble"]["networks"] == 4
        assert {"arm": "wild", "seed": 1, "why": "diverged"} in told["ensemble"]["left_out"]
        assert len(told["rows"]) == 3


def test_arms_are_listed_as_they_are_called(mixed):
    label = next(label for name, label in mixed.study.labels.items() if name != label)
    with pytest.raises(KlayerError) as refused:
        mixed.best(arm="none")
    assert f"has the arm 'none'. Arms: 'good', 'still', {label!r}." in str(refused.value)
