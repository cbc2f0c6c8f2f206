"""A run directory of a population that was trained in Python, as `klayer train` would have left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from klayer.data import Dataset
from klayer.errors import KlayerError, require_kind
from klayer.study.arms import pack
from klayer.study.execute import Local, Outcome, part_of
from klayer.study.factors import labels
from klayer.study.run_dir import Run
from klayer.study.study import Study
from klayer.study.summary import summarise
from klayer.study.training import store
from klayer.train import Population

__all__ = ["run_of"]


def run_of(population: Population, out: str | Path | None = None, title: str = "") -> Run:
    """Write a run directory of a population, with its scores on all splits.

    Parameters
    ----------
    population : Population
        Trained, with its data; every settings with every seed.
    out : path, optional
        New or empty; by default ``runs/DATE-TIME-train``.
    title : str, optional
        Of its page.

    Returns
    -------
    run : Run

    Raises
    ------
    KlayerError
        If the population isn't trained to its end, its data aren't there, or seeds differ between its
        settings; and as :meth:`Run.create`.
    """
    require_kind(population, Population, "population", "what kl.fit returned")
    dataset = population.feed.original.dataset
    if not isinstance(dataset, Dataset):
        raise KlayerError(
            "a run needs the data of its population: load it by load_population(path, data)."
        )
    if population.state.update < population.total_updates:
        raise KlayerError(
            f"a run holds finished networks, but the population stands at update "
            f"{population.state.update:,} of {population.total_updates:,}: train it to its end."
        )
    members = population.members
    settings = list(dict.fromkeys(one.settings for one in members))
    seeds = list(dict.fromkeys(int(one.seed) for one in members))
    crossed = {(one, seed) for one in settings for seed in seeds}
    if (
        len(members) != len(crossed)
        or {(one.settings, int(one.seed)) for one in members} != crossed
    ):
        raise KlayerError(
            "a run crosses settings with seeds, but the seeds of this population differ between its "
            "settings, or a network stands in it twice: fit(data, settings, seeds=...) crosses them."
        )
    values: dict[str, Any] = {
        "name": "train",
        "title": title or f"{len(members)} networks on {dataset.name}",
        "data": dataset.name,
        "seeds": seeds,
        "arms": [
            {**({"name": name} if len(settings) > 1 else {}), **one.as_dict()}
            for name, one in zip(labels(settings)[0], settings, strict=True)
        ],
    }
    study = Study.from_stored(values, "the population")
    [one] = pack(study.jobs)
    place = {(job.member.settings, int(job.member.seed)): k for k, job in enumerate(one.jobs)}
    order = sorted(
        range(len(members)), key=lambda p: place[members[p].settings, int(members[p].seed)]
    )
    state = population.state.take(order)
    with Local(dataset) as local:
        run = Run.create(
            out, "study" if len(settings) > 1 else "train", study.document, dataset, given=True
        )
        with run:
            part = part_of(one, dataset)
            scores = {split: local.evaluate_part(part, state, split) for split in dataset.splits}
            spent = [population.seconds / len(members)] * len(members)
            store(run, dataset, Outcome(one, state, scores, spent))
            summarise(run, population.seconds)
    return run
