"""A page's results as plain values, which it carries as JSON for those who read it by program."""

from __future__ import annotations

from typing import Any

from klayer.report.comparisons import ArmComparison, Comparisons
from klayer.report.conclusion import conclusion
from klayer.report.run_view import ArmView, RunView
from klayer.study.statistics import Estimate

__all__ = ["results"]


def results(view: RunView, found: Comparisons) -> dict[str, Any]:
    """Return what a page shows, as plain values.

    Returns
    -------
    results : dict
        ``run`` (kind, title, data, created, task, judged by what), ``factors``, ``arms`` (label,
        levels, counts, estimates by split), ``comparisons``, ``conclusion``, ``networks``.
    """
    info = view.info
    return {
        "run": {
            "name": view.path.resolve().name,
            "kind": info["kind"],
            "title": info["config"].get("title"),
            "data": info["data"]["name"],
            "samples": info["data"]["samples"],
            "created": info["created"],
            "klayer": info["versions"].get("klayer"),
            "finished": view.finished,
            "task": view.task,
            "measure": view.measure.name,
            "split": view.judge,
        },
        "factors": [
            {
                "name": one.name,
                "title": one.title,
                "levels": [_plain(level) for level in one.levels],
                "labels": list(one.labels),
                "reference": _plain(one.reference),
            }
            for one in view.factors
        ],
        "arms": [_arm(view, arm) for arm in view.arms],
        "comparisons": [_comparison(one) for one in found.arms],
        "conclusion": [{"text": one.text, "shown": one.carried} for one in conclusion(view, found)],
        "networks": [
            {
                "part": one.part,
                "arm": one.arm,
                "seed": one.seed,
                "state": one.state,
                "scores": {
                    split: {n: v for n, v in vars(one.scores[split]).items() if v is not None}
                    for split in view.splits
                    if split in one.scores
                },
            }
            for one in view.networks
        ],
    }


def _plain(level: Any) -> Any:
    return list(level) if isinstance(level, tuple) else level


def _arm(view: RunView, arm: ArmView) -> dict[str, Any]:
    cell = arm.cell
    names = [factor.name for factor in view.factors]
    return {
        "name": arm.name,
        "label": arm.label,
        "levels": {name: _plain(arm.levels.get(name)) for name in names},
        "n": cell.n,
        "left_chance": cell.trained,
        "at_chance": cell.at_chance,
        "diverged": cell.diverged,
        **{split: _estimate(arm.measured(split).estimate) for split in view.splits},
        "rows_interval": list(arm.rows_interval),
    }


def _estimate(one: Estimate) -> dict[str, Any]:
    return dict(vars(one))


def _comparison(one: ArmComparison) -> dict[str, Any]:
    result = one.result
    return {
        "factor": one.factor.name,
        "arm": one.b.name,
        "against": one.a.name,
        "seeds": result.n,
        "left_chance": list(result.trained),
        "test": result.test,
        "difference": _estimate(result.difference),
        "p": result.p,
        "p_holm": result.p_holm,
        "superiority": result.superiority,
        "could_show": result.smallest_shown,
        "verdict": result.verdict,
    }
