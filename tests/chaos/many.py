"""Several processes work on one run, and are killed: workers every few seconds, once the scheduler."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

from chaos.outcome import Outcome
from chaos.scenes import litter, result
from klayer.study import Run, Study
from klayer.study.launch import run_study

# 200 networks: a training of a quarter of a minute on two cores.
STUDY = {
    "seeds": 20,
    "settings": {"hidden": [8], "batch_size": 20, "cycles": 1, "half_cycle": "25 epochs",
                 "points_per_cycle": 4},
    "grid": {"batch_norm": ["none", "hidden"], "l2": [0.0, 1e-4, 1e-3, 1e-2, 1e-1]},
}  # fmt: skip
NETWORKS = 200
SECONDS = 4.0  # between two kills
LATEST = 300.0

RUN = (
    "import json, sys\n"
    "from klayer.study import Study\n"
    "from klayer.study.launch import resume_study, run_study\n"
    "values, out, scheduler, how = sys.argv[1:]\n"
    "if how == 'resume':\n"
    "    resume_study(out, scheduler=scheduler)\n"
    "else:\n"
    "    run_study(Study.from_values(json.loads(values)), out=out, scheduler=scheduler)\n"
)


class _Processes:
    """Processes that are started again when they were killed."""

    def __init__(self):
        self.running = {}

    def start(self, name, command):
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            self.running[name] = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        return self.running[name]

    def kill(self, name, number=signal.SIGKILL):
        self.running[name].send_signal(number)
        self.running[name].wait()

    def close(self):
        for one in self.running.values():
            one.kill()
        for one in self.running.values():
            one.wait()


def _client(out, scheduler, how):
    return [sys.executable, "-c", RUN, json.dumps(STUDY), str(out), scheduler, how]


def _judge(outcome, what, out, wanted):
    run = Run(out)
    keys = [one.key for one in run.networks]
    once = len(keys) == len(set(keys)) == NETWORKS and not run.result("summary.json")["lost"]
    left = [*litter(out), *(["parts"] if (out / "parts").exists() else [])]
    same = once and result(run) == wanted
    if same and not left:
        outcome.check(True, "")
    else:
        why = f"{len(set(keys))} networks" if not once else left or "other results"
        outcome.check(False, f"{what}: {why}")


def dask_outlives_kills(folder, size):
    """A Dask scheduler and two workers; one is killed every few seconds, once the scheduler."""
    outcome, rng = Outcome(), random.Random(3)
    wanted = result(run_study(Study.from_values(STUDY), out=folder / "whole"))
    for nth in range(size):
        out, processes = folder / f"dask-{nth}", _Processes()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        dask = [sys.executable, "-m", "dask"]
        scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2],
                     "--dashboard-address", "127.0.0.1:0"]  # fmt: skip
        worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny",
                  "--dashboard-address", "127.0.0.1:0"]  # fmt: skip
        kills, lost = 0, 0
        try:
            processes.start("scheduler", scheduler)
            for name in "ab":
                processes.start(name, worker)
            client = processes.start("client", _client(out, address, "run"))
            began = last = time.monotonic()
            while time.monotonic() - began < LATEST:
                if client.poll() is not None:
                    if client.returncode == 0 or lost != 1 or not (out / "run.json").exists():
                        break
                    lost = 2  # the client said that its scheduler is gone: start it, go on
                    processes.start("scheduler", scheduler)
                    client = processes.start("client", _client(out, address, "resume"))
                for name in "ab":
                    if processes.running[name].poll() is not None:
                        processes.start(name, worker)
                if time.monotonic() - last > SECONDS and list(out.glob("parts/*.claim-*")):
                    last, kills = time.monotonic(), kills + 1
                    processes.kill(rng.choice("ab"))
                    if kills == 3:
                        processes.kill("scheduler")
                        lost = 1
                time.sleep(0.05)
            outcome.most("seconds of a run at the most", time.monotonic() - began)
            outcome.measured["kills"] = outcome.measured.get("kills", 0) + kills
            outcome.measured["schedulers killed"] = (
                outcome.measured.get("schedulers killed", 0) + (lost > 0)
            )  # fmt: skip
            if client.returncode != 0:
                outcome.check(False, f"dask {nth}: the command ended with {client.returncode}")
                continue
        finally:
            processes.close()
        _judge(outcome, f"dask {nth}", out, wanted)
    return outcome


def array_outlives_kills(folder, size):
    """Four processes run the same command, with no scheduler; one is killed every few seconds."""
    outcome, rng = Outcome(), random.Random(4)
    wanted = result(run_study(Study.from_values(STUDY), out=folder / "whole"))
    for nth in range(size):
        out, processes, kills = folder / f"array-{nth}", _Processes(), 0
        command = _client(out, "join:4", "run")
        try:
            for name in "abcd":
                processes.start(name, command)
            began = last = time.monotonic()
            while time.monotonic() - began < LATEST:
                codes = {name: one.poll() for name, one in processes.running.items()}
                if all(code == 0 for code in codes.values()):
                    break
                for name, code in codes.items():
                    if code not in (None, 0):
                        processes.start(name, command)
                alive = [name for name, code in codes.items() if code is None]
                if (
                    time.monotonic() - last > SECONDS
                    and alive
                    and list(out.glob("parts/*.claim-*"))
                ):
                    last, kills = time.monotonic(), kills + 1
                    processes.kill(rng.choice(alive))
                time.sleep(0.05)
            outcome.most("seconds of a run at the most", time.monotonic() - began)
            outcome.measured["kills"] = outcome.measured.get("kills", 0) + kills
        finally:
            processes.close()
        _judge(outcome, f"array {nth}", out, wanted)
    return outcome
