"""A table from file to page and predictions, by commands."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys

import numpy as np
import pytest

import klayer as kl
from klayer.cli import main
from klayer.errors import KlayerError

pl = pytest.importorskip("polars")

BRIEF = ["--hidden", "8", "--cycles", "1", "--half-cycle", "2 epochs", "--batch-size", "10"]
TOML = 'hidden = [8]\ncycles = 1\nhalf_cycle = "2 epochs"\nbatch_size = 10\n'


def cells(path, separator=","):
    """The rows of a file of predictions, by the names of its columns."""
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process; return its exit status, stdout and stderr."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["klayer", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return command


@pytest.fixture
def houses(tmp_path, monkeypatch):
    """A file with columns of every kind, gaps and a column that names rows."""
    rng = np.random.default_rng(0)
    rows = 90
    rooms, garden = rng.integers(1, 6, rows), rng.random(rows) < 0.4
    frame = pl.DataFrame(
        {
            "id": [f"h{i}" for i in range(rows)],
            "rooms": rooms,
            "area": [None if i % 30 == 7 else 40 + 7.5 * (i % 13) for i in range(rows)],
            "town": [("Ur", "Uruk", "=Kish")[i % 3] for i in range(rows)],
            "garden": garden,
            "built": [f"20{10 + i % 9}-03-0{1 + i % 9}" for i in range(rows)],
            "price": rooms * 20 + garden * 30.5 + rng.normal(size=rows),
        }
    )
    frame.write_csv(tmp_path / "houses.csv")
    frame.drop("price").sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "new.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_regression_goes_from_file_to_page_and_predictions(houses, run):
    status, out, err = run(
        *("train", "--data", "houses.csv", "--target", "price", "--missing", "mean"),
        *("--out", "run", "--seeds", "2", *BRIEF),
    )
    assert status == 0, err
    for note in (
        "regression of 'price': numbers with fractions",
        "split: 15 % to validation and test each, by chance",
        "left out: 'id', 62 different texts in 62 rows",
    ):
        assert note in err
    assert "train on houses, R²:" in out
    assert (houses / "run" / "report.html").exists()
    status, out, err = run("predict", "run", "new.csv", "--out", "p.csv")
    assert (status, out) == (0, "p.csv: 90 rows\n")
    rows = cells(houses / "p.csv")
    assert list(rows[0]) == ["input", "prediction"]
    assert rows[3]["input"] == "new.csv, row 3"
    model = kl.Run("run").model()
    again = model.predict(pl.read_csv("new.csv", try_parse_dates=True))[0, :, 0]
    np.testing.assert_allclose([float(row["prediction"]) for row in rows], again, rtol=1e-6)
    status, out, err = run("predict", "run", "new.csv", "--json")
    assert json.loads(out)[0]["values"] == {"price": pytest.approx(again[0], rel=1e-6)}


def test_a_classification_writes_every_probability_and_no_formulas(houses, run):
    said = ["--target", "town", "--drop", "area", "--drop", "price"]
    status, _, err = run("train", "--data", "houses.csv", *said, "--out", "run", "-q", *BRIEF)
    assert status == 0, err
    for name, separator in (("p.csv", ","), ("p.tsv", "\t")):
        assert run("predict", "run", "new.csv", "--out", name)[0] == 0
        rows = cells(houses / name, separator)
        probabilities = [f"probability of {town}" for town in ("=Kish", "Ur", "Uruk")]
        assert list(rows[0]) == ["input", "prediction", "probability", *probabilities]
        for row in rows:
            values = [float(row[one]) for one in probabilities]
            assert sum(values) == pytest.approx(1, abs=1e-5)
            assert float(row["probability"]) == max(values)
        assert {row["prediction"] for row in rows} <= {"'=Kish", "Ur", "Uruk"}
    assert run("predict", "run", "new.csv", "--out", "p.json")[0] == 0
    assert set(json.loads((houses / "p.json").read_text())[0]["probabilities"]) == {
        "=Kish",
        "Ur",
        "Uruk",
    }


def test_several_labels_are_written_side_by_side(houses, run):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"x": rng.normal(size=60), "wet": [0, 1] * 30, "cold": [1, 1, 0] * 20})
    frame.write_csv("weather.csv")
    said = ["--target", "wet", "--target", "cold"]
    assert run("train", "--data", "weather.csv", *said, "--out", "run", "-q", *BRIEF)[0] == 0
    assert run("predict", "run", "weather.csv", "--out", "p.csv")[0] == 0
    first = cells(houses / "p.csv")[0]
    assert list(first) == ["input", "wet", "cold", "probability of wet", "probability of cold"]
    assert first["wet"] == str(int(float(first["probability of wet"]) > 0.5))
    out = run("predict", "run", "weather.csv", "--json")[1]
    assert set(json.loads(out)[0]) == {"input", "labels", "probabilities"}


def test_flags_toml_and_python_say_the_same_of_a_table(houses, run):
    common = ["--out", "a", "-q", *BRIEF]
    said = ["--target", "price", "--drop", "area", "--group-by", "built", "--category", "rooms"]
    assert run("train", "--data", "houses.csv", *said, *common)[0] == 0
    told = 'data = "houses.csv"\ntarget = "price"\ndrop = ["area"]\n'
    told += 'group_by = "built"\ncategory = "rooms"\n'
    (houses / "train.toml").write_text(told + TOML)
    assert run("train", "--config", "train.toml", "--out", "b", "-q")[0] == 0
    (houses / "study.toml").write_text(f"{told}seeds = 1\n[settings]\n{TOML}")
    status, _, err = run("study", "study.toml", "--out", "c", "-q")
    assert status == 0, err
    (houses / "search.toml").write_text(
        f"{told}[search]\nstages = [{{l2 = '1e-4:1e-2', trials = 2}}]\n"
        f"finalists = {{top = 1, cycles = 1, seeds = 1}}\n[search.settings]\n{TOML}"
    )
    status, _, err = run("search", "search.toml", "--out", "d", "-q")
    assert status == 0, err
    data = kl.load("houses.csv", target="price", drop="area", group_by="built", category="rooms")
    for name in "abcd":
        found = kl.Run(name)
        assert found.info["data"]["fingerprint"] == data.fingerprint
        assert found.encoder == data.encoder
        assert found.load_data().fingerprint == data.fingerprint
    (houses / "train.toml").write_text(told + 'task = "regresion"\n' + TOML)
    status, _, err = run("train", "--config", "train.toml", "--out", "e")
    assert status == 2
    assert "unknown task 'regresion': did you mean 'regression'?" in " ".join(err.split())


def test_an_interrupted_run_of_a_table_goes_on_and_a_changed_file_is_refused(houses, run):
    said = ["--target", "town", "--drop", "area", "--drop", "id"]
    assert run("train", "--data", "houses.csv", *said, "--out", "run", "-q", *BRIEF)[0] == 0
    (houses / "run" / "networks.jsonl").unlink()
    assert run("train", "--resume", "run", "-q")[0] == 0
    assert len(kl.Run("run").networks) == 1
    status, _, err = run("train", "--resume", "run", "--target", "price")
    assert (status, "no other flag" in " ".join(err.split())) == (2, True)
    text = (houses / "houses.csv").read_text()
    (houses / "houses.csv").write_text(text.replace("h3,", "h3,1", 1))
    (houses / "run" / "networks.jsonl").unlink()
    status, _, err = run("train", "--resume", "run", "-q")
    assert status == 2
    assert "has changed since" in err


def test_a_damaged_encoder_of_a_run_is_named(houses, run):
    said = ["--target", "price", "--drop", "area"]
    assert run("train", "--data", "houses.csv", *said, "--out", "run", "-q", *BRIEF)[0] == 0
    path = houses / "run" / "run.json"
    info = json.loads(path.read_text())
    info["data"]["encoder"][0]["kind"] = "colour"
    path.write_text(json.dumps(info))
    status, _, err = run("predict", "run", "new.csv")
    assert status == 2
    assert "damaged" in err or "digest" in err


PREDICT = {
    "a column less": (
        lambda frame: frame.drop("rooms"),
        "the columns of training must be there, but 'rooms' is missing",
    ),
    "a text for a number": (
        lambda frame: frame.with_columns(rooms=pl.lit("many")),
        "new.csv, column 'rooms', line 2: must be a number as in training, but got 'many'",
    ),
    "a gap": (
        lambda frame: frame.with_columns(rooms=pl.when(pl.col("id") != "h5").then("rooms")),
        "new.csv, column 'rooms', line",
    ),
    "infinity": (
        lambda frame: frame.with_columns(rooms=pl.lit(float("inf"))),
        "new.csv, column 'rooms', line 2: must be finite, but got inf",
    ),
    "no rows": (lambda frame: frame.clear(), "new.csv: must hold rows below its heading"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a small table."""
    folder = tmp_path_factory.mktemp("trained")
    frame = pl.DataFrame(
        {
            "id": [f"h{i}" for i in range(30)],
            "rooms": [i % 7 for i in range(30)],
            "town": ["Ur", "Uruk"] * 15,
            "y": ["a", "b"] * 15,
        }
    )
    frame.write_csv(folder / "t.csv")
    arm = {"hidden": [8], "cycles": 1, "half_cycle": "2 epochs", "batch_size": 10}
    said = {"data": str(folder / "t.csv"), "target": "y", "seeds": 1, "arms": [arm]}
    kl.run_study(kl.Study.from_values(said), out=folder / "run", kind="train")
    return folder / "run", frame.drop("y")


