"""A run directory: everything that a training, a study or a search leaves behind.

::

    RUN/
      run.json              kind, resolved configuration, data and their fingerprint, versions, machine
      networks.jsonl        a line for each finished network: settings, seed, accuracies, curves
      weights/*.safetensors the networks, a file for each population
      inputs.safetensors    mean and scale of the inputs
      checkpoints/          populations under way; gone when they are finished
      search.json           what a search has asked for
      summary.json          the end: a line for each network and each arm, time, memory

Lines are appended a whole population at a time; a line that a kill cut short, or whose network's
weights are lost, is dropped when somebody goes on with the run. ``run.json`` carries the number of
its schema: older ones are migrated on reading, newer ones refused.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset, Encoder, Standardiser, load
from klayer.data.fingerprint import standardiser_digest
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError
from klayer.files import (
    Damaged,
    append_bytes,
    json_text,
    plain,
    read_arrays,
    read_json,
    write_arrays,
    write_bytes,
    write_json,
)
from klayer.model import Model
from klayer.nn import Network
from klayer.shown import Part, Told
from klayer.study.provenance import machine, versions
from klayer.study.record import Key, NetworkRecord
from klayer.study.run_told import run_curves, run_parts
from klayer.study.schema import AGAIN, RESULTS, SCHEMA, Stored, damage, migrated
from klayer.study.search.search_file import SearchFile
from klayer.study.study import Study
from klayer.study.weights import Weights
from klayer.train import TrainingState

__all__ = ["Run"]


class Run(Told):
    """A run directory, open for reading and, by its creator, for appending.

    Parameters
    ----------
    path : Path
        An existing run directory.

    Attributes
    ----------
    info : dict
        What ``run.json`` says, migrated to this version's schema: ``kind``, ``config``, ``data``,
        ``versions``, ``machine``, ...
    networks : list of NetworkRecord
        The finished networks, in the order of the lines.

    Raises
    ------
    KlayerError
        If there is no run at ``path``, a later version made it, or it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            stored = read_json(self.path / "run.json")
        except (FileNotFoundError, NotADirectoryError):
            raise KlayerError(
                f"a run directory holds a file run.json, but {self.path} has none: "
                "pass the folder that `klayer train`, `study` or `search` printed."
            ) from None
        except Damaged as error:
            raise Damaged(f"{error} {AGAIN}") from None
        self.info = migrated(stored, self.path / "run.json")
        self._outdated = self.info is not stored
        self._networks = {record.key: record for record, _ in self._read_lines()}
        self._results: dict[str, Any] = {}
        self._lock: TextIOWrapper | None = None
        self._made_with: Dataset | None = None  # the data, in the process that made the run

    @classmethod
    def create(
        cls,
        path: str | Path | None,
        kind: str,
        config: Mapping[str, Any],
        dataset: Dataset,
        data_dir: str | Path | None = None,
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
        """
        now = datetime.datetime.now().astimezone()
        path = Path(path) if path else Path("runs") / f"{now:%Y-%m-%d-%H%M%S}-{kind}"
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise KlayerError(
                f"the run directory must be new or empty, but {path} is not: "
                "choose another with --out, or go on with a run by --resume."
            )
        info = {
            "schema": SCHEMA,
            "kind": kind,
            "created": now.isoformat(timespec="seconds"),
            "command": ["klayer", *sys.argv[1:]] if "klayer" in Path(sys.argv[0]).name else None,
            "config": config,
            "data": {
                "name": dataset.name,
                "data_dir": data_dir,
                "n_features": dataset.n_features,
                "task": dataset.task,
                "class_names": dataset.class_names,
                "targets": _stored_targets(dataset.targets),
                "encoder": dataset.encoder and dataset.encoder.as_plain(),
                "image_shape": dataset.image_shape,
                "value_range": dataset.value_range,
                "samples": {name: len(split) for name, split in dataset.splits.items()},
                "source": dataset.source,
                "class_counts": _class_counts(dataset),
                "notes": dataset.notes,
                "background": dataset.background,
                "fingerprint": dataset.fingerprint,
            },
            "versions": versions(),
            "machine": machine(),
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "run.json", info)
            run = cls(path)
            run._made_with = dataset
            run.write_standardiser(dataset.standardiser)
        except OSError as error:
            raise KlayerError(
                f"the run directory {path} can't be written: {error.strerror}."
            ) from None
        return run

    def __enter__(self) -> Run:
        """Hold the run for appending: a second process gets an error."""
        self._lock = (self.path / "lock").open("w")
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                raise KlayerError(
                    f"one process at a time may write a run, but another one is writing {self.path}."
                ) from None
        self._cut_torn_line()
        if self._outdated:  # what is written from here on is of this version's schema
            self.write_info()
        return self

    def __exit__(self, *exc_info: object) -> None:
        (self.path / "lock").unlink(missing_ok=True)
        if self._lock:
            self._lock.close()

    @contextlib.contextmanager
    def resumable(self) -> Iterator[None]:
        """Let a Ctrl-C say how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"nothing is lost: go on with {self.resume_command}") from None

    # What was asked for.

    @property
    def kind(self) -> str:
        """The command that made the run: ``train``, ``study`` or ``search``."""
        return str(self.info["kind"])

    @property
    def resume_command(self) -> str:
        """How to go on with the run, in backticks."""
        return f"`klayer {self.kind} --resume {self.path}`"

    @cached_property
    def study(self) -> Study:
        """The study that the run's configuration describes.

        Raises
        ------
        KlayerError
            If this version can't read it.
        """
        return Study.from_stored(self.info["config"], str(self.path / "run.json"))

    @cached_property
    def asked(self) -> SearchFile:
        """What its search has asked for so far; empty if it has none."""
        return SearchFile.read(self.path)

    def require(self, kinds: Sequence[str]) -> None:
        """Check that one of some commands made the run, since that command goes on with it."""
        if self.kind not in kinds:
            raise KlayerError(
                f"{self.path} was made by `klayer {self.kind}`: go on with {self.resume_command}."
            )

    def write_info(self) -> None:
        """Write ``run.json`` again, after a change of :attr:`info`."""
        write_json(self.path / "run.json", self.info)
        self._outdated = False

    # The data.

    def load_data(
        self, data_dir: str | Path | None = None, *, may_download: bool = True
    ) -> Dataset:
        """Load the data that the run was made with.

        Parameters
        ----------
        data_dir : path, optional
            Where they lie now; by default where they lay then.
        may_download : bool

        Raises
        ------
        KlayerError
            If they are missing, or have changed; says what of them has.
        """
        if self._made_with is not None and data_dir is None:
            return self._made_with
        config = self.info["config"]
        name = config.get("data", self.info["data"]["name"])
        said = {option: config[option] for option in OPTIONS if option in config}
        folder = data_dir or self.info["data"]["data_dir"]
        if folder and not data_dir and not Path(folder).exists():
            # The folder of that time is gone; the data may lie where data sets usually do.
            folder, may_download = None, False
        dataset = load(name, data_dir=folder, may_download=may_download, **said)
        changed = self._changed(dataset)
        if changed:
            raise KlayerError(
                f"a run goes on with the data that it began with, but {name!r} has changed since "
                f"{self.path} was made (what differs: {', '.join(changed)}): start a new run."
            )
        return dataset

    def _changed(self, dataset: Dataset) -> list[str]:
        """Return which parts of the data differ from those that the run was made with."""
        stored: dict[str, str] = self.info["data"]["fingerprint"]
        have = dataset.fingerprint
        changed = [part for part in stored if stored[part] != have.get(part)]
        if not stored:
            try:
                then, now = self.standardiser, dataset.standardiser
            except Damaged as error:
                raise Damaged(f"{error} {AGAIN}") from None
            same = np.array_equal(then.mean, now.mean) and np.array_equal(then.scale, now.scale)
            changed = [] if same else ["standardiser"]
        return changed

    @cached_property
    def standardiser(self) -> Standardiser:
        """The standardisation of the inputs that its networks saw in training.

        Raises
        ------
        Damaged
            If its file is missing, torn or another's.
        """
        path = self.path / "inputs.safetensors"
        inputs, _ = read_arrays(path)
        shape = (self.info["data"]["n_features"],)
        if {key: value.shape for key, value in inputs.items()} == {"mean": shape, "scale": shape}:
            standardiser = Standardiser(**inputs)
            wanted = self.info["data"]["fingerprint"].get("standardiser")
            if wanted in (None, standardiser_digest(standardiser)):
                return standardiser
        raise Damaged(
            f"{path} holds a standardiser that isn't the one that {self.path} trained with."
        )

    @property
    def encoder(self) -> Encoder | None:
        """What made features of the columns of a table; None for other data.

        Raises
        ------
        KlayerError
            If it is damaged.
        """
        stored = self.info["data"].get("encoder")
        try:
            return None if stored is None else Encoder.from_plain(stored)
        except KlayerError as error:
            raise Damaged(f"{self.path / 'run.json'}: {error} {AGAIN}") from None

    @property
    def targets(self) -> Standardiser | None:
        """The standardisation of a regression's targets; of other tasks None."""
        stored = self.info["data"].get("targets")
        if stored is None:
            return None
        return Standardiser(np.array(stored["mean"]), np.array(stored["scale"]))

    def write_standardiser(self, standardiser: Standardiser) -> None:
        """Write the standardisation of the inputs."""
        arrays = {"mean": standardiser.mean, "scale": standardiser.scale}
        write_arrays(self.path / "inputs.safetensors", arrays, {})

    # Finished networks.

    @property
    def networks(self) -> list[NetworkRecord]:
        """The finished networks, in the order of the lines."""
        return list(self._networks.values())

    def find(self, key: Key) -> NetworkRecord | None:
        """Return the network with this key (part, arm, seed); None if it isn't finished."""
        return self._networks.get(key)

    def _read_lines(self) -> Iterator[tuple[NetworkRecord, int]]:
        """Yield each whole record with the offset of its end."""
        path, end = self.path / "networks.jsonl", 0
        with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                end += len(line)
                if not line.endswith(b"\n"):
                    return
                yield NetworkRecord.from_line(line, f"{path}, line {number}"), end

    def _cut_torn_line(self) -> None:
        path = self.path / "networks.jsonl"
        if path.exists():
            end = max((end for _, end in self._read_lines()), default=0)
            if end < path.stat().st_size:
                os.truncate(path, end)

    def append(self, records: Sequence[NetworkRecord]) -> None:
        """Append finished networks; they are on the disk when this returns.

        A network that the run holds already (its population's lines were cut short) stays as it is.
        """
        new = [record for record in records if record.key not in self._networks]
        append_bytes(self.path / "networks.jsonl", _lines(new))
        self._networks.update({record.key: record for record in new})

    def drop(self, keys: Sequence[Key]) -> None:
        """Forget finished networks, which are to be trained again; their lines are removed."""
        if keys:
            self._networks = {k: one for k, one in self._networks.items() if k not in keys}
            write_bytes(self.path / "networks.jsonl", _lines(self.networks))

    # Results: what a run found out, in JSON files of their own.

    def write_result(self, name: str, value: Any) -> None:
        """Write a result, such as ``summary.json``; :meth:`result` has it from then on."""
        self._results[name] = plain(value)
        write_json(self.path / name, self._results[name])

    def written(self, name: str) -> Any:
        """Return a result that was written or read through this object; None if none was."""
        return self._results.get(name)

    def result(self, name: str) -> Any:
        """Return a result: the one just written, else the file's; None if there is none."""
        if name not in self._results:
            try:
                found = read_json(self.path / name)
            except FileNotFoundError:
                return None
            except Damaged as error:
                raise Damaged(f"{error} {self.resume_command} writes it again.") from None
            what = damage(RESULTS.get(name, Stored), found)
            if what:
                raise Damaged(f"{self.path / name}: {what}. {self.resume_command} writes it again.")
            self._results[name] = found
        return self._results[name]

    # For notebooks.

    @property
    def state_in_words(self) -> str:
        """``finished``, or how many networks are."""
        n = len(self.networks)
        if (self.path / "summary.json").exists():
            return "finished"
        return f"not finished: {n} network{'s' * (n != 1)} so far"

    def __repr__(self) -> str:
        what = f"{self.kind} on {self.info['data']['name']}, {len(self.networks)} networks"
        return f"<Run {str(self.path)!r}: {what}, {self.state_in_words}>"

    def parts(self) -> list[Part]:
        """Return what a notebook shows: what, when, and the scores of each arm."""
        return run_parts(self)

    def _heading(self) -> str:
        return f"{self.kind.capitalize()} on {self.info['data']['name']}"

    def plot_curves(self, measure: str | None = None) -> Any:
        """Draw loss and main score against epochs: see :func:`klayer.plot_curves`."""
        import klayer

        return klayer.plot_curves(self, measure)

    def plot_accuracy(self, split: str | None = None) -> Any:
        """Draw where each network ended: see :func:`klayer.plot_accuracy`."""
        import klayer

        return klayer.plot_accuracy(self, split)

    def curves(self) -> dict[str, NDArray[Any]]:
        """Return the curves of all finished networks as a table, a row for each recorded update.

        Returns
        -------
        columns : dict of array
            ``part`` (``arms``, ``search``, ``finalists``), ``arm``, ``seed``, and what
            :meth:`klayer.Population.curves` has from ``update`` on.
        """
        return run_curves(self)

    # Networks and their weights.

    def save_weights(
        self, name: str, network: Network, state: TrainingState, seeds: Sequence[int]
    ) -> None:
        """Write the networks of a finished population to ``weights/NAME.safetensors``."""
        path = self._weights(name)
        path.parent.mkdir(exist_ok=True)
        Weights.write(path, network, state, seeds)

    def _weights(self, name: str) -> Path:
        return self.path / "weights" / f"{name}.safetensors"

    def weights(self, name: str) -> Weights:
        """Return the weights of population ``name``; see :meth:`Weights.read` for what is refused."""
        return Weights.read(self._weights(name))

    def checkpoint(self, name: str) -> Path:
        """Return where the state of population ``name`` is kept while it is under way."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.safetensors"

    def state(self, name: str) -> TrainingState | None:
        """Return the state of population ``name`` at its checkpoint; None if it has none.

        Raises
        ------
        Damaged
            If its file can't be read.
        """
        path = self.checkpoint(name)
        try:
            return TrainingState.load(path) if path.exists() else None
        except (Damaged, KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, Damaged) else f"{path} is damaged: {error!r}."
            raise Damaged(f"{what} Remove it: its networks are trained from the start.") from None

    def clear_checkpoints(self, prefix: str = "") -> None:
        """Remove the checkpoints of populations whose names begin with ``prefix``."""
        for left in (self.path / "checkpoints").glob(f"{prefix}*"):
            left.unlink()

    @property
    def judged_by(self) -> str:
        """The split that the best network is chosen by: ``train`` where there is no validation."""
        return "validation" if "validation" in self.info["data"]["samples"] else "train"

    def best(self, arm: str | None = None, seed: int | None = None) -> NetworkRecord:
        """Return the network with the best score on the split :attr:`judged_by`.

        Parameters
        ----------
        arm, seed : optional
            Only among the networks with this arm, this seed.

        Raises
        ------
        KlayerError
            If no such network is finished.
        """

        def score(record: NetworkRecord) -> float:
            found = record.score(self.judged_by)
            return -math.inf if found is None else found

        finished = [record for record in self.networks if math.isfinite(score(record))]
        if arm is None and seed is None and not finished:
            raise KlayerError(f"no network of {self.path} is finished yet: go on with --resume.")
        found = [
            record
            for record in finished
            if arm in (None, record.arm) and seed in (None, record.seed)
        ]
        if not found:
            arms = ", ".join(dict.fromkeys(repr(record.arm) for record in self.networks))
            seeds = ", ".join(dict.fromkeys(str(record.seed) for record in self.networks))
            raise KlayerError(
                f"no finished network of {self.path} has arm={arm!r} and seed={seed}. "
                f"Arms: {arms}. Seeds: {seeds}."
            )
        return max(found, key=score)

    def model(self, record: NetworkRecord | None = None) -> Model:
        """Return a stored network (by default the :meth:`best`), ready to predict.

        Raises
        ------
        KlayerError
            If its files are missing or damaged, or it has a piece that this version doesn't know.
        """
        record = record or self.best()
        try:
            weights = self.weights(record.population)
            arrays, standardiser = weights.of(record), self.standardiser
        except Damaged as error:
            raise Damaged(f"{error} {self.resume_command} makes the run whole again.") from None
        try:
            names = self.info["data"]["class_names"]
            targets, encoder = self.targets, self.encoder
            return Model(weights.network, *arrays, standardiser, names, targets, encoder)
        except KlayerError as error:
            raise KlayerError(f"{weights.path}: {error}") from None


def _lines(records: Sequence[NetworkRecord]) -> bytes:
    return "".join(json_text(record.to_json()) + "\n" for record in records).encode()


def _stored_targets(targets: Standardiser | None) -> dict[str, list[float]] | None:
    """Return mean and scale as JSON has them, to the last bit."""
    if targets is None:
        return None
    return {"mean": targets.mean.tolist(), "scale": targets.scale.tolist()}


def _class_counts(dataset: Dataset) -> dict[str, list[int]] | None:
    """Return the rows of each class in each split; None where a row has no class."""
    if dataset.task != "classification":
        return None
    return {
        name: np.bincount(split.labels, minlength=dataset.n_classes).tolist()
        for name, split in dataset.splits.items()
    }
