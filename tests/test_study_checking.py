"""A run is checked file by file, and every change of a byte is found by whoever rests on it."""

import random
import shutil

import pytest

from klayer.errors import KlayerError
from klayer.study import Run, Silent, Study
from klayer.study.checking import check_run
from klayer.study.launch import resume_search, resume_study, run_search, run_study
from run_files import unsealed

BRIEF = {
    "hidden": [6],
    "batch_norm": "hidden",
    "batch_size": 50,
    "cycles": 1,
    "half_cycle": "1 epoch",
}
SEARCH = {
    "stages": [{"l2": "1e-4:1e-1"}],
    "trials": 3,
    "finalists": {"top": 1, "cycles": 1, "seeds": 2},
}
RESTED_ON = ("run.json", "networks.jsonl", "inputs.safetensors", "summary.json", "search.json",
             "trials.json", "run.json.copy")  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A study, and a search, with a checkpoint that is left."""
    folder = tmp_path_factory.mktemp("runs")
    study = run_study(Study.from_values({"seeds": 2, "settings": BRIEF}), out=folder / "study")
    values = {"settings": BRIEF, "search": {**SEARCH, "settings": BRIEF}}
    return {
        "study": study.path,
        "search": run_search(Study.from_values(values), out=folder / "s").path,
    }


@pytest.fixture(params=["study", "search"])
def copy(request, runs, tmp_path):
    return shutil.copytree(runs[request.param], tmp_path / "run")


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def go_on(path):
    notes = Notes()
    kind = Run(path, mending=True).kind
    run = (resume_search if kind == "search" else resume_study)(path, reporter=notes)
    return run, notes.notes


def results(run):
    return {one.key: {**one.to_json(), "seconds": 0} for one in run.networks}


def damaged(path):
    return {one.path: one for one in check_run(path) if one.damage}


def test_a_whole_run_has_no_damage(copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    found = check_run(copy)
    assert not [one for one in found if one.damage]
    names = {one.path for one in found}
    assert {name for name in RESTED_ON if (copy / name).exists()} <= names
    assert {f"weights/{one.name}" for one in (copy / "weights").iterdir()} <= names
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def rested_on(path):
    names = [name for name in RESTED_ON if (path / name).exists()]
    return names + [f"weights/{one.name}" for one in sorted((path / "weights").iterdir())]


def test_every_damaged_file_is_found_named_and_made_again(copy):
    expected = results(Run(copy))
    rng = random.Random(3)
    for name in rested_on(copy):
        whole = (copy / name).read_bytes()
        for damage in ("flip", "cut", "empty", "end"):
            harmed = bytearray(whole)
            if damage == "flip":
                harmed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            elif damage == "cut":
                del harmed[rng.randrange(1, len(whole)) :]
            elif damage == "end":  # of a digest, by one bit
                harmed[-4 if name.endswith(".json") else -1] ^= 1
            else:
                harmed.clear()
            (copy / name).write_bytes(harmed)
            found = damaged(copy)
            assert name in found, (name, damage)
            assert f"--resume {copy}" in found[name].again
            run, notes = go_on(copy)
            assert results(run) == expected, (name, damage)
            assert notes or name in ("summary.json", "trials.json", "run.json.copy"), name
            assert not damaged(copy), (name, damage)


def look_at(path):
    run = Run(path)
    return run.result("summary.json"), run.model()


def test_flipped_bits_are_never_believed(copy):
    """On predict and report: an error, never another answer."""
    rng = random.Random(5)
    files = ["run.json", "networks.jsonl", "inputs.safetensors", "summary.json"]
    files.append(f"weights/{Run(copy).best().population}.safetensors")
    for name in files:
        whole = (copy / name).read_bytes()
        for _ in range(25):
            harmed = bytearray(whole)
            harmed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(harmed)
            with pytest.raises(KlayerError):
                look_at(copy)
        (copy / name).write_bytes(whole)


def test_a_missing_weights_file_is_found_and_trained_again(copy):
    expected = results(Run(copy))
    lost = sorted((copy / "weights").iterdir())[0]
    whole = lost.read_bytes()
    lost.unlink()
    assert set(damaged(copy)) == {f"weights/{lost.name}"}
    run, notes = go_on(copy)
    assert len(notes) == 1
    assert results(run) == expected
    assert lost.read_bytes() == whole


def test_what_was_kept_at_the_ends_of_cycles_is_checked_and_made_again(tmp_path):
    values = {"settings": {**BRIEF, "cycles": 3, "snapshots": "cycles"}, "seeds": 2}
    path = run_study(Study.from_values(values), out=tmp_path / "run").path
    whole = {one: one.read_bytes() for one in (path / "weights").iterdir()}
    assert len(whole) == 3
    first, second, last = sorted(whole)
    for harm in (first.unlink, lambda: last.write_bytes(whole[second])):
        harm()
        assert len(damaged(path)) == 1
        _, notes = go_on(path)
        assert len(notes) == 1
        assert {one: one.read_bytes() for one in (path / "weights").iterdir()} == whole


def test_a_lost_run_json_is_put_back_from_its_copy(copy):
    expected, whole = results(Run(copy)), (copy / "run.json").read_bytes()
    (copy / "run.json").unlink()
    assert set(damaged(copy)) == {"run.json"}
    with pytest.raises(KlayerError, match="puts it back from its copy"):
        look_at(copy)
    run, notes = go_on(copy)
    assert notes
    assert results(run) == expected
    assert (copy / "run.json").read_bytes() == whole


def test_a_run_without_any_description_is_lost(copy):
    for name in ("run.json", "run.json.copy"):
        (copy / name).write_bytes(b"x")
    with pytest.raises(KlayerError, match=r"run\.json must be JSON.*Put the file back as it was"):
        check_run(copy)


def test_what_a_kill_left_is_named_and_removed(copy):
    (copy / "weights" / "a.safetensors.part").touch()
    assert set(damaged(copy)) == {"weights/a.safetensors.part"}
    go_on(copy)
    assert not damaged(copy)


def test_a_run_of_an_older_schema_is_checked_without_digests_and_gets_them(runs, tmp_path):
    import json

    path = shutil.copytree(runs["study"], tmp_path / "run")
    (path / "run.json.copy").unlink()
    info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    (path / "run.json").write_text(json.dumps({**info, "schema": 2}), encoding="utf-8")
    unsealed(path)
    assert not damaged(path)
    go_on(path)
    for name in rested_on(path):
        assert b"digest" in (path / name).read_bytes(), name
    assert not damaged(path)
