"""Damaged tables: nothing but a `KlayerError` may come of them, and no more memory than they need.

    python tests/fuzz_tables.py --minutes 10

Every reader of tables gets files whose bytes were flipped, cut, doubled and mixed. A process started
anew reads them (not a fork: polars has threads), so that a reader that kills its process is found too;
the parent names the seed, and ``--seed N --cases 1`` does that case again. `tests/test_fuzz_tables.py`
is the short form; `tests/fuzz_readers.py` has the other readers.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

import klayer as kl

MEMORY = 6 * 2**30  # address space of the child


def seeds(folder: Path) -> dict[str, bytes]:
    """Make a small valid file of every format."""
    import polars as pl

    rng = np.random.default_rng(0)
    rows = 40
    frame = pl.DataFrame(
        {
            "size": rng.normal(size=rows).round(3),
            "count": rng.integers(0, 9, rows),
            "town": [("Ur", "Uruk", "Kish")[i % 3] for i in range(rows)],
            "good": [i % 4 == 0 for i in range(rows)],
            "day": [f"20{10 + i % 9}-0{1 + i % 9}-1{i % 9}" for i in range(rows)],
            "target": [("a", "b")[i % 2] for i in range(rows)],
        }
    )
    csv = frame.write_csv()
    files = {"a.csv": csv.encode(), "b.tsv": frame.write_csv(separator="\t").encode()}
    files["c.csv"] = csv.replace(",", ";").replace(".", ",").encode()
    files["d.csv"] = csv.replace("Ur", '"U\nr"').encode()
    files["e.csv.gz"] = gzip.compress(csv.encode())
    files["f.csv"] = csv.encode("utf-16")
    lines = csv.splitlines()[1:]
    head = "@relation t\n@attribute size real\n@attribute count integer\n"
    head += "@attribute town {Ur, Uruk, Kish}\n@attribute good string\n@attribute day date\n"
    files["g.arff"] = (head + "@attribute 'the class' {a,b}\n@data\n" + "\n".join(lines)).encode()
    sparse = [f"{{0 {i / 7:.3f}, 2 Uruk, 5 {'ab'[i % 2]}}}" for i in range(rows)]
    files["h.arff"] = (head + "@attribute y {a,b}\n@data\n" + "\n".join(sparse)).encode()
    files["i.libsvm"] = "".join(
        f"{i % 2} 1:{i / 7:.3f} {2 + i % 5}:1 9:0.5\n" for i in range(rows)
    ).encode()
    files["j.svm"] = "".join(
        f"{i % 2},{2 + i % 2} 0:{i / 7:.3f} 3:1\n" for i in range(rows)
    ).encode()
    for name, write in (("k.parquet", frame.write_parquet), ("l.feather", frame.write_ipc)):
        write(folder / name)
        files[name] = (folder / name).read_bytes()
    return files


def mutate(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Damage a file in one to four places."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
        kind = rng.integers(8)
        if kind == 0:
            data[at] = int(rng.integers(256))
        elif kind == 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 20))
        elif kind == 4:
            data[at:at] = bytes(rng.integers(0, 256, length, dtype=np.uint8))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            start = int(rng.integers(len(other)))
            data[at : at + length] = other[start : start + length]
        else:
            words = (
                b",",
                b"\n",
                b'"',
                b"'",
                b"{",
                b"}",
                b"@data\n",
                b"1e400",
                b"-inf",
                b"NaN",
                b"\r",
            )
            more = (
                b":",
                b";",
                b"\t",
                b"\xef\xbb\xbf",
                b"\xff\xfe",
                b"9" * 30,
                b"4294967295:1 ",
                b"?",
            )
            words += more
            data[at:at] = words[int(rng.integers(len(words)))]
    return bytes(data)


def work(first: int, cases: int, deadline: float, report: str) -> None:
    """Read damaged files until the deadline; say what isn't a `KlayerError`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    place = Path(report)
    folder = Path(tempfile.mkdtemp())
    files = seeds(folder)
    names = list(files)
    for seed in range(first, first + cases):
        if time.time() > deadline:
            break
        rng = np.random.default_rng(seed)
        name = names[int(rng.integers(len(names)))]
        other = files[names[int(rng.integers(len(names)))]]
        path = folder / name
        path.write_bytes(mutate(rng, files[name], other))
        with place.open("a") as out:
            out.write(f"{seed} {name} ")
        began = time.time()
        try:
            target = None if name[0] in "ghij" else "target"
            kl.load(path, target=target, missing="mean" if seed % 2 else None)
            outcome = "read"
        except kl.KlayerError:
            outcome = "refused"
        except BaseException as error:
            outcome = f"RAISED {type(error).__name__}"
            with place.with_suffix(".errors").open("a") as out:
                out.write(f"\nseed {seed}, {name}\n{traceback.format_exc()}")
        with place.open("a") as out:
            out.write(f"{outcome} {time.time() - began:.2f}\n")
    # At once: what a library's threads do while the interpreter ends is no matter of a reader.
    os._exit(0)


def main() -> None:
    """Fuzz, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10**9)
    options = parser.parse_args()
    deadline = time.time() + 60 * options.minutes
    report = Path(tempfile.mkdtemp()) / "cases.txt"
    report.touch()
    first, killed = options.seed, []
    context = multiprocessing.get_context("spawn")
    while time.time() < deadline and first < options.seed + options.cases:
        left = options.seed + options.cases - first
        child = context.Process(target=work, args=(first, left, deadline, str(report)))
        child.start()
        child.join(max(1.0, deadline + 60 - time.time()))
        lines = report.read_text().splitlines()
        last = int(lines[-1].split()[0]) if lines else first
        if child.exitcode == 0:
            break
        if child.is_alive():
            child.kill()
            child.join()
        killed.append(f"seed {last}: {lines[-1] if lines else ''} exit {child.exitcode}")
        with report.open("a") as out:
            out.write("KILLED 0\n")
        first = last + 1
    counts: Counter[str] = Counter()
    slow = 0.0
    for line in report.read_text().splitlines():
        words = line.split()
        counts[" ".join(words[2:-1])] += 1
        slow = max(slow, float(words[-1]))
    print(f"{sum(counts.values()):,} damaged files: {dict(counts)}; the slowest took {slow:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of the reading process {peak:.0f} MB")
    errors = report.with_suffix(".errors")
    if errors.exists():
        print(errors.read_text()[:20000])
    print("\n".join(killed))
    sys.exit(bool(killed or errors.exists()))


if __name__ == "__main__":
    main()
