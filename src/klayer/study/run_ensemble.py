"""Networks of a run that answer together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from klayer.data.redraw import redrawn
from klayer.errors import KlayerError
from klayer.model import Model
from klayer.study.record import NetworkRecord
from klayer.train import Ensemble

if TYPE_CHECKING:
    from klayer.study.run_dir import Run

__all__ = ["run_ensemble"]


def run_ensemble(
    run: Run,
    records: Sequence[NetworkRecord],
    *,
    snapshots: bool,
    mirror: bool,
    greedy: bool,
    size: int,
    data_dir: str | Path | None,
) -> Ensemble:
    """Return some networks of a run as an ensemble; see :meth:`klayer.study.Run.ensemble`."""
    shape = run.info["data"]["image_shape"]
    if mirror and not shape:
        raise KlayerError(
            f"`mirror` asks about mirror images, but {run.info['data']['name']!r} holds no images: "
            "leave it away."
        )
    turned = tuple(shape) if mirror else None
    models = [model for name in _by_population(records) for model in _models(run, name, snapshots)]
    if not greedy:
        return Ensemble(models, mirror=turned)
    split = run.judged_by
    if split != "validation":
        raise KlayerError(
            "`greedy` chooses networks by rows that none of them was trained on, but "
            f"{run.info['data']['name']!r} has no validation split: leave it away."
        )
    draws = {one.settings.split_seed for one in records}
    if len(draws) > 1:
        raise KlayerError(
            "`greedy` chooses networks by validation rows that none of them was trained on, but these "
            f"have the split_seeds {', '.join(map(str, sorted(draws)))}, each with other rows: choose "
            "one by `seeds` or `arm`."
        )
    held = redrawn(run.load_data(data_dir, may_download=False), draws.pop()).splits[split]
    return Ensemble.select(models, held.features, held.labels, size=size, mirror=turned)


def _by_population(records: Sequence[NetworkRecord]) -> list[list[NetworkRecord]]:
    found: dict[str, list[NetworkRecord]] = {}
    for record in records:
        found.setdefault(record.population, []).append(record)
    return list(found.values())


def _models(run: Run, records: list[NetworkRecord], snapshots: bool) -> list[Model]:
    """Return the networks of one population: at the ends of its cycles, if wanted, then at its end."""
    cycles = run.weights(records[0].population).cycles if snapshots else []
    if snapshots and not cycles:
        raise KlayerError(
            f"`snapshots` asks for networks as they were at the ends of cycles, but {run.path} has none "
            f"of {records[0].arm!r}: they are kept with the setting snapshots = 'cycles' and two cycles "
            "or more. Leave it away, or train again."
        )
    return [run.models(records, cycle) for cycle in (*cycles, None)]
