"""The report's section 1: is the backward pass right?

klayer gradcheck examples/assignment/check.py:three_layers
klayer gradcheck examples/assignment/check.py:three_layers_bn
klayer gradcheck examples/assignment/check.py:forgotten
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from network import initialise, loss_and_grads

WIDTHS, SAMPLES, L2 = [50, 20, 20, 10], 20, 0.1


# --8<-- [start:model]
def setting(batch_norm):
    """Return parameters and a mini-batch; nothing is zero or one, where a mistake could hide."""
    rng = np.random.default_rng(1)
    params = initialise(WIDTHS, batch_norm=batch_norm)
    for name, value in params.items():
        if not name.startswith("W"):
            value += 0.1 * rng.standard_normal(value.shape)
    return params, rng.standard_normal((SAMPLES, WIDTHS[0])), rng.integers(WIDTHS[-1], size=SAMPLES)


def three_layers():
    """Return the network without batch normalisation."""
    params, x, labels = setting(batch_norm=False)
    return lambda params: loss_and_grads(params, x, labels, L2), params


def three_layers_bn():
    """Return the network with batch normalisation."""
    params, x, labels = setting(batch_norm=True)
    return lambda params: loss_and_grads(params, x, labels, L2), params


# --8<-- [end:model]


# --8<-- [start:mistake]
def forgotten():
    """Return a network whose penalty's gradient lacks its 2: it would still train."""
    params, x, labels = setting(batch_norm=False)

    def wrong(params):
        loss, grads = loss_and_grads(params, x, labels, L2)
        for name in grads:
            if name.startswith("W"):
                grads[name] = grads[name] - L2 * params[name]
        return loss, grads

    return wrong, params


# --8<-- [end:mistake]
