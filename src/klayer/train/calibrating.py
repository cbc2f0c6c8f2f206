"""At the end of a training: each network's temperature, found on the validation split."""

from __future__ import annotations

import numpy as np

from klayer.calibration import temperature
from klayer.model import outputs
from klayer.nn import Workspace
from klayer.nn.lanes import slices
from klayer.train.engine import Engine
from klayer.train.evaluate import ROWS
from klayer.train.population import Population

__all__ = ["calibrate"]


def calibrate(population: Population, engine: Engine) -> None:
    """Find the temperature of each network that has not failed, and keep it in the state's marks."""
    rows = population.feed["validation"]
    params, running = population.state.weights()
    found = np.ones(len(population))

    def run(lanes: slice, ws: Workspace) -> None:  # noqa: ARG001
        some, theirs = (
            {key: value[lanes] for key, value in group.items()} for group in (params, running)
        )
        with np.errstate(all="ignore"):  # of a network that has no finite answers
            logits = [outputs(population.network, some, theirs, x) for x, *_ in rows.blocks(ROWS)]
        for p, each in zip(
            range(*lanes.indices(len(found))), np.concatenate(logits, 1), strict=True
        ):
            found[p] = temperature(each, rows.labels)

    with engine:
        share = -(-len(population) // engine.workers)
        engine.map(run, slices(population.alive, min(population.chunk, max(1, share))))
    population.state.marks["temperature"] = found
