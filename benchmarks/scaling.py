"""Memory and time against the number of networks, and whether anything leaks.

    python benchmarks/scaling.py networks --out docs/images/scaling.svg # P = 1 ... 1,000
    python benchmarks/scaling.py threads                               # the same work on 1 and 2 threads
    python benchmarks/scaling.py leak                                  # memory over 100 trainings

Each number of networks is a process of its own, so that its peak memory is its own; `model` is the
straight line from 30 networks on, where chunks are full: CPU seconds = a + b P, MB = c + d P. CPU time
is that of all threads: what else runs on the machine hardly changes it.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import klayer as kl

NETWORKS = (1, 3, 10, 30, 100, 300, 1000)


def settings(cycles: float = 1) -> kl.Settings:
    return kl.Settings(
        hidden=(50, 50), batch_norm="hidden", batch_size=20, cycles=cycles, half_cycle="2 epochs"
    )


def resident() -> float:
    """Return the memory that this process has now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def once(networks: int, workers: int | None) -> dict[str, float]:
    """Train some networks on digits; return seconds, and memory before and at its peak, in MB."""
    data = kl.load("digits")
    kl.fit(data, settings(0.5), seeds=1, workers=workers)  # what is loaded and compiled once
    started, cpu = time.perf_counter(), time.process_time()
    population = kl.fit(data, settings(), seeds=networks, workers=workers)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {
        "networks": networks,
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "updates": population.state.update,
        "peak": peak,
    }


def measured(networks: int, workers: int | None, repeats: int) -> dict[str, float]:
    """Measure in processes of their own; the least time, and the memory that goes with it."""
    command = [sys.executable, __file__, "once", "--networks", str(networks)]
    command += ["--workers", str(workers)] if workers else []
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(repeats)
    ]
    return min(found, key=lambda one: one["cpu"])


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Fit y = a + b x by least squares of relative errors; return a, b and the largest such error."""
    A = np.stack([np.ones(len(x)), x], axis=1) / y[:, None]
    (a, b), *_ = np.linalg.lstsq(A, np.ones(len(y)), rcond=None)
    return float(a), float(b), float(np.abs((a + b * x) / y - 1).max())


def draw(found: list[dict[str, float]], path: Path) -> None:
    """Draw time and memory against the number of networks, on logarithmic axes."""
    from klayer.report.drawing import svg

    rows = [
        {"networks": one["networks"], "value": value, "what": what}
        for one in found
        for what, value in (("CPU seconds", one["cpu"]), ("MB at the peak", one["peak"]))
    ]
    axis = {"type": "quantitative", "scale": {"type": "log"}}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": rows},
        "facet": {"column": {"field": "what", "type": "nominal", "title": None}},
        "spec": {
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "networks", "title": "networks", **axis},
                "y": {"field": "value", "title": None, **axis},
            },
        },
        "resolve": {"scale": {"y": "independent"}},
    }
    path.write_text(svg(spec), encoding="utf-8")


def networks(given: argparse.Namespace) -> None:
    """Print seconds and memory against P, and the lines through them."""
    found = [measured(P, given.workers, given.repeats) for P in NETWORKS]
    print("digits, [50, 50] with BN, batch 20, 4 epochs; the least of", given.repeats)
    for one in found:
        each = 1e6 * one["cpu"] / one["updates"] / one["networks"]
        print(
            f"{one['networks']:6,} networks {one['seconds']:8.2f} s, CPU {one['cpu']:8.2f} s, "
            f"{each:7.1f} us an update and network, {one['peak']:8.1f} MB at the peak",
            flush=True,
        )
    full = [one for one in found if one["networks"] >= 30]
    P = np.array([one["networks"] for one in full], float)
    seconds = np.array([one["cpu"] for one in full])
    memory = np.array([one["peak"] for one in full])
    a, b, wrong = line(P, seconds)
    print(f"CPU seconds = {a:.2f} + {b:.4f} P, wrong by {wrong:.0%} at the most")
    a, b, wrong = line(P, memory)
    print(f"MB = {a:.0f} + {b:.3f} P, wrong by {wrong:.0%} at the most")
    if given.out:
        draw(found, given.out)


def threads(given: argparse.Namespace) -> None:
    """Print what a second thread buys."""
    for P in (1, 10, 100, 300):
        one, two = (measured(P, workers, given.repeats)["seconds"] for workers in (1, 2))
        print(f"{P:6,} networks: {one:.2f} s on 1 thread, {two:.2f} s on 2: {one / two:.2f} times")


def leak(repeats: int) -> None:
    """Train the same networks again and again, and look at the memory after each time."""
    data, found = kl.load("digits"), []
    for _ in range(repeats):
        kl.fit(data, settings(0.25), seeds=100).evaluate("test")
        gc.collect()
        found.append(resident())
    late = np.array(found[repeats // 2 :])
    slope = np.polyfit(np.arange(len(late)), late, 1)[0]
    print(
        f"{repeats} trainings of 100 networks: {found[0]:.1f} MB after the first, {found[-1]:.1f}"
    )
    print(f"after the last; the second half grows by {1000 * slope:.0f} kB a training")
    print(" ".join(f"{one:.0f}" for one in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("networks", "threads", "leak", "once"))
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the plot, an SVG")
    given = parser.parse_args()
    if given.what == "once":
        print(json.dumps(once(given.networks, given.workers)))
    elif given.what == "leak":
        leak(max(100, given.repeats))
    else:
        {"networks": networks, "threads": threads}[given.what](given)


if __name__ == "__main__":
    main()
