"""Small runs of each kind, each in a process of its own that can be harmed."""

import json
import multiprocessing
import os
import signal
import sqlite3
import traceback
from pathlib import Path

from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.checking import check_run
from klayer.study.launch import resume_search, resume_study, run_search, run_study

HEAVY = ["optuna", "sqlalchemy", "sklearn.datasets", "alembic.command", "klayer.study.launch",
         "klayer.report"]  # fmt: skip

BRIEF = {"hidden": [4], "batch_norm": "hidden", "batch_size": 100, "cycles": 2,
         "half_cycle": "1 epoch", "points_per_cycle": 2, "optimiser": "momentum"}  # fmt: skip
SEARCH = {"stages": [{"l2": "1e-4:1e-1", "batch_norm": ["none", "hidden"]}], "trials": 3, "auto": 1,
          "seed": 4, "finalists": {"top": 1, "cycles": 1, "seeds": 1}, "settings": BRIEF}  # fmt: skip
VALUES = {
    "train": {"seeds": 2, "settings": BRIEF},
    "study": {"seeds": 1, "settings": BRIEF, "grid": {"batch_norm": ["none", "hidden"]}},
    "search": {"search": SEARCH},
    "pruned": {"search": {**SEARCH, "prune": True}},
}


def begin(scene, path):
    """Run a scene from its beginning."""
    study = Study.from_values(VALUES[scene])
    if "search" in VALUES[scene]:
        return run_search(study, out=path)
    return run_study(study, out=path, kind=scene)


def go_on(path):
    """Go on with whatever lies there."""
    kind = Run(path, mending=True).kind
    return (resume_search if kind == "search" else resume_study)(path)


def again(scene, path):
    """Do what a user does after a kill: go on, or give the same command if there is no run yet."""
    return go_on(path) if (Path(path) / "run.json").exists() else begin(scene, path)


def result(run):
    """Everything that a run found out, but times, and where a population's name counts its lanes."""
    skip = ("seconds", "population", "lane")
    found = {
        "networks": {
            one.key: {key: value for key, value in one.to_json().items() if key not in skip}
            for one in run.networks
        },
        "probs": {one.key: _weights(run, one) for one in run.networks},
    }
    if (run.path / "search.json").exists():
        plan = json.loads((run.path / "search.json").read_text(encoding="utf-8"))
        found["plan"] = {key: plan[key] for key in ("stages", "finalists", "stopped")}
    return found


def _weights(run, record):
    arrays = run.model(record).params
    return b"".join(arrays[key].tobytes() for key in sorted(arrays))


def litter(path):
    """What a whole run doesn't leave behind."""
    found = [str(one) for one in path.rglob("*.part")]
    found += [str(one) for one in (path / "checkpoints").glob("*")]
    found += ["lock"] if (path / "lock").exists() else []
    found += [f"{one.path}: {one.damage}" for one in check_run(path) if one.damage]
    if (path / "search.db").exists():
        with sqlite3.connect(path / "search.db") as storage:
            (studies,) = storage.execute("select count(*) from studies").fetchone()
        storage.close()
        found += [f"{studies} studies in search.db"] if studies != 1 else []
    return found


def compare(outcome, what, scene, path, expected):
    """Go on with a run that was harmed, and check that nothing is lost."""
    try:
        run = again(scene, path)
        same, left = result(run) == expected[scene], litter(path)
        outcome.check(same and not left, f"{what}: {'other results' if not same else left}")
    except Exception as error:
        outcome.check(False, f"{what}: {type(error).__name__}: {error}\n{traceback.format_exc()}")


def expected(folder, names=tuple(VALUES)):
    """Run scenes without any harm."""
    return {name: result(begin(name, folder / f"whole-{name}")) for name in names}


# Processes.


def context():
    """Processes that start with everything imported, so that harm falls into the run itself."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(HEAVY)
    return found


def child(how, scene, path, harm, told):
    """Run a scene, with harm; tell how it ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import klayer.study.execute.keeper

    klayer.study.execute.keeper.CHECKPOINT_SECONDS = 0.0
    os.nice(5)
    if harm:
        harm()
    try:
        (begin if how == "begin" else again)(scene, path)
        told.put(("ended", ""))
    except KlayerError as error:
        told.put((type(error).__name__, str(error)))
    except BaseException as error:
        told.put((f"raw {type(error).__name__}", f"{error}\n{traceback.format_exc()}"))


def run_child(processes, scene, path, harm=None, how="begin"):
    """Run a scene in a process; return its exit status and what it told."""
    told = processes.SimpleQueue()
    process = processes.Process(target=child, args=(how, scene, path, harm, told))
    process.start()
    process.join()
    return process.exitcode, None if told.empty() else told.get()
