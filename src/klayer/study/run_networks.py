"""Finished networks of a run: which there are, one of them, several that answer together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from klayer.data.redraw import redrawn
from klayer.errors import KlayerError
from klayer.files import Damaged
from klayer.model import Model
from klayer.study.record import NetworkRecord
from klayer.study.weights import snapshot_name
from klayer.train import Ensemble
from klayer.train.ensemble import LeftOut

if TYPE_CHECKING:
    from klayer.study.stored_run import StoredRun

__all__ = ["as_one_model", "finished", "judged", "run_ensemble", "together"]


def judged(run: StoredRun, record: NetworkRecord) -> float:
    """Return the score that the best network is chosen by; minus infinity where there is none."""
    found = record.score(run.judged_by)
    return -math.inf if found is None else found


def finished(run: StoredRun, arm: str | None, seed: int | None) -> list[NetworkRecord]:
    """Return the networks with an answer of this arm and seed; at least one."""
    arm = _name_of(run, arm)
    finished = [record for record in run.networks if math.isfinite(judged(run, record))]
    lost = [record for record in run.networks if record.state == "diverged"]
    if lost and not finished:
        raise KlayerError(
            f"no network of {run.path} has an answer: {len(lost)} diverged ({lost[0].failure}). "
            "Train again with a lower lr_max, or l2."
        )
    if not finished:
        raise KlayerError(f"no network of {run.path} is finished yet: go on with --resume.")
    found = [
        record
        for record in finished
        if seed in (None, record.seed)
        and (record.arm == arm or (arm is None and record.part != "variance"))
    ]
    if not found:
        asked = [
            record for record in lost if arm in (None, record.arm) and seed in (None, record.seed)
        ]
        called = _called(run)
        arms = ", ".join(
            dict.fromkeys(repr(called.get(record.arm, record.arm)) for record in finished)
        )
        seeds = ", ".join(dict.fromkeys(str(record.seed) for record in finished))
        wanted = [f"the arm {arm!r}"] * (arm is not None)
        wanted += [f"the seed {seed}"] * (seed is not None)
        why = f": {len(asked)} diverged ({asked[0].failure})" if asked else ""
        raise KlayerError(
            f"no network of {run.path} with an answer has {' and '.join(wanted)}{why}. "
            f"Arms: {arms}. Seeds: {seeds}."
        )
    return found


def together(
    run: StoredRun, arm: str | None, seed: int | None
) -> tuple[list[NetworkRecord], list[LeftOut]]:
    """Return finished networks that answer together, and those that are left out.

    These are what diverged, what is at chance (unless all are), and unless an arm is asked for what is
    beside finalists or was trained to part the variance.
    """
    arm, answering = _name_of(run, arm), finished(run, arm, seed)
    finalists = arm is None and any(one.part == "finalists" for one in answering)
    candidates = [one for one in answering if one.part == "finalists" or not finalists]
    learnt = [one for one in candidates if one.state != "at chance"]
    found = learnt or candidates
    keys = {one.key for one in found}
    called, left_out = _called(run), []
    for one in run.networks:
        if one.key in keys or arm not in (None, one.arm) or seed not in (None, one.seed):
            continue
        why = "diverged" if one.state == "diverged" else "at chance"
        if finalists and one.part != "finalists":
            why = "beside the finalists"
        elif arm is None and one.part == "variance":
            why = "trained to part the variance"
        left_out.append(LeftOut(called.get(one.arm, one.arm), one.seed, why))
    return found, left_out


def _called(run: StoredRun) -> dict[str, str]:
    """Return what a study's arms are called, by their names; a search's trials have no other name."""
    return {} if run.kind == "search" else run.study.labels


def _name_of(run: StoredRun, arm: str | None) -> str | None:
    """Return the name of an arm, which may be asked for by its label."""
    if arm is None or arm in {one.arm for one in run.networks}:
        return arm
    return {label: name for name, label in _called(run).items()}.get(arm, arm)


def as_one_model(run: StoredRun, records: Sequence[NetworkRecord], cycle: int | None) -> Model:
    """Return networks of one population as one model; see :meth:`klayer.study.Run.models`."""
    try:
        name = records[0].population
        weights = run.weights(name if cycle is None else snapshot_name(name, cycle))
        each, standardiser = [weights.of(record) for record in records], run.standardiser
    except Damaged as error:
        raise Damaged(f"{error} {run.resume_command} makes the run whole again.") from None
    params, running = (
        {key: np.concatenate([one[key] for one in group]) for key in group[0]}
        for group in zip(*each, strict=True)
    )
    try:
        names = run.info["data"]["class_names"]
        targets, encoder = run.targets, run.encoder
        model = Model(weights.network, params, running, standardiser, names, targets, encoder)
        heats = [one.temperature for one in records if one.temperature is not None]
        calibrated = cycle is None and len(heats) == len(records)
        return model.at_temperatures(heats) if calibrated else model
    except KlayerError as error:
        raise KlayerError(f"{weights.path}: {error}") from None


def run_ensemble(
    run: StoredRun,
    records: Sequence[NetworkRecord],
    left_out: Sequence[LeftOut] = (),
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
        return Ensemble(models, mirror=turned, left_out=left_out)
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
    try:
        data = run.load_data(data_dir, may_download=False)
    except KlayerError as error:
        raise KlayerError(
            f"`greedy` chooses networks by the validation rows of the run's data, but: {error} Put the "
            "data back as they were, say where they are (data_dir), or leave greedy away."
        ) from error
    held = redrawn(data, draws.pop()).splits[split]
    return Ensemble.select(
        models, held.features, held.labels, size=size, mirror=turned, left_out=left_out
    )


def _by_population(records: Sequence[NetworkRecord]) -> list[list[NetworkRecord]]:
    found: dict[str, list[NetworkRecord]] = {}
    for record in records:
        found.setdefault(record.population, []).append(record)
    return list(found.values())


def _models(run: StoredRun, records: list[NetworkRecord], snapshots: bool) -> list[Model]:
    """Return the networks of one population: at the ends of its cycles, if wanted, then at its end."""
    cycles = run.weights(records[0].population).cycles if snapshots else []
    if snapshots and not cycles:
        raise KlayerError(
            f"`snapshots` asks for networks as they were at the ends of cycles, but {run.path} has none "
            f"of {records[0].arm!r}: they are kept with the setting snapshots = 'cycles' and two cycles "
            "or more. Leave it away, or train again."
        )
    return [run.models(records, cycle) for cycle in (*cycles, None)]
