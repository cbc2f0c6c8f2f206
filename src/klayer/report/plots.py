"""Charts of a population or a run, for notebooks and files: curves, and where they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.files import json_text, write_bytes, write_text
from klayer.report.curves import Line, curve_panel
from klayer.report.vega import (
    INK,
    SERIES,
    Figure,
    Key,
    Panel,
    Spec,
    channel,
    layers,
    mark,
)
from klayer.study import Run
from klayer.study.factors import labels
from klayer.study.measure import MEASURES
from klayer.study.statistics import estimate
from klayer.train import Population
from klayer.train.metrics import METRICS

__all__ = ["Chart", "plot_accuracy", "plot_curves"]

Table = Mapping[str, NDArray[Any]]
Source = Population | Run

# More series than this tell nothing apart.
MOST_SERIES = 8
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Chart:
    """A chart: a notebook shows it, :meth:`save` writes it.

    Attributes
    ----------
    figure : Figure
    """

    figure: Figure

    @property
    def spec(self) -> Spec:
        """The chart in Vega-Lite, a plain dictionary, as other libraries take it."""
        return self.figure.whole()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"image/svg+xml": self.figure.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Chart: {self.figure.caption}>"

    def save(self, path: str | Path) -> Path:
        """Write the chart; the ending says how: .svg, .png, .pdf, or .json for Vega-Lite.

        Raises
        ------
        KlayerError
            For another ending, or where the file can't be written.
        """
        path = Path(path)
        ways = (".svg", ".png", ".pdf", ".json")
        ending = path.suffix.lower()
        if ending not in ways:
            raise KlayerError(
                f"a chart is written to a file that ends in {', '.join(ways[:-1])} or {ways[-1]}, but "
                f"got {path}."
            )
        try:
            if ending == ".svg":
                write_text(path, self.figure.svg())
            elif ending == ".json":
                write_text(path, json_text(self.spec, indent=1) + "\n")
            else:
                write_bytes(path, self.figure.raster(ending[1:]))
        except OSError as error:
            raise KlayerError(f"{path} can't be written: {error.strerror or error}.") from None
        return path


def plot_curves(source: Source, measure: str | None = None) -> Chart:
    """Draw the curves of a population or a run: means over seeds, with their range.

    Parameters
    ----------
    source : Population or Run
    measure : str, optional
        ``loss``, ``cost`` or a score of the task, such as ``accuracy``; by default the loss and the
        main score, side by side. Validation is drawn through, training dashed.

    Returns
    -------
    chart : Chart

    Raises
    ------
    KlayerError
        If there is no such curve, or none at all yet.

    Examples
    --------
    >>> import klayer as kl
    >>> population = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch", seeds=2)
    >>> chart = plot_curves(population)
    >>> [panel.title for panel in chart.figure.panels]
    ['Loss', 'Accuracy']
    >>> plot_curves(population, "acuracy")
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: unknown curve 'acuracy': did you mean 'accuracy'? Known: ...
    """
    table = _require(source).curves()
    if not len(table["update"]):
        raise KlayerError("curves need a recorded point, but there is none yet: train first.")
    found = [name.partition("_") for name in table if name.startswith(SPLITS)]
    measures = list(dict.fromkeys(measure for _, _, measure in found))
    if measure is not None and measure not in measures:
        raise unknown_name("curve", measure, measures)
    main = next((name for name in METRICS if name in measures), None)
    chosen = [measure] if measure else [one for one in ("loss", main) if one]
    splits = list(dict.fromkeys(split for split, _, _ in found))
    groups = _groups(source, table)
    panels = [
        curve_panel(one, _lines(table, groups, splits, one), _about(source)) for one in chosen
    ]
    names = [*groups] if len(groups) > 1 else []
    legend = [Key(name, SERIES[i % len(SERIES)]) for i, name in enumerate(names)]
    legend += [Key(split, INK, dash=split == "train") for split in splits]
    caption = f"{' and '.join(panel.title for panel in panels)} of {_about(source)}"
    return Chart(Figure("curves", caption, panels, legend))


def plot_accuracy(source: Source, split: str | None = None) -> Chart:
    """Draw where networks ended: the main score of each, a row for each kind.

    Parameters
    ----------
    source : Population or Run
    split : {"train", "validation", "test"}, optional
        By default validation, or train where there is none: the test split is drawn on request.

    Returns
    -------
    chart : Chart

    Raises
    ------
    KlayerError
        If there is no such split, or no network has a score on it.

    Examples
    --------
    >>> import klayer as kl
    >>> population = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch", seeds=2)
    >>> plot_accuracy(population, "test")
    <Chart: Accuracy on the test split of 2 networks on digits>
    """
    name, split, points = _final(_require(source), split)
    if not points:
        raise KlayerError(f"no network has a score on the split {split!r}: nothing can be drawn.")
    metric = METRICS[name]
    values = [{"k": kind, "v": float(f"{value:.6g}"), "seed": seed} for kind, seed, value in points]
    kinds = list(dict.fromkeys(kind for kind, _, _ in points))
    title = metric.title[0].upper() + metric.title[1:]
    axis = {"format": "~%" if metric.share else ".6~g", "tickCount": 6}
    scale = MEASURES[name].axis(value for _, _, value in points)
    x = channel("v:Q", title=None, scale=scale, axis=axis)
    y = channel("k:N", title=None, sort=kinds, axis={"labelLimit": 400})
    tips = [
        channel("k:N", title="what"),
        channel("seed:Q", title="seed"),
        channel("v:Q", title=metric.title, format=".2%" if metric.share else ".4g"),
    ]
    means = [
        {"k": kind, "v": estimate(value for one, _, value in points if one == kind).mean}
        for kind in kinds
    ]
    spec = layers(
        mark("circle", {"x": x, "y": y, "tooltip": tips}, color=SERIES[1], opacity=0.55, size=45),
        layers(mark("tick", {"x": x, "y": y}, color=INK, thickness=2, size=16), values=means),
        values=values,
    )
    caption = f"{title} on the {split} split of {_about(source)}"
    ends = "; ".join(f"{one['k'] or 'mean'}: {one['v']:.4g}" for one in means[:MOST_SERIES])
    panel = Panel(
        f"{split.capitalize()} {metric.title}",
        22 * len(kinds) + 20,
        f"{caption}. Means: {ends}.",
        spec,
    )
    return Chart(Figure("accuracy", caption, [panel], width=420))


def _require(source: Any) -> Source:
    if not isinstance(source, Population | Run):
        raise KlayerError(
            f"a population or a run can be drawn, but got {type(source).__name__}: pass what kl.fit or "
            "kl.run_study returned."
        )
    return source


def _about(source: Source) -> str:
    n = len(source) if isinstance(source, Population) else len(source.networks)
    data = (
        str(getattr(source.feed.dataset, "name", "data"))
        if isinstance(source, Population)
        else source.info["data"]["name"]
    )
    return f"{n} network{'s' * (n != 1)} on {data}"


def _kinds(source: Source) -> dict[Any, str]:
    """Name each kind of network by what varies: by its settings, or of a run by part and arm."""
    if isinstance(source, Population):
        settings = list(dict.fromkeys(member.settings for member in source.members))
        return dict(zip(settings, labels(settings)[0], strict=True)) if len(settings) > 1 else {}
    arms = {} if source.kind == "search" else source.study.labels
    return {("arms", arm): label for arm, label in arms.items()} if len(arms) > 1 else {}


def _groups(source: Source, table: Table) -> dict[str, NDArray[Any]]:
    """Return the rows of the table that belong to each kind of network, by its name."""
    known = _kinds(source)
    if isinstance(source, Population):
        each = [known.get(member.settings, "") for member in source.members]
        of = np.array(each, object)[table["network"]]
    else:
        pairs = zip(table["part"].tolist(), table["arm"].tolist(), strict=True)
        of = np.array([_named(known, *pair) for pair in pairs], object)
    kinds = list(dict.fromkeys(of))
    if len(kinds) > MOST_SERIES:
        raise KlayerError(
            f"up to {MOST_SERIES} kinds of networks can be told apart, but there are {len(kinds)}: "
            "draw some of them, as in population.take([0, 1]), or see the run's page."
        )
    return {str(kind): of == kind for kind in kinds}


def _lines(
    table: Table, groups: Mapping[str, NDArray[Any]], splits: Sequence[str], measure: str
) -> list[Line]:
    lines = []
    for i, (kind, rows) in enumerate(groups.items()):
        for split in splits:
            if f"{split}_{measure}" not in table:
                continue
            values, epochs = table[f"{split}_{measure}"][rows], table["epoch"][rows]
            points = [
                (float(epoch), estimate(values[epochs == epoch].tolist()))
                for epoch in np.unique(epochs)
            ]
            label = ", ".join(filter(None, (kind, split)))
            lines.append(Line(label, SERIES[i % len(SERIES)], points, dash=split == "train"))
    return lines


def _final(source: Source, split: str | None) -> tuple[str, str, list[tuple[str, int, float]]]:
    """Return the main score, the split, and each network's kind, seed and score."""
    if isinstance(source, Population):
        there, known = list(source.feed.splits), _kinds(source)
        split = split or ("validation" if "validation" in there else "train")
        scores = source.evaluate(split)
        name = next(one for one in METRICS if one in scores)
        found = [
            (known.get(member.settings, ""), int(member.seed), float(score))
            for member, score in zip(source.members, scores[name], strict=True)
            if np.isfinite(score)
        ]
        return name, split, found
    there = [one for one in SPLITS if source.info["data"]["samples"].get(one)]
    split = split or source.judged_by
    if split not in there:
        raise unknown_name("split", split, there)
    part = "arms" if source.kind != "search" else "finalists"
    records = [one for one in source.networks if one.part == part and one.score(split) is not None]
    score = next((one.scores[split] for one in records), None)
    name = next((one for one in METRICS if score and getattr(score, one) is not None), "accuracy")
    known = _kinds(source)
    found = [
        (_named(known, one.part, one.arm), one.seed, float(one.score(split) or 0))
        for one in records
    ]
    return name, split, found


def _named(known: Mapping[Any, str], part: str, arm: str) -> str:
    """Name an arm of a run; if there is one alone, by nothing."""
    if (part, arm) in known:
        return known[part, arm]
    return "" if part == "arms" else f"{part}: {arm}"
