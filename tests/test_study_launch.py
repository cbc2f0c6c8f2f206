import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.study import Run, Silent, Study, jobs, pack, train_jobs
from klayer.study.arms import Arm
from klayer.study.execute import open_executor
from klayer.study.launch import resume_study, run_search, run_study
from klayer.study.training import planned
from klayer.train import Settings

CONFIG = {
    "data": "digits",
    "seeds": 2,
    "settings": {
        "hidden": [16],
        "batch_size": 50,
        "cycles": 1,
        "half_cycle": "1 epoch",
        "points_per_cycle": 4,
    },
    "grid": {"batch_norm": ["none", "hidden"], "init": ["he", "gaussian:0.1"]},
}
VOLATILE = ("seconds",)


def results(run):
    """All that a run found out, without what the clock says."""
    return {
        (record.arm, record.seed): {k: v for k, v in record.to_json().items() if k not in VOLATILE}
        for record in Run(run.path).networks
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study(Study.from_values(CONFIG), out=tmp_path_factory.mktemp("runs") / "whole")


def test_a_study_trains_every_arm_with_every_seed(finished):
    assert len(results(finished)) == 2 * 2 * 2
    summary = json.loads((finished.path / "summary.json").read_text())
    assert [arm["n"] for arm in summary["arms"]] == [2] * 4
    for record in summary["networks"]:
        assert record["state"] == "trained"
        assert 0 < record["test_accuracy"] <= 1
    assert summary["peak_memory_bytes"] > 1e6


def test_arms_that_share_architecture_are_packed_into_one_population(digits):
    packs = planned(Study.from_values(CONFIG).jobs, digits)
    assert [len(one.jobs) for one, _ in packs] == [4, 4]
    assert {updates for _, updates in packs} == {50}


def test_the_run_holds_configuration_versions_seeds_and_data(finished):
    info = json.loads((finished.path / "run.json").read_text())
    assert info["config"]["grid"] == CONFIG["grid"]
    assert info["data"]["samples"] == {"train": 1259, "validation": 269, "test": 269}
    assert {"python", "numpy", "klayer"} <= set(info["versions"])
    assert info["machine"]["cores"] >= 1


def test_the_stored_network_is_the_one_that_was_measured(finished, digits):
    test = digits.splits["test"]
    for record in finished.networks:
        predicted = finished.model(record).predict_labels(test.features)[0]
        assert (predicted == test.labels).mean() == pytest.approx(record.score("test"))


def test_the_best_network_is_the_one_with_the_highest_validation_accuracy(finished):
    best = max(record.score("validation") for record in finished.networks)
    assert finished.best().score("validation") == best
    assert finished.judged_by == "validation"


def test_a_model_refuses_rows_of_another_length(finished):
    with pytest.raises(KlayerError, match=r"`X` must have shape \(N, 64\), but got \(2, 63\)"):
        finished.model().predict_labels(np.zeros((2, 63)))


class Interrupt(Silent):
    """A reporter that presses Ctrl-C in the second population."""

    def __init__(self):
        self.finished = 0

    def finish(self, pack, records):
        self.finished += 1

    def progress(self, pack, update):
        if self.finished == 1:
            raise KeyboardInterrupt


def test_after_ctrl_c_a_study_resumes_to_the_same_results(finished, tmp_path):
    with pytest.raises(
        KeyboardInterrupt, match="nothing is lost: go on with `klayer study --resume"
    ):
        run_study(Study.from_values(CONFIG), out=tmp_path / "run", reporter=Interrupt())
    assert len(Run(tmp_path / "run").networks) == 4
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    assert results(resume_study(tmp_path / "run")) == results(finished)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("harmed", [[""], ["", ".before"]], ids=["the last", "both"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_or_by_training(
    finished, tmp_path, monkeypatch, harmed
):
    class Stop(Silent):
        points = 0
        notes = ()

        def record(self, pack, state):
            self.points += 1
            if self.points == 4:
                raise KeyboardInterrupt

        def note(self, text):
            self.notes = (*self.notes, text)

    monkeypatch.setattr("klayer.study.execute.keeper.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run_study(Study.from_values(CONFIG), out=tmp_path / "run", reporter=Stop())
    folder = tmp_path / "run" / "checkpoints"
    (now,) = [one for one in folder.iterdir() if ".before" not in one.name]
    for which in harmed:
        path = now.with_name(f"{now.stem}{which}{now.suffix}")
        content = bytearray(path.read_bytes())
        content[-5] ^= 4
        path.write_bytes(content)
    told = Stop()
    told.points = 99
    assert results(resume_study(tmp_path / "run", reporter=told)) == results(finished)
    assert "go on from the checkpoint before" in told.notes[0]
    assert len(told.notes) == len(harmed)
    assert not folder.exists()


def test_a_finished_run_resumes_to_itself(finished):
    before = (finished.path / "networks.jsonl").read_bytes()
    resume_study(finished.path)
    assert (finished.path / "networks.jsonl").read_bytes() == before


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4])
def test_killed_at_any_moment_a_study_resumes_to_the_same_results(finished, tmp_path, delay):
    code = (
        "import json, sys; from pathlib import Path\n"
        "from klayer.study import Study; from klayer.study.launch import run_study\n"
        "from klayer.study.execute import keeper\n"
        "keeper.CHECKPOINT_SECONDS = 0.0\n"
        "run_study(Study.from_values(json.loads(sys.argv[1])), out=Path(sys.argv[2]))\n"
    )
    out = tmp_path / "run"
    child = subprocess.Popen([sys.executable, "-c", code, json.dumps(CONFIG), str(out)])
    while not (out / "checkpoints").exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert results(resume_study(out)) == results(finished)


def test_a_line_cut_short_is_dropped_and_its_network_trained_again(finished, tmp_path):
    run = run_study(Study.from_values(CONFIG), out=tmp_path / "run")
    path = run.path / "networks.jsonl"
    lines = path.read_bytes()
    path.write_bytes(lines[: int(len(lines) * 0.7)])
    assert 4 <= len(Run(run.path, mending=True).networks) < 8
    assert results(resume_study(run.path)) == results(finished)
    assert len(path.read_bytes().splitlines()) == 8


def test_two_processes_may_not_write_one_run(finished):
    with (
        Run(finished.path),
        pytest.raises(KlayerError, match="one process at a time may write a run"),
        Run(finished.path),
    ):
        pass


def test_a_run_goes_on_with_the_data_it_began_with(finished, tmp_path, monkeypatch):
    from klayer.data import load

    monkeypatch.setattr("klayer.study.run_data.load", lambda *a, **k: load("synthetic:samples=300"))
    with pytest.raises(KlayerError, match="'digits' has changed since"):
        resume_study(finished.path)


def test_a_search_leaves_the_test_split_alone(tmp_path, digits):
    settings = Settings(hidden=(4,), cycles=1, half_cycle=3)
    run = Run.create(tmp_path / "run", "search", {}, digits)
    with run, open_executor("local", digits) as executor:
        records = train_jobs(run, executor, jobs([Arm("a", settings)], [0]), test=False)
    assert set(records[0].scores) == {"train", "validation"}
    assert not [key for key in records[0].to_json() if key.startswith("test")]


def test_population_names_depend_on_their_jobs_alone():
    arms = [Arm("a", Settings()), Arm("b", Settings(l2=1))]
    one, again = (pack(jobs(arms, [0, 1]))[0].name for _ in range(2))
    assert one == again
    assert pack(jobs(arms, [0, 2]))[0].name != one


@pytest.mark.parametrize("make", [lambda p: p.mkdir() or (p / "x").touch(), lambda p: p.touch()])
def test_a_run_directory_that_holds_something_is_left_alone(tmp_path, digits, make):
    make(tmp_path / "run")
    with pytest.raises(KlayerError, match="must be new or empty"):
        Run.create(tmp_path / "run", "train", {}, digits)


def test_a_wrong_configuration_leaves_no_run_directory(tmp_path):
    with pytest.raises(KlayerError, match="`l2` must be a number >= 0"):
        run_study(Study.from_values({**CONFIG, "settings": {"l2": -1}}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def config(**settings):
    return {**CONFIG, "settings": {**CONFIG["settings"], **settings}}


@pytest.mark.parametrize(
    ("settings", "how", "message"),
    [
        ({}, {"workers": 0}, "`workers` must be a whole number >= 1, but got 0"),
        ({}, {"scheduler": "moon"}, "unknown scheduler 'moon'"),
        ({"half_cycle": "0.001 epochs"}, {}, "`half_cycle` must be at least one update"),
    ],
)
@pytest.mark.parametrize("search", [False, True])
def test_what_can_be_refused_before_is_refused_before(
    tmp_path, monkeypatch, settings, how, message, search
):
    monkeypatch.setattr(Run, "create", None)
    values = config(**settings)
    if search:
        values = {**values, "search": {"stages": [{"l2": "1e-4:1e-1"}]}}
    for begin in (run_study, *([run_search] if search else [])):
        with pytest.raises(KlayerError, match=message):
            begin(Study.from_values(values), out=tmp_path / "run", **how)
        assert not (tmp_path / "run").exists()


def test_a_half_cycle_that_some_trial_would_not_have_is_refused_before(tmp_path):
    values = config(half_cycle="0.1 epochs", batch_size=10)
    stages = [{"l2": "1e-4:1e-1", "batch_size": [10, 1000]}]
    study = Study.from_values({**values, "search": {"stages": stages}})
    with pytest.raises(KlayerError, match="`half_cycle` must be at least one update"):
        run_search(study, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mistake_found_before_the_first_update_leaves_no_run_in_the_way(tmp_path, monkeypatch):
    def refuse(*_):
        raise KlayerError("something that only the first population shows")

    with monkeypatch.context() as during:
        during.setattr("klayer.study.execute.local.Local.start_part", refuse)
        with pytest.raises(KlayerError, match="only the first population"):
            run_study(Study.from_values(CONFIG), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert len(run_study(Study.from_values(CONFIG), out=tmp_path / "run").networks) == 8


def test_a_mistake_after_the_first_population_keeps_the_run(finished, tmp_path, monkeypatch):
    class Refuse(Interrupt):
        def progress(self, pack, update):
            if self.finished == 1:
                raise KlayerError("too late")

    with pytest.raises(KlayerError, match="too late"):
        run_study(Study.from_values(CONFIG), out=tmp_path / "run", reporter=Refuse())
    assert len(Run(tmp_path / "run").networks) == 4
    assert results(resume_study(tmp_path / "run")) == results(finished)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(
        KlayerError, match=r"a run directory holds a file run\.json, but .* has none"
    ):
        Run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(KlayerError, match="must be JSON"):
        Run(tmp_path)


def test_an_unfinished_run_has_no_best_network(tmp_path, digits):
    run = Run.create(tmp_path / "run", "train", {}, digits)
    with pytest.raises(KlayerError, match="no network of .* is finished yet"):
        run.best()


def test_damaged_weights_are_named(tmp_path, digits, finished):
    import shutil

    shutil.copytree(finished.path, tmp_path / "run")
    for path in (tmp_path / "run" / "weights").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(KlayerError, match="must be a whole file that klayer wrote"):
        Run(tmp_path / "run").model()


def test_a_run_goes_on_by_the_command_that_made_it(tmp_path, digits):
    run = Run.create(tmp_path / "run", "search", {}, digits)
    with pytest.raises(KlayerError, match="was made by `klayer search`: go on with `klayer search"):
        resume_study(run.path)
