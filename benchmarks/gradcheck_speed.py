"""How long a gradient check takes: every entry of a small network, a sample of a large one.

python benchmarks/gradcheck_speed.py
"""

from __future__ import annotations

import statistics
import time

from klayer.gradcheck import check_network
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


if __name__ == "__main__":
    main()
