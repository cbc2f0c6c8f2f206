"""A run as the page sees it: arms named by what varies, with their networks and what judges them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from klayer.study.arms import Arm, describe
from klayer.study.cell import Cell, cell
from klayer.study.chance import uneven
from klayer.study.comparison import Comparison, compare
from klayer.study.factors import Factor, Level, coordinates, describe_level, factors
from klayer.study.ladder import arm_labels, ladder
from klayer.study.measure import Measure, measure_of
from klayer.study.record import NetworkRecord
from klayer.study.run_dir import Run
from klayer.study.statistics import Estimate, estimate, wilson
from klayer.train import Settings

__all__ = ["SPLITS", "ArmView", "RunView", "compare_arms"]

SPLITS = ("train", "validation", "test")
ACCURACY = measure_of("classification")


@dataclass(frozen=True)
class ArmView:
    """An arm with its finished networks and its labels."""

    name: str
    settings: Settings
    records: list[NetworkRecord]  # in the order of their seeds; empty where none is finished
    label: str  # what tells it from the study's other arms: "width 50, BN"
    levels: dict[str, Level] = field(default_factory=dict)  # of every factor, by its name
    splits: tuple[str, ...] = SPLITS  # those that the data have
    uneven: bool = False  # whether some classes have many more rows than others
    measure: Measure = ACCURACY
    rows: int = 0  # of the split that judges

    @property
    def judge(self) -> str:
        """The split by which the arm is judged."""
        return self.splits[-1]

    @cached_property
    def cell(self) -> Cell:
        """What the arm is judged by."""
        return self.measured(self.judge)

    def measured(self, split: str) -> Cell:
        """Return the arm's final values on one split."""
        return cell(self.records, split, bounds=self.measure.bounds, apart=self.measure.apart)

    def everything(self, split: str) -> Estimate:
        """Return the final scores of all networks, whether they trained or not."""
        return estimate((record.score(split) for record in self.records), self.measure.bounds)

    def value(self, record: NetworkRecord) -> float | None:
        """Return what one of its networks is judged by."""
        return record.score(self.judge)

    def beside(self, score: str) -> Estimate:
        """Return a score beside accuracy, of all networks on the last split that there is."""
        if not self.splits:
            return estimate([])
        found = (record.scores.get(self.splits[-1]) for record in self.records)
        return estimate(getattr(one, score, None) for one in found)

    def alone(self, record: NetworkRecord) -> ArmView:
        """Return one of the arm's networks as an arm, named by its seed."""
        return replace(self, name=str(record.seed), label=str(record.seed), records=[record])

    def describe(self) -> str:
        """Say in words what became of the seeds."""
        return self.cell.describe(self.measure.show)

    @property
    def rows_interval(self) -> tuple[float | None, float | None]:
        """How well the rows of the split know one network's accuracy; None if it is no share."""
        mean = self.cell.estimate.mean
        if mean is None or not self.measure.share or not self.rows:
            return None, None
        return wilson(mean, self.rows)

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
    return compare(a.records, b.records, a.judge, (a.name, b.name), a.measure.bounds)


