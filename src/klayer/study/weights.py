"""The weights of finished populations: a file for each, checked when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError
from klayer.files import Damaged, read_arrays, write_arrays
from klayer.nn import Network
from klayer.study.record import NetworkRecord, Score
from klayer.study.schema import network_from
from klayer.train import TrainingState

__all__ = ["Weights", "snapshot_name"]

Arrays = dict[str, NDArray[Any]]


def snapshot_name(population: str, cycle: int) -> str:
    """Return the name of a population's networks as they were at the end of a cycle, from 1."""
    return f"{population}.cycle-{cycle}"


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds: P networks of one architecture.

    Attributes
    ----------
    path : Path
    network : Network
    params, running : dict of array, shape (P, ...)
    seeds : list of int, length P
    cycles : list of int
        At the ends of which, from 1, they were kept too, each time in a file of its own.
    """

    path: Path
    network: Network
    params: Arrays
    running: Arrays
    seeds: list[int]
    cycles: list[int]

    @staticmethod
    def write(path: Path, network: Network, state: TrainingState, seeds: Sequence[int]) -> None:
        """Write the networks of a state, whole or not at all."""
        params, running = state.weights()
        arrays = {f"params/{key}": value for key, value in params.items()}
        arrays |= {f"running/{key}": value for key, value in running.items()}
        about = {
            "name": path.stem,
            "network": network.describe(),
            "seeds": [int(seed) for seed in seeds],
            "cycles": [int(name[6:]) for name in state.copies if name.startswith("cycle ")],
        }
        write_arrays(path, arrays, about)

    @classmethod
    def read(cls, path: Path, *, sealed: bool = False) -> Weights:
        """Read what :meth:`write` wrote; ``sealed`` says whether it must have a digest.

        Raises
        ------
        Damaged
            If it is missing, torn or another file, or its arrays are not those of its networks.
        KlayerError
            For a piece that this version doesn't know.
        """
        arrays, about = read_arrays(path, sealed=sealed)
        try:
            network = network_from(about)
        except KlayerError as error:
            raise type(error)(f"{path}: {error}") from None
        shapes = {f"params/{key}": shape for key, shape in network.shapes().items()}
        shapes |= {f"running/{key}": shape for key, shape in network.running_shapes().items()}
        if about.get("name", path.stem) != path.stem:  # older ones have none
            raise Damaged(f"{path} is another file: that of {about['name']}.")
        seeds = about.get("seeds")
        if not isinstance(seeds, list):
            raise Damaged(f"{path} is damaged: its seeds must be a list, but are {seeds!r}.")
        P = len(seeds)
        for key in [*shapes, *arrays]:
            wanted = (P, *shapes[key]) if key in shapes else None
            found = arrays[key].shape if key in arrays else None
            if found != wanted:
                raise Damaged(
                    f"{path} is damaged: the shape of {key} must be {wanted}, but is {found}."
                )
        params, running = (
            {key.partition("/")[2]: arrays[key] for key in shapes if key.startswith(group)}
            for group in ("params/", "running/")
        )
        return cls(path, network, params, running, seeds, about.get("cycles", []))

    def of(self, record: NetworkRecord) -> tuple[Arrays, Arrays]:
        """Return parameters and running statistics of one network, shape (1, ...).

        Raises
        ------
        Damaged
            If it isn't there, or isn't finite though its loss was.
        """
        if self.seeds[record.lane : record.lane + 1] != [record.seed]:
            raise Damaged(
                f"{self.path} must hold {record.arm!r} with seed {record.seed} at lane {record.lane} "
                f"(from 0), but holds the seeds {', '.join(map(str, self.seeds))}."
            )
        lane = slice(record.lane, record.lane + 1)
        params, running = (
            {key: value[lane] for key, value in arrays.items()}
            for arrays in (self.params, self.running)
        )
        finite = record.scores.get("train", Score()).loss is not None
        for key, value in {**params, **running}.items():
            if finite and not np.isfinite(value).all():
                raise Damaged(
                    f"{self.path} is damaged: {key} of lane {record.lane} must be finite, but isn't."
                )
        return params, running
