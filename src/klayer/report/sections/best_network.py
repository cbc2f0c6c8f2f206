"""The best network: accuracy class by class, confusion, first-layer weights, worst mistakes."""

from __future__ import annotations

from klayer.errors import KlayerError
from klayer.report.examination import Examination, examine, seen
from klayer.report.png import data_uri
from klayer.report.run_view import RunView
from klayer.report.sections.best_outputs import labels, share_panel, targets
from klayer.report.sections.section import Block, Material, Part, block
from klayer.report.table import Table
from klayer.report.vega import (
    BLUES,
    INK,
    Figure,
    Panel,
    Spec,
    channel,
    layers,
    mark,
    step,
)
from klayer.study.measure import MEASURES
from klayer.study.record import NetworkRecord
from klayer.study.statistics import percent

__all__ = ["build"]

# More classes than this make no legible picture; the CSV file has them all.
MOST_CLASSES = 25
ACCURACY = MEASURES["accuracy"]


def build(material: Material) -> list[Part]:
    """Say which network it is; where the data can be read, show what it does with them."""
    view, record = material.view, material.view.best
    if record is None:
        return []
    blocks = [block("text", text=_text(view, record))]
    what = "data"
    try:
        dataset = material.dataset
        what = "network"
        if view.task != "classification":
            shown = targets if view.task == "regression" else labels
            return [Part([*blocks, *shown(material, record, dataset)])]
        found = examine(view, record, dataset)
    except (KlayerError, OSError) as error:
        text = f"The {what} can't be read here, so its mistakes aren't shown: {error}"
        return [Part([*blocks, block("text", text=text, kind="banner")])]
    material.table(_confusion_table(found))
    table = material.table(_class_table(found))
    small = len(found.class_names) <= MOST_CLASSES
    if small:
        blocks.append(material.figure(_per_class(found), narrow=True))
    every = "Every class as a table"
    blocks.append(block("details", summary=every, tables=[table], open=not small))
    if small:
        blocks.append(material.figure(_confusion(found), narrow=True))
    return [Part([*blocks, *_pictures(material, found)])]


def _text(view: RunView, record: NetworkRecord) -> str:
    known = {arm.name: arm.label for arm in view.arms} if record.part == "arms" else {}
    by, measure = view.run.judged_by, view.measure
    chosen = [one for one in view.networks if one.part == record.part]
    among = {"arms": "networks", "finalists": "networks of the finalists", "search": "trials"}
    text = (
        f"Chosen by {by} {measure.word} ({measure.show(record.score(by), 2)}) among "
        f"{len(chosen)} {among.get(record.part, 'networks')}: "
        f"{known.get(record.arm, record.arm)}, seed {record.seed}."
    )
    split = seen(view, record)
    if split == "test":
        reached = {split: measure.show(record.score(split), 2) for split in ("test", "train")}
        text += (
            f" On the test split it reaches {reached['test']}, on the training split "
            f"{reached['train']}."
        )
    elif "test" in view.splits:
        text += " It is a trial, and trials are not tested: what follows is the validation split."
    return text


def _pictures(material: Material, found: Examination) -> list[Block]:
    blocks = []
    if found.weights:
        material.pictures["first-layer-weights.png"] = found.weights
        blocks.append(block("heading", level=3, text="First-layer weights"))
        blocks.append(block("weights", picture=data_uri(found.weights), units=found.units))
    if found.mistakes:
        shown = [(one, data_uri(one.png)) for one in found.mistakes]
        blocks.append(block("heading", level=3, text="What it gets most wrong"))
        blocks.append(block("mistakes", mistakes=shown, split=found.split))
    return blocks


def _per_class(best: Examination) -> Figure:
    """Draw the accuracy of each class with its interval, the best class on top."""
    found = sorted((one for one in best.classes() if one.n), key=lambda one: -(one.accuracy or 0))
    rows = [(one.name, one.accuracy or 0.0, one.low, one.high, one.n) for one in found]
    panel = share_panel(rows, "class", f"{best.split.capitalize()} accuracy")
    caption = (
        f"{best.split.capitalize()} accuracy of the best network by class; lines are 95\u202f% "
        "intervals (Wilson)."
    )
    return Figure("per-class", caption, [panel], width=420)


def _confusion(best: Examination) -> Figure:
    """Draw the confusion matrix: true classes in rows, shares of the row as colours."""
    names = list(best.class_names)
    values: list[Spec] = []
    for true, row in zip(names, best.confusion.tolist(), strict=True):
        for predicted, count in zip(names, row, strict=True):
            share = round(count / sum(row), 4) if count else 0
            text = str(count) if count else ""
            cell = {"t": true, "p": predicted, "c": count, "s": share, "text": text}
            values.append(cell | {"h": step(share)})
    axis = {"domain": False, "ticks": False, "labelColor": INK, "labelLimit": 110}
    top = {**axis, "orient": "top", "labelAngle": -45 if max(map(len, names)) > 3 else 0}
    where = {
        "x": channel("p:N", sort=names, title="predicted", axis=top),
        "y": channel("t:N", sort=names, title="true class", axis=axis),
    }
    blues = {"domain": list(BLUES), "range": list(BLUES)}
    cells = {
        **where,
        "color": channel("h:N", scale=blues, legend=None),
        "tooltip": [
            channel("t:N", title="true"),
            channel("p:N", title="predicted"),
            channel("c:Q", title="samples"),
            channel("s:Q", title="share of the class", format=".1%"),
        ],
    }
    size = 10 if len(names) > 12 else 11
    spec = layers(
        mark("rect", cells, stroke="#fffffe", strokeOpacity=0.35),
        mark("text", {**where, "text": channel("text:N")}, fontSize=size, color="#16181c"),
        values=values,
    )
    off = sorted((v for v in values if v["t"] != v["p"] and v["c"]), key=lambda v: -v["c"])
    worst = "; ".join(f"{v['t']} taken for {v['p']} {v['c']} times" for v in off[:5])
    spoken = (
        f"Confusion matrix of the {best.split} split. Most frequent mistakes: {worst or 'none'}."
    )
    panel = Panel("Confusion matrix", max(160, 30 * len(names)), spoken, spec)
    caption = (
        f"Confusion matrix of the best network on the {best.split} split: samples by true and "
        "predicted class."
    )
    return Figure("confusion", caption, [panel], width=420)


def _class_table(best: Examination) -> Table:
    found = best.classes()
    body = [
        [
            one.name,
            f"{one.n:,}",
            percent(one.accuracy),
            ACCURACY.interval(one.low, one.high),
            one.most,
        ]
        for one in found
    ]
    return Table(
        "per-class",
        f"{best.split.capitalize()} accuracy of the best network, class by class, with Wilson's "
        "95\u202f% interval.",
        ["Class", "Samples", "Accuracy", "95\u202f% interval", "Most often taken for"],
        body,
        ["class", "n", "accuracy", "low95", "high95", "taken_for", "times"],
        [list(vars(one).values()) for one in found],
        words=("Most often taken for",),
    )


def _confusion_table(best: Examination) -> Table:
    """Make the confusion matrix, for the CSV file: rows are true classes."""
    rows = zip(best.class_names, best.confusion.tolist(), strict=True)
    head = ["true \\ predicted", *best.class_names]
    return Table("confusion", "", [], [], head, [[name, *row] for name, row in rows])
