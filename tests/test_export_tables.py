"""Exported networks of tables: their encoders go with them, into ONNX and into the programs of cards."""

import csv
import json

import numpy as np
import onnxruntime
import polars
import pytest
from typer.testing import CliRunner

import klayer as kl
from export_kinds import NEEDS, programs, run
from klayer.cli.app import app
from klayer.export.formats import EXPORTS
from klayer.files import write_csv

TOWNS = ["Ur", 'Uruk "the great"', "Kish, north", "Eridu", "Lagash"]


def make_table(path, gaps, samples=240):
    """A table with a column of every kind; with gaps in each of them."""
    random = np.random.default_rng(8)
    towns = random.choice(TOWNS, samples, p=[0.4, 0.3, 0.2, 0.06, 0.04])
    days = np.datetime64("2026-01-01") + random.integers(0, 500, samples)
    moments = days.astype("datetime64[m]") + random.integers(0, 1440, samples)
    columns = {
        "rooms": random.integers(1, 9, samples),
        "price": random.normal(2e6, 3e5, samples).round(2),
        "garden": random.choice(["true", "false"], samples),
        "built": days.astype(str),
        "seen at": [str(one).replace("T", " ") for one in moments],
        "zip": random.choice(["007", "012", "100"], samples),
        "label": towns,  # also what ONNX calls an answer
    }
    kind = np.where(np.isin(towns, TOWNS[:2]) ^ (columns["rooms"] > 4), "yes, please", "no")
    rows = list(zip(*columns.values(), kind, strict=True))
    if gaps:
        rows = [
            ["" if i < 7 and random.random() < 0.1 else value for i, value in enumerate(row)]
            for row in rows
        ]
    write_csv(path, [*columns, "kind"], rows)
    return path


@pytest.fixture(scope="module", params=["gaps refused", "no gaps", "gaps"])
def made(request, tmp_path_factory):
    """A run on such a table, and the table."""
    folder = tmp_path_factory.mktemp("made")
    path = make_table(folder / "houses.csv", request.param == "gaps")
    missing = "error" if request.param == "gaps refused" else "mean"
    words = f"train --data {path} --target kind --category zip --max-levels 3 --missing {missing}"
    words += f" --hidden 6 --cycles 1 --seeds 2 --out {folder / 'run'} -q --no-report"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    return folder / "run", path


