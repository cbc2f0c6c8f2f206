"""What a run directory holds, in which schema, and what it refuses."""

import json
import re
import shutil

import numpy as np
import pytest

from klayer.data import Dataset, Split, Standardiser, load
from klayer.data.fingerprint import standardiser_digest
from klayer.errors import KlayerError
from klayer.files import read_arrays, write_arrays
from klayer.study import Run, Silent, Study
from klayer.study.launch import resume_search, resume_study, run_search, run_study
from klayer.study.schema import SCHEMA
from klayer.study.training import planned
from run_files import store, store_lines, unsealed

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
    store(path, {**values, **changes})


def made_before_schemas(path):
    """Rewrite a run as it was before run directories had a schema."""
    info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    del info["schema"], info["data"]["fingerprint"]
    info["config"]["data_dir"] = info["data"].pop("data_dir")
    info["data"]["features"] = info["data"].pop("n_features")
    store(path / "run.json", info)
    for file in (path / "weights").iterdir():
        arrays, about = read_arrays(file)
        network = about.pop("network")
        about |= {"features": 64, "hidden": [6], "classes": 10, "batch_norm": "hidden"}
        write_arrays(file, arrays, {**about, "eps": network["bn_eps"]})
    unsealed(path)


def test_what_is_in_hand_is_what_is_on_the_disk(finished):
    again = Run(finished.path)
    assert again.networks == finished.networks
    assert again.result("summary.json") == finished.result("summary.json")
    assert again.study == finished.study
    assert (again.study.arms, again.study.seeds) == (STUDY.arms, STUDY.seeds)
    assert again.result("no-such.json") is None


def test_a_run_carries_the_number_of_its_schema_and_the_fingerprint_of_its_data(finished, digits):
    stored = json.loads((finished.path / "run.json").read_text(encoding="utf-8"))
    assert stored["schema"] == SCHEMA == 3
    assert stored["data"]["fingerprint"] == digits.fingerprint


def test_a_run_from_before_schemas_is_read_and_gone_on_with(finished, copy, digits):
    made_before_schemas(copy)
    lines = (copy / "networks.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "networks.jsonl").write_text(lines[0], encoding="utf-8")
    (copy / "summary.json").unlink()
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
    monkeypatch.setattr("klayer.study.run_data.load", lambda *a, **k: load("synthetic:samples=300"))
    with pytest.raises(KlayerError, match=r"'digits' has changed since .*differs: standardiser\)"):
        resume_study(copy)


def test_a_run_of_a_later_version_is_refused(copy):
    edit(copy / "run.json", schema=SCHEMA + 1, versions={"klayer": "9.1"})
    message = "run.json has schema 4, written by klayer 9.1, but .* up to 3: install a later"
    with pytest.raises(KlayerError, match=message):
        Run(copy)
    edit(copy / "run.json", schema=SCHEMA + 1, versions=None)
    with pytest.raises(KlayerError, match="written by klayer None, but .* install a later"):
        Run(copy)


@pytest.mark.parametrize("schema", [0, -1, None, "2", "x", True, 2.0, [2]])
def test_what_is_no_number_of_a_schema_is_damage(copy, schema):
    edit(copy / "run.json", schema=schema)
    message = f"run.json: 'schema' must be a whole number >= 1, but got {schema!r}. Put the file"
    with pytest.raises(KlayerError, match=re.escape(message)):
        Run(copy)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("kind", "dance"),
        ("config", []),
        ("data", None),
        ("versions", 3),
        ("data.n_features", "64"),
        ("data.class_names", 10),
        ("data.samples", []),
        ("data.fingerprint", None),
        ("data.value_range", [1]),
    ],
)
def test_a_damaged_part_of_run_json_is_named(copy, place, value):
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    *above, key = place.split(".")
    part = info[above[0]] if above else info
    part[key] = value
    store(copy / "run.json", info)
    message = f"run.json: '{place}' is damaged: got {value!r}. Put the file back as it was, or"
    with pytest.raises(KlayerError, match=re.escape(message)):
        Run(copy)
    del part[key]
    store(copy / "run.json", info)
    with pytest.raises(
        KlayerError, match=rf"run\.json(: '{place}' is missing| must say kind, config)"
    ):
        Run(copy)


