"""What carrying out several updates of the first layer at once buys, and what it costs.

``python benchmarks/updates_at_once.py`` trains 1 to 30 networks of CIFAR-10's shape (3 layers, batch
normalisation, random data) with ``updates_at_once`` 1, 2 and 3, on one core and on all, in turns, and
prints microseconds per network and update as a Markdown table: median (quartiles) of the rounds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from klayer.data import load
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.engine import available_cores

NETWORKS = (1, 2, 4, 8, 30)
AT_ONCE = (1, 2, 3)
TURN = 240  # updates of a network in a turn: whole blocks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    data = Feed(load("synthetic:samples=20000,validation=10,test=10"))
    data["train"]  # standardised now
    print("| networks | cores | " + " | ".join(f"{n} at once" for n in AT_ONCE) + " |")
    print("|---:|---:|" + "---:|" * len(AT_ONCE))
    for cores in sorted({1, available_cores()}):
        with Engine(cores) as engine:
            for networks in NETWORKS:
                cells = [
                    "{1:,.0f} ({0:,.0f}-{2:,.0f})".format(*np.percentile(times, (25, 50, 75)))
                    for times in measure(data, engine, networks, rounds)
                ]
                print(f"| {networks} | {cores} | " + " | ".join(cells) + " |", flush=True)


def measure(data: Feed, engine: Engine, networks: int, rounds: int) -> list[list[float]]:
    """Return microseconds per network and update, a list of rounds for each ``AT_ONCE``."""
    trainers = []
    for at_once in AT_ONCE:
        settings = Settings(batch_norm="hidden", cycles=100, updates_at_once=at_once)
        members = [Member(settings, seed) for seed in range(networks)]
        trainers.append(Trainer(Population(data, members), engine))
    updates = max(12, TURN // networks // 6 * 6)
    times: list[list[float]] = [[] for _ in AT_ONCE]
    for turn in range(rounds + 1):
        for i, trainer in enumerate(trainers):
            started = time.perf_counter()
            trainer.advance(trainer.population.state.update + updates)
            if turn:  # the first one warms up
                times[i].append((time.perf_counter() - started) / updates / networks * 1e6)
    return times


if __name__ == "__main__":
    main()
