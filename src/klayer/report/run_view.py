"""A run as the page sees it: arms with short labels, in architectures, rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from klayer.errors import KlayerError
from klayer.study.arms import describe
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.statistics import Cell, Comparison, Estimate, cell, compare, estimate
from klayer.train import Settings
from klayer.train.settings import setting_label

__all__ = ["SPLITS", "ArmView", "Group", "RunView", "compare_arms"]

SPLITS = ("train", "validation", "test")

_BN = {"none": "no BN", "hidden": "BN", "all": "BN"}
_SPELLED = {"none": "no BN", "hidden": "BN hidden", "all": "BN all"}
_IN_LABELS = ("hidden", "batch_norm", "init")


def _init_label(init: str) -> str:
    """Write an initialisation short.

    Examples
    --------
    >>> _init_label("he"), _init_label("gaussian:0.0001")
    ('He', 'σ = 0.0001')
    """
    name, _, sigma = init.partition(":")
    return f"σ = {float(sigma):g}" if sigma else name.capitalize()


@dataclass(frozen=True)
class ArmView:
    """An arm with its finished networks and its labels."""

    name: str
    settings: Settings
    records: list[NetworkRecord]  # in the order of their seeds; empty where none is finished
    architecture: str  # in short, "9-layer"
    init: str  # in short, "He"
    series: str  # what tells it from others of its architecture and initialisation: "BN hidden"
    splits: tuple[str, ...] = SPLITS  # those that the data have

    @property
    def judge(self) -> str:
        """The split whose accuracies the arm is judged by."""
        return self.splits[-1]

    @property
    def label(self) -> str:
        """The whole name in short: ``"9-layer, BN hidden, He"``."""
        return f"{self.architecture}, {self.series}, {self.init}"

    @property
    def init_series(self) -> str:
        """What tells the arm from others of its architecture: ``"He, BN hidden"``."""
        return f"{self.init}, {self.series}"

    @cached_property
    def cell(self) -> Cell:
        """The accuracies that the arm is judged by."""
        return self.measured(self.judge)

    def measured(self, split: str) -> Cell:
        """Return the arm's final accuracies on one split."""
        return cell(self.records, split)

    def everything(self, split: str) -> Estimate:
        """Return the final accuracies of all networks, whether they trained or not."""
        return estimate(record.score(split) for record in self.records)

    def alone(self, record: NetworkRecord) -> ArmView:
        """Return one of the arm's networks as an arm, named by its seed."""
        return replace(self, name=str(record.seed), records=[record])

    @property
    def rates(self) -> tuple[tuple[float, float], ...]:
        """Epochs with the learning rate there."""
        history = self.records[0].history
        return tuple(zip(history["epoch"], history["lr"], strict=True))

    def curve(self, split: str, kind: str) -> list[tuple[float, Estimate]]:
        """Return epochs with the networks' values there; empty if there is no such curve."""
        lines = [record.history.get(f"{split}_{kind}") or [] for record in self.records]
        if not any(lines):
            return []
        return [
            (epoch, estimate(line[i] for line in lines if i < len(line)))
            for i, epoch in enumerate(self.records[0].history["epoch"])
        ]


def compare_arms(a: ArmView, b: ArmView) -> Comparison:
    """Compare two arms over the seeds that both have, b minus a."""
    return compare(a.records, b.records, a.judge, (a.name, b.name))


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
    """What a run directory holds, arranged for showing; of its splits those ``among`` some."""

    def __init__(self, run: Run, among: tuple[str, ...] = SPLITS) -> None:
        self.run, self.path = run, run.path
        self.info: dict[str, Any] = run.info
        self.networks = run.networks  # all finished ones, those of a search too
        # Judged by their accuracies on the last of these: test if there, else validation, train.
        self.splits = tuple(one for one in among if run.info["data"]["samples"].get(one))
        # Those that the configuration declares, with or without results; then others with results.
        self.arms = _arms(self)

    @cached_property
    def records(self) -> list[NetworkRecord]:
        """Finished networks of the arms, without those of a search."""
        return [record for record in self.networks if record.part == "arms"]

    @property
    def judge(self) -> str:
        """The split whose accuracies networks are judged by."""
        return self.splits[-1]

    @cached_property
    def best(self) -> NetworkRecord | None:
        """The best network, by the split that the run chooses it by; None while none is finished."""
        try:
            return self.run.best()
        except KlayerError:
            return None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says; empty while the run is under way."""
        return self.run.result("summary.json") or {}

    @property
    def planned(self) -> int:
        """How many networks the arms were to have; a search has none."""
        return 0 if self.run.kind == "search" else len(self.run.study.jobs)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.summary) and len(self.records) >= self.planned

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
        stuck = [one.score(self.judge) for one in self.records if one.state == "at chance"]
        values = [value for value in stuck if value is not None]
        return max(values) if values else 1 / max(1, len(self.info["data"]["class_names"]))

    def groups(self, *, baseline: bool) -> list[Group]:
        """Return arms with results, grouped: those with the baseline initialisation, or all others."""
        members: dict[tuple[str, str], list[ArmView]] = {
            (architecture, init): []
            for architecture in self.architectures
            for init in self.inits
            if (init == self.baseline) is baseline
        }
        for arm in self.with_results:
            if (arm.architecture, arm.init) in members:
                members[arm.architecture, arm.init].append(arm)
        return [Group(*key, arms) for key, arms in members.items() if arms]


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _arms(view: RunView) -> list[ArmView]:
    records: dict[str, list[NetworkRecord]] = {}
    for record in view.records:
        records.setdefault(record.arm, []).append(record)
    declared = () if view.run.kind == "search" else view.run.study.arms
    settings = {arm.name: arm.settings for arm in declared}
    settings |= {name: group[0].settings for name, group in records.items()}
    everyone = list(settings.values())
    return [
        ArmView(
            name,
            one,
            sorted(records.get(name, []), key=lambda record: record.seed),
            _architecture(one, everyone),
            _init_label(one.init),
            _series(name, one, everyone),
            view.splits,
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
