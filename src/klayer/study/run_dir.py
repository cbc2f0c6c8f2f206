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
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset, Encoder, Standardiser, load
from klayer.data.fingerprint import standardiser_digest
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError, require_kind
from klayer.files import (
    Damaged,
    Lock,
    NotWritten,
    own_folder,
    plain,
    read_arrays,
    read_json,
    remove,
    remove_parts,
    write_arrays,
    write_json,
)
from klayer.model import Model
from klayer.nn import Network
from klayer.shown import Part, Told
from klayer.study.checkpoints import Checkpoints
from klayer.study.lines import RecordLines
from klayer.study.record import Key, NetworkRecord
from klayer.study.run_ensemble import run_ensemble
from klayer.study.run_folder import OWN_FOLDERS, drop_leftovers, new_folder, refuse_links
from klayer.study.run_info import described, is_described_twice, read_info, write_info
from klayer.study.run_told import run_curves, run_parts
from klayer.study.schema import AGAIN, RESULTS, Stored, damage, seal_all
from klayer.study.search.search_file import SearchFile
from klayer.study.study import Study
from klayer.study.weights import Weights, snapshot_name
from klayer.train import Ensemble, TrainingState

__all__ = ["Run"]


class Run(Told):
    """A run directory, open for reading and, by its creator, for appending.

    Parameters
    ----------
    path : Path
        An existing run directory.
    mending : bool
        Whether damage is only noted, in :attr:`faults`, since somebody is going to mend it.

    Attributes
    ----------
    info : dict
        What ``run.json`` says, migrated to this version's schema: ``kind``, ``config``, ``data``,
        ``versions``, ``machine``, ...
    networks : list of NetworkRecord
        The finished networks, in the order of the lines.
    faults : list of str
        What is damaged, if it was opened to be mended.
    checkpoints : Checkpoints
        The states of populations under way.
    lost : dict of Key to str
        Networks that could not be trained, with the reason: :meth:`networks` has not got them.
    led_by_another : bool
        Whether this process only took part in it, so that what follows is another's to do.
    outdated : bool
        Whether it is of an older schema, which has no digests; going on with it makes it one of today's.

    Raises
    ------
    KlayerError
        If there is no run at ``path``, a later version made it, or it is damaged.
    """

    def __init__(self, path: str | Path, *, mending: bool = False) -> None:
        require_kind(path, (str, Path), "path", "the path of a run directory")
        self.path = Path(path)
        self._lock = Lock(self.path / "lock", str(self.path))
        self._mending = mending
        self._made_with: Dataset | None = None  # the data, in the process that made the run
        self.lost: dict[Key, str] = {}
        self.led_by_another = False
        self._read()

    def _read(self) -> None:
        """Read everything that tells of the run; again under the lock, since others may have written."""
        self._results: dict[str, Any] = {}
        for name in ("study", "asked", "standardiser"):
            self.__dict__.pop(name, None)
        self.info, self.outdated, self.faults = read_info(self.path, mending=self._mending)
        self.checkpoints = Checkpoints(self.path, sealed=not self.outdated)
        self._lines = RecordLines(self.path / "networks.jsonl", sealed=not self.outdated)
        self._networks = self._lines.read()
        again = f"{self.resume_command} trains again what is lost."
        faults, lost = list(self._lines.faults), self._lost()
        if lost and not faults:
            faults.append(
                f"{self._lines.path} must hold the {lost[0]} networks of the finished run, but has "
                f"{lost[1]} of them: it is damaged."
            )
        if faults and not self._mending:
            raise Damaged(f"{faults[0]} {again}")
        self.faults += [f"{fault} What is lost is trained again." for fault in faults]

    def _lost(self) -> tuple[int, int] | None:
        """Return how many networks a finished run must have, and has of them; None if all are there."""
        try:
            lines = (self.result("summary.json") or {}).get("networks", [])
        except Damaged:  # which says it itself when the summary is wanted
            return None
        wanted = [(one["part"], one["arm"], one["seed"]) for one in lines]
        have = sum(key in self._networks for key in wanted)
        return (len(wanted), have) if have < len(wanted) else None

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
        info = described(kind, config, dataset, data_dir, now)
        path = new_folder(path, f"{now:%Y-%m-%d-%H%M%S}-{kind}")
        info["id"] = f"{path.resolve().name}-{uuid.uuid4().hex[:8]}"  # which no renaming changes
        lock = Lock(path / "lock", str(path))
        lock.take()
        try:
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
        return SearchFile.read(self.path, self.info["id"], sealed=not self.outdated)

    def require(self, kinds: Sequence[str]) -> None:
        """Check that one of some commands made the run, since that command goes on with it."""
        if self.kind not in kinds:
            raise KlayerError(
                f"{self.path} was made by `klayer {self.kind}`: go on with {self.resume_command}."
            )

    def write_info(self) -> None:
        """Write ``run.json`` again, after a change of :attr:`info`."""
        write_info(self.path, self.info)
        self.outdated = False

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
        inputs, _ = read_arrays(path, sealed=not self.outdated)
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
        _write_standardiser(self.path, standardiser)
        self.__dict__.pop("standardiser", None)

    # Finished networks.

    @property
    def networks(self) -> list[NetworkRecord]:
        """The finished networks, in the order of the lines."""
        return list(self._networks.values())

    def find(self, key: Key) -> NetworkRecord | None:
        """Return the network with this key (part, arm, seed); None if it isn't finished."""
        return self._networks.get(key)

    def append(self, records: Sequence[NetworkRecord]) -> None:
        """Append finished networks; they are on the disk when this returns.

        Raises
        ------
        KlayerError
            If the run holds one of them already.
        """
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
        self._results.pop("summary.json", None)
        remove(self.path / "summary.json")

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
                found = read_json(self.path / name, sealed=not self.outdated)
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
        own_folder(self.path, "weights")
        Weights.write(self._weights(name), network, state, seeds)

    def _weights(self, name: str) -> Path:
        return self.path / "weights" / f"{name}.safetensors"

    def weights(self, name: str) -> Weights:
        """Return the weights of population ``name``; see :meth:`Weights.read` for what is refused."""
        return Weights.read(self._weights(name), sealed=not self.outdated)

    def read_all_weights(self, name: str) -> Iterator[tuple[str, KlayerError | None]]:
        """Read what is stored of population ``name``: at its end, and at those of its cycles.

        Yields
        ------
        path : str
            Inside the run directory.
        fault : KlayerError or None
            What is wrong with the file.
        """
        names = [name]
        for one in names:
            fault = None
            try:
                stored = self.weights(one)
                for record in self.networks:
                    if record.population == name:
                        stored.of(record)
                names += [snapshot_name(name, cycle) for cycle in stored.cycles]
            except KlayerError as error:
                fault = error
            yield f"weights/{one}.safetensors", fault

    @property
    def judged_by(self) -> str:
        """The split that the best network is chosen by: ``train`` where there is no validation."""
        return "validation" if "validation" in self.info["data"]["samples"] else "train"

    def best(self, arm: str | None = None, seed: int | None = None) -> NetworkRecord:
        """Return the network with the best score on the split :attr:`judged_by`.

        Parameters
        ----------
        arm, seed : optional
            Only among the networks with this arm (its name, or what the page calls it), this seed.

        Raises
        ------
        KlayerError
            If no such network is finished.
        """
        return max(self._finished(arm, seed), key=self._judged)

    def _judged(self, record: NetworkRecord) -> float:
        """Return the score that the best is chosen by."""
        found = record.score(self.judged_by)
        return -math.inf if found is None else found

    def _finished(self, arm: str | None, seed: int | None) -> list[NetworkRecord]:
        """Return the networks with an answer of this arm and seed; at least one."""
        if self.kind != "search" and arm not in {one.arm for one in self.networks}:
            arm = {label: name for name, label in self.study.labels.items()}.get(arm or "", arm)

        finished = [record for record in self.networks if math.isfinite(self._judged(record))]
        lost = [record for record in self.networks if record.state == "diverged"]
        if lost and not finished:
            raise KlayerError(
                f"no network of {self.path} has an answer: {len(lost)} diverged ({lost[0].failure}). "
                "Train again with a lower lr_max, or l2."
            )
        if arm is None and seed is None and not finished:
            raise KlayerError(f"no network of {self.path} is finished yet: go on with --resume.")
        found = [
            record
            for record in finished
            if seed in (None, record.seed)
            and (record.arm == arm or (arm is None and record.part != "variance"))
        ]
        if not found:
            arms = ", ".join(dict.fromkeys(repr(record.arm) for record in self.networks))
            seeds = ", ".join(dict.fromkeys(str(record.seed) for record in self.networks))
            wanted = [f"the arm {arm!r}"] * (arm is not None)
            wanted += [f"the seed {seed}"] * (seed is not None)
            raise KlayerError(
                f"no finished network of {self.path} has {' and '.join(wanted)}. "
                f"Arms: {arms}. Seeds: {seeds}."
            )
        return found

    def model(self, record: NetworkRecord | None = None, cycle: int | None = None) -> Model:
        """Return a stored network (by default the :meth:`best`), ready to predict.

        Parameters
        ----------
        record : NetworkRecord, optional
        cycle : int, >= 1, optional
            As it was at the end of that cycle, if the setting ``snapshots`` kept it; by default as it
            ended.

        Raises
        ------
        KlayerError
            If its files are missing or damaged, or it has a piece that this version doesn't know.
        """
        return self.models([record or self.best()], cycle)

    def models(self, records: Sequence[NetworkRecord], cycle: int | None = None) -> Model:
        """Return stored networks of one population as one model, in the order of their records.

        Parameters
        ----------
        records : sequence of NetworkRecord, at least one
            Of one population.
        cycle : int, >= 1, optional
            As in :meth:`model`, whose errors it raises.
        """
        try:
            name = records[0].population
            weights = self.weights(name if cycle is None else snapshot_name(name, cycle))
            each, standardiser = [weights.of(record) for record in records], self.standardiser
        except Damaged as error:
            raise Damaged(f"{error} {self.resume_command} makes the run whole again.") from None
        params, running = (
            {key: np.concatenate([one[key] for one in group]) for key in group[0]}
            for group in zip(*each, strict=True)
        )
        try:
            names = self.info["data"]["class_names"]
            targets, encoder = self.targets, self.encoder
            model = Model(weights.network, params, running, standardiser, names, targets, encoder)
            heats = [one.temperature for one in records if one.temperature is not None]
            calibrated = cycle is None and len(heats) == len(records)
            return model.at_temperatures(heats) if calibrated else model
        except KlayerError as error:
            raise KlayerError(f"{weights.path}: {error}") from None

    def ensemble(
        self,
        records: Sequence[NetworkRecord] | None = None,
        *,
        arm: str | None = None,
        seed: int | None = None,
        snapshots: bool = False,
        mirror: bool = False,
        greedy: bool = False,
        size: int = 50,
        data_dir: str | Path | None = None,
    ) -> Ensemble:
        """Return stored networks that answer together, by the mean of what they say.

        Parameters
        ----------
        records : sequence of NetworkRecord, optional
            Which networks; by default all that have an answer, without those at chance, and of a search
            its finalists, if there are any.
        arm, seed : optional
            Of those only the ones of this arm (its name, or what the page calls it), of this seed.
        snapshots : bool
            Whether the networks as they were at the ends of their cycles answer too, where the setting
            ``snapshots`` kept them.
        mirror : bool
            Whether each answers to an image and its mirror image.
        greedy : bool
            Whether networks are chosen by what their mean reaches on the validation split, rather than
            all taken alike: see :meth:`klayer.Ensemble.select`. It takes the data.
        size : int, >= 1
            With ``greedy``: how many are taken, repetitions counted.
        data_dir : path, optional
            With ``greedy``: where the data lie now.

        Raises
        ------
        KlayerError
            If no such network is finished; if the data are no images, or have no validation split, or
            snapshots were not kept, where they are asked for.
        """
        return run_ensemble(
            self,
            self._together(arm, seed) if records is None else records,
            snapshots=snapshots,
            mirror=mirror,
            greedy=greedy,
            size=size,
            data_dir=data_dir,
        )

    def _together(self, arm: str | None, seed: int | None) -> list[NetworkRecord]:
        """Return finished networks, without those at chance, and without trials beside finalists."""
        found = self._finished(arm, seed)
        finalists = [one for one in found if one.part == "finalists"]
        found = finalists if finalists and arm is None else found
        return [one for one in found if one.state != "at chance"] or found


def _write_standardiser(folder: Path, standardiser: Standardiser) -> None:
    arrays = {"mean": standardiser.mean, "scale": standardiser.scale}
    write_arrays(folder / "inputs.safetensors", arrays, {})
