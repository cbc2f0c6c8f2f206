"""Published accuracies beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.fidelity import Fidelity
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import Table, mean_sd
from klayer.study.measure import MEASURES
from klayer.study.statistics import percent

__all__ = ["build"]

# What publications give; other tasks have none.
ACCURACY = MEASURES["accuracy"]
_VERDICTS = {True: ("agrees", "good"), False: ("differs", "bad"), None: ("open", "")}


def build(material: Material) -> list[Part]:
    """Count the published accuracies that agree, and show all of them."""
    rows = material.comparisons.fidelity
    if not rows:
        return []
    cells = {(one.source, one.published): False for one in rows}
    for one in rows:
        cells[one.source, one.published] |= bool(one.agrees)
    text = (
        f"{sum(cells.values())} of {len(cells)} published accuracies agree with at least one of the "
        "networks that they may stand for. Published values are single runs: a few tenths of a point "
        "between two of them mean nothing. "
        f"Sources: {', '.join(dict.fromkeys(one.source for one in rows))}."
    )
    table = material.table(_table(rows))
    long = ("What the seeds say",)
    return [Part([block("text", text=text), block("table", one=table, long=long)])]


def _table(found: Sequence[Fidelity]) -> Table:
    body, raw, marks = [], [], []
    for one in found:
        m, e = one.measured, one.measured.estimate
        verdict, colour = _VERDICTS[one.agrees]
        because = "; ".join(filter(None, [one.explanation, one.note]))
        body.append(
            [
                one.arm,
                verdict,
                percent(one.published, 2),
                mean_sd(e, ACCURACY) if e.n else m.describe(),
                ACCURACY.difference(one.difference),
                "–" if one.sds is None else f"{one.sds:+.1f}".replace("-", "\u2212"),
                str(m.n),
                because,
            ]
        )
        marks.append(colour)
        raw.append(
            [one.arm, one.source, one.published, m.n, m.trained, m.at_chance, m.diverged, e.mean,
             e.sd, e.least, e.greatest, one.difference, one.sds, *one.interval, verdict, because]
        )  # fmt: skip
    head = ["Network", "Verdict", "Published", "Measured", "Difference", "In sd", "Seeds",
            "What the seeds say"]  # fmt: skip
    raw_head = ["arm", "source", "published", "n", "trained", "at_chance", "diverged", "mean", "sd",
                "least", "greatest", "difference", "sds", "prediction_low95", "prediction_high95",
                "verdict", "explanation"]  # fmt: skip
    caption = (
        "Published single runs beside the seeds of this study. Difference: published minus mean, in "
        "points and in standard deviations of the seeds. A run agrees if it lies where one more run "
        "of ours would land in 95\u202f% of cases, so about one in twenty differs by chance."
    )
    words = ("Verdict", "What the seeds say")
    return Table("fidelity", caption, head, body, raw_head, raw, marks, words)
