"""Networks of a run directory, chosen by their names, with all that the run knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from klayer.errors import KlayerError, unknown_name
from klayer.export.exported import Exported, exported, stacked
from klayer.study.record import NetworkRecord
from klayer.study.summary import spread
from klayer.train import Ensemble
from klayer.train.metrics import metrics_of

if TYPE_CHECKING:
    from klayer.data import Dataset
    from klayer.study import Run

__all__ = ["chosen", "data_of_run", "of_run"]

ALL, BEST = "all", "best"
_SHOWN = 20


def chosen(run: Run, names: Sequence[str] = ()) -> list[NetworkRecord]:
    """Return the finished networks that some names mean, in the order of the run.

    Parameters
    ----------
    run : Run
    names : sequence of str
        Each is ``best`` (the network with the best validation score), ``all``, an arm (all its
        networks), a seed, or ``ARM:SEED``. By default the best.

    Raises
    ------
    KlayerError
        For a name that none has, and for networks that have diverged.
    """
    best = run.best()  # refuses runs without an answer
    alive = [
        one for one in run.networks if one.state != "diverged" and one.part != "variance"
    ] or run.networks
    if any(one.part == "finalists" for one in alive):
        alive = [one for one in alive if one.part == "finalists"]
    found: list[NetworkRecord] = []
    for name in names or [BEST]:
        found += [best] if name == BEST else _named(run, alive, name)
    order = {record.key: record for record in run.networks}
    keys = {record.key for record in found}
    return [record for key, record in order.items() if key in keys]


def _named(run: Run, alive: Sequence[NetworkRecord], name: str) -> list[NetworkRecord]:
    arms = {one.arm: one.arm for one in run.networks}
    if run.kind != "search":
        arms |= {label: arm for arm, label in run.study.labels.items() if arm in arms}

    def meant(record: NetworkRecord) -> bool:
        arm, _, seed = name.rpartition(":")
        return (
            name in (ALL, str(record.seed))
            or arms.get(name) == record.arm
            or (arms.get(arm) == record.arm and seed == str(record.seed))
        )

    found = [record for record in alive if meant(record)]
    if found:
        return found
    lost = [record for record in run.networks if meant(record)]
    if lost:
        raise KlayerError(
            f"{run.path}: {name!r} has no answer: {lost[0].failure or lost[0].state}. Export another "
            "network."
        )
    seeds = dict.fromkeys(str(one.seed) for one in alive)
    known = [BEST, ALL, *dict.fromkeys(one.arm for one in alive)]
    alone = f"{alive[0].arm}:{alive[0].seed}"
    wrong = unknown_name("network", name, [*known[:_SHOWN], *list(seeds)[:_SHOWN]])
    hint = str(wrong).partition(" Known:")[0]
    raise KlayerError(
        f"{hint} Known: {'; '.join(known[:_SHOWN])}; the seeds {', '.join(list(seeds)[:_SHOWN])}; "
        f"one network alone as ARM:SEED, {alone!r}."
    )


def data_of_run(run: Run) -> tuple[Dataset | None, str]:
    """Return a run's data; or None, and why they are not there."""
    try:
        return run.load_data(may_download=False), ""
    except (KlayerError, OSError) as error:
        return None, str(error)


def of_run(run: Run, names: Sequence[str] = (), dataset: Dataset | None = None) -> Exported:
    """Make networks of a run ready to be exported.

    Parameters
    ----------
    run : Run
    names : sequence of str
        See :func:`chosen`.
    dataset : Dataset, optional
        The run's data, if they are at hand: several networks are scored together on them.
    """
    groups: dict[str, list[NetworkRecord]] = {}
    for record in chosen(run, names):
        groups.setdefault(record.population, []).append(record)
    models, order = stacked([run.models(group) for group in groups.values()])
    parts = list(groups.values())
    records = [record for index in order for record in parts[index]]
    what = exported(Ensemble(models))
    about = _about(run, records, what, dataset)
    arms = {(one.part, one.arm) for one in (run.networks if ALL in names else records)}
    lost = [one for one in run.networks if one.state == "diverged" and (one.part, one.arm) in arms]
    about["diverged"] = len(lost)
    if list(names) in ([], [BEST]) and len(run.networks) > 1:
        about["chosen_by"] = run.judged_by
    return replace(what, about=about)


def _about(
    run: Run, records: Sequence[NetworkRecord], what: Exported, dataset: Dataset | None
) -> dict[str, Any]:
    data = run.info["data"]
    kept = ("name", "source", "fingerprint", "samples", "image_shape", "value_range", "background")
    return {
        "created": run.info["created"],
        "data": {name: data[name] for name in kept if data.get(name) is not None},
        "networks": [
            {
                "arm": record.arm,
                "seed": record.seed,
                "scores": {
                    f"{split} {record.score_name}": record.score(split) for split in record.scores
                },
                "settings": record.settings.as_dict(),
            }
            for record in records
        ],
        "scores": _scores(run, records, what, dataset),
        "versions": run.info["versions"],
    }


def _scores(
    run: Run, records: Sequence[NetworkRecord], what: Exported, dataset: Dataset | None
) -> list[dict[str, Any]]:
    """Return a line for each split and score: what is exported, and the spread over seeds."""
    own, alone = records[0], len(records) == 1
    group = list(records)
    if alone:  # how much of its score is its seed's
        group = [one for one in run.networks if (one.part, one.arm) == (own.part, own.arm)]
    found = []
    for split in own.scores:
        values = vars(own.scores[split]) if alone else _together(split, records, what, dataset)
        for name in metrics_of(what.task):
            over = spread([getattr(one.scores.get(split), name, None) for one in group])
            if over["n"]:
                found.append({"split": split, "score": name, "value": values.get(name), **over})
    return found


def _together(
    split: str, records: Sequence[NetworkRecord], what: Exported, dataset: Dataset | None
) -> Mapping[str, Any]:
    """Return what several networks reach together on rows that none of them was trained on."""
    if dataset is None or split not in dataset.splits:
        return {}
    drawn = {record.settings.split_seed for record in records} != {0}
    if split == "train" or (split == "validation" and drawn):
        return {}
    held = dataset.splits[split]
    return what.ensemble.scores(held.features, held.labels)
