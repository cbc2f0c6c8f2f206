"""Where the microseconds of an update go, in NumPy's backend: piece by piece, forward and back.

``python benchmarks/where_time_goes.py [--networks 30 1] [--rounds 5]`` trains the shapes of ``speed.py``
on one core and looks at the clock after each piece of the plan that training runs. Microseconds per
network and update, medians of the rounds. ``beside`` is the rest of a whole, unwatched update: batches,
the products between them, moving delayed weights, learning rates, the loop itself. A look at the clock
costs .1 microseconds, on small networks a few per cent in all.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import replace

import numpy as np

from klayer.data import Dataset, Split
from klayer.nn import Plan
from klayer.train import Engine, Feed, Member, Population, Trainer
from peers.task import ARCHITECTURES, make_task, settings_of

KINDS = (
    "first product",
    "other products",
    "normalisation",
    "activation",
    "loss",
    "loss, back",
    "activation, back",
    "normalisation, back",
    "other products, back and update",
    "first product, back and update",
    "beside",
)
SAMPLES = 4000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, nargs="+", default=[30, 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architectures", nargs="+", choices=list(ARCHITECTURES), metavar="NAME")
    options = parser.parse_args()
    names = options.architectures or list(ARCHITECTURES)
    for networks in options.networks:
        columns = {name: measure(name, networks, options.rounds) for name in names}
        print(f"\n{networks} network{'s' * (networks > 1)}, one core:\n")
        print(f"|  | {' | '.join(names)} |")
        print("|---|" + "---:|" * len(names))
        for kind in KINDS:
            cells = [_share(column[kind], sum(column.values())) for column in columns.values()]
            print(f"| {kind} | {' | '.join(cells)} |")
        whole = [f"{sum(column.values()):.1f}" for column in columns.values()]
        print(f"| an update | {' | '.join(whole)} |", flush=True)


def measure(name: str, networks: int, rounds: int) -> dict[str, float]:
    """Return microseconds per network and update for each of ``KINDS``."""
    shape = ARCHITECTURES[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((SAMPLES, shape.features), dtype=np.float32)
    labels = rng.integers(0, 10, SAMPLES)
    few = Split(X[:100], np.arange(100) % 10)
    dataset = Dataset(
        "random", {"train": Split(X, labels), "validation": few}, [str(k) for k in range(10)]
    )
    task = make_task(name, networks, SAMPLES)
    members = [
        Member(replace(settings_of(task, p), backend="numpy"), seed=p) for p in range(networks)
    ]
    population, spent = Population(Feed(dataset), members), defaultdict(float)
    updates = max(40, round(20_000 / networks / (1 + shape.features / 100))) // 20 * 20
    whole, update = Plan.update, _watched(spent)
    found: dict[str, list[float]] = defaultdict(list)
    with Engine(1) as engine:
        trainer = Trainer(population, engine)
        for turn in range(rounds + 1):
            for watched in (False, True):
                Plan.update = update if watched else whole
                spent.clear()
                started = time.perf_counter()
                trainer.advance(population.state.update + updates)
                seconds = time.perf_counter() - started
                if turn == 0:
                    continue
                scale = 1e6 / updates / networks
                if watched:
                    for kind in KINDS[:-1]:
                        found[kind].append(spent[kind] * scale)
                else:
                    found["whole"].append(seconds * scale)
    Plan.update = whole
    medians = {kind: float(np.median(found[kind])) for kind in KINDS[:-1]}
    beside = float(np.median(found["whole"])) - sum(medians.values())
    return medians | {"beside": max(beside, 0.0)}


def _watched(spent):
    """Return an update that adds the time of each piece to ``spent``."""

    def update(plan: Plan) -> bool:
        at = time.perf_counter()
        for index, back, _ in plan.walk():
            now = time.perf_counter()
            spent[_kind(plan, index, back)] += now - at
            at = now
        return True

    return update


def _kind(plan: Plan, index: int, back: bool) -> str:
    if index == len(plan.pieces):
        return "loss, back" if back else "loss"
    piece = plan.pieces[index].describe()["piece"]
    if piece == "affine":
        title = "first product" if index == 0 else "other products"
        return f"{title}, back and update" if back else title
    title = "normalisation" if piece == "batch_norm" else "activation"
    return f"{title}, back" if back else title


def _share(microseconds: float, whole: float) -> str:
    return f"{microseconds:.1f} ({microseconds / whole:.0%})" if microseconds >= 0.05 else "-"


if __name__ == "__main__":
    main()
