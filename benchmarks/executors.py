"""What it costs to have a study trained by others: wall time against that of this process alone.

    python benchmarks/executors.py
    python benchmarks/executors.py --seeds 40 --rounds 5 --count 2

One study of digits (10 arms) is trained by `local`, by `processes:COUNT` and by a Dask scheduler with
COUNT workers of one thread, which are there before; one after the other, in rounds, each from its call
to its summary. `processes` starts its processes in that time. Printed are medians, and the median of
the ratios within a round, with the least and the greatest; of wall time, and of processor time, that of
all processes together, which other work on the machine changes less. Exit status 1 if a bit differs.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import klayer as kl
from klayer.study import Run


def study_of(seeds: int, epochs: int) -> kl.Study:
    return kl.Study.from_values(
        {
            "seeds": seeds,
            "settings": {"hidden": [50, 50], "batch_size": 20, "cycles": 1,
                         "half_cycle": f"{epochs} epochs", "points_per_cycle": 4},
            "grid": {"batch_norm": ["none", "hidden"], "l2": [0.0, 1e-4, 1e-3, 1e-2, 1e-1]},
        }
    )  # fmt: skip


def started(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command, "--dashboard-address", "127.0.0.1:0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def processor_seconds(others: list[subprocess.Popen[bytes]]) -> float:
    """Seconds that this process, those it started and waited for, and some others have worked."""
    found = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        found += used.ru_utime + used.ru_stime
    for one in others:
        about = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(about[11]) + int(about[12])) / os.sysconf("SC_CLK_TCK")
    return found


def same(one: Run, other: Run) -> bool:
    for record in one.networks:
        ours, theirs = (run.model(run.find(record.key)).params for run in (one, other))
        if not all(np.array_equal(ours[key], theirs[key]) for key in ours):
            return False
    return len(one.networks) == len(other.networks)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10, help="of a half-cycle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=2)
    options = parser.parse_args()
    study = study_of(options.seeds, options.epochs)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    cluster = [started("scheduler", "--host", "127.0.0.1", "--port", str(port))]
    worker = ("worker", address, "--nthreads", "1", "--no-nanny")
    cluster += [started(*worker) for _ in range(options.count)]
    names = {"local": "local", f"processes:{options.count}": "processes", address: "dask"}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    worked: dict[str, list[float]] = {name: [] for name in names}
    alike = True
    try:
        time.sleep(8)  # they start
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(options.rounds):
                runs = {}
                for scheduler, name in names.items():
                    began, before = time.perf_counter(), processor_seconds(cluster)
                    out = Path(folder) / f"{name}-{turn}"
                    runs[name] = kl.run_study(study, out=out, scheduler=scheduler)
                    seconds[scheduler].append(time.perf_counter() - began)
                    worked[scheduler].append(processor_seconds(cluster) - before)
                alike &= all(same(runs["local"], run) for run in runs.values())
    finally:
        for one in cluster[::-1]:
            one.terminate()
        for one in cluster:
            one.wait()
    print(f"{len(study.jobs)} networks, {options.rounds} rounds, the same bits: {alike}")
    for scheduler, name in names.items():
        for what, took in (("wall", seconds), ("processor", worked)):
            ratios = [a / b for a, b in zip(took[scheduler], took["local"], strict=True)]
            print(
                f"{name:10} {what:9} {statistics.median(took[scheduler]):6.1f} s   ratio "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main())
