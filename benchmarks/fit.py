"""What a user waits for: from the call of `fit` to its return, for one network and for 32.

``python benchmarks/fit.py [--rounds 5] [--json FILE]`` trains on the handwritten digits and on a made
table of 20,000 rows: the same network, plain SGD, the same epochs, to the same validation loss. Each
contestant does what its users would write, in a process of its own, twice in each turn: the first call
of a process pays for compiling, the second does not. klayer records its curves and final scores
meanwhile; the others score the validation split once, at the end. Seconds: median (quartiles).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import util
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray
SIZES = (1, 32)
RATE = 0.1
AGREE = (
    0.15  # how far a mean validation loss may be from the median of all: weights start differently
)


def digits() -> tuple[list[Array], tuple[int, ...], int, int]:
    """Return standardised (X, y, X validation, y validation), widths, batch and epochs."""
    from klayer import load

    return _split(load("digits")), (50, 50), 20, 20


def table() -> tuple[list[Array], tuple[int, ...], int, int]:
    """The same for 20,000 rows of 20 columns and three classes."""
    from sklearn.datasets import make_classification

    from klayer.data import Dataset, Split

    X, y = make_classification(
        22_000, 20, n_informative=12, n_classes=3, class_sep=0.8, random_state=0
    )
    splits = {"train": Split(X[:20_000], y[:20_000]), "validation": Split(X[20_000:], y[20_000:])}
    return _split(Dataset("table", splits, ("a", "b", "c"))), (100,), 200, 10


TASKS = {"digits": digits, "table, 20,000 rows": table}


def _split(dataset) -> list[Array]:
    return [
        part
        for name in ("train", "validation")
        for part in (dataset.standardised(name), dataset.splits[name].labels)
    ]


def klayer_numpy(data: list[Array], widths, batch, epochs, networks, backend="numpy") -> float:
    """``klayer.fit``, all networks at once."""
    import klayer as kl
    from klayer.data import Split

    X, y, X_validation, y_validation = data
    splits = {"train": Split(X, y), "validation": Split(X_validation, y_validation)}
    dataset = kl.Dataset("given", splits, [str(k) for k in range(y.max() + 1)])
    settings = kl.Settings(
        hidden=widths,
        batch_size=batch,
        schedule="constant",
        lr_max=RATE,
        l2=0,
        half_cycle=f"{epochs} epochs",
        cycles=0.5,
        backend=backend,
    )
    population = kl.fit(dataset, settings, seeds=range(networks))
    return float(population.evaluate("validation")["loss"].mean())


def klayer_compiled(*given) -> float:
    """``klayer.fit`` with the compiled backend."""
    return klayer_numpy(*given, backend="compiled")


def scikit_learn(data: list[Array], widths, batch, epochs, networks) -> float:
    """``MLPClassifier``, as many processes as there are cores."""
    from joblib import Parallel, delayed
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    X, y, X_validation, y_validation = data

    def fit(seed: int) -> float:
        model = MLPClassifier(
            widths,
            solver="sgd",
            momentum=0,
            nesterovs_momentum=False,
            alpha=0,
            batch_size=batch,
            learning_rate_init=RATE,
            max_iter=epochs,
            n_iter_no_change=epochs,
            random_state=seed,
        )
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls a given number of epochs a failure
            model.fit(X, y)
        return log_loss(y_validation, model.predict_proba(X_validation))

    if networks == 1:
        return fit(0)
    return float(np.mean(Parallel(n_jobs=-1)(delayed(fit)(seed) for seed in range(networks))))


def pytorch(data: list[Array], widths, batch, epochs, networks) -> float:
    """A loop over batches, one network after another, on one thread (the fastest here)."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    X, y, X_validation, y_validation = (torch.from_numpy(one) for one in data)
    losses = []
    for seed in range(networks):
        torch.manual_seed(seed)
        sizes = (X.shape[1], *widths)
        layers = [one for a, b in pairwise(sizes) for one in (nn.Linear(a, b), nn.ReLU())]
        model = nn.Sequential(*layers, nn.Linear(sizes[-1], int(y.max()) + 1))
        for module in model:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        optimiser = torch.optim.SGD(model.parameters(), lr=RATE, fused=True)
        for _ in range(epochs):
            order = torch.randperm(len(X))
            for start in range(0, len(X) - batch + 1, batch):
                rows = order[start : start + batch]
                optimiser.zero_grad(set_to_none=True)
                cross_entropy(model(X[rows]), y[rows]).backward()
                optimiser.step()
        with torch.no_grad():
            losses.append(float(cross_entropy(model(X_validation), y_validation)))
    return float(np.mean(losses))