@pytest.mark.parametrize("case", PREDICT)
def test_rows_that_do_not_fit_the_model_are_refused_and_nothing_is_written(
    trained, tmp_path, monkeypatch, run, case
):
    path, frame = trained
    change, message = PREDICT[case]
    monkeypatch.chdir(tmp_path)
    change(frame).write_csv("new.csv")
    status, _, err = run("predict", path, "new.csv", "--out", "p.csv")
    assert status == 2
    assert message in " ".join(err.split())
    assert not (tmp_path / "p.csv").exists()


def test_unseen_levels_and_other_columns_are_no_mistake(trained, tmp_path, run):
    path, frame = trained
    new = frame.with_columns(town=pl.lit("Nippur"), more=pl.lit(3)).drop("id").reverse()
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress(new.write_csv().encode()))
    new.write_parquet(tmp_path / "new.parquet")
    found = [
        [line.split("\t")[1:] for line in run("predict", path, tmp_path / name)[1].splitlines()]
        for name in ("new.csv.gz", "new.parquet")
    ]
    assert len(found[0]) == 30
    assert found[0] == found[1]


def test_where_predictions_go_is_checked_before_anything_is_read(trained, tmp_path, run):
    path, _ = trained
    status, _, err = run("predict", path, "gone.csv", "--out", tmp_path / "p.xlsx")
    assert (status, "--out must end in .csv, .tsv or .json" in err) == (2, True)
    status, _, err = run("predict", path, "gone.csv", "--out", tmp_path / "no" / "p.csv")
    assert (status, "there is no folder" in " ".join(err.split())) == (2, True)
    (tmp_path / "p.csv").write_text("a")
    status, _, err = run("predict", path, tmp_path / "p.csv", "--out", tmp_path / "p.csv")
    assert (status, "would replace a file to be read" in " ".join(err.split())) == (2, True)
    status, _, err = run("predict", path, tmp_path / "gone.csv")
    assert (status, "no such file" in " ".join(err.split())) == (2, True)


