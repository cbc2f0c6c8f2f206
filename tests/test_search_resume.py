"""A search that is killed, really, by SIGKILL, and gone on with."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from importlib import import_module

import pytest

from klayer.errors import KlayerError
from klayer.files import sealed_line
from klayer.study import NetworkRecord, Run, Study
from klayer.study.launch import resume_search, run_search, run_study

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

HEAVY = ["optuna", "sqlalchemy", "sklearn.datasets", "klayer.study.launch", "alembic.command"]
MOMENTS = 20
KILLS = 4  # of one run, one after another
MODES = (False, True)
each_mode = pytest.mark.parametrize("prune", MODES, ids=["whole", "pruned"])


def parsed(**values):
    return Study.from_values(values)


def small(prune=False):
    """Two architectures, two seeds a trial, a derived stage, finalists: all that can be torn."""
    return parsed(
        search={
            "stages": [{"l2": "1e-4:1e-1", "batch_norm": ["none", "hidden"]}],
            "trials": 4,
            "seed": 4,  # which draws two trials of each architecture, one of which is pruned
            "auto": 1,
            "seeds": 2,
            "prune": prune,
            "settings": {
                "hidden": [12],
                "batch_size": 50,
                "cycles": 2,
                "half_cycle": "1 epoch",
                "points_per_cycle": 3,
            },
            "finalists": {"top": 2, "cycles": 1, "seeds": 2},
        }
    )


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported, so that kills fall into the search itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    return context


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def work(path, prune, deadly=None):
    """Search in a process of its own, with checkpoints as often as can be.

    ``deadly`` names a function, the number of a call, and whether the kill comes before or after.
    """
    import klayer.study.execute.keeper

    klayer.study.execute.keeper.CHECKPOINT_SECONDS = 0.0
    if deadly:
        module, owner, name, nth, when = deadly
        place = import_module(module)
        place = getattr(place, owner) if owner else place
        real, calls = getattr(place, name), []

        def wrapped(*args, **kwargs):
            calls.append(name)
            if len(calls) == nth and when == "before":
                die()
            result = real(*args, **kwargs)
            if len(calls) == nth and when == "after":
                die()
            return result

        setattr(place, name, wrapped)
    run_search(small(prune), out=path)


def go_on(path, _prune):
    """Go on in a process of its own, with checkpoints as often as can be."""
    import klayer.study.execute.keeper

    klayer.study.execute.keeper.CHECKPOINT_SECONDS = 0.0
    resume_search(path)


def torn(path):
    """Search, and be killed when half of the first population's lines are written."""

    def append(run, records):
        text = b"".join(sealed_line(record.to_json()) for record in records)
        with (run.path / "networks.jsonl").open("ab") as out:
            out.write(text[: len(text) // 2])
            out.flush()
            os.fsync(out.fileno())
        die()

    Run.append = append
    run_search(small(), out=path)


def comparable(run):
    """Everything that a search results in, but times and paths."""
    import optuna

    plan = json.loads((run.path / "search.json").read_text())
    name, _ = plan.pop("study"), plan.pop("digest")
    storage = optuna.storages.RDBStorage(f"sqlite:///{run.path}/search.db")
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    return {
        "plan": plan,
        "networks": {
            record.key: {
                key: value
                for key, value in record.to_json().items()
                if key not in ("seconds", "population", "lane")
            }
            for record in run.networks
        },
        "tables": [
            (run.path / table).read_text()
            for table in ("trials.csv", "trials.json", "finalists.csv")
        ],
        "optuna": [
            (
                one.number,
                one.state.name,
                one.params,
                one.value,
                one.intermediate_values,
                {key: value for key, value in one.user_attrs.items() if key != "run"},
            )
            for one in trials
        ],
    }


def check(run, expected):
    """The run is what it would have been: every trial once, no zombie, no litter."""
    found = comparable(run)
    for part in expected:
        assert found[part] == expected[part], part
    lines = (run.path / "networks.jsonl").read_bytes().splitlines(keepends=True)
    keys = [NetworkRecord.from_line(line, "", sealed=True).key for line in lines]
    assert len(keys) == len(set(keys)) == len(expected["networks"])
    assert {state for _, state, *_ in found["optuna"]} <= {"COMPLETE", "PRUNED"}
    assert list((run.path / "checkpoints").glob("stage-*")) == []
    assert not (run.path / "lock").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The search without a kill: whole, and pruned."""
    folder = tmp_path_factory.mktemp("finished")
    return {prune: run_search(small(prune), out=folder / str(prune)) for prune in MODES}


@pytest.fixture(scope="module")
def expected(finished):
    return {prune: comparable(run) for prune, run in finished.items()}


@pytest.fixture
def copied(finished, tmp_path):
    """Copy a finished search, to be harmed."""
    return lambda prune=False: Run(shutil.copytree(finished[prune].path, tmp_path / "run"))


def killed(process):
    process.join()
    return process.exitcode == -signal.SIGKILL


@each_mode
def test_a_search_killed_at_random_moments_is_gone_on_with(processes, expected, tmp_path, prune):
    """Killed again and again, also while it goes on from the last kill, and then left in peace."""
    started = time.monotonic()
    process = processes.Process(target=work, args=(tmp_path / "whole", prune))
    process.start()
    process.join()
    whole = time.monotonic() - started
    assert process.exitcode == 0
    rng, kills, runs = random.Random(7 + prune), 0, 0
    while kills < MOMENTS // 2:
        path, runs = tmp_path / f"{runs}", runs + 1
        for nth in range(KILLS):
            process = processes.Process(target=go_on if nth else work, args=(path, prune))
            process.start()
            while not (path / "run.json").exists() and process.is_alive():
                time.sleep(0.002)
            time.sleep(rng.uniform(0, whole / 3))
            process.kill()
            if not killed(process):  # it came to its end in time: the machine has less to do now
                whole *= 0.7
                break
            kills += 1
        check(resume_search(path), expected[prune])


FILE, MIRROR = "klayer.study.search.search_file", "klayer.study.search.optuna_mirror"
DEADLY = {
    "drawn, not yet planned": ("klayer.study.search.stages", None, "draw", 1, "after"),
    "planned, not yet asked": (
        "klayer.study.search.search_file",
        "SearchFile",
        "add_trials",
        2,
        "after",
    ),
    "storage made, nothing in it": (
        "klayer.study.search.optuna_mirror",
        "OptunaMirror",
        "_open",
        1,
        "after",
    ),
    "asked in part": (MIRROR, "OptunaMirror", "_add", 3, "after"),
    "asked, not yet trained": (
        "klayer.study.search.optuna_mirror",
        "OptunaMirror",
        "follow",
        2,
        "after",
    ),
    "weights written, results not": ("klayer.study.run_dir", "Run", "save_weights", 2, "after"),
    "results written, not told": ("klayer.study.run_dir", "Run", "append", 2, "after"),
    "told in part": ("optuna.storages", "RDBStorage", "set_trial_intermediate_value", 9, "after"),
    "in a database transaction": (
        "optuna.storages",
        "RDBStorage",
        "_set_trial_intermediate_value_without_commit",
        5,
        "after",
    ),
    "in the adding of a trial": (
        "optuna.storages",
        "RDBStorage",
        "_set_trial_attr_without_commit",
        7,
        "after",
    ),
    "told, tables not written": ("klayer.study.search.stages", None, "write_tables", 1, "before"),
    "a table half written": ("klayer.study.search.tables", None, "_write_rows", 1, "before"),
    "finalists chosen": ("klayer.study.search.stages", None, "_finalists", 1, "after"),
    "finalists trained": ("klayer.study.launch", None, "summarise", 1, "before"),
}


# Those that fall into the training itself, which pruning does otherwise.
PRUNED = {
    **{name: DEADLY[name] for name in DEADLY if name.startswith(("weights", "results", "told in"))},
    "one of two populations pruned": ("klayer.study.search.halving", None, "_drop", 1, "after"),
    "both populations pruned": ("klayer.study.search.halving", None, "_drop", 2, "after"),
}


@pytest.mark.parametrize(
    ("prune", "deadly"),
    [(False, one) for one in DEADLY.values()] + [(True, one) for one in PRUNED.values()],
    ids=[*DEADLY, *(f"pruned: {name}" for name in PRUNED)],
)
def test_a_search_killed_at_a_worst_moment_is_gone_on_with(
    processes, expected, tmp_path, prune, deadly
):
    process = processes.Process(target=work, args=(tmp_path / "run", prune, deadly))
    process.start()
    assert killed(process)
    check(resume_search(tmp_path / "run"), expected[prune])


def test_results_torn_in_the_middle_of_a_line_are_trained_again(processes, expected, tmp_path):
    process = processes.Process(target=torn, args=(tmp_path / "run",))
    process.start()
    assert killed(process)
    assert not (tmp_path / "run" / "networks.jsonl").read_text().endswith("\n")
    check(resume_search(tmp_path / "run"), expected[False])


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_a_damaged_storage_is_made_again(expected, copied, damage):
    run = copied()
    file = run.path / "search.db"
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(
            {"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"x" * 5000}[damage]
        )
    check(resume_search(run.path), expected[False])
    assert (run.path / "search.db.damaged").exists() == (damage in ("cut", "noise"))


@each_mode
def test_a_finished_search_may_be_resumed_and_nothing_is_trained(
    expected, copied, monkeypatch, prune
):
    run = copied(prune)
    before = (run.path / "networks.jsonl").read_bytes()
    monkeypatch.setattr("klayer.train.Trainer.train", None)
    check(resume_search(run.path), expected[prune])
    assert (run.path / "networks.jsonl").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("klayer.train.Trainer.train", stop)
    with pytest.raises(KeyboardInterrupt, match=r"nothing is lost.*klayer search --resume .*run`"):
        run_search(small(), out=tmp_path / "run")


def test_another_kind_of_run_is_not_resumed_as_a_search(tmp_path):
    settings = {"hidden": [5], "cycles": 1, "half_cycle": "1 epoch"}
    run = run_study(parsed(seeds=1, settings=settings), out=tmp_path / "run")
    with pytest.raises(KlayerError, match=r"was made by `klayer study`: go on with `klayer study"):
        resume_search(run.path)


def test_a_damaged_search_file_is_named_and_drawn_again(copied):
    run = copied()
    before = comparable(run)["plan"]
    (run.path / "search.json").write_text("{")
    with pytest.raises(KlayerError, match=r"search\.json must be JSON, but"):
        Run(run.path).asked  # noqa: B018
    again = resume_search(run.path)
    assert [one.key for one in again.networks] == [one.key for one in run.networks]
    assert comparable(again)["plan"] == before


def test_one_process_at_a_time(copied):
    run = copied()
    if sys.platform == "win32":
        pytest.skip("no file locks there")
    with run, pytest.raises(KlayerError, match="one process at a time may write a run"):
        resume_search(run.path)
