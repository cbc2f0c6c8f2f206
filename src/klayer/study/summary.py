"""The end of a run in numbers: a line for each network, a line for each arm."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from klayer.study.run import Run, write_json

__all__ = ["arm_table", "spread", "summarise"]

ACCURACIES = ("train_accuracy", "validation_accuracy", "test_accuracy")


def spread(values: Sequence[float | None]) -> dict:
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


def arm_table(networks: Sequence[dict]) -> list[dict]:
    """Gather networks by part and arm, in order of first appearance.

    Returns
    -------
    rows : list of dict
        ``part``, ``arm``, ``settings``, ``n``, ``trained``, ``at_chance``, ``pruned``,
        ``diverged``, and :func:`spread` of each accuracy over all networks that did not diverge.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for record in networks:
        groups.setdefault((record["part"], record["arm"]), []).append(record)
    return [
        {
            "part": part,
            "arm": arm,
            "settings": group[0]["settings"],
            "n": len(group),
            **{
                state.replace(" ", "_"): sum(record["state"] == state for record in group)
                for state in ("trained", "at chance", "pruned", "diverged")
            },
            **{name: spread([record.get(name) for record in group]) for name in ACCURACIES},
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


def summarise(run: Run, seconds: float) -> dict:
    """Write ``summary.json`` and return it.

    Parameters
    ----------
    run : Run
    seconds : float
        Wall time of the command that ends here.
    """
    keys = ("part", "arm", "seed", "state", "failure", *ACCURACIES, "population", "lane")
    summary = {
        "kind": run.info["kind"],
        "data": run.info["data"]["name"],
        "seconds": seconds,
        "network_seconds": sum(record["seconds"] for record in run.networks),
        "peak_memory_bytes": peak_memory_bytes(),
        "arms": arm_table(run.networks),
        "networks": [{key: record.get(key) for key in keys} for record in run.networks],
    }
    write_json(run.path / "summary.json", summary)
    return summary
