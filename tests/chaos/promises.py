"""The promises: what is tried, how often at length, how often in short."""

from dataclasses import dataclass
from typing import Any

from chaos import company, damage, foreign, kills, many, refusals, soak


@dataclass(frozen=True)
class Promise:
    """A promise, and what tries it."""

    name: str
    says: str
    attempt: Any  # (folder, size) -> Outcome
    long: int
    short: int


PROMISES = [
    Promise("kill-call", "a kill at any call that changes the disk loses nothing, leaves nothing",
            kills.at_every_call, 10**6, 3),
    Promise("kill-random", "a kill at any moment, also of a run that goes on",
            kills.at_random, 250, 4),
    Promise("kill-cost", "a kill costs 10 seconds at the most, in one long cycle",
            kills.costs_seconds, 5, 0),
    Promise("refusal", "a full or failing disk: the old state or the new one, a message, no raw error",
            refusals.at_every_call, 10**6, 3),
    Promise("power", "written, flushed, renamed, folder flushed, in each save", refusals.in_order, 1, 1),
    Promise("damage", "flipped bits and lost ends are found", damage.is_found, 5000, 60),
    Promise("mending", "a damaged run that goes on ends as an unharmed one", damage.is_mended, 100, 4),
    Promise("foreign", "of whole files that say strange things come errors of ours alone",
            foreign.only_errors_of_ours, 3000, 40),
    Promise("lock", "never two hold a run", company.lock_holds_one, 10_000, 300),
    Promise("two", "two go on with one run: no record twice", company.two_go_on, 30, 1),
    Promise("second", "runs begun in one second have directories of their own",
            company.one_second, 10, 1),
    Promise("threads", "the same bits in any thread", company.threads_agree, 40, 2),
    Promise("containment", "a network that diverges changes no bit of others",
            company.failure_is_contained, 48, 2),
    Promise("dask", "200 networks on a Dask cluster whose workers are killed, and once its scheduler",
            many.dask_outlives_kills, 10, 0),
    Promise("array", "200 networks by four processes without a scheduler, one killed all the time",
            many.array_outlives_kills, 10, 0),
    Promise("soak", "no growth of memory, files, threads", soak.grows, 200, 10),
]  # fmt: skip
