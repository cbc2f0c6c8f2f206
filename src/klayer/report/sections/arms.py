"""The arms of a study: a section for each architecture, and one for the other initialisations."""

from __future__ import annotations

from string import ascii_lowercase

from klayer.report.curves import CURVES, Line, curve_panel
from klayer.report.prose import effect
from klayer.report.run_view import ArmView, Group, RunView
from klayer.report.sections.section import Block, Material, Part, block
from klayer.report.table import result_table
from klayer.report.vega import MUTED, RATE, SERIES, Figure, Key, series_colour

__all__ = ["build", "build_others"]

SPLITS = ("train", "validation")
MOST_SERIES = 6


def build(material: Material) -> list[Part]:
    """Make a part for each architecture, with the baseline initialisation."""
    view, parts = material.view, []
    for group in view.groups(baseline=True):
        title = f"{group.architecture} network"
        if len(view.inits) > 1:
            title += f", {group.init} initialisation"
        caption = (
            f"Final accuracies, {group.architecture} network, {group.init}: mean ± standard "
            f"deviation over the seeds, with the interval of the mean {view.judge} accuracy."
        )
        table = result_table(group.arms, f"results-{group.slug}", caption, short="series")
        blocks = [block("table", one=material.table(table)), *_group(material, group)]
        parts.append(Part(blocks, f"arms-{group.slug}", title))
    return parts


def build_others(material: Material) -> list[Part]:
    """Make one part of all other initialisations, with a heading for each architecture."""
    groups = material.view.groups(baseline=False)
    if not groups:
        return []
    names = list(dict.fromkeys(group.architecture for group in groups))
    blocks = []
    for number, name in enumerate(names):
        own = [group for group in groups if group.architecture == name]
        caption = (
            f"Final accuracies, {name} network, by initialisation: mean ± standard deviation "
            "over the seeds."
        )
        slug = "".join(c if c.isalnum() or c == "-" else "-" for c in name)
        arms = [arm for group in own for arm in group.arms]
        table = result_table(arms, f"results-{slug}-other", caption, short="init_series")
        letter = ascii_lowercase[number] if number < 26 else str(number + 1)
        letter = letter if len(names) > 1 else ""
        blocks.append(block("heading", level=3, text=f"{name} network", letter=letter))
        blocks.append(block("table", one=material.table(table)))
        for group in own:
            blocks.append(block("heading", level=4, text=group.init))
            blocks += _group(material, group)
    gaussian = all(group.init.startswith("σ") for group in groups)
    return [Part(blocks, title="Gaussian initialisation" if gaussian else "")]


def _group(material: Material, group: Group) -> list[Block]:
    """Show what batch normalisation does in a group, and its curves."""
    text = effect(material.comparisons, group.architecture, group.init)
    blocks = [block("text", text=text)] if text else []
    return blocks + [material.figure(one) for one in _curves(material.view, group)]


def _curves(view: RunView, group: Group) -> list[Figure]:
    """Draw cost, loss and accuracy of a group, in several figures where there are many arms."""
    chunks = [group.arms[i : i + MOST_SERIES] for i in range(0, len(group.arms), MOST_SERIES)]
    stem = "curves" if len(view.with_results) == 1 else f"curves-{group.slug}"
    names = [f"{stem}-{n}" if len(chunks) > 1 else stem for n in range(1, len(chunks) + 1)]
    return [_figure(view, group, arms, name) for arms, name in zip(chunks, names, strict=True)]


def _figure(view: RunView, group: Group, arms: list[ArmView], name: str) -> Figure:
    alone = len(arms) == 1 and len(view.series) == 1
    splits = [split for split in SPLITS if split in view.splits]
    colours = {
        (arm.series, split): SERIES[1 - i] if alone else series_colour(view.series, arm.series)
        for arm in arms
        for i, split in enumerate(splits)
    }
    about = f"{group.architecture} network, {group.init}"
    panels = []
    for kind in CURVES:
        lines = [
            Line(
                f"{arm.series}, {split}",
                colours[arm.series, split],
                arm.curve(split, kind),
                dash=split == "validation",
                tip=split if len(arms) == 1 else "",
            )
            for arm in arms
            for split in splits
        ]
        rates = list(dict.fromkeys(arm.rates for arm in arms))
        panels.append(curve_panel(kind, lines, about, rates=rates))
    if alone:
        legend = [Key(split, colours[arms[0].series, split], dash=split == "validation")
                  for split in splits]  # fmt: skip
    else:
        legend = [Key(arm.series, colours[arm.series, "train"]) for arm in arms]
        legend += [Key(split, MUTED, dash=split == "validation") for split in splits]
    legend.append(Key("learning rate", RATE, area=True))
    seeds = sorted({len(arm.records) for arm in arms})
    n = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    caption = f"{about}: cost, loss and accuracy during training. "
    if seeds[-1] > 1:
        caption += (
            f"Lines are means over {n} seeds, bands reach from the least to the greatest seed."
        )
    else:
        caption += "One seed."
    return Figure(name, caption, panels, legend)
