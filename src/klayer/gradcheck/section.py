"""The report's section 1, repeated: its gradient tables, measured beside published."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from klayer.errors import KlayerError
from klayer.gradcheck.network import check_network, generic_params
from klayer.gradcheck.result import Check
from klayer.nn import BATCH_NORM, Network
from klayer.shown import (
    Part,
    Shown,
    ShownColumn,
    ShownSentence,
    ShownTable,
    number,
    plain,
)

__all__ = ["PUBLISHED", "ReportSection", "SectionRow", "report_section"]

FEATURES, WIDTH, CLASSES, SAMPLES, L2 = 50, 20, 10, 20, 0.1
LAYERS = (2, 3, 9)

# The report's sums of relative errors, as printed there: (layers, batch norm) -> array -> sum. Its
# tables with batch normalisation list gamma and beta of every layer, the last included: "all".
PUBLISHED = {
    (2, "none"): {
        "W1": 1.4673426882692818e-4, "b1": -7.229957822585430e-8,
        "W2": 2.7203157320845678e-6, "b2": 2.1396981420099052e-8,
    },
    (3, "none"): {
        "W1": -1.8845415368999968e-3, "b1": -1.1746269553369477e-7,
        "W2": 1.862968508467330e-7, "b2": 3.027183788983597e-8,
        "W3": 1.9484145334911440e-6, "b3": 1.0079336918441645e-8,
    },
    (2, "all"): {
        "W1": 4.42125333445057e-5, "beta1": 8.646127578832108e-7, "gamma1": 9.415384832137367e-7,
        "W2": 8.013386982254017e-6, "beta2": 9.011532476209387e-7, "gamma2": 3.3187973562792394e-8,
    },
    (3, "all"): {
        "W1": 6.552163728967155e-5, "beta1": 2.421152420043049e-6, "gamma1": 7.53856764889225e-6,
        "W2": 1.9291068433010034e-5, "beta2": 1.2539411495296493e-6, "gamma2": 1.1830048707082187e-6,
        "W3": 4.285723777639723e-6, "beta3": 3.3288229888493277e-6, "gamma3": 1.1156746088136048e-8,
    },
}  # fmt: skip

_OVERALL = {"right": "all right", "wrong": "NOT ALL RIGHT", "undecided": "not all decided"}
_NOTE = (
    "Each number sums |a - n| / max(eps, |a| + |n|) over an array's entries, a analytic and n "
    "numeric. Published: as the report prints it, by differences; three of its sums are negative, "
    "which a sum of absolute values can't be. Central: the same measure here, by central "
    "differences, where there is a published number. Complex: by complex step. Norm: "
    "||a - n|| / max(||a||, ||n||). Scaled: the largest |a - n| / max(|a|, |n|, 1e-6 max |g|). "
    "Norm and scaled are by complex step; 1e-8 is allowed."
)


@dataclass(frozen=True)
class SectionRow:
    """One array of one network; ``published`` and ``central`` where the report has a number."""

    layers: int
    batch_norm: str
    layer: int
    kind: str
    name: str
    published: float | None  # sum of relative errors: the report's
    central: float | None  # ours, by differences
    measured: float  # ours, by the method
    norm_error: float | None
    scaled_error: float
    verdict: str  # of the row, see Row
    told: str  # the same in words
    method: str


@dataclass(frozen=True)
class ReportSection(Shown):
    """Section 1 as data; ``text()``, ``html()`` and ``to_json()`` show it."""

    heading: ClassVar[str] = "Checking the gradients"
    title: ClassVar[str] = "Gradients, analytic against numeric: the report's section 1"

    rows: tuple[SectionRow, ...]
    # By layers and batch_norm: the whole checks, data term and L2 term apart.
    checks: dict[tuple[int, str], Check]
    features: int
    width: int
    samples: int
    l2: float
    inputs: str
    seed: int

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(check.ok for check in self.checks.values())

    @property
    def verdict(self) -> str:
        """That of the worst check: right, undecided or wrong."""
        verdicts = {check.verdict for check in self.checks.values()}
        return next((one for one in ("wrong", "undecided") if one in verdicts), "right")

    @property
    def setting(self) -> str:
        """What was checked, in a line."""
        return (
            f"{self.features} inputs ({self.inputs}), hidden layers of {self.width} nodes, "
            f"lambda {self.l2:g}, {self.samples} samples, seed {self.seed}; data term and L2 term "
            f"were checked apart too: {_OVERALL[self.verdict]}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "schema": "klayer.gradcheck.section/1",
            "ok": self.ok,
            "setting": self.setting,
            "rows": [plain(asdict(row)) for row in self.rows],
            "checks": [
                {"layers": layers, "batch_norm": norm, **check.to_dict()}
                for (layers, norm), check in self.checks.items()
            ],
        }

    def parts(self) -> list[Part]:
        """Return what is told: the setting, and a table for each network."""
        rows = self.rows
        columns = (
            ShownColumn("network", [f"{row.layers} layers" for row in rows], True, text_only=True),
            ShownColumn("BN", [row.batch_norm for row in rows], words=True, text_only=True),
            ShownColumn("array", [row.name for row in rows], words=True, header=True),
            ShownColumn("published", [number(row.published) for row in rows]),
            ShownColumn("central", [number(row.central) for row in rows], rank=2),
            ShownColumn("complex", [number(row.measured) for row in rows]),
            ShownColumn("norm", [number(row.norm_error) for row in rows], rank=3),
            ShownColumn("scaled", [number(row.scaled_error) for row in rows], rank=1),
            ShownColumn("verdict", [row.told for row in rows], words=True),
        )
        captions = [
            f"{row.layers} layers, batch normalisation: {row.batch_norm} "
            f"({self.checks[row.layers, row.batch_norm].verdict})"
            for row in rows
        ]
        table = ShownTable(columns, captions, [row.verdict == "wrong" for row in rows])
        return [ShownSentence(self.setting), table, ShownSentence(_NOTE, small=True)]


def report_section(
    x: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    seed: int = 0,
    layers: tuple[int, ...] = LAYERS,
    inputs: str = "given",
    progress: Callable[[str], None] | None = None,
) -> ReportSection:
    """Check the gradients of the report's networks and put the result beside the report's.

    2, 3 and 9 layers, batch normalisation none, hidden and all; 50 inputs, hidden layers of 20
    nodes, lambda 0.1; every entry.

    Parameters
    ----------
    x : array, shape (N, D), optional
        A batch; of more than 50 features the first 50 are used. By default 20 samples, standard
        normal.
    labels : int array, shape (N,), optional
        Values 0 ... 9; to be given with ``x``.
    seed : int, >= 0
        For parameters, and for the batch if none is given.
    layers : tuple of int
        Depths to check.
    inputs : str
        What ``x`` is, for the report: ``"CIFAR-10, first 50 pixels"``.
    progress : callable, optional
        Called with a line of text before each network.

    Returns
    -------
    section : ReportSection

    Examples
    --------
    >>> section = report_section(layers=(2,))
    >>> section.ok, len(section.rows), max(row.norm_error for row in section.rows) < 1e-13
    (True, 15, True)
    """
    if x is None:
        rng = np.random.default_rng([seed, 3])
        x = rng.standard_normal((SAMPLES, FEATURES))
        labels = rng.integers(CLASSES, size=SAMPLES)
        inputs = "synthetic, standard normal"
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2:
        raise KlayerError(f"`x` must have shape (N, D), but got {x.shape}: pass samples as rows.")
    x = x[:, :FEATURES]
    rows: list[SectionRow] = []
    checks = {}
    for depth, norm in itertools.product(layers, BATCH_NORM):
        if progress:
            progress(f"{depth} layers, batch normalisation: {norm}")
        network = Network(x.shape[1], (WIDTH,) * (depth - 1), CLASSES, batch_norm=norm)
        params: dict[str, ArrayLike] = dict(generic_params(network, seed=seed))
        check = check_network(network, params, x, labels, l2=L2, seed=seed, second_point=False)
        checks[depth, norm] = check
        published = PUBLISHED.get((depth, norm), {})
        central = {}
        if published:
            rough = check_network(
                network, params, x, labels, l2=L2, seed=seed, method="central", second_point=False
            )
            central = {row.name: row.report_error for row in rough.rows if row.term == "cost"}
        rows += [
            SectionRow(
                layers=depth,
                batch_norm=norm,
                layer=int(row.layer),
                kind=row.kind,
                name=row.name,
                published=published.get(row.name),
                central=central.get(row.name),
                measured=row.report_error,
                norm_error=row.norm_error,
                scaled_error=row.scaled_error,
                verdict=row.verdict,
                told=row.told_verdict,
                method=check.method,
            )
            for row in check.rows
            if row.term == "cost"
        ]
    return ReportSection(tuple(rows), checks, x.shape[1], WIDTH, len(x), L2, inputs, seed)
