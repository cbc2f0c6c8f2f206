"""What a gradient check found, as plain data: rows, causes, the curve of error against step."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field

from klayer.errors import KlayerError

__all__ = ["Cause", "Check", "CurvePoint", "GradientError", "Row"]


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
    verdict : {"right", "wrong", "zero", "undecided"}
        ``zero``: structurally zero, nothing but rounding on both sides.
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
    verdict: str


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
class Check:
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
    """

    verdict: str
    method: str
    reason: str
    rows: tuple[Row, ...]
    tolerance: float
    step: float
    precision: str
    seed: int
    networks: int = 1
    origin: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = ()
    deterministic: bool = True
    kinks: dict = field(default_factory=dict)
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

    def to_dict(self) -> dict:
        """Return everything as plain data, ready for JSON; what isn't finite becomes text."""
        return {"schema": "klayer.gradcheck/1", "ok": self.ok, **_plain(asdict(self))}

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as strict JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def text(self, width: int = 100) -> str:
        """Return the report for a terminal of ``width`` columns."""
        from klayer.gradcheck.text import check_text

        return check_text(self, width)

    def html(self, heading: str = "Gradient check", level: int = 2) -> str:
        """Return a self-contained HTML fragment: no script, no external file, all text escaped.

        ``level`` is that of the heading, 1 ... 6.
        """
        from klayer.gradcheck.html import check_html

        return check_html(self, heading, level)

    def __str__(self) -> str:
        return self.text()


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
