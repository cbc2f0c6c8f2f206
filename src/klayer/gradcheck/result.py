"""What a gradient check found, as plain data, and how it is told: verdict, causes, table, notes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from klayer.errors import KlayerError
from klayer.gradcheck.differences import COMPLEX_STEP
from klayer.shown import (
    Facts,
    Part,
    Shown,
    ShownColumn,
    ShownSentence,
    ShownTable,
    number,
    plain,
)

__all__ = ["Cause", "Check", "CurvePoint", "GradientError", "Row"]

_VERDICTS = {
    "right": "The gradient is right.",
    "wrong": "The gradient is WRONG.",
    "undecided": "The gradient could not be checked everywhere.",
}
_EXPLANATION = (
    "scaled: largest |a - n| / max(|a|, |n|, floor). norm: ||a - n|| / max(||a||, ||n||). sum: the "
    "report's measure, the sum of |a - n| / max(eps, |a| + |n|)."
)
_ZERO = " zero: structurally zero, nothing but rounding on both sides."


class GradientError(AssertionError):
    """A gradient is wrong, or could not be proved right: raised by :meth:`Check.raise_if_wrong`."""


@dataclass(frozen=True)
class Row:
    """What was found for one array and one term of the cost.

    Attributes
    ----------
    term : str
        ``cost``, or the term that was checked apart (``data``, ``l2``).
    name, layer, kind : str
        The array's key and what it says: ``W2``, ``2``, ``W``.
    shape : tuple of int
        Of one network's array.
    size, checked : int
        Entries in all networks, and how many of them were compared.
    scaled_error : float
        Largest ``|a - n| / max(|a|, |n|, floor)``; the verdict rests on it.
    norm_error : float or None
        ``||a - n|| / max(||a||, ||n||)``, the largest over the networks; None if structurally zero.
    report_error : float
        Sum of ``|a - n| / max(eps, |a| + |n|)`` with eps = 2.2e-16, the report's measure; the
        largest over the networks.
    worst : tuple of int or None
        Where the scaled error is largest; with P > 1 networks, the network comes first.
    analytic, numeric : float
        The two values there.
    failing : int
        Entries whose scaled error exceeds the tolerance.
    one_sided, nearby, left_out : int
        Entries at a kink that agree with a one-sided slope; entries where kinks meet, right at a
        point nearby; entries left out because no difference is finite.
    direction_error : float or None
        Scaled error of the derivative along one random direction through all entries.
    magnitude : float
        Largest absolute value, analytic or numeric.
    resolution : float
        Smallest error, relative to the array's largest gradient, that rounding would not have hidden;
        0 by complex step.
    point : {"given", "perturbed"}
        Where these numbers were found.
    verdict : {"right", "wrong", "zero", "undecided"}
        ``zero``: structurally zero, nothing but rounding on both sides. ``undecided``: rounding
        would hide an error of a tenth, or no difference is finite.
    """

    term: str
    name: str
    layer: str
    kind: str
    shape: tuple[int, ...]
    size: int
    checked: int
    scaled_error: float
    norm_error: float | None
    report_error: float
    worst: tuple[int, ...] | None
    analytic: float
    numeric: float
    failing: int
    one_sided: int
    nearby: int
    left_out: int
    direction_error: float | None
    magnitude: float
    resolution: float
    point: str
    verdict: str

    @property
    def told_verdict(self) -> str:
        """The verdict in words."""
        if self.verdict == "zero":
            size = f"<= {self.magnitude:.0e}" if self.magnitude else "0"
            return f"zero ({size})"
        return f"WRONG: {self.failing:,}" if self.verdict == "wrong" else self.verdict


@dataclass(frozen=True)
class Cause:
    """A hypothesis that the numbers bear out.

    Attributes
    ----------
    kind : str
        A stable identifier, such as ``swapped``, ``factor``, ``l2-missing``, ``place``.
    arrays : tuple of str
        The arrays it explains.
    text : str
        The cause in plain words.
    remainder : float
        How much of the error is left once the cause is mended, 0 ... 1.
    """

    kind: str
    arrays: tuple[str, ...]
    text: str
    remainder: float


@dataclass(frozen=True)
class CurvePoint:
    """Central difference of the worst entry at one step."""

    step: float
    numeric: float
    error: float


@dataclass(frozen=True)
class Check(Shown):
    """The outcome of a gradient check. True in a condition if the gradient is right.

    Attributes
    ----------
    verdict : {"right", "wrong", "undecided"}
    method : {"complex", "central", "forward", "direction"}
    reason : str
        Why this method.
    rows : tuple of Row
    origin : tuple of str
        Arrays where the error enters, seen from the loss backwards; empty if nothing is wrong.
    causes : tuple of Cause, the likeliest first
    curve : tuple of CurvePoint
        Error against step for the worst entry; empty if nothing is wrong.
    notes : tuple of str
        What a reader should know: points that hide errors, tiny batches, low precision.
    deterministic : bool
        Whether two evaluations at the same point agree.
    kinks : dict
        ``units`` (near a kink; None if the model doesn't say), ``one_sided``, ``nearby``,
        ``left_out`` (entries, see :class:`Row`).
    coverage : str
        How much was compared.
    step, tolerance : float
    precision : {"float64", "float32", "float16"}
        What the loss is computed in.
    seed, evaluations : int
    seconds : float
    networks : int
        Number of networks checked at once, P.
    point : {"given", "perturbed"}
        Where causes and curve were found: the given point, or a second, perturbed one.
    points : tuple of str
        The points that were checked.
    hidden : bool
        Whether the mistake shows at the perturbed point alone.
    """

    heading: ClassVar[str] = "Gradient check"

    verdict: str
    method: str
    reason: str
    rows: tuple[Row, ...]
    tolerance: float
    step: float
    precision: str
    seed: int
    networks: int = 1
    point: str = "given"
    points: tuple[str, ...] = ("given",)
    hidden: bool = False
    origin: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = ()
    deterministic: bool = True
    kinks: dict[str, int | None] = field(default_factory=dict)
    coverage: str = ""
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.verdict == "right"

    def __bool__(self) -> bool:
        return self.ok

    @property
    def scaled_error(self) -> float:
        """Largest scaled error of all rows."""
        return max((row.scaled_error for row in self.rows), default=0.0)

    @property
    def norm_error(self) -> float:
        """Largest norm-relative error of all rows that aren't structurally zero."""
        return max((row.norm_error for row in self.rows if row.norm_error is not None), default=0.0)

    def row(self, name: str, term: str | None = None) -> Row:
        """Return the row of an array; of its first term, if none is named."""
        for row in self.rows:
            if row.name == name and term in (None, row.term):
                return row
        raise KlayerError(f"no row for {name!r}, term {term!r}: the rows are in `Check.rows`.")

    def raise_if_wrong(self) -> Check:
        """Return the check if the gradient is right; raise :class:`GradientError` otherwise.

        For tests: ``check_gradients(f, params).raise_if_wrong()`` shows the report on failure.
        """
        if not self.ok:
            raise GradientError("\n" + self.text())
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON; what isn't finite becomes text."""
        return {"schema": "klayer.gradcheck/1", "ok": self.ok, **plain(asdict(self))}

    @property
    def worst_row(self) -> Row:
        """The row with the largest error, of the first term that is wrong."""
        wrong = [row for row in self.rows if row.verdict == "wrong" and row.point == self.point]
        return max(
            (row for row in wrong if row.term == wrong[0].term), key=lambda row: row.scaled_error
        )

    def parts(self) -> list[Part]:
        """Return what is told: verdict, causes, the table of rows, how it was done, the curve."""
        causes = [(f"likely cause {i}", cause.text) for i, cause in enumerate(self.causes, 1)]
        if self.origin and self.verdict == "wrong":
            causes.append(("enters at", ", ".join(self.origin)))
        if self.hidden:
            causes.append(
                (
                    "hidden",
                    "at the given point itself the gradient is right: the mistake shows at a "
                    "perturbed one, with every parameter moved a little.",
                )
            )
        parts: list[Part] = [Facts(causes, _VERDICTS[self.verdict])]
        if self.rows:
            zeros = any(row.verdict == "zero" for row in self.rows)
            explained = _EXPLANATION + _ZERO * zeros
            parts += [self._table_of_rows(), ShownSentence(explained, small=True)]
        parts.append(Facts(self._facts()))
        if self.curve:
            parts.append(self._table_of_curve())
        return parts

    def _table_of_rows(self) -> ShownTable:
        rows = self.rows
        of = [f"/{row.size:,}" if row.checked < row.size else "" for row in rows]
        worst = ["-" if row.worst is None else _index(row) for row in rows]
        columns = [
            ShownColumn("term", [row.term for row in rows], words=True),
            ShownColumn("array", [row.name for row in rows], words=True, header=True),
            ShownColumn("layer", [row.layer or "-" for row in rows], words=True, rank=6),
            ShownColumn("kind", [row.kind for row in rows], words=True, rank=5),
            ShownColumn(
                "checked", [f"{row.checked:,}{of[i]}" for i, row in enumerate(rows)], rank=2
            ),
            ShownColumn("scaled", [number(row.scaled_error) for row in rows]),
            ShownColumn("direction", [number(row.direction_error) for row in rows], rank=3),
            ShownColumn("norm", [number(row.norm_error) for row in rows], rank=4),
            ShownColumn("sum", [number(row.report_error) for row in rows], rank=7),
            ShownColumn("worst at", worst, words=True, rank=1),
            ShownColumn("analytic", [f"{row.analytic:.5g}" for row in rows], rank=1),
            ShownColumn("numeric", [f"{row.numeric:.5g}" for row in rows], rank=1),
            ShownColumn("verdict", [row.told_verdict for row in rows], words=True),
        ]
        if len({row.term for row in rows}) == 1:
            columns = [one for one in columns if one.head != "term"]
        if all(row.direction_error is None for row in rows):
            columns = [one for one in columns if one.head != "direction"]
        caption = "Analytic against numeric gradient, a row for each array"
        return ShownTable(columns, [caption] * len(rows), [row.verdict == "wrong" for row in rows])

    def _table_of_curve(self) -> ShownTable:
        worst, points = self.worst_row, self.curve
        # A mark for each power of ten above 1e-12.
        marks = [round(math.log10(max(point.error, 1e-300)) + 12) for point in points]
        columns = (
            ShownColumn("step", [f"{point.step:.0e}" for point in points], header=True),
            ShownColumn("numeric", [f"{point.numeric:.9g}" for point in points]),
            ShownColumn("scaled error", [number(point.error) for point in points]),
            ShownColumn("", ["#" * min(14, n) for n in marks], words=True, text_only=True),
        )
        caption = (
            f"central differences of the worst entry, {worst.name}{_index(worst)}, "
            f"analytic {worst.analytic:.9g}"
        )
        return ShownTable(columns, [caption] * len(points), [False] * len(points), announced=True)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("method", self.reason), ("coverage", f"{self.coverage}.")]
        if len(self.points) > 1:
            facts.append(("points", "the given one, and a second, perturbed one."))
        if self.rows:
            scale = "" if self.step == COMPLEX_STEP else " times the parameters' scale"
            tolerance = f"{self.tolerance:.0e}, step {self.step:.2g}{scale}"
            facts.append(("tolerance", f"{tolerance}; loss in {self.precision}; seed {self.seed}."))
        agree = "two evaluations at the same point agree."
        disagree = "NO: evaluations at the same point disagree."
        facts.append(("repeatable", agree if self.deterministic else disagree))
        if self.kinks:
            near = "units near a kink: not known to the checker"
            if self.kinks["units"] is not None:
                near = "{units:,} units at or near a kink"
            kinks = near + (
                "; {one_sided:,} entries agree with a one-sided slope, {nearby:,} were compared at "
                "a point nearby, {left_out:,} left out."
            )
            facts.append(("kinks", kinks.format(**self.kinks)))
        facts += [("note", note) for note in self.notes]
        facts.append(("cost", f"{self.evaluations:,} evaluations in {self.seconds:.2f} s."))
        return facts


def _index(row: Row) -> str:
    return f"[{', '.join(map(str, row.worst or ()))}]"
