"""Training by hand: a population that drops its worst half on the way, stops, is stored and goes on.

python examples/own_training_loop.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import klayer as kl


def main() -> None:
    """Train 16 learning rates, keep the best half at each of three stops, then average the last."""
    data = kl.load("digits")
    rates = np.geomspace(1e-4, 1e-1, 16)
    members = [
        kl.Member(
            kl.Settings(
                hidden=(50,), optimiser="adam", lr_max=rate, lr_min=0.0, l2=1e-4, schedule="cosine",
                batch_size=50, cycles=1, half_cycle="6 epochs", points_per_cycle=12,
            ),
            seed=0,
        )
        for rate in rates
    ]  # fmt: skip
    population = kl.Population(kl.Feed(data), members)
    per_epoch, total = population.updates_per_epoch, population.total_updates
    print(f"{len(population)} networks, {total} updates, {per_epoch} in an epoch")

    with kl.Engine() as engine:  # one pool of threads for all that follows
        for epoch in (2, 4, 8):
            kl.Trainer(population, engine).train(until=epoch * per_epoch)
            accuracy = population.evaluate("validation", engine)["accuracy"]
            best = np.argsort(-np.nan_to_num(accuracy), kind="stable")[: len(population) // 2]
            population = population.take(np.sort(best))  # the others cost no more time
            kept = [one.settings.lr_max for one in population.members]
            print(
                f"epoch {epoch}: best {accuracy.max():.3f}, rates kept {min(kept):.2g}..{max(kept):.2g}"
            )

        with tempfile.TemporaryDirectory() as folder:  # to go on in another process changes no bit
            path = population.save(Path(folder) / "half-way")
            population = kl.load_population(path, data)
        kl.Trainer(population, engine).train()

        test = data.splits["test"]
        alone = population.evaluate("test", engine)["accuracy"]
    together = population.ensemble().scores(test.features, test.labels)["accuracy"]
    print(
        f"test accuracy (n = {len(test)}): alone {alone.round(3).tolist()}, together {together:.3f}"
    )


if __name__ == "__main__":
    main()
