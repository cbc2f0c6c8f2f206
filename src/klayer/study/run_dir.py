"""A run directory: everything that a training, a study or a search leaves behind.

::

    RUN/
      run.json              kind, resolved configuration, data and their fingerprint, versions, machine
      run.json.copy         the same, in case of damage
      networks.jsonl        a line for each finished network: settings, seed, accuracies, curves
      weights/*.safetensors the networks, a file for each population
      inputs.safetensors    mean and scale of the inputs
      checkpoints/          populations under way, now and a while ago; gone when they are finished
      parts/                what several processes share out among themselves; gone when it is done
      search.json           what a search has asked for
      summary.json          the end: a line for each network and each arm, time, memory

Each file, and each line, carries a digest, which is checked whenever it is read. Lines are appended a
whole population at a time; a line that is cut short or damaged, or whose network's weights are, is
dropped when somebody goes on with the run, and its network trained again. ``run.json`` has the number
of the schema: older ones are migrated on reading, newer ones refused.
"""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from klayer.data import Dataset, Standardiser
from klayer.errors import KlayerError
from klayer.files import (
    Lock,
    NotWritten,
    own_folder,
    plain,
    remove,
    remove_parts,
    write_arrays,
    write_json,
)
from klayer.nn import Network
from klayer.study.record import Key, NetworkRecord
from klayer.study.run_folder import OWN_FOLDERS, drop_leftovers, new_folder, refuse_links
from klayer.study.run_info import described, is_described_twice, write_info
from klayer.study.schema import seal_all
from klayer.study.stored_run import StoredRun
from klayer.study.weights import Weights
from klayer.train import TrainingState

__all__ = ["Run"]


class Run(StoredRun):
    """A run directory, open for reading and, by its creator, for appending.

    Parameters, attributes and errors are those of :class:`klayer.study.stored_run.StoredRun`.
    """

    @classmethod
    def create(
        cls,
        path: str | Path | None,
        kind: str,
        config: Mapping[str, Any],
        dataset: Dataset,
        data_dir: str | Path | None = None,
        *,
        given: bool = False,
    ) -> Run:
        """Make a run directory and write ``run.json``.

        Parameters
        ----------
        path : path, optional
            Must be new or empty; by default ``runs/DATE-TIME-KIND``.
        kind : {"train", "study", "search"}
        config : mapping
            The resolved configuration: enough to run it all again.
        dataset : Dataset
        data_dir : path, optional
            Where the data set lies, if that was said.
        given : bool
            Whether the data were given in Python, so that their name need not lead to them.
        """
        now = datetime.datetime.now().astimezone()
        info = described(kind, config, dataset, data_dir, now, given=given)
        path = new_folder(path, f"{now:%Y-%m-%d-%H%M%S}-{kind}")
        info["id"] = f"{path.resolve().name}-{uuid.uuid4().hex[:8]}"  # which no renaming changes
        lock = Lock(path / "lock", str(path))
        try:
            lock.take()
            drop_leftovers(path)
            try:
                _write_standardiser(path, dataset.standardiser)
                write_info(path, info)  # from here on it is a run
            except NotWritten:
                with contextlib.suppress(KlayerError):
                    remove(path / "run.json")  # there, if its folder alone was not flushed
                    drop_leftovers(path)
                raise
        finally:
            lock.release()
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        run = cls(path)
        run._made_with = dataset
        return run

    def __enter__(self) -> Run:
        """Hold the run for appending: a second process gets an error.

        What another process wrote since the run was opened is read, and what a kill left behind removed.
        """
        self._lock.take()
        try:
            refuse_links(self.path)
            self._read()
            for folder in (self.path, *(self.path / name for name in OWN_FOLDERS)):
                remove_parts(folder)
            self._lines.mend(self.networks)
            if self.outdated:  # what is written from here on is of this version's schema
                seal_all(self.path)
                self._lines.sealed = True
                if self._networks:
                    self._lines.write(self.networks)
            if self.outdated or not is_described_twice(self.path):
                self.write_info()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    @contextlib.contextmanager
    def resumable(self) -> Iterator[None]:
        """Let a Ctrl-C, and a disk that is full, say how to go on."""
        try:
            yield
        except KeyboardInterrupt as error:
            error.args = (f"nothing is lost: go on with {self.resume_command}",)
            raise
        except NotWritten as error:
            error.args = (
                f"{error} What was stored before is kept: go on with {self.resume_command}.",
            )
            raise

    def require_held(self) -> None:
        """Do nothing if this process may still write the run.

        Raises
        ------
        LockHeld
            If another one has taken it over, since this one gave no sign of life for a while.
        """
        self._lock.require()

    def write_info(self) -> None:
        """Write ``run.json`` again, after a change of :attr:`info`."""
        self.require_held()
        write_info(self.path, self.info)
        self.outdated = False

    def write_standardiser(self, standardiser: Standardiser) -> None:
        """Write the standardisation of the inputs."""
        _write_standardiser(self.path, standardiser)
        self.__dict__.pop("standardiser", None)

    def append(self, records: Sequence[NetworkRecord]) -> None:
        """Append finished networks; they are on the disk when this returns.

        Raises
        ------
        KlayerError
            If the run holds one of them already.
        LockHeld
            As :meth:`require_held`, like all that writes.
        """
        self.require_held()
        for record in records:
            if record.key in self._networks:
                raise KlayerError(
                    f"a run holds a network once, but {record.arm!r} with seed {record.seed} is in "
                    f"{self._lines.path} already."
                )
        self._lines.append(records)
        self._networks.update({record.key: record for record in records})

    def note_lost(self, keys: Sequence[Key], reason: str) -> None:
        """Note that networks could not be trained, and why; whoever goes on with the run tries again."""
        self.lost.update(dict.fromkeys(keys, reason))

    def drop(self, keys: Sequence[Key]) -> None:
        """Forget finished networks, which are to be trained again; their lines are removed."""
        if keys:
            self.unfinish()
            self._networks = {k: one for k, one in self._networks.items() if k not in keys}
            self._lines.write(self.networks)

    def unfinish(self) -> None:
        """Remove the summary: the run is not finished any more, since networks are trained again."""
        self.require_held()
        self._results.pop("summary.json", None)
        remove(self.path / "summary.json")

    def write_result(self, name: str, value: Any) -> None:
        """Write a result, such as ``summary.json``; :meth:`result` has it from then on."""
        self.require_held()
        self._results[name] = plain(value)
        write_json(self.path / name, self._results[name])

    def save_weights(
        self, name: str, network: Network, state: TrainingState, seeds: Sequence[int]
    ) -> None:
        """Write the networks of a finished population to ``weights/NAME.safetensors``."""
        self.require_held()
        own_folder(self.path, "weights")
        Weights.write(self._weights(name), network, state, seeds)


def _write_standardiser(folder: Path, standardiser: Standardiser) -> None:
    arrays = {"mean": standardiser.mean, "scale": standardiser.scale}
    write_arrays(folder / "inputs.safetensors", arrays, {})
