"""Tables: as the page shows them, and as CSV with all digits; the columns of the final results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from klayer.files import write_csv
from klayer.report.run_view import SPLITS, ArmView, RunView
from klayer.study.record import Score
from klayer.study.statistics import Comparison, Estimate, percent
from klayer.train import Settings

__all__ = [
    "COLUMNS",
    "VERDICT_MARKS",
    "Column",
    "Table",
    "columns",
    "comparison_cells",
    "interval",
    "mean_sd",
    "network_table",
    "p_text",
    "points",
    "result_table",
]


@dataclass(frozen=True)
class Table:
    """A table, as shown and as written to its CSV file."""

    name: str  # the stem of the file
    caption: str
    head: list[str]
    body: list[list[str]]  # the first column names the row
    raw_head: list[str] = field(default_factory=list)  # of the file, by default the same as shown
    raw: list[list[Any]] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)  # a class for each row: "bad", "good" or ""
    words: tuple[str, ...] = ()  # columns of words, aligned left; the first one always is
    tips: dict[str, str] = field(default_factory=dict)  # what a title says when it is pointed at

    @property
    def short(self) -> bool:
        """Whether it is short enough to stand open on the page."""
        return len(self.body) <= 12

    def mark(self, row: int) -> str:
        """Return the class of a row."""
        return self.marks[row] if self.marks else ""

    def save(self, folder: Path) -> Path:
        """Write ``NAME.csv`` into a folder that is there."""
        path = folder / f"{self.name}.csv"
        write_csv(path, self.raw_head or self.head, self.raw or self.body)
        return path


# The class of a row by what its comparison shows.
VERDICT_MARKS = {"higher": "good", "lower": "bad"}


# Numbers as tables and sentences write them.


def points(value: float | None) -> str:
    """Write a difference of shares in percentage points, with its sign.

    Examples
    --------
    >>> points(0.0415), points(-0.003), points(None)
    ('+4.2', '−0.3', '–')
    """
    if value is None:
        return "–"
    shown = f"{100 * value:+.1f}"
    return shown.replace("-", "\u2212").replace("+0.0", "0.0").replace("\u22120.0", "0.0")


def p_text(p: float | None) -> str:
    """Write a p-value.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-5), p_text(None)
    ('0.031', '< 0.001', '–')
    """
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def mean_sd(found: Estimate, digits: int = 1) -> str:
    """Write a mean share with its standard deviation, where there is one."""
    shown = percent(found.mean, digits)
    return shown if found.sd is None else f"{shown} ± {100 * found.sd:.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares."""
    return "–" if low is None else f"{100 * low:.1f} to {percent(high)}"


def comparison_cells(found: Comparison) -> dict[str, str]:
    """Write a comparison, by the headings of its columns."""
    d = found.difference
    if found.test == "Fisher":
        what = f"{found.trained[0]} → {found.trained[1]} of {found.n} trained"
    elif d.n:
        what = f"{points(d.mean)} points"
    else:
        what = "none trained" if found.trained == (0, 0) else "–"
    effect = found.effect
    return {
        "Seeds": str(found.n),
        "Difference": what,
        "95\u202f% interval": "–" if d.low is None else f"{points(d.low)} to {points(d.high)}",
        "Effect d": "–" if effect is None else f"{effect:.1f}".replace("-", "\u2212"),
        "Test": found.test or "–",
        "p (Holm)": p_text(found.p_holm),
        "Verdict": found.verdict if found.verdict in VERDICT_MARKS else "not shown",
    }


# The final results.


@dataclass(frozen=True)
class Column:
    """A column of the final results, wherever they stand: what it shows of an arm."""

    heading: str  # on the page
    page: Callable[[ArmView], str]
    raw: Callable[[ArmView], dict[str, Any]] | None = None  # in the CSV file, by key
    word: str = ""  # its heading in the terminal; without, there is no such column
    terminal: Callable[[ArmView], str] | None = None  # by default the same as on the page
    digits: Callable[[ArmView], str] | None = None  # in README
    words: bool = False  # aligned left
    tip: str = ""  # what the heading says when it is pointed at
    split: str = ""  # the split that it is about: without that split, there is no such column

    def plain(self, arm: ArmView) -> str:
        """Return what the terminal shows."""
        return (self.terminal or self.page)(arm)