# klayer data info


def test_info_shows_columns_kinds_gaps_and_ranges_before_a_target_is_known(houses, run):
    status, out, _ = run("data", "info", "houses.csv")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert re.search(r"rooms +number +1 to 5, 5 different", lines["rooms"])
    assert re.search(r"area +number +3 +40 to 130, 13 different", lines["area"])
    assert re.search(r"town +category +3 levels: =Kish, Ur, Uruk", lines["town"])
    assert re.search(r"garden +boolean +false to true", lines["garden"])
    assert re.search(r"built +date +2010-03-01 to 2018-03-09, 9 different", lines["built"])
    assert "not ready to train: houses.csv: the column to predict must be named" in out
    status, out, _ = run("data", "info", "houses.csv", "--target", "price")
    assert "column 'area', line 9: a value must be there, but 3 of 90 are missing" in out


def test_info_of_a_table_says_what_was_decided(houses, run):
    status, out, _ = run("data", "info", "houses.csv", "--target", "price", "--missing", "mean")
    assert (status, "regression of 'price': numbers with fractions" in out) == (0, True)
    assert re.search(r"price +train +62 +", out)
    status, out, _ = run("data", "info", "houses.csv", "--target", "town", "--drop", "area")
    assert re.search(r"=Kish +20 +5 +5|=Kish +22 +4 +4", out)
    content = json.loads(
        run("data", "info", "houses.csv", "--drop", "area", "--target", "price", "--json")[1]
    )
    assert content["task"] == "regression"
    assert content["columns"][1] == {
        "name": "rooms",
        "kind": "number",
        "gaps": 0,
        "different": 5,
        "low": "1",
        "high": "5",
        "frequent": [],
    }
    assert len(content["feature_names"]) == content["features"]
    assert "target" in json.loads(run("data", "info", "houses.csv", "--json")[1])["problem"]