def test_a_run_that_is_of_no_first_schema_but_says_so_is_refused(copy):
    edit(copy / "run.json", schema=1)
    with pytest.raises(KlayerError, match=r"run\.json: 'data\.n_features' is damaged: got None"):
        Run(copy)


@pytest.mark.parametrize("content", ["[]", "{}", '{"kind": "study"}'])
def test_a_run_json_without_its_parts_is_refused(copy, content):
    (copy / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(KlayerError, match=r"run\.json must say kind, config and data, but doesn't"):
        Run(copy)


def test_a_search_json_without_its_parts_is_refused(copy):
    store(copy / "search.json", {"study": "x"})
    with pytest.raises(KlayerError, match=r"search\.json must hold what a search has asked for"):
        Run(copy).asked  # noqa: B018


def test_a_setting_of_a_later_version_is_refused_with_file_and_line(copy):
    path = copy / "networks.jsonl"
    first, second = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(second)
    record["settings"]["warmth"] = 3
    store_lines(path, [json.loads(first), record])
    with pytest.raises(
        KlayerError, match=r"networks\.jsonl, line 2: unknown setting 'warmth' = 3: a"
    ):
        Run(copy)


def test_a_damaged_line_is_named_and_one_cut_short_is_not(copy):
    path = copy / "networks.jsonl"
    (copy / "summary.json").unlink()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:50])
    assert len(Run(copy).networks) == 1
    path.write_bytes(first[:50] + b"\n" + second)
    with pytest.raises(KlayerError, match=r"networks\.jsonl, line 1 must be JSON.* --resume"):
        Run(copy)


def test_a_finished_run_that_lacks_a_line_is_damaged(copy):
    path = copy / "networks.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(
        KlayerError, match=r"must hold the 2 networks .*, but has 1 of them.*--resume"
    ):
        Run(copy)
    notes = Notes()
    assert len(resume_study(copy, reporter=notes).networks) == 2
    assert len(notes.notes) == 1


def test_a_network_that_is_there_twice_is_refused_and_read_once(finished, copy):
    path = copy / "networks.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(KlayerError, match=r"line 3: a run holds a network once, but .*--resume"):
        Run(copy)
    notes = Notes()
    run = resume_study(copy, reporter=notes)
    assert (len(notes.notes), notes.trained) == (2, 0)
    assert len(run.networks) == len(Run(copy).networks) == 2
    with run, pytest.raises(KlayerError, match="a run holds a network once"):
        run.append(run.networks[:1])


@pytest.mark.parametrize("part", ["features", "labels", "split", "standardiser"])
def test_the_part_of_the_data_that_differs_is_named(copy, part):
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    info["data"]["fingerprint"][part] = "0" * 16
    store(copy / "run.json", info)
    with pytest.raises(
        KlayerError, match=rf"'digits' has changed since .*\(what differs: {part}\)"
    ):
        resume_study(copy)


def test_a_run_keeps_the_standardiser_of_the_version_that_made_it(finished, copy):
    arrays, about = read_arrays(copy / "inputs.safetensors")
    arrays["mean"] = np.nextafter(arrays["mean"], np.inf)  # as another order of sums would give it
    write_arrays(copy / "inputs.safetensors", arrays, about)
    info = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    own = Standardiser(arrays["mean"], arrays["scale"])
    info["data"]["fingerprint"]["standardiser"] = standardiser_digest(own)
    store(copy / "run.json", info)
    data = Run(copy).load_data()
    assert np.array_equal(data.standardiser.mean, arrays["mean"])
    assert data.fingerprint == info["data"]["fingerprint"]
    (copy / "networks.jsonl").write_bytes(
        (copy / "networks.jsonl").read_bytes().splitlines(keepends=True)[0]
    )
    run = resume_study(copy)
    assert len(run.networks) == 2
    rows = data.splits["test"].features
    assert np.array_equal(run.model().standardiser.mean, arrays["mean"])
    assert np.isfinite(run.model().predict_probs(rows)).all()


