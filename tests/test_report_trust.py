"""The sections of a page on how sure the best network is, and on what each column counts for."""

import csv
import re

import numpy as np
import pytest

import klayer as kl
from klayer.report import write_report


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows_of_people(rng, n=400):
    """Three columns: one that decides, one of words that helps, one that says nothing."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "age": rng.normal(size=n),
            "town": rng.choice(["Ur", "Uruk", "Kish"], n),
            "noise": rng.normal(size=n),
        }
    )
    frame["buys"] = np.where(
        frame["age"] + (frame["town"] == "Ur") + rng.normal(size=n) > 0, "y", "n"
    )
    return frame


BRIEF = {
    "hidden": (64,),
    "optimiser": "adam",
    "lr_max": 0.01,
    "l2": 0.0,
    "batch_size": 20,
    "cycles": 1,
}


def written(folder, data, **said):
    population = kl.fit(data, **{**BRIEF, **said}, half_cycle="15 epochs", seeds=2)
    run = kl.run_of(population, folder / "run")
    return run, write_report(run)[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def of_a_table(tmp_path_factory):
    rng = np.random.default_rng(5)
    frame = rows_of_people(rng)
    return written(
        tmp_path_factory.mktemp("table"), frame, target="buys", calibration="temperature"
    )


def test_the_page_says_how_sure_the_best_network_is_before_and_after(of_a_table):
    run, page = of_a_table
    best = run.best()
    said = re.search(r"Expected calibration error[^<]*", page).group()
    assert f"the temperature {best.temperature:.2f}" in said
    rows = run.load_data().splits["test"]
    model = run.model(best)
    for name, one in {"as trained": model.at_temperatures(1.0), "calibrated": model}.items():
        found = kl.reliability(one.predict_probs(rows.features)[0], rows.labels)
        assert f"{name} {100 * found.error:.1f}" in said
        assert f"log-loss {found.log_loss:.3f}" in said
        bins = [
            row for row in table(run.path / "tables" / "reliability.csv") if row["answers"] == name
        ]
        assert sum(int(row["n"]) for row in bins) == len(rows) == found.n
        error = sum(
            int(row["n"]) * abs(float(row["right"]) - float(row["confidence"])) for row in bins
        )
        assert error / found.n == pytest.approx(found.error)
    assert (run.path / "figures" / "reliability.svg").exists()


def test_the_page_says_what_each_column_of_a_table_counts_for(of_a_table):
    run, page = of_a_table
    assert "What each column counts for" in page
    found = {row["column"]: row for row in table(run.path / "tables" / "importance.csv")}
    assert list(found) == ["age", "town", "noise"]  # columns of the table, not features
    means = {name: float(row["mean"]) for name, row in found.items()}
    assert means["age"] > 0.1 > abs(means["noise"])
    assert {row["shuffles"] for row in found.values()} == {"10"}


def test_without_calibration_the_page_says_which_setting_it_is(tmp_path, digits):
    _, page = written(tmp_path, digits)
    assert "calibration='temperature'" in page.replace("&#39;", "'").replace("&#x27;", "'")
    assert "What each column counts for" not in page  # pixels are no columns of a table


def test_several_labels_are_judged_and_regressions_are_not_asked_how_sure_they_are(tmp_path, rng):
    X = rng.normal(size=(300, 3))
    labels = (X[:, :2] + rng.normal(size=(300, 2)) > 0).astype(int)
    (tmp_path / "labels").mkdir()
    run, page = written(tmp_path / "labels", X, y=labels, calibration="temperature")
    tested = len(run.load_data().splits["test"])
    assert f"n = {2 * tested}" in page
    (tmp_path / "numbers").mkdir()
    _, page = written(tmp_path / "numbers", X, y=X[:, 0] + 0.3)
    assert "calibration error" not in page


def test_columns_of_a_regression_are_judged_by_r2(tmp_path, rng):
    frame = rows_of_people(rng)
    frame["income"] = 1000 * frame["age"] + 500 * (frame["town"] == "Kish")
    run, page = written(tmp_path, frame[["age", "town", "noise", "income"]], target="income")
    assert "R² lost" in page
    found = [row["column"] for row in table(run.path / "tables" / "importance.csv")]
    assert found == ["age", "town", "noise"]
