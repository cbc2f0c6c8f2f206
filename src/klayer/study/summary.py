"""The end of a run in numbers: a line for each network, a line for each arm."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from klayer.study.chance import BESIDE_ACCURACY, uneven
from klayer.study.record import NetworkRecord, Score
from klayer.study.run_dir import Run
from klayer.train.metrics import main_metric

__all__ = ["arm_table", "spread", "summarise"]

SPLITS = ("train", "validation", "test")


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Number, mean, standard deviation (n - 1), least and greatest of the values that are there.

    Examples
    --------
    >>> spread([1.0, 3.0, None]) == {"n": 2, "mean": 2.0, "sd": 2**0.5, "min": 1.0, "max": 3.0}
    True
    """
    kept = [value for value in values if value is not None and math.isfinite(value)]
    n = len(kept)
    return {
        "n": n,
        "mean": float(np.mean(kept)) if n else None,
        "sd": float(np.std(kept, ddof=1)) if n > 1 else None,
        "min": min(kept, default=None),
        "max": max(kept, default=None),
    }


def arm_table(
    networks: Sequence[NetworkRecord], score: str = "accuracy", beside: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Gather networks by part and arm, in order of first appearance.

    Returns
    -------
    rows : list of dict
        ``part``, ``arm``, ``settings``, ``n``, ``trained``, ``at_chance``, ``pruned``,
        ``diverged``, and for each split :func:`spread` of the main score, whose name is ``score``, and
        of those ``beside`` it, over all networks that did not diverge.
    """
    groups: dict[tuple[str, str], list[NetworkRecord]] = {}
    for record in networks:
        groups.setdefault((record.part, record.arm), []).append(record)
    return [
        {
            "part": part,
            "arm": arm,
            "settings": group[0].settings.as_dict(),
            "n": len(group),
            **{
                state.replace(" ", "_"): sum(record.state == state for record in group)
                for state in ("trained", "at chance", "pruned", "diverged")
            },
            **{
                f"{split}_{score}": spread([record.score(split) for record in group])
                for split in SPLITS
            },
            **{
                f"{split}_{name}": spread(
                    [getattr(record.scores.get(split, Score()), name) for record in group]
                )
                for split in SPLITS
                for name in beside
            },
        }
        for (part, arm), group in groups.items()
    ]


def peak_memory_bytes() -> int | None:
    """Return the largest memory this process has had, or None where the system doesn't tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def summarise(run: Run, seconds: float) -> dict[str, Any]:
    """Write ``summary.json`` and return it.

    Parameters
    ----------
    run : Run
    seconds : float
        Wall time of the command that ends here.
    """
    score = main_metric(run.info["data"].get("task", "classification"))
    counts = (run.info["data"].get("class_counts") or {}).get("train")
    beside = BESIDE_ACCURACY if uneven(counts) else ()
    summary = {
        "kind": run.kind,
        "data": run.info["data"]["name"],
        "seconds": seconds,
        "network_seconds": sum(record.seconds for record in run.networks),
        "peak_memory_bytes": peak_memory_bytes(),
        "arms": arm_table(run.networks, score, beside),
        "networks": [_line(record, score, beside) for record in run.networks],
        "lost": [
            {"part": part, "arm": arm, "seed": seed, "reason": reason}
            for (part, arm, seed), reason in run.lost.items()
        ],
    }
    run.write_result("summary.json", summary)
    return summary


def _line(record: NetworkRecord, score: str, beside: Sequence[str]) -> dict[str, Any]:
    return {
        "part": record.part,
        "arm": record.arm,
        "seed": record.seed,
        "state": record.state,
        "failure": record.failure,
        **{f"{split}_{score}": record.score(split) for split in SPLITS},
        **{
            f"{split}_{name}": getattr(record.scores.get(split, Score()), name)
            for split in SPLITS
            for name in beside
        },
        "population": record.population,
        "lane": record.lane,
    }
