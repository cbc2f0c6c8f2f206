"""Ask Optuna for the next trials: a pure function of the space, the seed and what is known."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from klayer.errors import KlayerError
from klayer.study.search.config import Space

__all__ = ["distributions", "draw", "from_choice", "quiet_optuna", "to_choice"]


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging each trial, and from warning that a feature is young."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def to_choice(value: Any) -> str | int | float:
    """Write a choice as Optuna can store it: lists as JSON.

    Examples
    --------
    >>> to_choice([50, 50]), to_choice("hidden"), to_choice(100)
    ('[50, 50]', 'hidden', 100)
    """
    return json.dumps(value) if isinstance(value, list | tuple) else value


def from_choice(name: str, value: Any) -> Any:
    """Undo :func:`to_choice` for the parameter ``name``."""
    return json.loads(value) if name == "hidden" else value


def distributions(space: Space, log: Mapping[str, bool] | None = None) -> dict:
    """Return Optuna's distributions for a space; ``log`` overrules the ranges' own scales."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    found: dict[str, Any] = {}
    for name in space.names:
        if name in space.ranges:
            one = space.ranges[name]
            on_log = one.scale == "log" if log is None else log[name]
            found[name] = FloatDistribution(one.low, one.high, log=on_log)
        else:
            found[name] = CategoricalDistribution([to_choice(v) for v in space.categories[name]])
    return found


def draw(
    space: Space,
    trials: int,
    *,
    sampler: str = "random",
    seed: Sequence[int] = (0,),
    history: Sequence[tuple[Mapping[str, Any], float]] = (),
) -> list[dict]:
    """Ask for a batch of trials, none of which waits for another's result.

    The batch doesn't collapse onto one point: independent and quasi-random draws differ anyway, and
    the samplers that learn see the trials that are still running (TPE as a "constant liar", which
    takes them for bad ones; the Gaussian process by the expected improvement beyond them). That
    alone left 10 draws of a Gaussian process within 1 % of a smooth optimum, so a draw of a
    learning sampler that is nearer to another of its batch than ``0.5 / trials`` of every range
    gives way to an independent one.

    Parameters
    ----------
    space : Space
    trials : int, >= 1
    sampler : {"random", "qmc", "tpe", "gp"}
    seed : sequence of int, each >= 0
        The same numbers give the same draws.
    history : sequence of (params, value)
        What the learning samplers learn from. Points outside the space are left out.

    Returns
    -------
    params : list of dict
        Plain values by parameter.

    Raises
    ------
    KlayerError
        If ``gp`` is wanted and PyTorch isn't installed.

    Examples
    --------
    >>> from klayer.study.search import Range
    >>> space = Space({"l2": Range(1e-5, 1e-1)}, {"batch_norm": ["none", "hidden"]})
    >>> points = draw(space, 4, seed=[7])
    >>> points == draw(space, 4, seed=[7]), len({point["l2"] for point in points})
    (True, 4)
    """
    import optuna

    wanted = distributions(space)
    with quiet_optuna():
        study = optuna.create_study(sampler=_sampler(sampler, seed), direction="maximize")
        if sampler in ("tpe", "gp"):
            for params, value in history:
                if _inside(space, params):
                    study.add_trial(
                        optuna.trial.create_trial(
                            params={name: to_choice(params[name]) for name in wanted},
                            distributions=wanted,
                            value=value,
                        )
                    )
        asked: list[dict] = []
        rng = np.random.default_rng([*seed, 1])
        margin = 0.5 / trials if sampler in ("tpe", "gp") else 0.0
        for _ in range(trials):
            trial = study.ask(wanted)
            if _crowded(space, trial.params, asked, margin):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(_apart(space, asked, margin, rng))
                trial = study.ask(wanted)
            asked.append(trial.params)
    return [{name: from_choice(name, params[name]) for name in space.names} for params in asked]


def _inside(space: Space, params: Mapping[str, Any]) -> bool:
    return all(one.contains(params[name]) for name, one in space.ranges.items()) and all(
        params[name] in choices for name, choices in space.categories.items()
    )


def _crowded(space: Space, params: dict, others: Sequence[dict], margin: float) -> bool:
    """Whether a point lies within ``margin`` of another one, in units of every range."""
    if not space.ranges:
        return False
    here = _units(space, params)
    return any(
        all(params[name] == other[name] for name in space.categories)
        and np.abs(here - _units(space, other)).max() < margin
        for other in others
    )


def _units(space: Space, params: Mapping[str, Any]) -> np.ndarray:
    """Return a point's position in each range, from 0 to 1 on the range's scale."""
    return np.array([one.position(params[name]) for name, one in space.ranges.items()])


def _apart(space: Space, others: Sequence[dict], margin: float, rng: np.random.Generator) -> dict:
    """Draw a point independently, again if it is crowded."""
    for _ in range(100):
        point = {
            name: min(max(one.at(rng.uniform()), one.low), one.high)
            for name, one in space.ranges.items()
        }
        for name, choices in space.categories.items():
            point[name] = to_choice(choices[rng.integers(len(choices))])
        if not _crowded(space, point, others, margin):
            break
    return point


def _sampler(name: str, seed: Sequence[int]):
    import optuna

    number = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    samplers = optuna.samplers
    if name == "random":
        return samplers.RandomSampler(seed=number)
    if name == "qmc":
        return samplers.QMCSampler(
            scramble=True,
            seed=number,
            warn_independent_sampling=False,
            independent_sampler=samplers.RandomSampler(seed=number),
        )
    if name == "tpe":
        return samplers.TPESampler(seed=number, constant_liar=True)
    try:
        import torch  # noqa: F401
    except ImportError:
        raise KlayerError(
            "the sampler gp needs PyTorch, which isn't installed: `pip install torch`, "
            "or choose random, qmc or tpe."
        ) from None
    return samplers.GPSampler(seed=number, warn_independent_sampling=False)
