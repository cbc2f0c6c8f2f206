"""A run directory as it lies there: what it holds, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset, Encoder, Standardiser
from klayer.errors import KlayerError, require_kind
from klayer.files import Damaged, Lock, read_json
from klayer.model import Model
from klayer.shown import Part, Told
from klayer.study.checkpoints import Checkpoints
from klayer.study.given_data import given_again
from klayer.study.lines import RecordLines
from klayer.study.record import Key, NetworkRecord
from klayer.study.run_data import load_again, read_standardiser, same_data
from klayer.study.run_info import read_info
from klayer.study.run_networks import as_one_model, finished, judged, run_ensemble, together
from klayer.study.run_told import run_curves, run_parts
from klayer.study.schema import AGAIN, RESULTS, Stored, damage
from klayer.study.search.search_file import SearchFile
from klayer.study.study import Study
from klayer.study.weights import Weights, snapshot_name
from klayer.train import Ensemble

__all__ = ["StoredRun"]


class StoredRun(Told):
    """What a run directory holds; :class:`klayer.study.Run` also writes to it.

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
        return load_again(self, data_dir, may_download=may_download)

    def use_data(
        self, data: Any, y: Any = None, *, data_dir: str | Path | None = None, **said: Any
    ) -> Dataset:
        """Take data that are given for those that the run was made with, which its name need not find.

        Parameters
        ----------
        data, y, data_dir, said
            As in :func:`klayer.run_study`; what was said of them then holds still.

        Raises
        ------
        KlayerError
            If they differ from those; says what of them does.
        """
        dataset = same_data(self, given_again(self.info["config"], data, y, data_dir, said))
        self._made_with = dataset
        return dataset

    @cached_property
    def standardiser(self) -> Standardiser:
        """The standardisation of the inputs that its networks saw in training.

        Raises
        ------
        Damaged
            If its file is missing, torn or another's.
        """
        return read_standardiser(self)

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

    # Finished networks.

    @property
    def networks(self) -> list[NetworkRecord]:
        """The finished networks, in the order of the lines."""
        return list(self._networks.values())

    def find(self, key: Key) -> NetworkRecord | None:
        """Return the network with this key (part, arm, seed); None if it isn't finished."""
        return self._networks.get(key)

    # Results: what a run found out, in JSON files of their own.

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
        """``finished``, ``all diverged``, or how many networks are finished."""
        n = len(self.networks)
        if (self.path / "summary.json").exists():
            lost = n and all(one.state == "diverged" for one in self.networks)
            return "all diverged" if lost else "finished"
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
        return max(finished(self, arm, seed), key=lambda one: judged(self, one))

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
        return as_one_model(self, records, cycle)

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
            its finalists, if there are any. The ensemble's :attr:`~klayer.Ensemble.left_out` has the
            others.
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
        found, left_out = together(self, arm, seed) if records is None else (records, [])
        return run_ensemble(
            self,
            found,
            left_out,
            snapshots=snapshots,
            mirror=mirror,
            greedy=greedy,
            size=size,
            data_dir=data_dir,
        )
