"""Whoever leads a run that several work on: lays out parts, takes in results, says how it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from klayer.data import Dataset
from klayer.files import LockHeld
from klayer.study.execute.bench import Bench
from klayer.study.execute.carried_data import write_data
from klayer.study.execute.cut import Lying, PartOfPack, cut, forget
from klayer.study.execute.hand import IDLE_SECONDS, idle_seconds
from klayer.study.execute.hands import Hands
from klayer.study.execute.local import Local
from klayer.study.execute.part import (
    AtWork,
    Lost,
    Order,
    Outcome,
    PartResult,
    PartSpec,
    Reporter,
)
from klayer.study.execute.sizing import Sizes, memory_bytes, part_sizes
from klayer.study.provenance import made_by
from klayer.study.run_dir import Run
from klayer.train import TrainingState

__all__ = ["Shared"]

# Parts that lie on the bench at once: an engine's memory for each of them is small, but not nothing.
WINDOW = 2000
# Seconds between two reports of who is at work.
REPORT_SECONDS = 1.0


class Shared:
    """Has parts trained by hands, wherever they are, by way of the run's folder.

    Parameters
    ----------
    dataset : Dataset
    hands : Hands
    memory : float, in bytes, optional
        Of one hand; by default its share of this machine's.
    joins : bool
        Whether others may work on the run already, so that what lies there stays as it is.
    """

    def __init__(
        self,
        dataset: Dataset,
        hands: Hands,
        memory: float | None = None,
        *,
        joins: bool = False,
    ) -> None:
        self.dataset, self.hands, self.joins = dataset, hands, joins
        self.memory = memory
        self._local = Local(dataset, hands.threads)
        self._made_by: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Shared:
        self._local.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._local.__exit__(kind, error, trace)
        self.hands.close()
        self.hands.shut()

    def sizes(
        self, orders: Sequence[Order], count: int | None = None, seconds: Sequence[float] = ()
    ) -> Sizes:
        """Return how large the parts of some orders are, for so many hands, by default those there are.

        A few updates of each order are timed, unless its seconds are known.
        """
        count = count or self.hands.count
        memory = self.memory or memory_bytes() / self.hands.count
        return part_sizes(orders, self._local, count, memory, seconds)

    def evaluate_part(
        self, spec: PartSpec, state: TrainingState, split: str
    ) -> dict[str, NDArray[Any]]:
        """Return the scores on a whole split, from this process."""
        return self._local.evaluate_part(spec, state, split)

    def carry_out(self, run: Run, orders: Sequence[Order], reporter: Reporter) -> Iterator[Outcome]:
        """Have all orders trained, yield what comes of them in their order."""
        if not orders:
            return
        bench = Bench(run.path)
        if not self.joins:
            bench.withdraw()
        sizes = self.sizes(orders)
        write_data(bench.made(), self.dataset, run.info["id"])
        lying = Lying.of(run, bench)
        cuts = [
            cut(order, run, lying, reporter.note, most, strategy=self._local.strategy)
            for order, most in zip(orders, sizes.networks, strict=True)
        ]
        on_bench = _OnBench(run, bench, orders, cuts, reporter)
        with self._at_work(run, bench):
            for order, parts in zip(orders, cuts, strict=True):
                while not on_bench.has(parts):
                    started = time.monotonic()
                    on_bench.look()
                    self.hands.tend(on_bench.done, on_bench.left)
                    took = time.monotonic() - started
                    if not on_bench.has(parts):
                        time.sleep(idle_seconds(took))
                found, lost = on_bench.take_in(order, parts)
                self._note_machines(run, [result for _, result in found], reporter)
                yield Outcome.joined(order.pack, found, lost)
                forget(run, bench, order, parts)

    @contextmanager
    def _at_work(self, run: Run, bench: Bench) -> Iterator[None]:
        """Have hands at the bench; they stay for the next orders, unless something went wrong."""
        self.hands.open(run.path)
        try:
            yield
        except BaseException as error:
            if not self.joins and not isinstance(error, LockHeld):  # another one may lead by now
                bench.call_off()
            self.hands.close()
            raise

    def _note_machines(self, run: Run, results: Sequence[PartResult], reporter: Reporter) -> None:
        """Write down who made the results, and say where that differs from what leads the run."""
        here = made_by()
        known = list(run.info.get("workers", []))
        for result in results:
            about = {key: value for key, value in result.made_by.items() if key != "who"}
            if about and about not in known:
                known.append(about)
                differs = [
                    f"{name} {_word(about.get(name))} instead of {_word(here.get(name))}"
                    for name in dict.fromkeys([*about, *here])
                    if about.get(name) != here.get(name)
                ]
                if differs:
                    reporter.note(
                        f"{result.made_by.get('who', 'a worker')} differs from the machine that leads "
                        f"the run ({'; '.join(differs)}): its networks have the same numbers to "
                        "rounding, not to the bit."
                    )
        if known != run.info.get("workers", []):
            run.info["workers"] = known
            run.write_info()


def _word(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "none")


class _OnBench:
    """What of a run's parts is laid out, finished, lost; and how far the others are."""

    def __init__(
        self,
        run: Run,
        bench: Bench,
        orders: Sequence[Order],
        cuts: Sequence[Sequence[PartOfPack]],
        reporter: Reporter,
    ) -> None:
        self.run, self.bench, self.reporter = run, bench, reporter
        self.parts = {part.name: part for parts in cuts for part in parts}
        self._goals = {
            part.name: order.updates
            for order, parts in zip(orders, cuts, strict=True)
            for part in parts
        }
        self._ahead = list(self.parts)[::-1]
        self._out: dict[str, PartOfPack] = {}
        self._finished: set[str] = set()
        self._lost: dict[str, str] = {}
        self._reported = 0.0
        self._seen: dict[
            str, tuple[float, float]
        ] = {}  # when a part was first seen, how far it was

    @property
    def done(self) -> int:
        """How many parts are over."""
        return len(self._finished) + len(self._lost)

    @property
    def left(self) -> int:
        """How many are not."""
        return len(self.parts) - self.done

    def has(self, parts: Sequence[PartOfPack]) -> bool:
        """Whether all of these are over."""
        return all(one.name in self._finished or one.name in self._lost for one in parts)

    def look(self) -> None:
        """Lay out what there is room for, and see what is new.

        Raises
        ------
        LockHeld
            If another process leads the run by now.
        """
        self.run.require_held()
        present = self.bench.finished()
        while self._ahead and len(self._out) < WINDOW:
            name = self._ahead.pop()
            if name in present:
                self._finished.add(name)
            else:
                self._lay_out(self.parts[name])
        for name in list(self._out):
            if name in present:
                self._finished.add(name)
                del self._out[name]
        numbers = self.bench.claims.numbers()
        for name in [name for name in self._out if name in numbers]:
            why = self.bench.given_up(name, numbers)
            if why and not self.bench.claims.is_held(name, numbers[name]):
                self._lost[name] = why
                del self._out[name]
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self._report(numbers)

    def _lay_out(self, part: PartOfPack) -> None:
        """Lay a part out, with the state to go on from; it may lie there, in a run that is shared."""
        checkpoints = self.run.checkpoints
        if not self.bench.is_laid_out(part.name):
            state = None if checkpoints.has(part.name) else part.begin()
            if state is not None:
                checkpoints.save(part.name, state)
            self.bench.lay_out(part.name, part.spec)
        self._out[part.name] = part

    def take_in(
        self, order: Order, parts: Sequence[PartOfPack]
    ) -> tuple[list[tuple[slice, PartResult]], list[Lost]]:
        """Return the results of an order's parts, and what is lost; a damaged one is laid out again."""
        found, lost = [], []
        for part in parts:
            if part.name in self._lost:
                lost.append(Lost(order.pack.jobs[part.lanes], self._lost[part.name]))
                continue
            result = self.bench.result(part.name)
            while result is None:
                self.reporter.note(f"what came of {part.name} is damaged: it is trained again.")
                self._finished.discard(part.name)
                self.bench.forget(part.name)
                self._lay_out(part)
                while not self.has([part]):
                    time.sleep(IDLE_SECONDS)
                    self.look()
                result = self.bench.result(part.name)
            found.append((part.lanes, result))
        return found, lost

    def _report(self, numbers: Mapping[str, int]) -> None:
        now = self._reported = time.monotonic()
        clock = self.bench.claims.now()
        done = sum(self._work(name) for name in self._finished)
        who = []
        for name in self._out:
            number = numbers.get(name, 0)
            holder = self.bench.holder(name, number) if number else None
            if (
                holder is None
                or not holder.who
                or not self.bench.claims.is_held(name, number, clock)
            ):
                self._seen.pop(name, None)
                continue
            goal = max(1, self._goals[name])
            share = min(1.0, max(0.0, holder.update) / goal)
            done += share * self._work(name)
            first, was = self._seen.setdefault(name, (now, share))
            left = (1 - share) * (now - first) / (share - was) if share > was else None
            who.append(AtWork(holder.who, name, share, left))
        self.reporter.at_work(done, who)

    def _work(self, name: str) -> float:
        return self._goals[name] * len(self.parts[name].spec.members)
