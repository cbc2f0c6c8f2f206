"""The same trials in lockstep and one by one: identical accuracies, and the ratio of wall times.

    python benchmarks/search_lockstep.py --data digits --trials 30
    python benchmarks/search_lockstep.py --data cifar10 --trials 30 --cycles 2

Lockstep is one `klayer search` command with a stage of trials; one by one is a `klayer train`
command for each, with the lambda and the seed that the search drew, and the way of updating that is
stored with its network. Both are timed from start to exit, with Python's start, the loading of the
data and the figures; the search writes its storage and tables too. `training` leaves the start out:
it is the time that the runs themselves state. Exit status 1 if an accuracy differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KLAYER = [sys.executable, "-c", "from klayer.cli import main; main()"]
ACCURACIES = ("train_accuracy", "validation_accuracy")


def timed(*args: str) -> float:
    started = time.perf_counter()
    subprocess.run([*KLAYER, *args, "--quiet"], check=True)
    return time.perf_counter() - started


def seconds_of(run: Path) -> float:
    return json.loads((run / "summary.json").read_text())["network_seconds"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--cycles", default="2")
    parser.add_argument("--half-cycle", default="5 epochs")
    parser.add_argument("--batch-size", default=None, help="by default 20 on digits, else 100")
    parser.add_argument("--workers", default=None)
    options = parser.parse_args()
    batch_size = options.batch_size or ("20" if options.data == "digits" else "100")
    common = ["--data", options.data, "--batch-norm", "hidden", "--batch-size", batch_size]
    common += ["--cycles", options.cycles, "--half-cycle", options.half_cycle]
    for name in ("data_dir", "workers"):
        if getattr(options, name):
            common += [f"--{name.replace('_', '-')}", getattr(options, name)]
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "search"
        stage = ["--l2", "10^-5:10^-1", "--trials", str(options.trials), "--finalists", "0"]
        lockstep = timed("search", *common, *stage, "--out", str(together))
        training = seconds_of(together)
        with (together / "trials.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        stored = map(json.loads, (together / "networks.jsonl").read_text().splitlines())
        ways = {str(one["seed"]): (str(one["at_once"]), one["backend"]) for one in stored}
        alone, alone_training, different = 0.0, 0.0, 0
        for row in rows:
            run = Path(folder) / row["trial"]
            at_once, backend = ways[row["seed"]]
            own = ["--l2", row["l2"], "--seed", row["seed"]]
            own += ["--updates-at-once", at_once, "--backend", backend]
            alone += timed("train", *common, *own, "--out", str(run))
            alone_training += seconds_of(run)
            record = json.loads((run / "networks.jsonl").read_text())
            different += any(record[name] != float(row[name]) for name in ACCURACIES)
    print(f"| {len(rows)} trials on {options.data} | in lockstep | one by one | ratio |")
    print("|---|---|---|---|")
    print(f"| wall time | {lockstep:.1f} s | {alone:.1f} s | {alone / lockstep:.2f} |")
    ratio = alone_training / training
    print(f"| training | {training:.1f} s | {alone_training:.1f} s | {ratio:.2f} |")
    print(f"\nidentical train and validation accuracies: {len(rows) - different} of {len(rows)}")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
