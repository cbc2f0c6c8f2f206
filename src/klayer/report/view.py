"""A run as the page sees it: arms with short labels, in architectures, rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from klayer.study.arms import describe
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.statistics import Cell, cell
from klayer.train import Settings
from klayer.train.settings import setting_label

__all__ = ["ArmView", "Group", "RunView", "init_label"]

_BN = {"none": "no BN", "hidden": "BN", "all": "BN"}
_SPELLED = {"none": "no BN", "hidden": "BN hidden", "all": "BN all"}
_IN_LABELS = ("hidden", "batch_norm", "init")


def init_label(init: str) -> str:
    """Write an initialisation short.

    Examples
    --------
    >>> init_label("he"), init_label("gaussian:0.0001")
    ('He', 'σ = 0.0001')
    """
    name, _, sigma = init.partition(":")
    return f"σ = {float(sigma):g}" if sigma else name.capitalize()


@dataclass(frozen=True)
class ArmView:
    """An arm with its finished networks and its labels.

    Attributes
    ----------
    name : str
    settings : Settings
    records : list of NetworkRecord
        In the order of their seeds; empty where none is finished.
    architecture, init : str
        Short labels: ``"9-layer"``, ``"He"``.
    series : str
        What tells the arm from others of its architecture and initialisation: ``"BN hidden"``.
    """

    name: str
    settings: Settings
    records: list[NetworkRecord]
    architecture: str
    init: str
    series: str

    @property
    def label(self) -> str:
        """The whole name in short: ``"9-layer, BN hidden, He"``."""
        return f"{self.architecture}, {self.series}, {self.init}"

    @property
    def init_series(self) -> str:
        """What tells the arm from others of its architecture: ``"He, BN hidden"``."""
        return f"{self.init}, {self.series}"

    @property
    def cell(self) -> Cell:
        """The arm's test accuracies."""
        return self.measured("test")

    def measured(self, split: str) -> Cell:
        """Return the arm's accuracies on a split."""
        return cell(self.records, split)


@dataclass(frozen=True)
class Group:
    """Arms of one architecture and one initialisation: one figure's curves."""

    architecture: str
    init: str
    arms: list[ArmView]

    @property
    def slug(self) -> str:
        """A file name."""
        text = f"{self.architecture} {self.init}".lower().replace("σ = ", "sigma ")
        kept = "".join(c if c.isalnum() or c in ".-" else "-" for c in text)
        return "-".join(part for part in kept.split("-") if part)


class RunView:
    """What a run directory holds, arranged for showing.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    run : Run
    arms : list of ArmView
        Those that the configuration declares, with or without results; then any others with results.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.arms = _arms(run)

    @property
    def info(self) -> dict:
        """What ``run.json`` says."""
        return self.run.info

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.run.path

    @cached_property
    def records(self) -> list[NetworkRecord]:
        """Finished networks of the arms, without those of a search."""
        return [record for record in self.run.networks if record.part == "arms"]

    @cached_property
    def trials(self) -> list[NetworkRecord]:
        """Finished networks of a search."""
        return [record for record in self.run.networks if record.part == "search"]

    @cached_property
    def finalists(self) -> list[NetworkRecord]:
        """A search's best, trained for longer."""
        return [record for record in self.run.networks if record.part == "finalists"]

    @cached_property
    def planned(self) -> int:
        """How many networks the arms were to have."""
        seeds = self.info["config"].get("seeds", [])
        if self.info["kind"] == "search":
            return len(self.records)
        return len(self.arms) * (seeds if isinstance(seeds, int) else len(seeds))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "summary.json").exists() and len(self.records) >= self.planned

    @cached_property
    def with_results(self) -> list[ArmView]:
        """The arms that have a finished network."""
        return [arm for arm in self.arms if arm.records]

    @cached_property
    def architectures(self) -> list[str]:
        """In order of depth, then of appearance."""
        depths = {arm.architecture: len(arm.settings.hidden) for arm in self.arms}
        return sorted(depths, key=depths.__getitem__)

    @cached_property
    def inits(self) -> list[str]:
        """Initialisations, the baseline first."""
        names = _unique(arm.init for arm in self.arms)
        return sorted(names, key=lambda name: name != self.baseline)

    @cached_property
    def baseline(self) -> str:
        """The initialisation that others are compared with: He if there, else the first."""
        names = _unique(arm.init for arm in self.arms)
        return "He" if "He" in names or not names else names[0]

    @cached_property
    def series(self) -> list[str]:
        """What tells arms of one architecture and initialisation apart; the order of the colours."""
        return _unique(arm.series for arm in self.arms)

    @cached_property
    def chance(self) -> float:
        """Accuracy of guessing: that of the networks at chance, else 1 / K."""
        stuck = [r.accuracy("test") for r in self.records if r.state == "at chance"]
        stuck = [value for value in stuck if value is not None]
        return max(stuck) if stuck else 1 / max(1, len(self.info["data"]["class_names"]))

    def groups(self, *, baseline: bool) -> list[Group]:
        """Return arms with results by architecture and initialisation.

        Parameters
        ----------
        baseline : bool
            Those with the baseline initialisation, or all others.
        """
        found = []
        for architecture in self.architectures:
            for init in self.inits:
                arms = [
                    arm
                    for arm in self.with_results
                    if (arm.architecture, arm.init) == (architecture, init)
                ]
                if arms and (init == self.baseline) is baseline:
                    found.append(Group(architecture, init, arms))
        return found


def _unique(values: Iterable) -> list:
    return list(dict.fromkeys(values))


def _declared(run: Run) -> list[tuple[str, Settings]]:
    """Arms of the configuration; none where it can't be read (another version wrote it)."""
    from klayer.errors import KlayerError

    try:
        arms = run.study.arms
    except KlayerError:
        return []
    return [(arm.name, arm.settings) for arm in arms]


def _arms(run: Run) -> list[ArmView]:
    records: dict[str, list[NetworkRecord]] = {}
    for record in run.networks:
        if record.part == "arms":
            records.setdefault(record.arm, []).append(record)
    settings = dict(_declared(run)) if run.info["kind"] != "search" else {}
    for name, group in records.items():
        settings[name] = group[0].settings
    return [
        ArmView(
            name,
            one,
            sorted(records.get(name, []), key=lambda record: record.seed),
            _architecture(one, settings.values()),
            init_label(one.init),
            _series(name, one, list(settings.values())),
        )
        for name, one in settings.items()
    ]


def _architecture(one: Settings, everyone: Iterable[Settings]) -> str:
    depth = f"{len(one.hidden) + 1}-layer"
    widths = {other.hidden for other in everyone if len(other.hidden) == len(one.hidden)}
    return depth if len(widths) == 1 else f"{depth} {list(one.hidden)}"


def _series(name: str, one: Settings, everyone: Sequence[Settings]) -> str:
    if not name.startswith(describe(one)):
        return name
    kinds = {other.batch_norm for other in everyone}
    spelled = _SPELLED if "all" in kinds else _BN
    mine = one.as_dict()
    differing = [
        key
        for key in mine
        if key not in _IN_LABELS and any(other.as_dict()[key] != mine[key] for other in everyone)
    ]
    extras = [setting_label(key, mine[key]) for key in differing]
    return ", ".join([spelled[one.batch_norm], *extras])
