"""A run's progress for its user: what is trained, how far it is, how good it is so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from klayer.progress import PATIENCE, Meter, clock, unasked_way
from klayer.study.arms import Pack
from klayer.study.execute import AtWork, Reporter
from klayer.study.factors import labels
from klayer.study.record import NetworkRecord
from klayer.train import TrainingState
from klayer.train.told import standing

__all__ = ["Bars", "heard"]

_SEVERAL = "in all"
# Arms that a line names.
MOST_NAMED = 3


@contextlib.contextmanager
def heard(reporter: Reporter | None) -> Iterator[Reporter]:
    """Give the reporter, or where there is none one that shows progress where that suits the place."""
    if reporter is not None:
        yield reporter
        return
    with Meter(unasked_way(), patience=PATIENCE) as meter:
        yield Bars(meter)


class Bars:
    """A reporter that says by a meter how training goes; finished populations leave a line behind.

    Parameters
    ----------
    meter : Meter, optional
        By default one that suits the place: a terminal, a notebook, a pipe.

    Examples
    --------
    >>> import klayer as kl
    >>> with kl.Bars() as bars:  # doctest: +SKIP
    ...     run = kl.run_study(kl.read_study("quick"), reporter=bars)
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self._names: dict[str, str] = {}

    def __enter__(self) -> Bars:
        self.meter.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.meter.__exit__(None, None, None)

    def note(self, text: str) -> None:
        """Say what the user should know."""
        self.meter.leave(text)

    def phase(self, what: str) -> None:
        """Say what begins."""
        self.meter.phase(what)

    def start(self, packs: Sequence[Pack], updates: Sequence[int]) -> None:
        """Say what is to be trained."""
        if not packs:
            return
        work = [n * len(one.jobs) for one, n in zip(packs, updates, strict=True)]
        self._work = {one.name: n for one, n in zip(packs, work, strict=True)}
        self._names = _called(packs)
        networks = sum(len(one.jobs) for one in packs)
        many = f"training {networks} network{'s' * (networks > 1)}"
        self.meter.phase(f"{many} in {len(packs)} populations" if len(packs) > 1 else many)
        self.meter.whole(sum(work))
        self._all, self._current = sum(work), ""

    def progress(self, pack: Pack, update: float) -> None:
        """Say how far a population is."""
        self._begin(pack)
        self.meter.move(update * len(pack.jobs))

    def record(self, pack: Pack, state: TrainingState) -> None:
        """Say how good it is so far: on the validation split; without one, in training."""
        self._begin(pack)
        self.meter.move(state.update * len(pack.jobs), standing(state))

    def at_work(self, done: float, who: Sequence[AtWork]) -> None:
        """Say how far all are together, and each who is at work."""
        if self._current != _SEVERAL:
            self.meter.begin(_SEVERAL, self._all)
            self._current = _SEVERAL
        self.meter.move(done)
        self.meter.beside(
            [
                f"{one.who}  {one.share:4.0%}"
                + ("" if one.left is None else f"  left {clock(one.left)}")
                for one in who
            ]
        )

    def finish(self, pack: Pack, records: list[NetworkRecord]) -> None:
        """Leave one line behind for a population."""
        if self._current != _SEVERAL:
            self._begin(pack)
            self.meter.end()
        if not records:
            return
        seconds = sum(record.seconds for record in records)
        states = [record.state for record in records]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        took = f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
        self.meter.leave(f"{self._names[pack.name]}: {counts} in {took}")

    def _begin(self, pack: Pack) -> None:
        if pack.name != self._current:
            many = f"{self._names[pack.name]} x {len(pack.jobs)}"
            self.meter.begin(many, self._work[pack.name])
            self._current = pack.name


def _called(packs: Sequence[Pack]) -> dict[str, str]:
    """Return what populations are called: by their arms' names, where somebody gave them, else by what
    varies."""
    kinds = labels([one.settings.shared for one in packs])[0] if len(packs) > 1 else ["networks"]
    named = [_arms_of(one) or kind for one, kind in zip(packs, kinds, strict=True)]
    return {
        one.name: name if named.count(name) == 1 else f"{name} ({kind})"
        for one, name, kind in zip(packs, named, kinds, strict=True)
    }


def _arms_of(pack: Pack) -> str:
    """Name the arms of a population; nothing if one has no name."""
    names = list(dict.fromkeys(job.called for job in pack.jobs))
    if not all(names):
        return ""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
