"""Data larger than memory: make them, train on them, and measure time and memory.

    python benchmarks/large_data.py make FOLDER --rows 4000000     # 12.3 GB in shards
    python benchmarks/large_data.py train FOLDER                   # one epoch from disk: seconds, memory
    python benchmarks/large_data.py compare FOLDER --rows 200000   # rows per second, disk against memory

The rows have CIFAR-10's shape, 8 bits a number: a pattern of their class under noise.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from pathlib import Path

import numpy as np

import klayer as kl
from klayer.data import Split
from klayer.data.stored_rows import StoredRows

SHAPE, CLASSES, SHARD = (3, 32, 32), 10, 50_000


def make(folder: Path, rows: int, seed: int) -> None:
    """Write shards of rows and labels, and shards to validate and test by."""
    folder.mkdir(parents=True, exist_ok=True)
    width = int(np.prod(SHAPE))
    patterns = np.random.default_rng(seed).integers(0, 24, (CLASSES, width), dtype=np.uint8)
    started = time.perf_counter()
    for split, count in (("train", rows), ("validation", 10_000), ("test", 10_000)):
        for number, first in enumerate(range(0, count, SHARD)):
            rng = np.random.default_rng([seed, len(split), number])
            labels = rng.integers(0, CLASSES, min(SHARD, count - first), dtype=np.uint8)
            pixels = rng.integers(0, 232, (len(labels), width), dtype=np.uint8)
            pixels += patterns[labels]
            np.save(folder / f"X_{split}-{number:04d}.npy", pixels.reshape(-1, *SHAPE))
            np.save(folder / f"y_{split}-{number:04d}.npy", labels)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {rows:,} rows to train on, {size / 1e9:.2f} GB, in {seconds:.0f} s")


def settings(shuffle: str) -> kl.Settings:
    """Return those of the measurements: the report's network, one epoch."""
    return kl.Settings(
        hidden=(50, 50),
        batch_norm="hidden",
        shuffle=shuffle,
        cycles=0.5,
        half_cycle="1 epoch",
        points_per_cycle=4,
    )


def peak() -> float:
    """Return the most memory that this process has had, in GB: what `/usr/bin/time -v` calls so."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def train(folder: Path, shuffle: str, networks: int) -> None:
    """Train one epoch from disk."""
    started = time.perf_counter()
    data = kl.load(folder, keep="disk")
    data.standardiser  # noqa: B018
    measured = time.perf_counter() - started
    population = kl.fit(data, settings(shuffle), seeds=networks)
    rows = len(data.splits["train"])
    accuracy = population.evaluate("test")["accuracy"].mean()
    print(f"{rows:,} rows, {networks} networks, shuffle={shuffle}")
    print(f"read and measured: {measured:.1f} s")
    print(f"one epoch: {population.seconds:.1f} s, {rows / population.seconds:,.0f} rows/s")
    print(f"test accuracy {accuracy:.4f}; peak memory {peak():.2f} GB")


def compare(folder: Path, rows: int, networks: int, repeats: int) -> None:
    """Measure an epoch of a part of the data from disk and from memory, in turns."""
    whole = kl.load(folder, keep="disk")
    stored = whole.splits["train"].features
    assert isinstance(stored, StoredRows)
    labels = whole.splits["train"].labels[:rows]
    parts = {"disk": stored.select(np.arange(rows)), "memory": stored[:rows]}
    ways = [
        ("memory", "full"),
        ("memory", "block:16384"),
        ("disk", "block:16384"),
        ("disk", "full"),
    ]
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for where, shuffle in ways:
            splits = {"train": Split(parts[where], labels)}
            data = kl.Dataset(whole.name, splits, whole.class_names)
            data = data.measured_as(whole.standardiser, None)
            took = kl.fit(data, settings(shuffle), seeds=networks).seconds
            if repeat:  # the first turn warms up
                seconds[where, shuffle].append(took)
    base = statistics.median(seconds["memory", "full"])
    print(f"{rows:,} rows, {networks} networks, median of {repeats}; files in the page cache")
    for (where, shuffle), took in seconds.items():
        middle = statistics.median(took)
        spread = f"{min(took):.2f} to {max(took):.2f} s"
        print(f"{where:7}{shuffle:12}{rows / middle:10,.0f} rows/s  {middle / base:.2f}  {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("make", "train", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle", default="block:16384")
    parser.add_argument("--networks", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, given.rows, given.seed)
    elif given.what == "train":
        train(given.folder, given.shuffle, given.networks)
    else:
        compare(given.folder, given.rows, given.networks, given.repeats)


if __name__ == "__main__":
    main()
