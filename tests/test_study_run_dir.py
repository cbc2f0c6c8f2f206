"""What a run directory holds, in which schema, and what it refuses."""

import json
import shutil

import numpy as np
import pytest

from klayer.data import Dataset, Split, load
from klayer.errors import KlayerError
from klayer.files import read_arrays, write_arrays
from klayer.study import Run, Study
from klayer.study.launch import resume_study, run_search, run_study
from klayer.study.schema import SCHEMA

BRIEF = {
    "hidden": [6],
    "batch_norm": "hidden",
    "batch_size": 50,
    "cycles": 1,
    "half_cycle": "1 epoch",
    "points_per_cycle": 2,
}
STUDY = Study.from_values({"seeds": 2, "settings": BRIEF})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study(STUDY, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished.path, tmp_path / "run")


def edit(path, **changes):
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")


def made_before_schemas(path):
    """Rewrite a run as it was before run directories had a schema."""
    info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    del info["schema"], info["data"]["fingerprint"]
    info["config"]["data_dir"] = info["data"].pop("data_dir")
    info["data"]["features"] = info["data"].pop("n_features")
    (path / "run.json").write_text(json.dumps(info), encoding="utf-8")
    for file in (path / "weights").iterdir():
        arrays, about = read_arrays(file)
        network = about.pop("network")
        about |= {"features": 64, "hidden": [6], "classes": 10, "batch_norm": "hidden"}
        write_arrays(file, arrays, {**about, "eps": network["bn_eps"]})


def test_what_is_in_hand_is_what_is_on_the_disk(finished):
    again = Run(finished.path)
    assert again.networks == finished.networks
    assert again.result("summary.json") == finished.result("summary.json")
    assert again.study == finished.study
    assert (again.study.arms, again.study.seeds) == (STUDY.arms, STUDY.seeds)
    assert again.result("no-such.json") is None


def test_a_run_carries_the_number_of_its_schema_and_the_fingerprint_of_its_data(finished, digits):
    stored = json.loads((finished.path / "run.json").read_text(encoding="utf-8"))
    assert stored["schema"] == SCHEMA == 2
    assert stored["data"]["fingerprint"] == digits.fingerprint


