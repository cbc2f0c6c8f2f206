"""Company: other processes at the same run, other trainings in one process, a network that fails."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import klayer as kl
from chaos.outcome import Outcome
from chaos.scenes import BRIEF, begin, context, expected, go_on, result, run_child
from klayer.errors import KlayerError
from klayer.files import Lock
from klayer.study import Run, Study
from klayer.study.launch import run_study
from klayer.train import engine


def _enter(path, times, inside, counts):
    for _ in range(times):
        lock = Lock(path, "it")
        with contextlib.suppress(KlayerError):
            lock.take()
            with counts.get_lock():
                counts[0] += 1
            with inside.get_lock():
                inside.value += 1
                alone = inside.value == 1
            with counts.get_lock():
                counts[1] += not alone
            with inside.get_lock():
                inside.value -= 1
            lock.release()


def lock_holds_one(folder, size):
    """Enter the lock from four processes at once, until it was entered so often."""
    outcome, processes = Outcome(), context()
    inside, counts = processes.Value("i", 0), processes.Array("i", [0, 0])
    while counts[0] < size:
        children = [
            processes.Process(target=_enter, args=(folder / "lock", 1000, inside, counts))
            for _ in range(4)
        ]
        for one in children:
            one.start()
        for one in children:
            one.join()
    outcome.tried = counts[0]
    outcome.broken = ["two held it at once"] * counts[1]
    return outcome


def two_go_on(folder, size):
    """Two processes go on with one run at once: no record twice, the results of one."""
    outcome, processes = Outcome(), context()
    wanted = expected(folder, ["study"])["study"]
    for nth in range(size):
        path = begin("study", folder / f"{nth}").path
        for name in ("networks.jsonl", "summary.json"):
            (path / name).unlink()
        with ThreadPoolExecutor(2) as pool:
            told = list(
                pool.map(lambda p: run_child(processes, "study", p, None, "again"), [path] * 2)
            )
        fine = all(
            kind == "ended" or "one process at a time" in message for _, (kind, message) in told
        )
        outcome.check(fine and result(go_on(path)) == wanted, f"{told}")
    return outcome


def _make(folder, out, told):
    os.chdir(folder)
    values = {"seeds": 1, "settings": BRIEF}
    try:
        told.put(str(run_study(Study.from_values(values), out=out).path))
    except KlayerError as error:
        told.put(f"refused: {error}")


def one_second(folder, size):
    """Commands begun at once: by default each its own directory; a named one is for one alone."""
    outcome, processes = Outcome(), context()
    for nth in range(size):
        for out in (None, f"named-{nth}"):
            told = processes.SimpleQueue()
            children = [processes.Process(target=_make, args=(folder, out, told)) for _ in range(3)]
            for one in children:
                one.start()
            for one in children:
                one.join()
            answers = [told.get() for _ in children]
            made = [one for one in answers if not one.startswith("refused")]
            wanted = 1 if out else 3
            whole = all(len(Run(Path(folder, one)).networks) == 1 for one in made)
            outcome.check(len(set(made)) == len(made) == wanted and whole, f"{answers}")
    return outcome


def _bits(state, lanes=slice(None)):
    arrays = [state.params, state.running, *state.slots.values()]
    return b"".join(group[key][lanes].tobytes() for group in arrays for key in sorted(group))


SMALL = kl.Settings(hidden=(16,), batch_norm="hidden", batch_size=20, cycles=1, half_cycle=30)
WIDE = kl.Settings(hidden=(300,), batch_norm="hidden", batch_size=100, cycles=1, half_cycle=5)


def threads_agree(folder, size):
    """Fits in 1, 2 and 4 threads: the same bits, and no more threads at work than cores."""
    outcome = Outcome()
    cases = [(kl.load("digits"), SMALL), (kl.load("synthetic:samples=600,features=800"), WIDE)]
    for data, settings in cases:
        alone = _bits(kl.fit(data, settings, seeds=range(3)).state)
        for threads in (1, 2, 4):
            with ThreadPoolExecutor(threads) as pool:
                fits = pool.map(
                    lambda _, data=data, settings=settings: _bits(
                        kl.fit(data, settings, seeds=range(3)).state
                    ),
                    range(size),
                )
                for bits in fits:
                    outcome.check(bits == alone, f"other bits in {threads} threads")
                    names = [one.name for one in threading.enumerate()]
                    outcome.most("worker threads", sum(name.startswith("klayer") for name in names))
    free = engine._SEATS._free._value
    outcome.check(free == engine.available_cores(), "a core was not given back")
    return outcome


def failure_is_contained(folder, size):
    """One network among 64 diverges, in either update of a pair: the bits of the 63 don't change."""
    outcome, failed = Outcome(), set()
    data = kl.load("synthetic:samples=400,features=600")
    feed = kl.Feed(data)
    base = {"hidden": (24,), "batch_size": 50, "cycles": 1, "half_cycle": 8, "schedule": "constant",
            "updates_at_once": 2}  # fmt: skip
    calm = kl.Settings(**base, lr_max=0.01)
    whole = kl.Population(feed, [kl.Member(calm, seed) for seed in range(64)])
    kl.Trainer(whole).train()
    for nth in range(size):
        place, rate = (7 * nth + 3) % 64, 10.0 ** (2 + 34 * (nth % 12) / 12)
        wild = kl.Settings(**base, lr_max=rate)
        members = [kl.Member(wild if seed == place else calm, seed) for seed in range(64)]
        population = kl.Population(feed, members)
        kl.Trainer(population).train()
        failure = population.state.failures[place]
        if failure:
            failed.add(failure.update % 2)
        others = np.array([seed for seed in range(64) if seed != place])
        same = _bits(population.state, others) == _bits(whole.state, others)
        outcome.check(same, f"lr {rate:g} at {place} changed others")
    outcome.check(failed == {0, 1} or size < 12, f"it failed at updates {failed} of a pair alone")
    return outcome
