"""What carrying out several updates of the first layer at once buys, and what it costs.

``python benchmarks/updates_at_once.py [--shapes 3072,100,50 ...]`` trains 1 to 30 networks (inputs,
batch and width of the hidden layers as given; 3 layers, batch normalisation, random data) with
``updates_at_once`` 1, 2 and 3 and with the compiled backend, on one core and on all, in turns. It prints
microseconds per network and update as a Markdown table: median (quartiles) of the rounds, and which way
``auto`` takes. Other processes on the machine meet all ways alike.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from importlib import util

import numpy as np

from klayer.data import load
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.engine import available_cores

NETWORKS = (1, 2, 4, 8, 30)
WAYS = {f"{n} at once": {"updates_at_once": n, "backend": "numpy"} for n in (1, 2, 3)}
if util.find_spec("numba"):
    WAYS["compiled"] = {"updates_at_once": 1, "backend": "compiled"}
TURN = 240  # updates of a network in a turn: whole blocks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", type=int, nargs="+", default=list(NETWORKS))
    parser.add_argument("--shapes", nargs="+", default=["3072,100,50"], metavar="D,N,H")
    options = parser.parse_args()
    print(f"| inputs, batch, width | networks | cores | {' | '.join(WAYS)} | auto |")
    print("|---|---:|---:|" + "---:|" * (len(WAYS) + 1))
    for shape in options.shapes:
        features, batch, width = (int(one) for one in shape.split(","))
        samples = 10 * batch
        data = Feed(load(f"synthetic:features={features},samples={samples},validation=10,test=10"))
        data["train"]  # standardised now
        for cores in sorted({1, available_cores()}):
            with Engine(cores) as engine:
                for networks in options.networks:
                    settings = Settings(
                        hidden=(width, width),
                        batch_norm="hidden",
                        cycles=10_000,
                        points_per_cycle=1,
                        batch_size=batch,
                    )
                    members = [Member(settings, seed) for seed in range(networks)]
                    chosen = Population(data, members)
                    auto = (
                        "compiled" if chosen.state.backend == "compiled" else chosen.state.at_once
                    )
                    cells = [
                        "{1:,.0f} ({0:,.0f}-{2:,.0f})".format(*np.percentile(times, (25, 50, 75)))
                        for times in measure(data, engine, members, options.rounds)
                    ]
                    row = [shape.replace(",", ", "), networks, cores, *cells, auto]
                    print(f"| {' | '.join(map(str, row))} |", flush=True)


def measure(data: Feed, engine: Engine, members: list[Member], rounds: int) -> list[list[float]]:
    """Return microseconds per network and update, a list of rounds for each of ``WAYS``."""
    networks, trainers = len(members), []
    for way in WAYS.values():
        those = [replace(one, settings=replace(one.settings, **way)) for one in members]
        trainers.append(Trainer(Population(data, those), engine))
    updates = max(12, TURN // networks // 6 * 6)
    times: list[list[float]] = [[] for _ in WAYS]
    for turn in range(rounds + 1):
        for i, trainer in enumerate(trainers):
            started = time.perf_counter()
            trainer.advance(trainer.population.state.update + updates)
            if turn:  # the first one warms up
                times[i].append((time.perf_counter() - started) / updates / networks * 1e6)
    return times


if __name__ == "__main__":
    main()
