"""Foreign runs: files that are whole, and say strange things; only errors of ours come of them."""

import json
import random
import shutil
import traceback

import numpy as np

from chaos.outcome import Outcome
from chaos.scenes import begin, go_on
from klayer.errors import KlayerError
from klayer.files import read_arrays, write_arrays
from klayer.report import drawing, write_report
from klayer.study import Run
from klayer.study.checking import check_run
from run_files import store, store_lines

STRANGE = (None, True, 0, -1, 2**40, 10**30, 0.5, 1e300, "", "x", "../../x", "a\0b", "0" * 1000, [], [1],
           [[]], {}, {"a": 1}, [None], "numpy")  # fmt: skip


def _places(value, place=()):
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def _change(values, rng):
    """Put something strange into a place, or take it away, or rename it."""
    *above, key = rng.choice([place for place in _places(values) if place])
    for one in above:
        values = values[one]
    how = rng.random()
    if how < 0.2:
        del values[key]
    elif how < 0.3 and isinstance(values, dict):
        values[f"{key}_"] = values.pop(key)
    elif how < 0.4 and isinstance(values, list):
        values.append(rng.choice(STRANGE))
    else:
        values[key] = rng.choice(STRANGE)


def _change_arrays(path, rng):
    arrays, values = read_arrays(path)
    if values and rng.random() < 0.4:
        _change(values, rng)
    else:
        key = rng.choice(sorted(arrays))
        one = arrays[key]
        strange = [one.astype("int32"), one[:1], one.reshape(-1), np.zeros(0), np.array(3.0),
                   np.full_like(one, np.nan), one.astype(bool), one.astype(np.float64)]  # fmt: skip
        arrays[key if rng.random() < 0.8 else f"{key}x"] = rng.choice(strange)
    write_arrays(path, arrays, values)


def _look_at(path):
    run = Run(path)
    run.model()
    run.asked  # noqa: B018
    run.result("summary.json")


def only_errors_of_ours(folder, size):
    """Change one thing in a run, give it its digest, and do everything with it."""
    outcome, rng = Outcome(), random.Random(23)
    runs = [begin(scene, folder / scene).path for scene in ("study", "search")]
    lost, drawing._WORKER._deaths = (
        drawing._WORKER._deaths,
        drawing.DEATHS,
    )  # no pictures: they take time
    try:
        for _ in range(size):
            path = shutil.copytree(rng.choice(runs), folder / "run")
            files = [one for one in sorted(path.rglob("*"))
                     if one.suffix in (".json", ".jsonl", ".safetensors")]  # fmt: skip
            file = rng.choice(files)
            if file.suffix == ".safetensors":
                _change_arrays(file, rng)
            elif file.suffix == ".jsonl":
                lines = [json.loads(line) for line in file.read_text().splitlines()]
                _change(lines, rng)
                store_lines(file, [one if isinstance(one, dict) else {} for one in lines])
            else:
                values = json.loads(file.read_text())
                _change(values, rng)
                store(file, values)
            for do in (_look_at, check_run, write_report, go_on):
                try:
                    do(path)
                    outcome.check(True, "")
                except KlayerError:
                    outcome.check(True, "")
                except Exception as error:
                    last = traceback.extract_tb(error.__traceback__)[-1]
                    outcome.check(False, f"{file.name}: {error!r} at {last.filename}:{last.lineno}")
            shutil.rmtree(path)
    finally:
        drawing._WORKER._deaths = lost
    return outcome
