"""The learning-rate range test: what it finds, and what it leaves alone."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import klayer as kl
from klayer.cli.app import app
from klayer.errors import KlayerError
from klayer.report.range_test import range_figure
from klayer.train import RangeTest, Settings


@pytest.fixture
def settings():
    return Settings(hidden=(16,), batch_size=50)


def test_the_rate_grows_evenly_on_the_log_scale_from_end_to_end(digits, settings):
    test = kl.find_lr(digits, settings, lr_min=1e-4, lr_max=1.0, updates=40)
    assert test.rates[0] == pytest.approx(1e-4)
    assert test.rates[-1] == pytest.approx(1.0)
    steps = np.diff(np.log(test.rates))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert test.loss.shape == (1, len(test.rates))


def test_a_suggested_rate_trains_and_far_greater_ones_do_not(digits, settings):
    for optimiser in ("sgd", "adam"):
        test = kl.find_lr(digits, replace(settings, optimiser=optimiser), seeds=3)
        assert test.suggestions.shape == (3,)
        accuracy = {}
        for factor in (1, 1e-3, 300):
            rate = test.suggestion * factor
            trial = replace(
                settings,
                optimiser=optimiser,
                lr_max=rate,
                lr_min=rate / 100,
                cycles=1,
                half_cycle="2 epochs",
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that all diverge
                population = kl.fit(digits, trial, seeds=3, progress=False)
            accuracy[factor] = np.nan_to_num(population.evaluate("validation")["accuracy"]).mean()
        assert accuracy[1] > 0.8
        assert accuracy[1] > max(accuracy[1e-3], accuracy[300]) + 0.1


def test_a_network_is_tested_the_same_alone_and_among_others(digits, settings):
    several = [replace(settings, l2=l2) for l2 in (0.0, 1e-3, 0.1)]
    together = kl.find_lr(digits, settings=several, updates=30)
    for p, one in enumerate(several):
        alone = kl.find_lr(digits, settings=one, updates=30)
        assert (alone.loss[0] == together.loss[p]).all()


def test_what_would_disturb_a_test_is_left_out(digits, settings):
    busy = replace(
        settings,
        early_stopping="loss",
        patience=1,
        average="ema",
        snapshots="cycles",
        warm_up="1 epoch",
        cycle_growth=2.0,
        peak_decay=0.5,
        schedule="cosine",
    )
    busy, plain = (kl.find_lr(digits, one, updates=30) for one in (busy, settings))
    assert (busy.loss == plain.loss).all()


def test_a_loss_that_never_falls_has_no_suggestion_and_a_lucky_point_decides_nothing():
    rates = np.geomspace(1e-3, 1, 9)
    rising = RangeTest(rates, np.linspace(1, 2, 9)[None], [])
    assert math.isnan(rising.suggestion)
    loss = np.array([2, 2, 2, 0.1, 1.8, 1.2, 1.0, 1.1, 3])
    assert RangeTest(rates, loss[None], []).suggestion == pytest.approx(rates[6] / 3, rel=0.05)
    mixed = RangeTest(rates, np.array([loss, np.full(9, np.nan)]), [])
    assert mixed.suggestion == pytest.approx(rates[6] / 3, rel=0.05)
    assert np.isnan(mixed.suggestions[1])
    assert "2 networks" in repr(mixed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr_min": 0}, "`0 < lr_min < lr_max` must hold, but got lr_min=0"),
        ({"lr_min": 2, "lr_max": 1}, "`0 < lr_min < lr_max` must hold"),
        ({"lr_max": float("inf")}, "`0 < lr_min < lr_max` must hold"),
        ({"updates": 3}, "`updates` must be a whole number >= 10, but got 3"),
        ({"updates": 2.5}, "`updates` must be a whole number >= 10"),
    ],
)
def test_wrong_rates_are_refused(digits, settings, change, message):
    with pytest.raises(KlayerError, match=message):
        kl.find_lr(digits, settings, **change)


def test_the_figure_shows_each_network_and_the_suggestion(digits, settings, tmp_path):
    test = kl.find_lr(digits, settings, seeds=2, updates=40)
    figure = range_figure(test)
    assert f"suggested: {test.suggestion:g}" in figure.panels[0].alt
    assert figure.save(tmp_path)[0].read_text().startswith("<svg")
    empty = RangeTest(test.rates, np.full_like(test.loss, np.nan), test.members)
    assert "no rate lowers the loss" in range_figure(empty).panels[0].alt
    range_figure(empty).save(tmp_path)


BRIEF = ["--hidden", "16", "--batch-size", "50"]


def test_the_command_suggests_a_rate_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", "--find-lr", *BRIEF, "--seeds", "2"])
    assert result.exit_code == 0, result.output
    assert "--lr-max 0." in result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "find-lr.svg").exists()
    assert not (folder / "run.json").exists()


def test_the_command_gives_its_numbers_as_json(tmp_path):
    out = tmp_path / "test"
    result = CliRunner().invoke(
        app, ["train", "--find-lr", *BRIEF, "--seeds", "2", "--json", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["seeds"] == [0, 1]
    assert len(found["loss"]) == 2
    assert len(found["loss"][0]) == len(found["rates"])
    assert 0.001 < found["lr_max"] < 10
    again = CliRunner().invoke(app, ["train", "--find-lr", *BRIEF, "--out", str(out)])
    assert isinstance(again.exception, KlayerError)
    assert "must be a new or an empty folder" in str(again.exception)


def test_the_command_reads_tables_as_training_does(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "rows.csv"
    rows = rng.standard_normal((120, 2))
    lines = [f"{a},{b},{3 * a - b}" for a, b in rows]
    path.write_text("\n".join(["a,b,y", *lines]))
    args = ["train", "--find-lr", "--data", str(path), "--target", "y", "--hidden", "8"]
    result = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "test"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["lr_max"] > 0
