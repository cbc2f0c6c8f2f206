"""Kills: at random moments, at every call that changes the disk, and how much they cost."""

import random
import signal
import subprocess
import sys
import time

from chaos.calls import AtCall, count
from chaos.outcome import Outcome
from chaos.scenes import VALUES, child, compare, context, expected, run_child


def at_every_call(folder, size):
    """Kill before and after calls that change the disk, evenly among all; size is how many a scene."""
    scenes = list(VALUES) if size > 3 else ["study", "pruned"]
    outcome, processes, wanted = Outcome(), context(), expected(folder, scenes)
    for scene in scenes:
        calls = count(processes, run_child, scene, folder / f"counted-{scene}")
        outcome.measured[f"calls of {scene}"] = len(calls)
        for nth in _some(len(calls), size):
            when = ("kill before", "kill after")[nth % 2]
            path = folder / f"{scene}-{nth}"
            code, _ = run_child(processes, scene, path, AtCall(nth, when))
            if code != -signal.SIGKILL:
                outcome.check(False, f"{scene}, call {nth}: it was not killed")
                continue
            compare(outcome, f"{scene}, {when} call {nth} ({calls[nth]})", scene, path, wanted)
    return outcome


def at_random(folder, size):
    """Kill again and again at random moments, also while the run goes on from the last kill."""
    outcome, processes, rng = Outcome(), context(), random.Random(11)
    wanted = expected(folder)
    for nth in range(size):
        scene, path = list(VALUES)[nth % len(VALUES)], folder / f"{nth}"
        for kill in range(2):
            told = processes.SimpleQueue()
            process = processes.Process(
                target=child, args=("again" if kill else "begin", scene, path, None, told)
            )
            process.start()
            time.sleep(rng.uniform(0.02, 0.9))
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                break
        compare(outcome, f"{scene}, random moment {nth}", scene, path, wanted)
    return outcome


LONG = (
    "import sys, klayer as kl\n"
    "values = {'seeds': 3, 'settings': {'hidden': [32], 'batch_size': 10, 'cycles': 1,\n"
    "          'half_cycle': '100000 epochs', 'points_per_cycle': 1}}\n"
    "kl.run_study(kl.Study.from_values(values), out=sys.argv[1])\n"
)


def costs_seconds(folder, size):
    """Kill one long cycle, and measure how old what was kept is: at most 10 seconds."""
    outcome, rng = Outcome(), random.Random(5)
    for nth in range(size):
        path = folder / f"{nth}"
        process = subprocess.Popen([sys.executable, "-c", LONG, str(path)])
        time.sleep(rng.uniform(12, 30))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = time.time()
        kept = [*path.glob("run.json"), *(path / "checkpoints").glob("*.safetensors")]
        age = min((killed - one.stat().st_mtime for one in kept), default=0.0)
        outcome.most("checkpoints kept", len(kept) - 1)
        outcome.most("seconds lost at the most", age)
        outcome.check(age <= 10, f"{age:.1f} s lost")
    return outcome


def _some(total, size):
    """Return so many numbers below a total, evenly."""
    if size >= total:
        return range(total)
    return sorted({round((i + 0.5) * total / size) for i in range(size)} & set(range(total)))
