"""Tables: as the page shows them, and as CSV with all digits; the columns of the final results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from klayer.files import write_csv
from klayer.report.run_view import SPLITS, ArmView, RunView
from klayer.study.chance import BESIDE_ACCURACY
from klayer.study.comparison import Comparison
from klayer.study.measure import MEASURES, Measure
from klayer.study.record import Score
from klayer.study.statistics import Estimate, percent
from klayer.train import Settings
from klayer.train.metrics import METRICS

__all__ = [
    "COLUMNS",
    "COMPARISON_TIPS",
    "INTERVAL",
    "VERDICT_MARKS",
    "Column",
    "Table",
    "columns",
    "comparison_cells",
    "mean_sd",
    "network_table",
    "p_text",
    "result_table",
    "share_text",
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


OUTCOME, ROWS = "Outcome", "Rows leave open"
INTERVAL = "95\u202f% interval"
# The class of a row by what its comparison shows.
VERDICT_MARKS = {"higher": "good", "lower": "bad"}


# Numbers as tables and sentences write them.


def p_text(p: float | None) -> str:
    """Write a p-value.

    Examples
    --------
    >>> p_text(0.0312), p_text(1e-5), p_text(None)
    ('0.031', '< 0.001', '–')
    >>> p_text(0.0496), p_text(0.0503)  # on either side of what is called shown
    ('0.0496', '0.0503')
    """
    if p is None:
        return "–"
    digits = 3 if 0.045 < p < 0.055 else 2
    return "< 0.001" if p < 0.001 else f"{p:.{digits}g}" if p < 0.1 else f"{p:.2f}"


def share_text(value: float | None) -> str:
    """Write a probability in per cent, without decimals.

    Examples
    --------
    >>> share_text(0.52), share_text(None)
    ('52\u202f%', '–')
    """
    return percent(value, 0)


def comparison_cells(found: Comparison, measure: Measure) -> dict[str, str]:
    """Write a comparison, by the headings of its columns."""
    d = found.difference
    if found.test == "Fisher":
        what = f"{found.trained[0]} → {found.trained[1]} of {found.n} left chance"
    elif found.identical:
        what = "none, seed by seed"
    elif d.n:
        what = measure.amount(d.mean)
    else:
        what = "none left chance" if found.trained == (0, 0) else "–"
    smallest = found.smallest_shown
    interval = f"{measure.difference(d.low)} to {measure.difference(d.high)}"
    return {
        "Verdict": found.verdict if found.verdict in VERDICT_MARKS else "not shown",
        "Difference": what,
        INTERVAL: "–" if d.low is None else interval,
        "p (Holm)": p_text(found.p_holm),
        "Ahead": share_text(found.superiority),
        "Could show": measure.difference(smallest).lstrip("+") if smallest else "–",
        "Seeds": str(found.n),
    }


COMPARISON_TIPS = {
    "Difference": "Mean over common seeds, the named one minus the one it is set against.",
    INTERVAL: "Of the mean difference, Student's t.",
    "p (Holm)": "Paired t, or Fisher's exact test of the numbers that left chance; corrected for all "
    "comparisons of this table.",
    "Ahead": "How often a seed of the named one is better than a seed of the other.",
    "Could show": "The smallest true difference that these seeds would have shown in 80\u202f% of "
    "cases.",
}


def mean_sd(found: Estimate, measure: Measure, digits: int = 1) -> str:
    """Write a mean with its standard deviation, where there is one."""
    return measure.mean_sd(found.mean, found.sd, digits)


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
    task: str = ""  # of whose networks alone it tells
    uneven: bool = False  # whether it stands beside the accuracy of uneven classes alone

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
        if not arm.measure.share:
            return arm.measure.mean_sd(found.mean, found.sd, 2)
        if found.sd is None:
            return f"{found.mean:.2%}"
        return f"{100 * found.mean:.2f} ± {found.sd:.2%}"

    return Column(
        split.capitalize(),
        lambda arm: mean_sd(arm.measured(split).estimate, arm.measure),
        raw,
        word=split,
        terminal=terminal,
        digits=lambda arm: _in_digits(arm, split),
        tip=f"Accuracy on the whole {split} split: mean ± standard deviation over the seeds.",
        split=split,
    )


def _beside(score: str, heading: str, tip: str, task: str = "classification") -> Column:
    measure = MEASURES[score]

    def terminal(arm: ArmView) -> str:
        mean = arm.beside(score).mean
        return "-" if mean is None else f"{mean:.2%}" if measure.share else measure.show(mean)

    return Column(
        heading,
        lambda arm: mean_sd(arm.beside(score), measure),
        lambda arm: {f"{score}_mean": arm.beside(score).mean, f"{score}_sd": arm.beside(score).sd},
        word=heading.lower(),
        terminal=terminal,
        tip=tip,
        uneven=task == "classification",
        task=task,
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
    Column("Network", lambda arm: arm.label, lambda arm: {"arm": arm.name, "label": arm.label},
           word="arm", words=True),
    Column("Seeds", lambda arm: str(arm.cell.n), _counts, word="n"),
    *map(_accuracy, SPLITS),
    _beside("balanced_accuracy", "Balanced",
            "Balanced accuracy on the last split: the share of right rows of each class, averaged."),
    _beside("rmse", "RMSE", "Root mean squared error on the last split, in the target's unit.",
            "regression"),
    _beside("exact_match", "Exact match", "Share of the rows of the last split of which every label is "
            "right.", "multilabel"),
    _beside("macro_f1", "Macro F1", "The F1 scores of the classes on the last split, averaged."),
    Column(INTERVAL, lambda arm: arm.measure.interval(arm.cell.estimate.low, arm.cell.estimate.high),
           tip="Where the mean over many more seeds would lie, Student's t."),
    Column(ROWS, lambda arm: arm.measure.interval(*arm.rows_interval),
           tip="Where the accuracy of one such network would lie on many more rows, after Wilson; all "
           "seeds share the rows, so this is not in their spread."),
    Column(OUTCOME, lambda arm: arm.describe(), word="state", terminal=_outcome, words=True),
)  # fmt: skip


def columns(arms: Sequence[ArmView]) -> list[Column]:
    """Return the columns of a table of these arms: those of splits that they have, and the others."""
    splits = {split for arm in arms for split in arm.splits} or SPLITS
    uneven = any(arm.uneven for arm in arms)
    tasks = {METRICS[arm.measure.name].task for arm in arms}
    return [
        column
        for column in COLUMNS
        if (not column.split or column.split in splits)
        and (uneven or not column.uneven)
        and column.task in ("", *tasks)
    ]


def result_table(
    arms: Sequence[ArmView],
    name: str,
    caption: str,
    label: Callable[[ArmView], str] = lambda arm: arm.label,
) -> Table:
    """Make the table of final scores, a row for each arm, named by ``label``.

    Where every network of every arm left chance, the outcome is not worth a column.
    """
    plain = all(arm.cell.kind == "trained" and not arm.cell.far_apart for arm in arms)
    left_out = {OUTCOME} if plain else set()
    if all(arm.rows_interval[0] is None for arm in arms):
        left_out.add(ROWS)
    shown = [one for one in columns(arms) if one.heading not in left_out]

    def raw(arm: ArmView) -> dict[str, Any]:
        parts = [column.raw(arm) for column in shown if column.raw]
        return {key: value for part in parts for key, value in part.items()}

    return Table(
        name,
        caption,
        [column.heading for column in shown],
        [[label(arm), *(column.page(arm) for column in shown[1:])] for arm in arms],
        list(raw(ArmView("", Settings(), [], ""))),
        [list(raw(arm).values()) for arm in arms],
        ["" if arm.cell.kind == "trained" and not arm.cell.far_apart else "bad" for arm in arms],
        tuple(column.heading for column in shown[1:] if column.words),
        {column.heading: column.tip for column in shown if column.tip},
    )


def network_table(view: RunView) -> Table:
    """Make the table of all networks, for the CSV file alone."""

    def plain(value: Any) -> Any:
        return " ".join(map(str, value)) if isinstance(value, list) else value

    kinds = tuple(kind for kind in vars(Score()) if view.uneven or kind not in BESIDE_ACCURACY)
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