def test_a_standardiser_that_is_not_the_runs_is_refused(copy):
    arrays, about = read_arrays(copy / "inputs.safetensors")
    arrays["mean"] = arrays["mean"] + 1
    write_arrays(copy / "inputs.safetensors", arrays, about)
    with pytest.raises(
        KlayerError, match=r"inputs\.safetensors .* isn't the one that .* trained with"
    ):
        Run(copy).model()


# Damage to the weights and other files.


def weights_of(run):
    return next((run / "weights").iterdir())


def without_W1(arrays, about):
    del arrays["params/W1"]


def without_running(arrays, about):
    for key in [key for key in arrays if key.startswith("running/")]:
        del arrays[key]


def another_shape(arrays, about):
    arrays["params/W1"] = arrays["params/W1"][:, :4]


def one_network_less(arrays, about):
    for key in arrays:
        arrays[key] = arrays[key][:1]


def one_array_more(arrays, about):
    arrays["W9"] = arrays["params/W1"]


def not_finite(arrays, about):
    arrays["params/W1"][:, 0, 0] = np.nan


def other_seeds(arrays, about):
    about["seeds"] = [5, 6]


def no_seeds(arrays, about):
    del about["seeds"]


def no_description(arrays, about):
    about["network"] = {"pieces": 3, "loss": "cross_entropy"}


DAMAGE = {
    without_W1: r"damaged: the shape of params/W1 must be \(2, 64, 6\), but is None",
    without_running: r"damaged: the shape of running/\w+ must be \(2, 6\), but is None",
    another_shape: r"the shape of params/W1 must be \(2, 64, 6\), but is \(2, 4, 6\)",
    one_network_less: r"the shape of params/W1 must be \(2, 64, 6\), but is \(1, 64, 6\)",
    one_array_more: r"the shape of W9 must be None, but is \(2, 64, 6\)",
    not_finite: r"damaged: W1 of lane \d must be finite, but isn't",
    other_seeds: r"must hold .* with seed \d at lane \d \(from 0\), but holds the seeds 5, 6",
    no_seeds: "damaged: its seeds must be a list, but are None",
    no_description: "a stored network must be described, but reading that failed",
}


def broken(copy, damage):
    path = weights_of(copy)
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        arrays, about = read_arrays(path)
        damage(arrays, about)
        write_arrays(path, arrays, about)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damaged_weights_are_named_with_what_mends_them(copy, damage):
    broken(copy, damage)
    message = rf"weights/\S+\.safetensors.* {DAMAGE[damage]}.*`klayer study --resume \S+` makes the"
    with pytest.raises(KlayerError, match=message.replace(".* damaged", ".*damaged")):
        Run(copy).model()


class Notes(Silent):
    def __init__(self):
        self.notes, self.trained = [], 0

    def note(self, damage):
        self.notes.append(damage)

    def finish(self, pack, records):
        self.trained += len(records)


@pytest.mark.parametrize(
    "damage", ["missing", "torn", "empty", *DAMAGE], ids=lambda one: getattr(one, "__name__", one)
)
def test_networks_whose_weights_are_lost_are_trained_again(finished, copy, digits, damage):
    broken(copy, damage)
    notes = Notes()
    run = resume_study(copy, reporter=notes)
    assert len(notes.notes) == 1
    assert re.search(
        r"weights/\S+\.safetensors.* Its networks \(2\) are trained again", notes.notes[0]
    )
    assert notes.trained == 2
    rows = digits.splits["test"].features
    for mended in (run, Run(copy)):
        assert [one.key for one in mended.networks] == [one.key for one in finished.networks]
        for one, other in zip(mended.networks, finished.networks, strict=True):
            assert one.history == other.history
            found, wanted = mended.model(one), finished.model(other)
            assert np.array_equal(found.predict_probs(rows), wanted.predict_probs(rows))