def jax_scan(data: list[Array], widths, batch, epochs, networks) -> float:
    """An epoch is one ``jit(scan)`` over batches gathered before; all networks are one ``vmap``."""
    import jax
    import jax.numpy as jnp

    X, y, X_validation, y_validation = data
    sizes, rng = (X.shape[1], *widths, int(y.max()) + 1), np.random.default_rng(0)
    params = [
        (
            jnp.asarray(rng.standard_normal((networks, a, b)) * np.sqrt(2 / a), jnp.float32),
            jnp.zeros((networks, b), jnp.float32),
        )
        for a, b in pairwise(sizes)
    ]

    def loss(params, x, onehot):
        for W, b in params[:-1]:
            x = jax.nn.relu(x @ W + b)
        W, b = params[-1]
        return -(jax.nn.log_softmax(x @ W + b) * onehot).sum() / len(x)

    def update(params, given):
        grads = jax.vmap(jax.grad(loss), in_axes=(0, None, None))(params, *given)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), None

    @jax.jit
    def epoch(params, x, onehot):
        return jax.lax.scan(update, params, (x, onehot))[0]

    onehot, updates = np.eye(sizes[-1], dtype=np.float32), len(X) // batch
    for _ in range(epochs):
        rows = rng.permutation(len(X))[: updates * batch].reshape(updates, batch)
        params = epoch(params, X[rows], onehot[y[rows]])
    losses = jax.vmap(loss, in_axes=(0, None, None))(params, X_validation, onehot[y_validation])
    return float(losses.mean())


CONTESTANTS: dict[str, tuple[str, Callable[..., float]]] = {
    "klayer": ("klayer", klayer_numpy),
    "klayer compiled": ("numba", klayer_compiled),
    "scikit-learn `MLPClassifier`": ("sklearn", scikit_learn),
    "PyTorch loop": ("torch", pytorch),
    "JAX `jit(scan)`, `vmap`": ("jax", jax_scan),
}


def one_turn(task: str, contestant: str, networks: int) -> dict[str, float]:
    """Fit twice; return seconds of the first and the second call, and the validation loss."""
    data, *shape = TASKS[task]()
    _, fit = CONTESTANTS[contestant]
    __import__({"numba": "klayer.nn.backends"}.get(CONTESTANTS[contestant][0], "klayer"))
    found = {}
    for call in ("first", "again"):
        started = time.perf_counter()
        found["loss"] = fit(data, *shape, networks)
        found[call] = time.perf_counter() - started
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure in turns, each in a process of its own; print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.turn:
        task, contestant, networks = options.turn
        print(json.dumps(one_turn(task, contestant, int(networks))))
        return
    names = [name for name, (module, _) in CONTESTANTS.items() if util.find_spec(module)]
    cases = [(task, n, name) for task in options.tasks for n in options.networks for name in names]
    turns: dict[tuple[str, int, str], list[dict[str, float]]] = {case: [] for case in cases}
    for turn in range(options.rounds):
        for task, networks, name in cases if turn % 2 == 0 else cases[::-1]:
            command = [sys.executable, __file__, "--turn", task, name, str(networks)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            turns[task, networks, name].append(json.loads(done.stdout.splitlines()[-1]))
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    print("\n".join(markdown(turns, names)))
    if options.json:
        rows = [
            {"task": task, "networks": networks, "contestant": name, "turns": found}
            for (task, networks, name), found in turns.items()
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    disagreeing = disagreements(turns)
    if disagreeing:
        raise SystemExit(f"not trained to the same loss: {'; '.join(disagreeing)}")


def disagreements(turns) -> list[str]:
    """Say which contestants' validation losses are far from the median of all."""
    found = []
    for task, networks in dict.fromkeys(case[:2] for case in turns):
        losses = {
            case[2]: np.median([one["loss"] for one in those])
            for case, those in turns.items()
            if case[:2] == (task, networks)
        }
        usual = np.median(list(losses.values()))
        # One network is at the mercy of its seed.
        allowed = AGREE if networks > 1 else 5 * AGREE
        found += [
            f"{task}, {networks}: {name} {loss:.3f} against {usual:.3f}"
            for name, loss in losses.items()
            if not abs(loss / usual - 1) < allowed
        ]
    return found


def markdown(turns, names) -> list[str]:
    """A row for each contestant, a column for each task and number of networks."""
    cases = list(dict.fromkeys(case[:2] for case in turns))
    heads = [f"{task}, {n} network{'s' * (n > 1)}" for task, n in cases]
    lines = [
        "Seconds from the call of `fit` to its return, the second call of a process: median "
        "(quartiles); then the first call; then the mean validation loss reached.",
        "",
        f"|  | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(heads),
    ]
    for name in names:
        cells = []
        for task, networks in cases:
            those = turns[task, networks, name]
            again = np.percentile([one["again"] for one in those], (25, 50, 75))
            first, loss = (np.median([one[key] for one in those]) for key in ("first", "loss"))
            cells.append("{1:.2f} ({0:.2f}-{2:.2f})".format(*again) + f"; {first:.2f}; {loss:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
