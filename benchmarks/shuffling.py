"""What block shuffling costs in accuracy: against full shuffling, on rows in no order and sorted ones.

    python benchmarks/shuffling.py --data cifar10 --seeds 5

A seed decides about initial weights and order alike. `difference` is paired: the same seed, the
other way to shuffle. `n_eff` is the formula of klayer.train.shuffling, for
a mini-batch of 100 of rows sorted by class.
"""

from __future__ import annotations

import argparse

import numpy as np

import klayer as kl
from klayer.data import Dataset, Split
from klayer.train.shuffling import Shuffling


def sorted_by_class(data: Dataset) -> Dataset:
    """Return the same data with all training rows of a class one after another."""
    train = data.splits["train"]
    order = np.argsort(train.labels, kind="stable")
    splits = {**data.splits, "train": Split(train.features[order], train.labels[order])}
    found = Dataset(data.name, splits, data.class_names, data.image_shape)
    return found.measured_as(data.standardiser, None)


def effective(samples: int, window: int, batch: int = 100) -> float:
    """Return how many rows from everywhere say as much as a batch, if every run holds one class."""
    if not window:
        return float(batch)
    shuffling = Shuffling(samples, 0, window)
    f = max(0.0, 1 - window / samples) / min(shuffling.places, -(-samples // shuffling.run))
    return batch / (1 + (batch - 1) * f)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--windows", type=int, nargs="+", default=[1024, 4096])
    given = parser.parse_args()
    plain = kl.load(given.data)
    files = {"as it is": plain, "sorted by class": sorted_by_class(plain)}
    ways = [("as it is", 0), *((name, window) for name in files for window in given.windows)]
    found: dict[tuple[str, int], np.ndarray] = {}
    rows = len(plain.splits["train"])
    print(
        f"{given.data}, {rows:,} rows, {given.epochs} epochs, n = {given.seeds}: test accuracy in %"
    )
    for name, window in ways:
        scores = []
        for seed in range(given.seeds):
            settings = kl.Settings(
                hidden=(50, 50),
                batch_norm="hidden",
                cycles=1,
                half_cycle=f"{given.epochs / 2:g} epochs",
                shuffle=f"block:{window}" if window else "full",
                order_seed=seed,
            )
            population = kl.fit(files[name], settings, seeds=[seed])
            scores.append(100 * float(population.evaluate("test")["accuracy"][0]))
        found[name, window] = np.array(scores)
        apart = found[name, window] - found[ways[0]]
        print(
            f"{name:16} {f'block:{window}' if window else 'full':11} "
            f"{np.mean(scores):.2f} ± {np.std(scores, ddof=1):.2f}  difference {apart.mean():+.2f} ± "
            f"{apart.std(ddof=1):.2f}  n_eff {effective(rows, window):.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
