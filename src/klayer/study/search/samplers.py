"""Ask Optuna for the next trials: a pure function of the space, the seed and what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.study.search.optuna_space import distributions, from_choice, quiet_optuna, to_choice
from klayer.study.search.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

__all__ = ["SAMPLERS", "Sampler", "draw", "require_space"]

# Of fewer trials there is no best tenth for CMA-ES to begin with: it draws about the middle.
FEW = 10

History = Sequence[tuple[Mapping[str, Any], float]]


@dataclass(frozen=True)
class Sampler:
    """A way to draw trials.

    Attributes
    ----------
    make : callable
        Returns Optuna's sampler for a seed (a whole number >= 0) and the finished trials.
    learns : bool
        Whether it looks at finished trials: then it draws in batches, not a stage at once.
    ranges : int
        The fewest ranges that it draws from, without choices beside them; 0 for any space.
    """

    make: Callable[[int, Sequence[FrozenTrial]], BaseSampler]
    learns: bool = False
    ranges: int = 0


def _random(seed: int, known: Sequence[FrozenTrial] = ()) -> BaseSampler:  # noqa: ARG001
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _qmc(seed: int, known: Sequence[FrozenTrial]) -> BaseSampler:  # noqa: ARG001
    from optuna.samplers import QMCSampler

    return QMCSampler(
        scramble=True,
        seed=seed,
        warn_independent_sampling=False,
        independent_sampler=_random(seed),
    )


def _tpe(seed: int, known: Sequence[FrozenTrial]) -> BaseSampler:  # noqa: ARG001
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, constant_liar=True)


def _gp(seed: int, known: Sequence[FrozenTrial]) -> BaseSampler:  # noqa: ARG001
    _require("gp", "torch", "PyTorch")
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, warn_independent_sampling=False)


def _cmaes(seed: int, known: Sequence[FrozenTrial]) -> BaseSampler:
    _require("cmaes", "cmaes", "the package cmaes")
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(
        seed=seed,
        n_startup_trials=0,
        warn_independent_sampling=False,
        source_trials=list(known) if len(known) >= FEW else None,
    )


def _require(sampler: str, module: str, called: str) -> None:
    """Refuse a sampler whose package isn't there."""
    try:
        import_module(module)
    except ImportError:
        *others, last = (name for name in SAMPLERS if name != sampler)
        raise KlayerError(
            f"the sampler {sampler} needs {called}, which isn't installed: `pip install {module}`, "
            f"or choose {', '.join(others)} or {last}."
        ) from None


# Independent draws; a scrambled Sobol sequence; tree-structured Parzen estimators; a Gaussian process;
# CMA-ES, each batch from a normal distribution about the best of all trials before (Nomura et al. 2021,
# "Warm starting CMA-ES for hyperparameter optimization").
# A new sampler is a function and a row.
SAMPLERS: Mapping[str, Sampler] = {
    "random": Sampler(_random),
    "qmc": Sampler(_qmc),
    "tpe": Sampler(_tpe, learns=True),
    "gp": Sampler(_gp, learns=True),
    "cmaes": Sampler(_cmaes, learns=True, ranges=2),
}


def require_space(space: Space, sampler: str) -> None:
    """Refuse a space that a sampler can't draw from.

    Raises
    ------
    KlayerError
        For an unknown sampler; for choices, and too few ranges, where it needs ranges.
    """
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    least = SAMPLERS[sampler].ranges
    if not least or (not space.categories and len(space.ranges) >= least):
        return
    got = f"the choices of `{next(iter(space.categories))}`" if space.categories else "one alone"
    *others, last = (name for name, one in SAMPLERS.items() if not one.ranges)
    raise KlayerError(
        f"the sampler {sampler} draws numbers from {least} ranges or more, but got {got}: choose "
        f"{', '.join(others)} or {last}."
    )


def draw(
    space: Space,
    trials: int,
    *,
    sampler: str = "random",
    seed: Sequence[int] = (0,),
    history: History = (),
) -> list[dict[str, Any]]:
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
    sampler : str
        A row of :data:`SAMPLERS`.
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
        For an unknown sampler, a space that it can't draw from, a package of its that isn't installed.

    Examples
    --------
    >>> from klayer.study.search.space import Range
    >>> space = Space({"l2": Range(1e-5, 1e-1)}, {"batch_norm": ["none", "hidden"]})
    >>> points = draw(space, 4, seed=[7])
    >>> points == draw(space, 4, seed=[7]), len({point["l2"] for point in points})
    (True, 4)
    """
    import optuna

    require_space(space, sampler)
    row, wanted = SAMPLERS[sampler], distributions(space)
    number = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    with quiet_optuna():
        known = [
            optuna.trial.create_trial(
                params={name: to_choice(params[name]) for name in wanted},
                distributions=wanted,
                value=value,
            )
            for params, value in history
            if row.learns and _inside(space, params)
        ]
        study = optuna.create_study(sampler=row.make(number, known), direction="maximize")
        study.add_trials(known)
        asked: list[dict[str, Any]] = []
        rng = np.random.default_rng([*seed, 1])
        margin = 0.5 / trials if row.learns else 0.0
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


def _crowded(
    space: Space, params: Mapping[str, Any], others: Sequence[Mapping[str, Any]], margin: float
) -> bool:
    """Whether a point lies within ``margin`` of another one, in units of every range."""
    if not space.ranges:
        return False
    here = _units(space, params)
    return any(
        all(params[name] == other[name] for name in space.categories)
        and np.abs(here - _units(space, other)).max() < margin
        for other in others
    )


def _units(space: Space, params: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return a point's position in each range, from 0 to 1 on the range's scale."""
    return np.array([one.position(params[name]) for name, one in space.ranges.items()])


def _apart(
    space: Space,
    others: Sequence[Mapping[str, Any]],
    margin: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Draw a point independently, again if it is crowded."""
    for _ in range(100):
        point: dict[str, Any] = {
            name: min(max(one.at(rng.uniform()), one.low), one.high)
            for name, one in space.ranges.items()
        }
        for name, choices in space.categories.items():
            point[name] = to_choice(choices[rng.integers(len(choices))])
        if not _crowded(space, point, others, margin):
            break
    return point
