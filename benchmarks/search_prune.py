"""The same trials with and without pruning: the winner, and how much less work.

    python benchmarks/search_prune.py --data digits --repeats 5

Each repeat is one stage of the report's search (lambda from 1e-5 to 1e-1) with other trials, run
whole and with half of the trials dropped after each cycle. Work is counted in updates of single
networks. `loss` is the validation accuracy of the whole search's winner less that of the pruned
one's, in percentage points; `one image` is what a single validation image is worth in that unit,
and `noise` the standard error of an accuracy over so many images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from klayer.data import load
from klayer.study import Study
from klayer.study.launch import run_search
from klayer.study.search.tables import trial_table


def run(
    options: argparse.Namespace, seed: int, prune: bool, folder: str
) -> tuple[list[dict], float]:
    search = {
        "stages": [{"l2": "10^-5:10^-1"}],
        "trials": options.trials,
        "seed": seed,
        "prune": prune,
        "keep": options.keep,
        "settings": {
            "hidden": [50, 50],
            "batch_norm": "hidden",
            "batch_size": 20 if options.data == "digits" else 100,
            "cycles": options.cycles,
            "half_cycle": options.half_cycle,
        },
        "finalists": {"top": 0},
    }
    study = Study.from_values({"data": options.data, "search": search})
    started = time.process_time()
    out = Path(folder) / f"{seed}-{prune}"
    done = run_search(study, out=out, data_dir=options.data_dir)
    return trial_table(done), time.process_time() - started


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--cycles", type=int, default=2)
    parser.add_argument("--half-cycle", default="5 epochs")
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    columns = "trials, winner whole, winner pruned, same, loss, one image, noise, work, CPU time"
    print(f"| {columns.replace(', ', ' | ')} |")
    print("|---" * 9 + "|")
    images = len(load(options.data, data_dir=options.data_dir).splits["validation"])
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            seed = repeat * options.trials
            (whole, slow), (pruned, fast) = (
                run(options, seed, prune, folder) for prune in (False, True)
            )
            value = {row["trial"]: row["validation_accuracy"] or 0.0 for row in whole}
            kept = [row for row in pruned if row["state"] in ("trained", "at chance")]
            best = max(whole, key=lambda row: row["validation_accuracy"] or 0.0)
            found = max(kept, key=lambda row: row["validation_accuracy"])
            work = sum(row["updates"] for row in pruned) / sum(row["updates"] for row in whole)
            top, other = value[best["trial"]], value[found["trial"]]
            noise = (top * (1 - top) / images) ** 0.5
            cells = [
                f"{options.trials} from seed {seed}",
                f"{best['l2']:.2e}: {top:.2%}",
                f"{found['l2']:.2e}: {other:.2%}",
                "yes" if best["trial"] == found["trial"] else "no",
                *(f"{100 * part:.2f}" for part in (top - other, 1 / images, noise)),
                f"{work:.0%}",
                f"{fast:.1f} s of {slow:.1f} s",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
