"""The arms of a study: a part for each figure of the reference, and one for all others."""

from __future__ import annotations

from collections.abc import Sequence

from klayer.report.conclusion import effect
from klayer.report.curves import Line, curve_panel, kinds_of
from klayer.report.layout import MOST_COLOURS, Arrangement, Group
from klayer.report.run_view import ArmView
from klayer.report.sections.section import Block, Material, Part, block
from klayer.report.table import Table, result_table
from klayer.report.vega import MUTED, RATE, SERIES, Figure, Key, series_colour

__all__ = ["build", "build_others", "build_table"]

SPLITS = ("train", "validation")
# Figures of curves on a page; the arms of others are in the table.
MOST_FIGURES = 12


def build(material: Material) -> list[Part]:
    """Make a part for each figure at the reference."""
    layout, parts = material.layout, list[Part]()
    groups = layout.main()
    for group in groups[:MOST_FIGURES]:
        title = group.title or ("Training" if len(material.view.arms) > 1 else _alone(group))
        blocks = _group(material, layout, group)
        if len(layout.groups) > 1 or len(material.view.arms) == 1:  # else it is that of all arms
            table = _table(material, group, f"results-{group.slug}")
            blocks = [block("table", one=table), *blocks]
        parts.append(Part(blocks, f"arms-{group.slug}", title))
    if len(groups) > MOST_FIGURES:
        parts[-1].blocks.append(_rest(groups[MOST_FIGURES:]))
    return parts


def _rest(groups: Sequence[Group]) -> Block:
    """Say how many arms have no curves on the page."""
    left = sum(len(group.arms) for group in groups)
    text = f"The {left} other arms are in the table of all arms, without their curves."
    return block("text", text=text, kind="note")


def _alone(group: Group) -> str:
    return group.arms[0].label


def _table(material: Material, group: Group, name: str) -> Table:
    about = group.about(material.view)
    caption = (
        f"{about}: final scores, mean ± standard deviation over the seeds, with the interval of the "
        f"mean {material.view.judged}."
    )
    return material.table(result_table(group.arms, name, caption, material.layout.series_label))


def build_others(material: Material) -> list[Part]:
    """Make one part of the figures at all other levels of the last factor."""
    layout = material.layout
    groups, last = layout.main(wanted=False), layout.last
    if not groups or last is None:
        return []
    room = max(0, MOST_FIGURES - len(layout.main()))
    blocks = []
    for group in groups[:room]:
        blocks.append(block("heading", level=3, text=group.title))
        blocks.append(block("table", one=_table(material, group, f"results-{group.slug}")))
        blocks += _group(material, layout, group)
    if len(groups) > room:
        blocks.append(_rest(groups[room:]))
    gaussian = last.name == "init" and all(
        str(level).startswith("gaussian") for level in last.levels if level != last.reference
    )
    return [Part(blocks, title="Gaussian initialisation" if gaussian else f"Other {last.plural}")]


def build_table(material: Material) -> list[Part]:
    """Show all arms in one table, in the order of the study."""
    view = material.view
    if len(view.with_results) < 2:
        return []
    caption = (
        "Every arm: final scores, mean ± standard deviation over the seeds. The interval is that of "
        f"the mean {view.judged} over more seeds; what the rows leave open is another matter, and "
        "the same rows serve all seeds."
    )
    return [
        Part([block("table", one=material.table(result_table(view.with_results, "arms", caption)))])
    ]


def _group(material: Material, layout: Arrangement, group: Group) -> list[Block]:
    """Show what the factor of the colours does in a group, and its curves."""
    text = effect(material.comparisons, group)
    blocks = [block("text", text=text)] if text else []
    return blocks + [material.figure(one) for one in _curves(material, layout, group)]


def _curves(material: Material, layout: Arrangement, group: Group) -> list[Figure]:
    """Draw cost, loss and accuracy of a group, in several figures where there are many arms."""
    chunks = [group.arms[i : i + MOST_COLOURS] for i in range(0, len(group.arms), MOST_COLOURS)]
    stem = "curves" if len(material.view.with_results) == 1 else f"curves-{group.slug}"
    names = [f"{stem}-{n}" if len(chunks) > 1 else stem for n in range(1, len(chunks) + 1)]
    return [
        _figure(material, layout, group, arms, name)
        for arms, name in zip(chunks, names, strict=True)
    ]


def _figure(
    material: Material, layout: Arrangement, group: Group, arms: list[ArmView], name: str
) -> Figure:
    view = material.view
    alone = len(arms) == 1 and len(layout.series_labels) == 1
    splits = [split for split in SPLITS if split in view.splits]
    said = {arm.name: layout.series_label(arm) for arm in arms}
    colours = {
        (arm.name, split): (
            SERIES[1 - i] if alone else series_colour(layout.series_labels, said[arm.name])
        )
        for arm in arms
        for i, split in enumerate(splits)
    }
    about = group.about(view)
    rates = list(dict.fromkeys(arm.rates for arm in arms))
    panels = []
    for kind in kinds_of(view.measure):
        lines = [
            Line(
                f"{said[arm.name]}, {split}",
                colours[arm.name, split],
                arm.curve(split, kind),
                dash=split == "validation",
                tip=split if len(arms) == 1 else "",
            )
            for arm in arms
            for split in splits
        ]
        if any(line.points for line in lines):
            panels.append(curve_panel(kind, lines, about, rates=rates))
    if alone:
        legend = [Key(split, colours[arms[0].name, split], dash=split == "validation")
                  for split in splits]  # fmt: skip
    else:
        legend = [Key(said[arm.name], colours[arm.name, "train"]) for arm in arms]
        legend += [Key(split, MUTED, dash=split == "validation") for split in splits]
    legend.append(Key("learning rate", RATE, area=True))
    seeds = sorted({len(arm.records) for arm in arms})
    n = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    what = [panel.title if panel.title == "R²" else panel.title.lower() for panel in panels]
    told = f"{', '.join(what[:-1])} and {what[-1]}" if len(what) > 1 else "".join(what)
    caption = f"{about}: {told} during training. "
    if seeds[-1] > 1:
        caption += (
            f"Lines are means over {n} seeds, bands reach from the least to the greatest seed."
        )
    else:
        caption += "One seed."
    return Figure(name, caption, panels, legend)
