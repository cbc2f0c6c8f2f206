"""The bench: the folder of a run where parts lie that are to be trained, and what came of them.

::

    RUN/parts/
      NAME.json          a part: networks, how far, where to evaluate them
      NAME.claim-1, -2   who had it, who has it (:mod:`klayer.files.claims`)
      NAME.safetensors   what came of it, written the moment it ended
      data/              what is trained on

Whoever sees the folder may take part: a part is claimed, trained with its checkpoints in the run, and
its result laid down. Whoever leads the run (one process, by the run's lock) lays out parts and takes in
results. Nobody needs to know of anybody else.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from klayer.errors import KlayerError
from klayer.files import (
    Claims,
    Damaged,
    Holder,
    lease_seconds,
    own_folder,
    read_arrays,
    read_json,
    remove,
    write_arrays,
    write_json,
)
from klayer.study.execute.part import PartResult, PartSpec
from klayer.train import TrainingState

__all__ = ["MOST_TRIES", "Bench"]

# Workers in a row that a part may end without getting further. Where the workers of other parts are
# lost too, a part may not be what ends them: then twice as many.
MOST_TRIES = 3
FOLDER = "parts"


class Bench:
    """The folder ``parts`` of a run.

    Parameters
    ----------
    run : Path
        The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, run / FOLDER
        self.claims = Claims(self.folder, lease_seconds())

    @property
    def is_there(self) -> bool:
        """Whether the run is being worked on by several, or was."""
        return self.folder.is_dir()

    def made(self) -> Path:
        """Return the folder, made if need be."""
        return own_folder(self.run, FOLDER)

    def lay_out(self, name: str, spec: PartSpec) -> None:
        """Lay out a part, to be trained by whoever claims it."""
        write_json(self.made() / f"{name}.json", spec.to_plain())

    def is_laid_out(self, name: str) -> bool:
        """Whether a part lies there."""
        return (self.folder / f"{name}.json").exists()

    def spec(self, name: str) -> PartSpec:
        """Return a part that is laid out.

        Raises
        ------
        Damaged, FileNotFoundError
            If it is laid out no more.
        """
        path = self.folder / f"{name}.json"
        return PartSpec.from_plain(read_json(path, sealed=True), str(path))

    def laid_out(self) -> list[str]:
        """Return the names of the parts that lie there, finished or not."""
        return sorted(self._names(".json"))

    def finished(self) -> set[str]:
        """Return the names of the parts whose results are there."""
        return set(self._names(".safetensors"))

    def _names(self, ending: str) -> list[str]:
        """Return the parts with a file of this ending: by names alone, since whoever looks does so."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        return [name.removesuffix(ending) for name in names if name.endswith(ending)]

    def keep(self, name: str, result: PartResult) -> None:
        """Write down what came of a part."""
        arrays, plain = result.state.packed()
        for split, values in result.scores.items():
            arrays |= {f"scores/{split}/{score}": value for score, value in values.items()}
        about = {"state": plain, "seconds": result.seconds, "made_by": result.made_by}
        write_arrays(self.made() / f"{name}.safetensors", arrays, about)

    def result(self, name: str) -> PartResult | None:
        """Return what came of a part; None if there is nothing, or it is damaged: then it is removed."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            arrays, about = read_arrays(path, sealed=True)
            scores: dict[str, dict[str, np.ndarray]] = {}
            for key in [key for key in arrays if key.startswith("scores/")]:
                _, split, score = key.split("/")
                scores.setdefault(split, {})[score] = arrays.pop(key)
            state = TrainingState.unpacked(arrays, about["state"])
            return PartResult(state, scores, about["seconds"], about["made_by"])
        except (Damaged, LookupError, TypeError, ValueError):
            remove(path)
            return None

    def forget(self, name: str) -> None:
        """Remove all that lies there of a part."""
        if not self.is_there:
            return
        remove(self.folder / f"{name}.json")  # first, so that nobody begins with it again
        remove(self.folder / f"{name}.safetensors")
        self.take_back(name)

    def take_back(self, name: str) -> None:
        """Remove the claims on a part: whoever holds it finds that, and leaves it alone."""
        self.claims.forget(name, self.claims.numbers().get(name, 0))

    def call_off(self) -> None:
        """Take back what is laid out: whoever is at it keeps what there is, and lets go."""
        for path in self.folder.glob("*.json"):
            remove(path)

    def withdraw(self) -> None:
        """Take back what is laid out, and all claims; results stay."""
        self.call_off()
        for path in self.folder.glob("*.claim-*"):
            remove(path)

    def clear(self) -> None:
        """Remove the folder: the run has all that came of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def open_parts(self) -> Iterator[tuple[str, int]]:
        """Yield the parts that nobody works on, with how many have had them.

        First come those that nobody has had, for each who asks from another one on: of a thousand who
        look at once each finds one of its own, and reads no claim of the others. Then those whose
        holders are over.
        """
        with contextlib.suppress(FileNotFoundError, KlayerError):  # the run ended meanwhile
            finished, numbers = self.finished(), self.claims.numbers()
            names = [name for name in self.laid_out() if name not in finished]
            fresh = [name for name in names if name not in numbers]
            start = random.randrange(len(fresh)) if fresh else 0
            yield from ((name, 0) for name in (*fresh[start:], *fresh[:start]))
            for name in names:
                number = numbers.get(name, 0)
                held = not number or self.claims.is_held(name, number)
                if not held and not self.given_up(name, numbers):
                    yield name, number

    def given_up(self, name: str, numbers: Mapping[str, int]) -> str:
        """Return why a part is not tried again; empty if it may be.

        That is so once it has ended :data:`MOST_TRIES` workers in a row, none of which kept anything
        beyond what the one before had.

        Parameters
        ----------
        name : str
        numbers : mapping
            How many have had each part.
        """
        if numbers.get(name, 0) < MOST_TRIES:
            return ""
        others = any(number > 1 for other, number in numbers.items() if other != name)
        most = MOST_TRIES * (2 if others else 1)
        last = self.claims.holders(name, numbers[name])[-most:]
        if len(last) < most or not all(holder.in_vain for holder in last):
            return ""
        whys = dict.fromkeys(one.why or f"{one.who or 'a worker'} was lost" for one in last)
        return "; ".join(whys)

    def holder(self, name: str, number: int) -> Holder:
        """Return what the last who claimed a part says."""
        return self.claims.holder(name, number)