class RunView:
    """What a run directory holds, arranged for showing.

    Parameters
    ----------
    run : Run
    among : tuple of str
        Of its splits those that are looked at.
    part : {"arms", "finalists"}
        Whose networks the arms are.
    """

    def __init__(self, run: Run, among: tuple[str, ...] = SPLITS, part: str = "arms") -> None:
        self.run, self.path, self.part = run, run.path, part
        self.info: dict[str, Any] = run.info
        self.networks = run.networks  # all finished ones, those of a search too
        self.task = str(run.info["data"].get("task", "classification"))
        self.measure = measure_of(self.task)
        # Judged by the last of these: test if there, else validation, train.
        self.splits = tuple(one for one in among if run.info["data"]["samples"].get(one))
        # Those that the configuration declares, with or without results; then others with results.
        self.known = _known(self)
        self.arms = _arms(self)

    @cached_property
    def records(self) -> list[NetworkRecord]:
        """Finished networks of the arms, without those of a search."""
        return [record for record in self.networks if record.part == self.part]

    @property
    def judge(self) -> str:
        """The split by which networks are judged."""
        return self.splits[-1]

    @property
    def judged(self) -> str:
        """What networks are judged by, in words: ``"test accuracy"``."""
        return f"{self.judge} {self.measure.word}"

    @cached_property
    def best(self) -> NetworkRecord | None:
        """The best network, by the split that the run chooses it by; None while none is finished.

        Trials of a search are not among them once there are others: they must not be tested.
        """
        by = self.run.judged_by
        known = [one for one in self.networks if one.score(by) is not None]
        chosen = [one for one in known if one.part in ("arms", "finalists")] or known
        return max(chosen, key=lambda one: one.score(by) or 0.0, default=None)

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
        return bool(self.summary) and self.trained >= self.planned

    @property
    def trained(self) -> int:
        """How many of these are finished."""
        return sum(one.part in ("arms", "variance") for one in self.networks)

    @cached_property
    def with_results(self) -> list[ArmView]:
        """The arms that have a finished network."""
        return [arm for arm in self.arms if arm.records]

    @cached_property
    def ladder(self) -> dict[str, dict[str, Level]]:
        """What each step changes of the one before it, by the arm's name; empty if there are none."""
        return ladder(self.known)

    @cached_property
    def factors(self) -> list[Factor]:
        """What varies among the arms; where no two differ in one factor alone, and of a ladder, the arm.

        A level of which no arm left chance with every network tells nothing of the others' scores, so
        the first one that has such an arm is the reference, where there is no usual one.
        """
        trained = [arm.levels for arm in self.with_results if arm.cell.kind == "trained"]
        return [
            replace(one, first=next((x for x in one.levels if x in reached), None))
            for one, reached in (
                (one, {levels[one.name] for levels in trained}) for one in self._varied
            )
        ]

    @property
    def _varied(self) -> list[Factor]:
        if len(self.arms) < 2:
            return []
        found = factors([arm.settings for arm in self.arms])
        names = [factor.name for factor in found]
        if not self.ladder and any(
            sum(a.levels[name] != b.levels[name] for name in names) == 1
            for i, a in enumerate(self.arms)
            for b in self.arms[:i]
        ):
            return found
        called = tuple(arm.label for arm in self.arms)
        return [Factor("arm", tuple(arm.name for arm in self.arms), called, called)]

    def factor(self, name: str) -> Factor | None:
        """Return the factor with this name; None if it doesn't vary."""
        return next((one for one in self.factors if one.name == name), None)

    @property
    def constant(self) -> str:
        """What all arms have in common, in words."""
        if len(self.arms) < 2:
            return ""
        everyone = [arm.settings for arm in self.arms]
        one, parts = everyone[0], list[str]()
        if len({len(each.hidden) for each in everyone}) == 1:
            parts.append(f"{len(one.hidden) + 1} layers")
            if len({each.hidden for each in everyone}) == 1:
                parts[0] += f" ({', '.join(map(str, one.hidden)) or 'none'} hidden)"
        for name in ("batch_norm", "init"):
            if len({getattr(each, name) for each in everyone}) == 1:
                parts.append(describe_level(name, getattr(one, name)))
        return ", ".join(parts)

    @cached_property
    def chance(self) -> float:
        """Accuracy of guessing: that of the networks at chance, else of the commonest class."""
        stuck = [one.score(self.judge) for one in self.records if one.state == "at chance"]
        values = [value for value in stuck if value is not None]
        if values or not self.measure.share:
            return max(values, default=0.0)
        return self.guessed

    @property
    def guessed(self) -> float:
        """Accuracy of always naming the commonest class, on the split that is judged by; else 1 / K."""
        counts = (self.info["data"].get("class_counts") or {}).get(self.judge)
        if counts and sum(counts):
            return float(max(counts) / sum(counts))
        return 1 / max(1, len(self.info["data"]["class_names"]))

    @property
    def uneven(self) -> bool:
        """Whether some classes have many more training rows than others."""
        return uneven((self.info["data"].get("class_counts") or {}).get("train"))


def _known(view: RunView) -> list[Arm]:
    """Return the arms that the configuration declares, then others that have networks."""
    study = view.part == "arms" and view.run.kind != "search"
    found = {arm.name: arm for arm in (view.run.study.arms if study else ())}
    for record in view.records:
        if record.arm not in found:
            given = view.part == "arms" and not record.arm.startswith(describe(record.settings))
            found[record.arm] = Arm(record.arm, record.settings, named=given)
    return list(found.values())


def _arms(view: RunView) -> list[ArmView]:
    records: dict[str, list[NetworkRecord]] = {}
    for record in view.records:
        records.setdefault(record.arm, []).append(record)
    known = view.known
    called, rows = arm_labels(known), coordinates([arm.settings for arm in known])
    return [
        ArmView(
            arm.name,
            arm.settings,
            sorted(records.get(arm.name, []), key=lambda record: record.seed),
            called[arm.name],
            {**row, "arm": arm.name},
            view.splits,
            view.uneven,
            view.measure,
            int(view.info["data"]["samples"][view.judge]),
        )
        for arm, row in zip(known, rows, strict=True)
    ]
