"""Arms: named settings that a study compares, and how they are packed into populations."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from klayer.printable import printable
from klayer.study.factors import labels, slug
from klayer.train import Member, Settings

__all__ = ["SOURCES", "Arm", "Job", "Pack", "describe", "jobs", "pack"]

_BATCH_NORM = {"none": "no BN", "hidden": "BN hidden", "all": "BN all"}


@dataclass(frozen=True)
class Arm:
    """Settings under a name.

    Parameters
    ----------
    name : str
        Unique in its study.
    settings : Settings
    named : bool
        Whether somebody gave the name, so that it is what the arm is called.
    step : bool
        Whether it was written as a step, which builds on the one before it.
    """

    name: str
    settings: Settings
    named: bool = False
    step: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))


@dataclass(frozen=True)
class Job:
    """A network to be trained: an arm's settings and a seed.

    Parameters
    ----------
    arm : str
    member : Member
    part : {"arms", "variance", "search", "finalists"}
        What it belongs to: the arms of a study, the networks that part their variance, the trials of a
        search, its finalists.
    called : str
        The name that somebody gave the arm; empty if nobody did.
    """

    arm: str
    member: Member
    part: str = "arms"
    called: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str, int]:
        """What identifies the network in its run: part, arm, seed."""
        return self.part, self.arm, int(self.member.seed)


@dataclass(frozen=True)
class Pack:
    """Jobs that share one population.

    Parameters
    ----------
    name : str
        The same whenever the same jobs are packed: a file name.
    jobs : tuple of Job
    """

    name: str
    jobs: tuple[Job, ...]

    @property
    def settings(self) -> Settings:
        """The first job's settings; the others share all that is not a network's own."""
        return self.jobs[0].member.settings

    def of(self, jobs: Sequence[Job]) -> Pack:
        """Return some of the jobs, under a name of their own if they are not all."""
        if len(jobs) == len(self.jobs):
            return self
        return Pack(f"{self.name}.some-{_digest(jobs)}", tuple(jobs))

    def part_name(self, lanes: slice) -> str:
        """Return the name of some neighbouring jobs; all of them have the pack's own."""
        whole = (lanes.start, lanes.stop) == (0, len(self.jobs))
        return self.name if whole else f"{self.name}.{lanes.start}-{lanes.stop - 1}"

    def lanes_of(self, name: str) -> slice | None:
        """Undo :meth:`part_name`; None for the name of anything else."""
        if name == self.name:
            return slice(0, len(self.jobs))
        found = re.fullmatch(r"(\d+)-(\d+)", name.removeprefix(f"{self.name}."))
        return slice(int(found[1]), int(found[2]) + 1) if found else None


def describe(settings: Settings) -> str:
    """Name settings by depth, widths, batch normalisation and initialisation.

    Examples
    --------
    >>> describe(Settings(hidden=(50, 50), batch_norm="hidden", init="gaussian:1e-3"))
    '3-layer [50, 50], BN hidden, gaussian:0.001'
    """
    hidden = list(settings.hidden)
    layers = settings.batch_norm
    norm = f"BN {list(layers)}" if isinstance(layers, tuple) else _BATCH_NORM[layers]
    return f"{len(hidden) + 1}-layer {hidden}, {norm}, {settings.init}"


# What a seed may decide, and the setting that it is added to; the initialisation is the network's own.
SOURCES = {"init": "", "order": "order_seed", "split": "split_seed"}


def jobs(arms: Iterable[Arm], seeds: Sequence[int], vary: Sequence[str] = ("init",)) -> list[Job]:
    """Cross arms with seeds.

    Parameters
    ----------
    arms : iterable of Arm
    seeds : sequence of int
    vary : sequence of {"init", "order", "split"}, "init" among them
        What a seed decides: the initial weights, the order of the batches, the rows of training and
        validation. Where it is more than the first, each arm also has networks of the part
        ``"variance"``, in which one of these alone follows the seed and the others stay at the first.

    Examples
    --------
    >>> found = jobs([Arm("a", Settings())], [0, 1], ["init", "order"])
    >>> [(job.part, job.arm, job.member.seed, job.member.settings.order_seed) for job in found[1:]]
    [('arms', 'a', 1, 1), ('variance', 'a: init', 1, 0), ('variance', 'a: order 1', 0, 1)]
    """
    found = [
        Job(arm.name, Member(_seeded(arm.settings, vary, seed), seed), called=_given(arm))
        for arm in arms
        for seed in seeds
    ]
    if len(vary) > 1:
        found += [
            _alone(arm, vary, source, seeds[0], seed)
            for arm in arms
            for source in vary
            for seed in seeds[1:]
        ]
    return found


def _seeded(settings: Settings, vary: Sequence[str], seed: int) -> Settings:
    names = [SOURCES[source] for source in vary if SOURCES[source]]
    return replace(settings, **{name: getattr(settings, name) + seed for name in names})


def _alone(arm: Arm, vary: Sequence[str], source: str, first: int, seed: int) -> Job:
    """Return a network in which one source alone follows the seed."""
    still = _seeded(arm.settings, [one for one in vary if one != source], first)
    if source == "init":
        return Job(f"{arm.name}: init", Member(still, seed), "variance", _given(arm))
    name = f"{arm.name}: {source} {seed}"
    return Job(name, Member(_seeded(still, [source], seed), first), "variance", _given(arm))


def _given(arm: Arm) -> str:
    return arm.name if arm.named else ""


def pack(jobs: Iterable[Job], prefix: str = "") -> list[Pack]:
    """Pack jobs into as few populations as there are, in order of first appearance.

    Jobs go together if they share all settings but those that are a network's own. A population is
    named by what tells it from the others.

    Examples
    --------
    >>> arms = [Arm(bn + i, Settings(batch_norm=bn, init=i))
    ...         for bn in ("none", "all") for i in ("he", "xavier")]
    >>> [(p.name[:6], len(p.jobs)) for p in pack(jobs(arms, seeds=[0, 1, 2]))]
    [('no-bn-', 6), ('bn-all', 6)]
    """
    groups: dict[Settings, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.member.settings.shared, []).append(job)
    packs = []
    names = labels(list(groups))[0]
    for label, members in zip(names, groups.values(), strict=True):
        called = slug(label) if len(groups) > 1 else "networks"
        packs.append(Pack(f"{prefix}{called}-{_digest(members)}", tuple(members)))
    return packs


def _digest(jobs: Sequence[Job]) -> str:
    """Return what jobs are named by: the same whenever they are the same."""
    default = Settings().as_dict()
    # Only what is not at its default: a setting that a later version adds renames nothing.
    identity = [
        [*job.key, {k: v for k, v in job.member.settings.as_dict().items() if v != default[k]}]
        for job in jobs
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