def read(path):
    """Rows of the table as mappings; None is a gap."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: value or None for name, value in row.items() if name != "kind"}
            for row in csv.DictReader(file)
        ]


def as_the_file_says(rows):
    """Rows as programs of cards take them: numbers as numbers, yes and no as 1 and 0."""
    flags = {"true": 1.0, "false": 0.0, None: None}
    numbers = ("rooms", "price")
    return [
        {
            **row,
            **{name: None if row[name] is None else float(row[name]) for name in numbers},
            "garden": flags[row["garden"]],
        }
        for row in rows
    ]


def in_days(text):
    day = np.datetime64(text.replace(" ", "T")) - np.datetime64("1970-01-01T00:00")
    return day / np.timedelta64(1, "D")


def fed(rows, session):
    """What a stranger would feed to the graph, from the documentation alone."""
    feed = {}
    for one in session.get_inputs():
        name = one.name.removesuffix("_in")
        values = [row[name] for row in as_the_file_says(rows)]
        if one.type == "tensor(string)":
            column = np.array([value or "" for value in values], object)
        elif name in ("built", "seen at"):
            column = np.array([np.nan if v is None else in_days(v) for v in values])
        else:
            column = np.array([np.nan if v is None else v for v in values], float)
        feed[one.name] = column[:, None]
    return feed


def test_the_graph_takes_the_columns_of_the_table_by_name(made, tmp_path):
    path, table = made
    run_ = kl.Run(path)
    result = CliRunner().invoke(
        app, ["export", str(path), "--to", "onnx", "--out", str(tmp_path / "o"), "--json"]
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["largest_difference"] <= 1e-5
    assert (said["verified_on"], said["rows"]) == ("rows of houses.csv", 240)
    session = onnxruntime.InferenceSession(tmp_path / "o" / "model.onnx")
    types = {one.name: one.type for one in session.get_inputs()}
    assert types["label_in"] == types["zip"] == "tensor(string)"
    assert {types[name] for name in ("rooms", "price", "garden", "built")} == {"tensor(double)"}
    rows = read(table)
    label, probabilities = session.run(None, fed(rows, session))
    wanted = run_.model().predict_probs(frame(rows))[0]
    assert np.abs(probabilities - wanted).max() < 1e-5
    assert set(label) <= {"yes, please", "no"}
    assert (label == run_.model().predict_names(frame(rows))[0]).all()


def frame(rows):
    return polars.DataFrame(rows).with_columns(
        polars.col("rooms", "price").cast(polars.Float64),
        polars.col("garden").replace_strict({"true": True, "false": False}),
    )


def test_levels_that_training_never_saw_and_gaps_are_encoded_as_klayer_does(made, tmp_path):
    path, table = made
    model = kl.Run(path).model()
    kl.export_model(model, tmp_path / "m.onnx")
    again = kl.load_model(tmp_path / "m.onnx")
    rows = [{**row, "label": "Nippur", "zip": "7"} for row in read(table)[:20]]
    if model.encoder.codes[0].fill is not None:
        rows += [{**row, "label": None, "zip": None, "built": None} for row in read(table)[:20]]
    X = frame(rows)
    assert np.abs(again.predict(X) - model.predict(X)[0]).max() < 1e-5


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_predict_reads_the_table_by_an_exported_file_too(form, made, tmp_path):
    path, table = made
    assert CliRunner().invoke(
        app, ["export", str(path), "--to", form, "--out", str(tmp_path / "o")]
    ).exit_code == 0  # fmt: skip
    said = [
        CliRunner().invoke(app, ["predict", str(who), str(table)]).stdout
        for who in (path, tmp_path / "o")
    ]
    assert said[0] == said[1]
    assert said[0].count("\n") == 240


def test_a_population_of_a_frame_is_verified_on_its_rows(made, tmp_path):
    rows = [row for row in read(made[1]) if None not in row.values()]
    X = frame(rows)
    y = ["no" if row["rooms"] < "4" else "yes" for row in rows]
    population = kl.fit(X, y, hidden=(4,), cycles=1, half_cycle="1 epoch", missing="mean")
    written = kl.export_model(population, tmp_path / "m.onnx")
    assert written.verified.rows == len(rows)
    again = kl.load_model(tmp_path / "m.onnx")
    assert np.abs(again.predict(X) - population.model().predict(X)[0]).max() < 1e-5


@pytest.mark.parametrize("needs", NEEDS)
@pytest.mark.parametrize("form", EXPORTS)
def test_every_program_of_a_table_answers_as_the_networks_do(
    form, needs, made, tmp_path, monkeypatch
):
    path, table = made
    stored = kl.Run(path)
    names = ["best", "all"][form == "onnx"]
    out = tmp_path / "out"
    words = ["export", str(path), "--to", form, "--network", names, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    rows = read(table)[:60]
    models = [stored.model(one) for one in stored.networks]
    chosen = models if names == "all" else [stored.model()]
    wanted = np.mean([model.predict(frame(rows))[0] for model in chosen], axis=0)
    verbatim = []
    for name, program in programs(out, needs).items():
        given = as_the_file_says(rows)
        if name == "onnxruntime":
            given = [
                {
                    key + "_in" * (key == "label"): (
                        ("" if key in ("label", "zip") else float("nan"))
                        if value is None
                        else in_days(value)
                        if key in ("built", "seen at")
                        else value
                    )
                    for key, value in row.items()
                }
                for row in given
            ]
        answer, _ = run(program, out, monkeypatch, given)
        assert np.abs(answer - wanted).max() < 1e-5, name
        verbatim.append(run(program, out, monkeypatch)[0])
    assert np.ptp(np.array([np.ravel(one) for one in verbatim]), axis=0).max() < 1e-5
