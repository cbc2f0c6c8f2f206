"""The figure of a learning-rate range test: loss against rate, a line for each network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.report.vega import INK, SERIES, Figure, Key, Panel, channel, layers, mark
from klayer.train import RangeTest

__all__ = ["range_figure"]


def range_figure(test: RangeTest) -> Figure:
    """Draw a range test: thin lines of the networks, a thick one of their median, the suggestion.

    Losses far above the start, where networks diverge, are cut off.
    """
    with np.errstate(all="ignore"):
        median = _median(test.loss)
    top = 1.5 * float(np.nanmedian(test.loss[:, 0])) if np.isfinite(test.loss[:, 0]).any() else 1.0
    rows = [
        {"lr": float(f"{rate:.5g}"), "loss": float(f"{min(value, top):.5g}"), "n": str(p)}
        for p, loss in enumerate(test.loss)
        for rate, value in zip(test.rates, loss, strict=True)
        if np.isfinite(value)
    ]
    middle = [
        {"lr": float(f"{rate:.5g}"), "loss": float(f"{min(value, top):.5g}")}
        for rate, value in zip(test.rates, median, strict=True)
        if np.isfinite(value)
    ]
    decades = range(
        math.floor(math.log10(test.rates[0])), math.ceil(math.log10(test.rates[-1])) + 1
    )
    axis = {"values": [10.0**k for k in decades], "format": "~g"}
    x = channel("lr:Q", title="learning rate", scale={"type": "log"}, axis=axis)
    y = channel("loss:Q", title="loss", scale={"zero": False})
    lines: list[dict[str, Any]] = [
        {
            "data": {"values": rows},
            **mark(
                "line", {"x": x, "y": y, "detail": channel("n:N")}, color=SERIES[1], opacity=0.3
            ),
        },
        {"data": {"values": middle}, **mark("line", {"x": x, "y": y}, color=SERIES[1])},
    ]
    said = "no rate lowers the loss"
    if math.isfinite(test.suggestion):
        said = f"suggested: {test.suggestion:g}"
        lines.append(
            {
                "data": {"values": [{"lr": test.suggestion}]},
                **mark("rule", {"x": x}, color=INK, strokeDash=[4, 3]),
            }
        )
    alt = f"Loss against learning rate, {len(test.loss)} networks; {said}."
    legend = [Key("median", SERIES[1]), Key(said, INK, dash=True)]
    return Figure("find-lr", alt, [Panel("Learning rate", 260, alt, layers(*lines))], legend, 460)


def _median(loss: NDArray[Any]) -> NDArray[Any]:
    """Return the median over the networks that are still finite; NaN where none is."""
    alive = np.isfinite(loss).any(axis=0)
    found = np.full(loss.shape[1], np.nan)
    found[alive] = np.nanmedian(loss[:, alive], axis=0)
    return found