def test_an_option_that_no_table_knows_is_refused(houses, run):
    status, _, err = run("train", "--data", "houses.csv", "--target", "pirce", "--out", "run")
    assert status == 2
    assert "there is no 'pirce': did you mean 'price'?" in " ".join(err.split())
    assert not (houses / "run").exists()
    status, _, err = run("train", "--data", "digits", "--target", "price", "--out", "run")
    assert "digits takes none of these options" in " ".join(err.split())


# in Python


def test_a_model_takes_frames_and_arrays_of_the_tables_columns(houses):
    data = kl.load("houses.csv", target="town", drop=["area", "id", "price"])
    settings = kl.Settings(hidden=(8,), cycles=1, half_cycle="1 epoch", batch_size=10)
    model = kl.fit(data, settings).model()
    frame = pl.read_csv("new.csv", try_parse_dates=True)
    probs = model.predict_probs(frame)
    pandas = pytest.importorskip("pandas")
    again = model.predict_probs(pandas.read_csv("new.csv", parse_dates=["built"]))
    np.testing.assert_array_equal(probs, again)
    four = frame.select("rooms", "garden", "built").rows()
    np.testing.assert_array_equal(model.predict_probs(np.array(four, object)), probs)
    rows = data.splits["test"].features
    assert model.predict_labels(rows).shape == (1, len(rows))
    with pytest.raises(KlayerError, match="the columns of training must be there, but 'rooms' is"):
        model.predict_probs(frame.drop("rooms"))
    with pytest.raises(
        KlayerError, match=r"`X` must have shape \(N, 7\), or \(N, 3\) with the columns"
    ):
        model.predict_probs(np.zeros((3, 5)))


def test_a_model_of_arrays_takes_frames_of_as_many_columns(digits, brief):
    model = kl.fit(digits, brief).model()
    rows = digits.splits["test"].features
    found = model.predict_probs(pl.DataFrame(rows.astype(float)))
    np.testing.assert_allclose(found, model.predict_probs(rows), atol=1e-5)
    with pytest.raises(KlayerError, match="must have 64 columns|must have shape"):
        model.predict_probs(pl.DataFrame(rows[:, :5].astype(float)))
