"""What each ingredient costs: optimisers, pieces, losses, changes of rows, beside plain descent.

``python benchmarks/ingredients.py [--quick] [--networks 30] [--workers N] [--only WORD ...]`` prints
microseconds per network and update as Markdown tables, on CIFAR-10's shape and on a table of 20
features: klayer, and PyTorch with the same optimiser, a network at a time and all at once (``bmm``).
All take turns in short rounds; the number is the median round, the ratio that of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from klayer.data import Dataset, Split
from klayer.data.labels import TASKS
from klayer.nn import LOSSES
from klayer.nn.backends import BACKENDS
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer, available_cores

PLAIN = "sgd"
# A row: what is changed of plain descent.
INGREDIENTS: dict[str, Mapping[str, Any]] = {
    PLAIN: {},
    "momentum": {"optimiser": "momentum"},
    "nesterov": {"optimiser": "nesterov"},
    "adam": {"optimiser": "adam"},
    "adamw": {"optimiser": "adamw"},
    "rmsprop": {"optimiser": "rmsprop"},
    "muon": {"optimiser": "muon"},
    "sgd, clipped": {"clip_norm": 1.0},
    "adam, clipped": {"optimiser": "adam", "clip_norm": 1.0},
    "sgd, ema": {"average": "ema"},
    "sgd, dropout": {"dropout": 0.1},
    "sgd, input dropout": {"input_dropout": 0.1},
    "sgd, input noise": {"input_noise": 0.1},
    "sgd, smoothing": {"smoothing": 0.1},
    "sgd, gelu": {"activation": "gelu"},
    "sgd, silu": {"activation": "silu"},
    "sgd, tanh": {"activation": "tanh"},
    "sgd, gelu_tanh": {"activation": "gelu_tanh"},
    "sgd, selu": {"activation": "selu"},
    "sgd, skip connections": {"skip": "equal"},
    "sgd, BN after": {"bn_place": "after"},
    "sgd, balanced": {"class_weights": "balanced"},
    "sgd, layer norm instead": {"batch_norm": "none", "layer_norm": "hidden"},
    "sgd, noise and mixup": {"augment": "noise,mixup"},
    "sgd, mirror and crop": {"augment": "mirror,crop:1"},
}
# Losses of other tasks, on labels of theirs: ten numbers, or ten times yes or no.
INGREDIENTS |= {
    f"sgd, {loss}": {"loss": loss} for loss, row in LOSSES.items() if row.task != "classification"
}
# Name, features, hidden widths, batch, samples, updates a turn.
SHAPES = {
    "CIFAR-10 shape, [50, 50], BN, batch 100": ((3, 32, 32), (50, 50), 100, 5000, 10),
    "20 features, [64, 32], BN, batch 100": ((1, 4, 5), (64, 32), 100, 2000, 200),
}
Turn = Callable[[], None]


def dataset(shape: tuple[int, int, int], samples: int, task: str = "classification") -> Dataset:
    """Return random images of bytes in ten classes, or with ten numbers or labels each."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (samples, int(np.prod(shape))), dtype=np.uint8)
    labels: Any = np.arange(samples) % 10
    if task != "classification":
        labels = rng.standard_normal((samples, 10))
        labels = labels > 0 if task == "multilabel" else labels
    split = {"train": Split(rows, labels)}
    return Dataset("random", split, tuple("abcdefghij"), image_shape=shape, task=task)


def klayer_turn(
    feed: Feed, settings: Settings, networks: int, engine: Engine, updates: int
) -> Turn:
    """Return what trains a population for so many updates more."""
    population = Population(feed, [Member(settings, seed) for seed in range(networks)])
    trainer = Trainer(population, engine)
    return lambda: trainer.advance(population.state.update + updates)


def torch_optimiser(name: str, params: list[Any]) -> Any:
    """Return PyTorch's own, or None if it has none for these arrays."""
    import torch

    made = {
        "sgd": lambda: torch.optim.SGD(params, lr=1e-3),
        "momentum": lambda: torch.optim.SGD(params, lr=1e-3, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(params, lr=1e-3, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.Adam(params, lr=1e-3),
        "adamw": lambda: torch.optim.AdamW(params, lr=1e-3),
        "rmsprop": lambda: torch.optim.RMSprop(params, lr=1e-3),
    }
    return made[name]() if name in made else None


def torch_turns(
    data: Dataset, hidden: tuple[int, ...], batch: int, networks: int, name: str, updates: int
) -> dict[str, Turn]:
    """Return a loop over networks, and all networks in one by ``bmm``, with one optimiser."""
    import torch
    from torch import nn
    from torch.nn import functional

    X = torch.tensor(data.standardised("train"))
    y = torch.tensor(data.splits["train"].labels)
    widths = (data.n_features, *hidden)

    def network() -> Any:
        layers: list[Any] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out, bias=False), nn.BatchNorm1d(fan_out), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 10))

    several = [network() for _ in range(networks)]
    optimisers = [torch_optimiser(name, list(one.parameters())) for one in several]

    def loop() -> None:
        for u in range(updates):
            rows = slice(u * batch % (len(X) - batch), u * batch % (len(X) - batch) + batch)
            for one, optimiser in zip(several, optimisers, strict=True):
                optimiser.zero_grad()
                functional.cross_entropy(one(X[rows]), y[rows]).backward()
                optimiser.step()

    P, stacks = networks, []
    for fan_in, fan_out in zip(widths, (*hidden, 10), strict=True):
        stacks.append(torch.randn(P, fan_in, fan_out).mul_((2 / fan_in) ** 0.5).requires_grad_())
        stacks += [
            torch.ones(P, 1, fan_out).requires_grad_(),
            torch.zeros(P, 1, fan_out).requires_grad_(),
        ]
    together = torch_optimiser(name, stacks)

    def bmm() -> None:
        for u in range(updates):
            rows = slice(u * batch % (len(X) - batch), u * batch % (len(X) - batch) + batch)
            x = X[rows].expand(P, -1, -1)
            for layer in range(len(hidden) + 1):
                W, gamma, beta = stacks[3 * layer : 3 * layer + 3]
                z = torch.bmm(x, W)
                if layer < len(hidden):
                    var, mean = torch.var_mean(z, dim=1, keepdim=True, correction=0)
                    x = torch.relu((z - mean) * torch.rsqrt(var + 1e-5) * gamma + beta)
                else:
                    x = z + beta
            loss = functional.cross_entropy(x.transpose(1, 2), y[rows].expand(P, -1)) * P
            together.zero_grad()
            loss.backward()
            together.step()

    return {"PyTorch, a loop": loop, "PyTorch, bmm": bmm}