def test_a_whole_run_that_goes_on_needs_no_mending(copy):
    notes = Notes()
    resume_study(copy, reporter=notes)
    assert (notes.notes, notes.trained) == ([], 0)


def test_weights_of_a_later_version_are_never_trained_over(copy):
    arrays, about = read_arrays(weights_of(copy))
    about["network"]["pieces"][0]["piece"] = "convolution"
    write_arrays(weights_of(copy), arrays, about)
    before = weights_of(copy).read_bytes()
    with pytest.raises(KlayerError, match=r"weights/\S+: a stored network: unknown piece 'convolu"):
        resume_study(copy)
    assert weights_of(copy).read_bytes() == before


def test_a_diverged_network_may_have_weights_that_are_not_finite(copy):
    lines = (copy / "networks.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for one in records:
        one |= {"state": "diverged", "failure": "x", "train_loss": None}
    store_lines(copy / "networks.jsonl", records)
    broken(copy, not_finite)
    notes = Notes()
    resume_study(copy, reporter=notes)
    assert notes.trained == 0


@pytest.mark.parametrize("damage", ["missing", "torn", "changed", "short", "renamed"])
def test_a_lost_standardiser_is_written_again_when_a_run_goes_on(finished, copy, damage):
    path = copy / "inputs.safetensors"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(whole[:-10])
    else:
        arrays, about = read_arrays(path)
        arrays["mean"] = arrays["mean"] + 1 if damage == "changed" else arrays["mean"][:5]
        if damage == "renamed":
            arrays["average"] = arrays.pop("mean")
        write_arrays(path, arrays, about)
    with pytest.raises(
        KlayerError, match=r"inputs\.safetensors.*`klayer study --resume \S+` makes"
    ):
        Run(copy).model()
    notes = Notes()
    resume_study(copy, reporter=notes)
    assert len(notes.notes) == 1
    assert re.search(r"inputs\.safetensors.* is written again from the data", notes.notes[0])
    assert path.read_bytes() == whole


def test_a_run_from_before_schemas_cannot_check_its_data_without_its_standardiser(copy):
    made_before_schemas(copy)
    (copy / "inputs.safetensors").unlink()
    with pytest.raises(KlayerError, match=r"inputs\.safetensors.* Put the file back as it was, or"):
        resume_study(copy)


@pytest.mark.parametrize("content", ["{", "[]", "3", "\xff"])
def test_a_damaged_result_says_what_writes_it_again(copy, content):
    (copy / "summary.json").write_text(content, encoding="latin-1")
    with pytest.raises(KlayerError, match=r"summary\.json.* `klayer study --resume \S+` writes it"):
        Run(copy).result("summary.json")
    resume_study(copy)
    assert len(Run(copy).result("summary.json")["networks"]) == 2


def test_a_damaged_gradient_check_is_made_again(copy, monkeypatch):
    edit(copy / "run.json", config={**STUDY.document, "gradcheck": True})
    (copy / "gradcheck.json").write_text("{", encoding="utf-8")

    class Section:
        def to_dict(self):
            return {"rows": []}

    monkeypatch.setattr("klayer.gradcheck.section.report_section", lambda *a, **k: Section())
    resume_study(copy)
    assert Run(copy).result("gradcheck.json") == {"rows": []}


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("summary.json", {"seconds": "x"}, "seconds"),
        ("trials.json", {"importance": ["l2"]}, "importance"),
        ("gradcheck.json", {"rows": [3]}, "rows.0"),
    ],
)
def test_a_damaged_part_of_a_result_is_named(copy, name, value, place):
    store(copy / name, value)
    with pytest.raises(
        KlayerError, match=rf"{name}: '{place}\S*' is damaged: got .* writes it again"
    ):
        Run(copy).result(name)


