"""A million rows of CSV into a data set, beside polars reading the same file into a frame.

    python benchmarks/read_tables.py                      # 10^6 rows x 50 columns, 470 MB of text

Each is measured in a process of its own, in turns: wall time, CPU time, and the peak of the memory
beyond what the imports take (Linux).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np


def _resident() -> float:
    """Return the anonymous memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(how: str, path: str) -> None:
    """Read the file one way, and print seconds, CPU seconds and MB."""
    import narwhals  # noqa: F401
    import polars

    import klayer as kl

    read = {"polars": polars.read_csv, "klayer": lambda one: kl.load(one, target="y")}[how]
    base, peak, over = _resident(), 0.0, False

    def watch() -> None:
        nonlocal peak
        while not over:
            peak = max(peak, _resident())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, spent = time.perf_counter(), sum(os.times()[:2])
    found = read(path)
    took, spent = time.perf_counter() - began, sum(os.times()[:2]) - spent
    over = True
    watcher.join()
    del found
    print(took, spent, peak - base)


def main() -> None:
    """Write a file, read it in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(*options.measure)
    import polars

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        rng = np.random.default_rng(0)
        columns = {f"x{i}": rng.normal(size=options.rows).round(6) for i in range(options.columns)}
        columns["y"] = rng.integers(0, 3, options.rows)
        polars.DataFrame(columns).write_csv(path)
        found: dict[str, list[list[float]]] = {"polars": [], "klayer": []}
        for _ in range(options.rounds):
            for how, values in found.items():
                command = [sys.executable, __file__, "--measure", how, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                values.append([float(word) for word in done.stdout.split()])
        size = path.stat().st_size / 1e6
    array = 4 * options.rows * options.columns / 2**20
    print(f"{options.rows:,} rows x {options.columns} columns, {size:.0f} MB of text;")
    print(f"as a float32 array {array:.0f} MB; medians of {options.rounds}")
    medians = {}
    for how, values in found.items():
        medians[how] = [statistics.median(one) for one in zip(*values, strict=True)]
        took, spent, memory = medians[how]
        print(
            f"{how}: {took:.2f} s, {spent:.2f} s of CPU, {memory:.0f} MB ({memory / array:.1f} x)"
        )
    print(f"klayer takes {medians['klayer'][0] / medians['polars'][0]:.2f} x the time", end=", ")
    print(f"{medians['klayer'][1] / medians['polars'][1]:.2f} x the CPU time of polars alone")
    return None


if __name__ == "__main__":
    main()