def _accuracy(split: str) -> Column:
    def raw(arm: ArmView) -> dict[str, Any]:
        found = arm.measured(split)
        names = {"mean": "mean", "sd": "sd", "low": "low95", "high": "high95",
                 "least": "least", "greatest": "greatest"}  # fmt: skip
        return {
            f"{split}_{group}_{name}": getattr(values, key)
            for group, values in (("trained", found.result), ("at_chance", found.chance))
            for key, name in names.items()
        }

    def terminal(arm: ArmView) -> str:
        found = arm.everything(split)
        if found.mean is None:
            return "-"
        if found.sd is None:
            return f"{found.mean:.2%}"
        return f"{100 * found.mean:.2f} ± {found.sd:.2%}"

    return Column(
        split.capitalize(),
        lambda arm: mean_sd(arm.measured(split).estimate),
        raw,
        word=split,
        terminal=terminal,
        digits=lambda arm: _in_digits(arm, split),
        tip=f"Accuracy on the whole {split} split: mean ± standard deviation over the seeds.",
        split=split,
    )


def _in_digits(arm: ArmView, split: str) -> str:
    """Write mean and standard deviation, or what became of the networks."""
    found, every = arm.measured(split), arm.everything(split)
    stuck = found.n - found.trained
    if stuck == found.n:
        return f"never trains ({stuck} of {found.n})"
    span = f"{every.least:.3f} to {every.greatest:.3f}"
    if stuck:
        return f"{span} ({stuck} of {found.n} at chance)"
    if (every.sd or 0) > 0.03:
        return span
    return f"{every.mean:.4f}" + ("" if every.sd is None else f" ± {every.sd:.4f}")


def _counts(arm: ArmView) -> dict[str, Any]:
    found = arm.cell
    return {name: getattr(found, name) for name in ("n", "trained", "at_chance", "diverged")}


def _outcome(arm: ArmView) -> str:
    """Say what became of a network, or how many of several did not train."""
    if len(arm.records) == 1:
        one = arm.records[0]
        return f"{one.state}: {one.failure}" if one.failure else one.state
    found = arm.cell
    counts = {"at chance": found.at_chance, "diverged": found.diverged}
    return ", ".join(f"{k} of {found.n} {state}" for state, k in counts.items() if k)


COLUMNS = (
    Column("Network", lambda arm: arm.label, lambda arm: {"arm": arm.name}, word="arm",
           terminal=lambda arm: arm.name, words=True),
    Column("Seeds", lambda arm: str(arm.cell.n), _counts, word="n"),
    *map(_accuracy, SPLITS),
    Column("95\u202f% interval", lambda arm: interval(arm.cell.estimate.low, arm.cell.estimate.high),
           tip="Where the mean over many more seeds would lie, Student's t."),
    Column("Outcome", lambda arm: arm.cell.describe(), word="state", terminal=_outcome, words=True),
)  # fmt: skip


def columns(arms: Sequence[ArmView]) -> list[Column]:
    """Return the columns of a table of these arms: those of splits that they have, and the others."""
    splits = {split for arm in arms for split in arm.splits} or SPLITS
    return [column for column in COLUMNS if not column.split or column.split in splits]


def result_table(
    arms: Sequence[ArmView], name: str, caption: str, *, short: str = "label"
) -> Table:
    """Make the table of final accuracies, a row for each arm.

    ``short`` says what names a row: ``"label"``; ``"series"``, what tells arms of one figure apart;
    ``"init_series"``, what tells those of one architecture apart.
    """
    shown = columns(arms)

    def raw(arm: ArmView) -> dict[str, Any]:
        parts = [column.raw(arm) for column in shown if column.raw]
        return {key: value for part in parts for key, value in part.items()}

    return Table(
        name,
        caption,
        [column.heading for column in shown],
        [[getattr(arm, short), *(column.page(arm) for column in shown[1:])] for arm in arms],
        list(raw(ArmView("", Settings(), [], "", "", ""))),
        [list(raw(arm).values()) for arm in arms],
        ["" if arm.cell.kind == "trained" and not arm.cell.far_apart else "bad" for arm in arms],
        tuple(column.heading for column in shown[1:] if column.words),
        {column.heading: column.tip for column in shown if column.tip},
    )


def network_table(view: RunView) -> Table:
    """Make the table of all networks, for the CSV file alone."""

    def plain(value: Any) -> Any:
        return " ".join(map(str, value)) if isinstance(value, list) else value

    kinds = ("accuracy", "loss", "cost")
    head = ["part", "arm", "seed", "state", "failure"]
    head += [f"{split}_{kind}" for split in view.splits for kind in kinds]
    raw = []
    for one in view.networks:
        scores = [one.scores.get(split, Score()) for split in view.splits]
        finals = [getattr(score, kind) for score in scores for kind in kinds]
        settings = [plain(value) for value in one.settings.as_dict().values()]
        about = [one.part, one.arm, one.seed, one.state, one.failure]
        raw.append([*about, *finals, *settings, one.seconds])
    names = list(view.networks[0].settings.as_dict()) if view.networks else []
    return Table("networks", "", [], [], [*head, *names, "seconds"], raw)
