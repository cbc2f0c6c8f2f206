"""How a population is cut into parts: what was begun stays, the rest is cut as is best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from klayer.study.execute.bench import Bench
from klayer.study.execute.part import Order, PartSpec
from klayer.study.run_dir import Run
from klayer.train import Member, TrainingState

__all__ = ["Lying", "PartOfPack", "cut", "forget"]

Strategy = Callable[[Sequence[Member]], tuple[int, str]]


@dataclass(frozen=True)
class PartOfPack:
    """Some neighbouring networks of a population.

    Attributes
    ----------
    name : str
        Of its files.
    lanes : slice
        Which of the population's they are.
    spec : PartSpec
        Without a strategy, if it is the population itself.
    begin : callable
        Returns the state to go on from; None for the start.
    """

    name: str
    lanes: slice
    spec: PartSpec
    begin: Callable[[], TrainingState | None]


@dataclass(frozen=True)
class Lying:
    """What lies of parts in a run, by the name of their population.

    Attributes
    ----------
    done, laid, kept : dict of str to list of str
        Names of parts that are finished, laid out, under way.
    """

    done: dict[str, list[str]]
    laid: dict[str, list[str]]
    kept: dict[str, list[str]]

    @classmethod
    def of(cls, run: Run, bench: Bench) -> Lying:
        """Look once."""
        kept = (path.stem for path in run.path.glob("checkpoints/*.safetensors"))
        return cls(_by_pack(bench.finished()), _by_pack(bench.laid_out()), _by_pack(kept))


def cut(
    order: Order,
    run: Run,
    lying: Lying,
    note: Callable[[str], None],
    most: int | None = None,
    *,
    strategy: Strategy,
) -> list[PartOfPack]:
    """Cut a population.

    Parameters
    ----------
    order : Order
    run : Run
    lying : Lying
        Results and checkpoints: of parts that were cut before, or of the whole.
    note : callable
        Hears of a damaged checkpoint.
    most : int, optional
        Networks in a part; by default all. A part whose checkpoint is there is cut again if it is larger
        than that by half.
    strategy : callable
        Returns the strategy of a whole population, from its members.

    Returns
    -------
    parts : list of PartOfPack
        In the order of their lanes, each of which is in one of them.
    """
    n = len(order.pack.jobs)
    most = n if most is None else most
    done, laid, kept = (_lanes(order, group) for group in (lying.done, lying.laid, lying.kept))
    stay = _apart([*done, *laid, *(one for one in kept if _size(one) <= 1.5 * most)])
    parts = [_part(order, lanes, strategy) for lanes in stay]
    for lanes in _gaps(stay, n):
        pieces = -(-_size(lanes) // most)
        bounds = [lanes.start + _size(lanes) * i // pieces for i in range(pieces + 1)]
        for first, end in pairwise(bounds):
            piece = slice(first, end)
            part = _part(order, piece, strategy)
            for parent in kept:
                if _holds(parent, piece):
                    part = replace(part, begin=_from_checkpoint(order, run, parent, part, note))
                    break
            parts.append(part)
    return sorted(parts, key=lambda part: part.lanes.start)


def forget(run: Run, bench: Bench, order: Order, parts: Sequence[PartOfPack]) -> None:
    """Remove what lies of the parts of a population that is stored; its own checkpoint is left alone."""
    for part in parts:
        if part.name != order.pack.name:
            run.checkpoints.forget(part.name)
        bench.forget(part.name)


def _part(order: Order, lanes: slice, strategy: Strategy) -> PartOfPack:
    whole = _size(lanes) == len(order.whole)
    spec = replace(
        order.spec,
        members=order.spec.members[lanes],
        strategy=None if whole else strategy(order.whole),
    )

    def begin() -> TrainingState | None:
        state = order.begin()
        return state and state.take(range(lanes.start, lanes.stop))

    return PartOfPack(order.pack.part_name(lanes), lanes, spec, begin)


def _from_checkpoint(
    order: Order, run: Run, parent: slice, part: PartOfPack, note: Callable[[str], None]
) -> Callable[[], TrainingState | None]:
    """Return what takes the networks of a part from the checkpoint of a larger one."""

    def begin() -> TrainingState | None:
        state = run.checkpoints.load(order.pack.part_name(parent), note)
        if state is None:
            return part.begin()
        first = part.lanes.start - parent.start
        return state.take(range(first, first + _size(part.lanes)))

    return begin


def _by_pack(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names of parts by their population's: what stands before the lanes, or the name itself."""
    found: dict[str, list[str]] = {}
    for name in names:
        for pack in {name, name.rpartition(".")[0]} - {""}:
            found.setdefault(pack, []).append(name)
    return found


def _lanes(order: Order, names: Mapping[str, Sequence[str]]) -> list[slice]:
    """Return the lanes of what lies of a population, the smallest first."""
    mine = names.get(order.pack.name, ())
    found = [lanes for name in mine if (lanes := order.pack.lanes_of(name))]
    return sorted(found, key=lambda lanes: (_size(lanes), lanes.start))


def _apart(lanes: list[slice]) -> list[slice]:
    """Return slices of which no two overlap: the earlier ones in the list win."""
    kept: list[slice] = []
    for one in lanes:
        if not any(one.start < other.stop and other.start < one.stop for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda lanes: lanes.start)


def _gaps(taken: list[slice], n: int) -> list[slice]:
    bounds = [0, *(end for one in taken for end in (one.start, one.stop)), n]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [slice(first, end) for first, end in pairs if end > first]


def _holds(one: slice, other: slice) -> bool:
    return bool(one.start <= other.start and other.stop <= one.stop)


def _size(lanes: slice) -> int:
    return int(lanes.stop - lanes.start)