def test_a_run_from_before_schemas_is_read_and_gone_on_with(finished, copy, digits):
    made_before_schemas(copy)
    lines = (copy / "networks.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "networks.jsonl").write_text(lines[0], encoding="utf-8")
    run = Run(copy)
    assert run.study.seeds == (0, 1)
    rows = digits.splits["test"].features
    assert np.array_equal(
        run.model().predict_probs(rows), finished.model(finished.networks[0]).predict_probs(rows)
    )
    resumed = resume_study(copy)
    found, wanted = ([one.to_json() for one in run.networks] for run in (resumed, finished))
    for one in [*found, *wanted]:
        del one["seconds"]
    assert found == wanted
    assert json.loads((copy / "run.json").read_text(encoding="utf-8"))["schema"] == SCHEMA


def test_a_run_from_before_schemas_notices_other_data(copy, monkeypatch):
    made_before_schemas(copy)
    monkeypatch.setattr("klayer.study.run_dir.load", lambda *a, **k: load("synthetic:samples=300"))
    with pytest.raises(KlayerError, match=r"'digits' has changed since .*differs: standardiser\)"):
        resume_study(copy)


@pytest.mark.parametrize("schema", [SCHEMA + 1, "x"])
def test_a_run_of_a_later_version_is_refused(copy, schema):
    edit(copy / "run.json", schema=schema, versions={"klayer": "9.1"})
    message = (
        f"run.json has schema {schema}, written by klayer 9.1, but .* up to 2: install a later"
    )
    with pytest.raises(KlayerError, match=message):
        Run(copy)


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "study"}'])
def test_a_run_json_without_its_parts_is_refused(copy, content):
    (copy / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(KlayerError, match=r"run\.json must say kind, config and data, but doesn't"):
        Run(copy)


def test_a_search_json_without_its_parts_is_refused(copy):
    (copy / "search.json").write_text('{"study": "x"}', encoding="utf-8")
    with pytest.raises(KlayerError, match=r"search\.json must hold what a search has asked for"):
        Run(copy).asked  # noqa: B018


def test_a_setting_of_a_later_version_is_refused_with_file_and_line(copy):
    path = copy / "networks.jsonl"
    first, second = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(second)
    record["settings"]["warmth"] = 3
    path.write_text(f"{first}\n{json.dumps(record)}\n", encoding="utf-8")
    with pytest.raises(
        KlayerError, match=r"networks\.jsonl, line 2: unknown setting 'warmth' = 3: a"
    ):
        Run(copy)


def test_a_damaged_line_is_named_and_one_cut_short_is_not(copy):
    path = copy / "networks.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:50])
    assert len(Run(copy).networks) == 1
    path.write_bytes(first[:50] + b"\n" + second)
    with pytest.raises(KlayerError, match=r"networks\.jsonl, line 1 must be JSON, but: .*Remove"):
        Run(copy)


@pytest.mark.parametrize("part", ["features", "labels", "split", "standardiser"])
def test_the_part_of_the_data_that_differs_is_named(copy, part):
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    info["data"]["fingerprint"][part] = "0" * 16
    (copy / "run.json").write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(
        KlayerError, match=rf"'digits' has changed since .*\(what differs: {part}\)"
    ):
        resume_study(copy)


def test_a_standardiser_that_is_not_the_runs_is_refused(copy):
    arrays, about = read_arrays(copy / "inputs.safetensors")
    arrays["mean"] = arrays["mean"] + 1
    write_arrays(copy / "inputs.safetensors", arrays, about)
    with pytest.raises(
        KlayerError, match=r"inputs\.safetensors .* isn't the one that .* trained with"
    ):
        Run(copy).model()


# Data without a validation or a test split.


@pytest.fixture
def without(digits, monkeypatch):
    """Make `load` return digits without some splits."""

    def leave(*names):
        splits = {
            name: Split(split.features[:300], split.labels[:300])
            for name, split in digits.splits.items()
            if name not in names
        }
        dataset = Dataset("digits", splits, digits.class_names)
        monkeypatch.setattr("klayer.study.launch.load", lambda *a, **k: dataset)
        monkeypatch.setattr("klayer.study.run_dir.load", lambda *a, **k: dataset)

    return leave


def test_a_split_that_is_missing_has_no_number(tmp_path, without):
    without("test")
    run = run_study(STUDY, out=tmp_path / "run")
    for record in Run(run.path).networks:
        assert set(record.scores) == {"train", "validation"}
        assert record.accuracy("test") is None
    assert run.result("summary.json")["arms"][0]["test_accuracy"]["n"] == 0


@pytest.mark.parametrize("missing", [("validation",), ("validation", "test")])
def test_without_a_validation_split_the_training_split_judges(tmp_path, without, missing):
    without(*missing)
    run = Run(run_study(STUDY, out=tmp_path / "run").path)
    assert run.judged_by == "train"
    best = max(record.accuracy("train") for record in run.networks)
    assert run.best().accuracy("train") == best
    for record in run.networks:
        assert "validation" not in record.scores
        assert not [curve for curve in record.history if curve.startswith("validation")]
        assert ("test" in record.scores) == ("test" not in missing)
    assert len(resume_study(run.path).networks) == 2


def test_a_search_needs_a_validation_split(tmp_path, without):
    without("validation")
    search = Study.from_values({"search": {"stages": [{"l2": "1e-4:1e-1"}]}})
    for begin in (run_search, run_study):
        with pytest.raises(
            KlayerError, match="judges its trials on the validation split, but 'digits'"
        ):
            begin(search, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
