"""The report's section 4: a coarse-to-fine search for lambda, 3 layers with batch normalisation.

python examples/assignment/search.py [DATA]
"""

import sys

import numpy as np
from network import accuracy, initialise, load, train


# --8<-- [start:search]
def stage(data, low, high, trials, cycles, seed):
    """Try lambdas between 10^low and 10^high; return (validation accuracy, lambda), best first."""
    rng, found = np.random.default_rng(seed), []
    inputs, classes = data["train"][0].shape[1], data["train"][1].max() + 1
    for l2 in 10 ** rng.uniform(low, high, trials):
        params = initialise([inputs, 50, 50, classes], batch_norm=True)
        running, _ = train(params, data, l2=l2, cycles=cycles, half_cycle=200, points=1)
        found.append((accuracy(params, data, "validation", running), l2))
    return sorted(found, reverse=True)


def main(name="digits", trials=8):
    """A coarse stage, then a fine one around its best three."""
    data = load(name)
    coarse = stage(data, -5, -1, int(trials), 1, seed=0)
    best = np.log10([l2 for _, l2 in coarse[:3]])
    fine = stage(data, best.min() - 0.2, best.max() + 0.2, int(trials), 2, seed=1)
    for title, found in (("coarse", coarse), ("fine", fine)):
        print(title)
        for score, l2 in found[:5]:
            print(f"  lambda {l2:.2e}  validation {score:.3f}")


# --8<-- [end:search]

if __name__ == "__main__":
    main(*sys.argv[1:])