def test_a_real_gradient_check_is_read_as_it_was_written(finished):
    from klayer.gradcheck.section import report_section

    finished.write_result("gradcheck.json", report_section().to_dict())
    assert Run(finished.path).result("gradcheck.json") == finished.result("gradcheck.json")
    (finished.path / "gradcheck.json").unlink()


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    asked = {"stages": [{"l2": "1e-4:1e-1"}], "trials": 3, "finalists": {"top": 1, "cycles": 1}}
    study = Study.from_values({"settings": BRIEF, "search": asked})
    return run_search(study, out=tmp_path_factory.mktemp("runs") / "search").path


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("study", 3),
        ("stages", None),
        ("stages.0.stage", {}),
        ("stages.0.trials.1.number", [1]),
        ("stages.0.trials.1.seeds", []),
        ("stages.0.trials.1.seeds.0", {}),
        ("finalists.0.cycles", "x"),
        ("stopped", False),
    ],
)
def test_a_damaged_part_of_search_json_is_named(search, tmp_path, place, value):
    run = shutil.copytree(search, tmp_path / "run")
    whole = values = json.loads((run / "search.json").read_text(encoding="utf-8"))
    *above, key = (int(one) if one.isdigit() else one for one in place.split("."))
    for one in above:
        values = values[one]
    values[key] = value
    store(run / "search.json", whole)
    message = f"has asked for, but '{place}' is damaged: got {value!r}. It is damaged, or a later"
    with pytest.raises(KlayerError, match=re.escape(message)):
        Run(run).asked  # noqa: B018


def test_a_trial_without_its_parameters_is_damage(search, tmp_path):
    run = shutil.copytree(search, tmp_path / "run")
    values = json.loads((run / "search.json").read_text(encoding="utf-8"))
    values["stages"][0]["trials"][1]["params"] = {"init": "he"}
    store(run / "search.json", values)
    with pytest.raises(KlayerError, match="but a point must have l2, but got {'init': 'he'}"):
        Run(run).asked  # noqa: B018


def test_a_search_whose_weights_are_lost_is_trained_again(search, tmp_path):
    run = shutil.copytree(search, tmp_path / "run")
    shutil.rmtree(run / "weights")
    notes = Notes()
    again = resume_search(run, reporter=notes)
    assert (len(notes.notes), notes.trained) == (2, 6)  # three trials; three seeds of a finalist
    found, wanted = (
        {one.key: {**one.to_json(), "seconds": 0} for one in run.networks}
        for run in (again, Run(search))
    )
    assert found == wanted
    assert sorted(one.name for one in (run / "weights").iterdir()) == sorted(
        one.name for one in (search / "weights").iterdir()
    )


@pytest.mark.parametrize("content", [b"", b"x" * 40, None])
def test_a_damaged_checkpoint_is_named_with_what_to_do(copy, content):
    for name in ("networks.jsonl", "summary.json"):
        (copy / name).unlink()
    name = planned(STUDY.jobs, load("digits"))[0][0].name
    path = copy / "checkpoints" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    if content is None:
        write_arrays(path, {"params/W1": np.zeros((2, 1))}, {"update": 3})
    else:
        path.write_bytes(content)
    notes = Notes()
    assert len(resume_study(copy, reporter=notes).networks) == 2
    assert len(notes.notes) == 1
    assert re.search(r"checkpoints/\S+ .* go on from the checkpoint before", notes.notes[0])


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
        monkeypatch.setattr("klayer.study.study.load", lambda *a, **k: dataset)
        monkeypatch.setattr("klayer.study.run_data.load", lambda *a, **k: dataset)

    return leave


def test_a_split_that_is_missing_has_no_number(tmp_path, without):
    without("test")
    run = run_study(STUDY, out=tmp_path / "run")
    for record in Run(run.path).networks:
        assert set(record.scores) == {"train", "validation"}
        assert record.score("test") is None
    assert run.result("summary.json")["arms"][0]["test_accuracy"]["n"] == 0


@pytest.mark.parametrize("missing", [("validation",), ("validation", "test")])
def test_without_a_validation_split_the_training_split_judges(tmp_path, without, missing):
    without(*missing)
    run = Run(run_study(STUDY, out=tmp_path / "run").path)
    assert run.judged_by == "train"
    best = max(record.score("train") for record in run.networks)
    assert run.best().score("train") == best
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
