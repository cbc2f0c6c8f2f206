"""Charts of populations and runs, for notebooks and files."""

import json
import re

import numpy as np
import pytest

import klayer as kl

BRIEF = {"hidden": (4,), "cycles": 1, "half_cycle": 6, "batch_size": 20}


@pytest.fixture(scope="module")
def population():
    X = np.random.default_rng(0).normal(size=(120, 3))
    settings = [kl.Settings(l2=l2, **BRIEF) for l2 in (0.1, 0.01)]
    return kl.fit(X, (X[:, 0] > 0).astype(int), settings, seeds=3)


def values_of(spec):
    """All rows of a specification, wherever they stand."""
    found = []
    for key, value in spec.items():
        if key == "values" and isinstance(value, list) and value and isinstance(value[0], dict):
            found += value
        elif isinstance(value, dict):
            found += values_of(value)
        elif isinstance(value, list):
            found += [row for one in value if isinstance(one, dict) for row in values_of(one)]
    return found


def test_curves_are_means_over_seeds_of_each_kind_and_split(population):
    chart = population.plot_curves("accuracy")
    rows = [row for row in values_of(chart.spec) if "m" in row]
    assert {row["s"] for row in rows} == {
        f"λ = {l2}, {split}" for l2 in (0.1, 0.01) for split in ("train", "validation")
    }
    curves = population.curves()
    last = curves["epoch"].max()
    mine = (curves["epoch"] == last) & (curves["network"] < 3)
    [drawn] = [
        r for r in rows if r["s"] == "λ = 0.1, validation" and r["e"] == float(f"{last:.5g}")
    ]
    assert drawn["m"] == pytest.approx(curves["validation_accuracy"][mine].mean(), rel=1e-4)
    assert drawn["a"] == pytest.approx(curves["validation_accuracy"][mine].min(), rel=1e-4)


def test_accuracies_are_a_point_for_each_network(population):
    chart = population.plot_accuracy("test")
    points = [row for row in values_of(chart.spec) if "seed" in row]
    scores = population.evaluate("test")["accuracy"]
    assert [row["v"] for row in points] == pytest.approx(scores.tolist(), rel=1e-5)
    assert [row["k"] for row in points] == ["λ = 0.1"] * 3 + ["λ = 0.01"] * 3


def test_the_test_split_is_drawn_on_request_only(population):
    assert "test" not in population.plot_accuracy().figure.caption
    assert "validation split" in population.plot_accuracy().figure.caption


def test_a_run_is_drawn_like_its_population(population, tmp_path):
    run = kl.run_of(population, tmp_path / "run")
    for split in ("validation", "test"):
        ours = [row for row in values_of(population.plot_accuracy(split).spec) if "seed" in row]
        its = [row for row in values_of(run.plot_accuracy(split).spec) if "seed" in row]
        assert [row["v"] for row in its] == [row["v"] for row in ours]
    assert len(run.plot_curves().figure.panels) == 2


def test_a_notebook_shows_a_chart_and_files_hold_it(population, tmp_path):
    chart = kl.plot_curves(population)
    svg = chart._repr_mimebundle_()["image/svg+xml"]
    assert svg.startswith("<svg")
    assert "validation" in svg
    heads = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".json": b"{"}
    for ending, head in heads.items():
        path = chart.save(tmp_path / f"curves{ending}")
        assert path.read_bytes().startswith(head)
    spec = json.loads((tmp_path / "curves.json").read_text())
    assert re.search(r"vega-lite/v\d", spec["$schema"])


def test_a_chart_is_a_specification_that_altair_takes(population):
    altair = pytest.importorskip("altair")
    altair.Chart.from_dict(population.plot_accuracy().spec)


@pytest.mark.parametrize(
    ("task", "title"), [("regression", "R²"), ("multilabel", "Accuracy per label")]
)
def test_other_tasks_draw_their_own_score(task, title):
    X = np.random.default_rng(0).normal(size=(120, 3))
    labels = X[:, 0] if task == "regression" else (X[:, :2] > 0).astype(int)
    population = kl.fit(X, labels, seeds=2, **BRIEF)
    assert title in population.plot_accuracy().figure.caption
    assert "Loss" in population.plot_curves().figure.caption


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda p: p.plot_curves("acuracy"), "unknown curve 'acuracy': did you mean 'accuracy'?"),
        (lambda p: p.plot_accuracy("tset"), "unknown split 'tset': did you mean 'test'"),
        (lambda p: kl.plot_curves(3), "a population or a run can be drawn, but got int"),
        (
            lambda p: kl.plot_curves(p).save("x.gif"),
            "a file that ends in .svg, .png, .pdf or .json",
        ),
        (lambda p: kl.plot_curves(p).save("no/such/x.svg"), "x.svg"),
        (lambda p: kl.Population(p.feed, p.members).plot_curves(), "train first"),
    ],
)
def test_what_can_not_be_drawn_is_said(population, draw, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kl.KlayerError) as refused:
        draw(population)
    assert message in str(refused.value)


def test_more_kinds_than_can_be_told_apart_are_refused(population):
    settings = [kl.Settings(l2=0.01 * (i + 1), **BRIEF) for i in range(9)]
    many = kl.fit(population.feed.dataset, settings)
    with pytest.raises(kl.KlayerError, match="up to 8 kinds of networks"):
        many.plot_curves()
    assert len(many.plot_accuracy().spec["concat"]) == 1