def main() -> None:
    """Time all rows and print a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="few rounds, short turns")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--backend", choices=list(BACKENDS), default="numpy")
    parser.add_argument("--cpu", action="store_true", help="seconds of CPU, for a busy machine")
    parser.add_argument(
        "--only", nargs="*", default=[], help="rows whose name has one of these words"
    )
    asked = parser.parse_args()
    clock = time.process_time if asked.cpu else time.perf_counter
    rounds = 3 if asked.quick else asked.rounds
    for title, (shape, hidden, batch, samples, updates) in SHAPES.items():
        data = dataset(shape, samples)
        feeds = {task: Feed(dataset(shape, samples, task)) for task in TASKS}
        plain = Settings(
            hidden=hidden,
            batch_norm="hidden",
            batch_size=batch,
            cycles=1,
            half_cycle=10**6,
            lr_min=1e-6,
            lr_max=1e-4,
            backend=asked.backend,
        )
        length = max(2, updates // 5) if asked.quick else updates
        turns: dict[tuple[str, str], Turn] = {}
        with Engine(asked.workers) as engine:
            for name, change in INGREDIENTS.items():
                if name != PLAIN and asked.only and not any(word in name for word in asked.only):
                    continue
                if "skip" in change and len(set(hidden)) == len(hidden):
                    continue  # no layer is as wide as the one below
                settings = replace(plain, **change)
                task = LOSSES[change["loss"]].task if "loss" in change else TASKS[0]
                refused = BACKENDS[asked.backend].refusal(
                    settings.network(4, 4), settings.optimiser, needs(change)
                )
                if refused:
                    continue
                turn = klayer_turn(feeds[task], settings, asked.networks, engine, length)
                turns[name, "klayer"] = turn
                if not asked.no_torch and torch_has(name):
                    import torch

                    torch.set_num_threads(asked.workers)
                    peers = torch_turns(data, hidden, batch, asked.networks, name, length)
                    turns |= {(name, peer): one for peer, one in peers.items()}
            seconds: dict[tuple[str, str], list[float]] = {key: [] for key in turns}
            for turn in turns.values():
                turn()
            for _ in range(rounds):
                for key, turn in turns.items():
                    started = clock()
                    turn()
                    seconds[key].append(clock() - started)
        print_table(title, seconds, length * asked.networks, asked.cpu)


def needs(change: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a backend has to know beside pieces, loss and optimiser."""
    found = {"clip_norm": "clip_norm" in change, "average": "average" in change}
    found["mixup"] = "mixup" in change.get("augment", "")
    return tuple(name for name, needed in found.items() if needed)


def torch_has(name: str) -> bool:
    """Whether PyTorch has an optimiser of this name for stacked arrays."""
    from importlib.util import find_spec

    return find_spec("torch") is not None and name in (
        *("sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"),
    )


def print_table(
    title: str, seconds: Mapping[tuple[str, str], list[float]], each: int, cpu: bool
) -> None:
    """Print microseconds per network and update, beside plain descent and beside PyTorch."""
    found = {key: statistics.median(one) / each * 1e6 for key, one in seconds.items()}
    base = found[PLAIN, "klayer"]
    print(f"\n{title}: us per network and update{' (CPU time)' if cpu else ''}\n")
    print(
        "| | klayer | x sgd | PyTorch, a loop | PyTorch, bmm | x klayer |\n|---|---|---|---|---|---|"
    )
    for name in dict.fromkeys(name for name, _ in found):
        ours = found[name, "klayer"]
        peers = [found.get((name, peer)) for peer in ("PyTorch, a loop", "PyTorch, bmm")]
        cells = [f"{one:.0f}" if one else "" for one in peers]
        times = " / ".join(f"{one / ours:.1f}" for one in peers if one)
        print(f"| {name} | {ours:.1f} | {ours / base:.2f} | {cells[0]} | {cells[1]} | {times} |")


if __name__ == "__main__":
    main()
