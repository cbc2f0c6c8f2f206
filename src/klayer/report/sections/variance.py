"""Where the spread over seeds comes from, if a study varies more than the initial weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from klayer.report.run_view import ArmView, RunView
from klayer.report.sections.section import Material, Part, block
from klayer.report.table import INTERVAL, Table
from klayer.study.measure import Measure
from klayer.study.statistics import Estimate, pooled_sd

__all__ = ["build", "said"]

_SOURCES = {
    "init": "initial weights",
    "order": "order of the batches",
    "split": "rows of training and validation",
}
_TOGETHER = "all together"


@dataclass(frozen=True)
class Component:
    """How far networks of one arm lie apart if one source alone follows the seed."""

    source: str
    values: list[list[float]]  # by arm

    @property
    def sd(self) -> Estimate:
        """Their common standard deviation."""
        return pooled_sd(self.values)


def build(material: Material) -> list[Part]:
    """Say what each source contributes, over all arms and arm by arm."""
    view = material.view
    found = _components(view)
    if not found:
        return []
    arms = _arms(view)
    text = (
        f"A seed decides the {_list([_SOURCES[one.source] for one in found[:-1]])}. For each of these "
        "there are networks in which it alone follows the seed, while the others stay at the first. "
        "Only networks that left chance count."
    )
    blocks = [block("text", text=said(view)), block("text", text=text, kind="note")]
    blocks.append(block("table", one=material.table(_table(found, view.measure, view.judged))))
    if len(arms) > 1:
        table = material.table(_by_arm(arms, found, view))
        blocks.append(block("details", summary="Arm by arm", tables=[table]))
    return [Part(blocks)]


def said(view: RunView) -> str:
    """Say in a sentence what each source contributes; empty if only the first varies."""
    found, measure = _components(view), view.measure
    if not found:
        return ""
    told = [f"{_SOURCES[one.source]} {_points(measure, one.sd.mean)}" for one in found[:-1]]
    whole = _points(measure, found[-1].sd.mean)
    return (
        f"Spread of {view.judged} over seeds (standard deviation): {', '.join(told)}; {_TOGETHER} "
        f"{whole}."
    )


def _points(measure: Measure, sd: float | None) -> str:
    return measure.amount(sd, sign=False) if sd is not None else "–"


def _list(words: Sequence[str]) -> str:
    return f"{', the '.join(words[:-1])} and the {words[-1]}"


def _arms(view: RunView) -> list[ArmView]:
    return [arm for arm in view.with_results if arm.cell.trained > 1]


def _components(view: RunView) -> list[Component]:
    """Return the sources that the study varies, and last all of them together."""
    vary = () if view.run.kind == "search" else view.run.study.vary
    if len(vary) < 2:
        return []
    arms = _arms(view)
    alone = [Component(source, [_alone(view, arm, source) for arm in arms]) for source in vary]
    together = [_values(arm, arm.records) for arm in arms]
    found = [*alone, Component(_TOGETHER, together)]
    return found if all(one.sd.n for one in found) else []


def _values(arm: ArmView, records: Sequence[object]) -> list[float]:
    known = [one for one in arm.records if one in records and one.state == "trained"]
    return [value for one in known if (value := arm.value(one)) is not None]


def _alone(view: RunView, arm: ArmView, source: str) -> list[float]:
    """Return what networks reached in which one source alone follows the seed, the first among them."""
    first = view.run.study.seeds[0]
    centre = _values(arm, [one for one in arm.records if one.seed == first])
    name = f"{arm.name}: {source}"
    others = [
        value
        for one in view.networks
        if one.part == "variance"
        and (one.arm == name or one.arm.startswith(f"{name} "))
        and one.state == "trained"
        and (value := arm.value(one)) is not None
    ]
    return centre + others


def _table(found: Sequence[Component], measure: Measure, judged: str) -> Table:
    total = sum((one.sd.mean or 0.0) ** 2 for one in found[:-1]) or 1.0
    body, raw = [], []
    for one in found:
        sd = one.sd
        share = (sd.mean or 0.0) ** 2 / total
        shown = f"{100 * share:.0f}\u202f%" if one.source in _SOURCES else "–"
        name = _SOURCES.get(one.source, one.source)
        body.append([
            name, measure.spread(sd.mean or 0.0, 2),
            f"{measure.spread(sd.low or 0.0, 2)} to {measure.spread(sd.high or 0.0, 2)}",
            shown, str(sd.n),
        ])  # fmt: skip
        raw.append([one.source, sd.mean, sd.low, sd.high, share, sd.n])
    unit = " in points" if measure.share else ""
    caption = (
        f"Standard deviation of {judged}{unit}, pooled over the arms. Share: of the sum of the single "
        "variances; if the sources add up, that sum is the variance of all together."
    )
    head = ["What varies", "Sd", INTERVAL, "Share", "Degrees of freedom"]
    raw_head = ["source", "sd", "low95", "high95", "share", "df"]
    return Table("variance", caption, head, body, raw_head, raw)


def _by_arm(arms: Sequence[ArmView], found: Sequence[Component], view: RunView) -> Table:
    measure = view.measure
    sds = [[pooled_sd([one.values[i]]).mean for one in found] for i in range(len(arms))]
    body = [
        [arm.label, *("–" if sd is None else measure.spread(sd, 2) for sd in row)]
        for arm, row in zip(arms, sds, strict=True)
    ]
    raw = [[arm.name, *row] for arm, row in zip(arms, sds, strict=True)]
    head = ["Network", *(_SOURCES.get(one.source, one.source).capitalize() for one in found)]
    caption = f"Standard deviation of {view.judged}, arm by arm."
    return Table("variance-arms", caption, head, body, ["arm", *(one.source for one in found)], raw)
