"""How long a gradient check takes: every entry of a small network, a sample of a large one.

python benchmarks/gradcheck_speed.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import klayer.gradcheck.one_point
from klayer.gradcheck import Check, check_gradients, check_network
from klayer.gradcheck.bisect import wrong_entries
from klayer.nn import Network

CASES = [
    (Network(21, (25, 10), 5), {}),
    (Network(3072, (300, 200), 10, batch_norm="hidden"), {"samples": 8}),
]


def main(rounds: int = 3) -> None:
    """Print the median wall time of each case and method."""
    print(f"| parameters | method | checked | seconds, median of {rounds} |")
    print("|---:|---|---|---:|")
    for network, options in CASES:
        for method in ("auto", "central"):
            taken = []
            for _ in range(rounds):
                started = time.perf_counter()
                check = check_network(network, method=method, **options)
                taken.append(time.perf_counter() - started)
            seconds = statistics.median(taken)
            print(f"| {network.size:,} | {method} | {check.coverage} | {seconds:.2f} |")


def halving(size: int = 10_000_000) -> None:
    """Print how many evaluations it takes to find one wrong entry of very many."""

    def check(where: int | None) -> tuple[Check, int]:
        w, calls = np.linspace(0.5, 1.5, size), []

        def loss(params: dict) -> float:
            calls.append(1)
            return (params["w"] * params["w"]).sum()

        def function(params: dict) -> tuple[float, dict]:
            grad = 2 * params["w"].real
            if where is not None:
                grad[where] *= 1.5
            return (params["w"].real ** 2).sum(), {"w": grad}

        return check_gradients(function, {"w": w}, loss=loss, method="complex",
                               second_point=False), len(calls)  # fmt: skip

    halvings = 0

    def counted(*arguments: object) -> list[int]:
        nonlocal halvings
        before = arguments[1].objective.evaluations  # type: ignore[attr-defined]
        found = wrong_entries(*arguments)  # type: ignore[arg-type]
        halvings += arguments[1].objective.evaluations - before  # type: ignore[attr-defined]
        return found

    klayer.gradcheck.one_point.wrong_entries = counted
    (_, right), (found, wrong) = check(None), check(size // 3)
    print(
        f"\none wrong entry of {size:,}: found at {found.row('w').worst}, in {halvings} evaluations "
        f"of the loss; {wrong - right} more than a right gradient takes, with second opinions and the "
        "curve"
    )


if __name__ == "__main__":
    main()
    halving()
