"""Tables: as the page shows them, and as CSV with all digits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from klayer.report.best import Best
from klayer.report.fidelity import Fidelity
from klayer.report.findings import Finding
from klayer.report.sentences import p_text, points
from klayer.report.view import ArmView, RunView
from klayer.study.statistics import Estimate, percent
from klayer.train import Settings

__all__ = [
    "Table",
    "comparison_table",
    "confusion_table",
    "fidelity_table",
    "network_table",
    "per_class_table",
    "result_table",
]

ACCURACIES = ("train", "validation", "test")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    name : str
        The stem of its CSV file.
    caption : str
    head : list of str
        Column titles; the first column names the row.
    body : list of list of str
        As shown.
    raw_head, raw : list
        As written to the CSV file; by default the same as shown.
    marks : list of str
        A class for each row: ``"bad"``, ``"good"`` or ``""``.
    words : tuple of str
        Columns that hold words and are aligned left; the first one always is.
    """

    name: str
    caption: str
    head: list[str]
    body: list[list[str]]
    raw_head: list[str] = field(default_factory=list)
    raw: list[list] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    words: tuple[str, ...] = ()

    @property
    def short(self) -> bool:
        """Whether it is short enough to stand open on the page."""
        return len(self.body) <= 12

    def mark(self, row: int) -> str:
        """Return the class of a row."""
        return self.marks[row] if self.marks else ""

    def save(self, folder: Path) -> Path:
        """Write ``NAME.csv``."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.csv"
        with path.open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(self.raw_head or self.head)
            writer.writerows(self.raw or self.body)
        return path


def _mean_sd(found: Estimate) -> str:
    if found.mean is None:
        return "–"
    return (
        percent(found.mean) if found.sd is None else f"{percent(found.mean)} ± {100 * found.sd:.1f}"
    )


def _interval(found: Estimate) -> str:
    if found.low is None:
        return "–"
    return f"{100 * found.low:.1f} to {percent(found.high)}"


def result_table(arms: Sequence[ArmView], name: str, caption: str, *, short: str = "") -> Table:
    """Make the table of final accuracies, a row for each arm.

    Parameters
    ----------
    arms : sequence of ArmView
    name, caption : str
    short : {"", "series", "init_series"}
        Whether rows need only what tells arms of one figure, or of one architecture, apart.
    """
    body, raw, marks = [], [], []
    for arm in arms:
        cells = [arm.measured(split) for split in ACCURACIES]
        test = cells[-1]
        body.append(
            [
                getattr(arm, short or "label"),
                str(test.n),
                *(_mean_sd(one.estimate) for one in cells),
                _interval(test.estimate),
                test.describe(),
            ]
        )
        marks.append("" if test.kind == "trained" and not test.far_apart else "bad")
        row = [arm.name, test.n, test.trained, test.at_chance, test.diverged]
        for one in cells:
            for group in (one.result, one.chance):
                row += [group.mean, group.sd, group.low, group.high, group.least, group.greatest]
        raw.append(row)
    kinds = ("mean", "sd", "low95", "high95", "least", "greatest")
    return Table(
        name,
        caption,
        ["Network", "Seeds", "Train", "Validation", "Test", "95\u202f% interval", "Outcome"],
        body,
        [
            "arm",
            "n",
            "trained",
            "at_chance",
            "diverged",
            *(
                f"{split}_{group}_{kind}"
                for split in ACCURACIES
                for group in ("trained", "at_chance")
                for kind in kinds
            ),
        ],
        raw,
        marks,
        words=("Outcome",),
    )


def network_table(view: RunView) -> Table:
    """Make the table of all networks, for the CSV file alone."""
    keys = ["part", "arm", "seed", "state", "failure"]
    keys += [f"{split}_{what}" for split in ACCURACIES for what in ("accuracy", "loss", "cost")]
    settings = list(Settings.names()) if view.run.networks else []
    raw = [
        [record.to_json().get(key) for key in keys]
        + [_plain(record.settings.as_dict()[key]) for key in settings]
        + [record.seconds]
        for record in view.run.networks
    ]
    return Table("networks", "", [], [], [*keys, *settings, "seconds"], raw)


def _plain(value):
    return " ".join(map(str, value)) if isinstance(value, list) else value


def comparison_table(found: Sequence[Finding], name: str, caption: str) -> Table:
    """Make the table of paired comparisons."""
    body, raw, marks = [], [], []
    for one in found:
        r, d = one.result, one.result.difference
        if r.test == "Fisher":
            what = f"{r.trained[0]} → {r.trained[1]} of {r.n} trained"
        elif d.n:
            what = f"{points(d.mean)} points"
        else:
            what = "none trained" if r.trained == (0, 0) else "–"
        interval = f"{points(d.low)} to {points(d.high)}" if d.low is not None else "–"
        body.append(
            [
                f"{one.b.label}",
                one.a.series
                if one.factor == "batch_norm"
                else one.a.init
                if one.factor == "init"
                else one.a.label,
                str(r.n),
                what,
                interval,
                f"{r.effect:.1f}".replace("-", "\u2212") if r.effect is not None else "–",
                r.test or "–",
                p_text(r.p_holm),
                {"higher": "higher", "lower": "lower"}.get(r.verdict, "not shown"),
            ]
        )
        marks.append({"higher": "good", "lower": "bad"}.get(r.verdict, ""))
        raw.append(
            [one.factor, one.a.name, one.b.name, r.n, *r.trained, r.test, d.mean, d.sd, d.low,
             d.high, r.effect, r.p, r.p_holm, r.p_wilcoxon, r.verdict]
        )  # fmt: skip
    raw_head = [
        "factor", "reference", "arm", "n", "reference_trained", "arm_trained", "test", "difference",
        "sd", "low95", "high95", "d_z", "p", "p_holm", "p_wilcoxon", "verdict",
    ]  # fmt: skip
    head = [
        "Network", "Against", "Seeds", "Difference", "95\u202f% interval", "Effect d", "Test",
        "p (Holm)", "Verdict",
    ]  # fmt: skip
    words = ("Against", "Difference", "Test", "Verdict")
    return Table(name, caption, head, body, raw_head, raw, marks, words)


def fidelity_table(found: Sequence[Fidelity]) -> Table:
    """Make the table of published accuracies beside the measured ones."""
    body, raw, marks = [], [], []
    for one in found:
        m = one.measured
        shown = _mean_sd(m.estimate) if m.estimate.n else m.describe()
        sds = "–" if one.sds is None else f"{one.sds:+.1f}".replace("-", "\u2212")
        verdict = {True: "agrees", False: "differs", None: "open"}[one.agrees]
        because = "; ".join(filter(None, [one.explanation, one.note]))
        body.append(
            [
                one.arm,
                percent(one.published, 2),
                shown,
                str(m.n),
                "–" if one.difference is None else points(one.difference),
                sds,
                verdict,
                because,
            ]
        )
        marks.append({True: "good", False: "bad", None: ""}[one.agrees])
        e = m.estimate
        raw.append(
            [one.arm, one.source, one.published, m.n, m.trained, m.at_chance, m.diverged, e.mean,
             e.sd, e.least, e.greatest, one.difference, one.sds, one.low, one.high, verdict, because]
        )  # fmt: skip
    head = [
        "Network", "Published", "Measured", "Seeds", "Difference", "In sd", "Verdict",
        "What the seeds say",
    ]  # fmt: skip
    raw_head = [
        "arm", "source", "published", "n", "trained", "at_chance", "diverged", "mean", "sd", "least",
        "greatest", "difference", "sds", "prediction_low95", "prediction_high95", "verdict",
        "explanation",
    ]  # fmt: skip
    caption = (
        "Published single runs beside the seeds of this study. Difference: published minus mean, in "
        "points and in standard deviations of the seeds. A run agrees if it lies where one more run "
        "of ours would land in 95\u202f% of cases, so about one in twenty differs by chance."
    )
    words = ("Verdict", "What the seeds say")
    return Table("fidelity", caption, head, body, raw_head, raw, marks, words)


def per_class_table(best: Best) -> Table:
    """Make the table of the best network's accuracy on each class."""
    body, raw = [], []
    for row in best.per_class():
        most = "–" if row["most"] is None else f"{row['most'][0]} ({row['most'][1]})"
        interval = f"{100 * row['low']:.1f} to {percent(row['high'])}"
        body.append([row["name"], f"{row['n']:,}", percent(row["accuracy"]), interval, most])
        raw.append(
            [
                row["name"],
                row["n"],
                row["accuracy"],
                row["low"],
                row["high"],
                *(row["most"] or ("", 0)),
            ]
        )
    return Table(
        "per-class",
        "Test accuracy of the best network, class by class, with Wilson's 95\u202f% interval.",
        ["Class", "Samples", "Accuracy", "95\u202f% interval", "Most often taken for"],
        body,
        ["class", "n", "accuracy", "low95", "high95", "taken_for", "times"],
        raw,
        words=("Most often taken for",),
    )


def confusion_table(best: Best) -> Table:
    """Make the confusion matrix, for the CSV file: rows are true classes."""
    names = list(best.class_names)
    raw = [[name, *map(int, row)] for name, row in zip(names, best.confusion, strict=True)]
    return Table("confusion", "", [], [], ["true \\ predicted", *names], raw)
