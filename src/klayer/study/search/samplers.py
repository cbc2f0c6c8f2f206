"""Ask Optuna for the next trials: a pure function of the space, the seed and what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klayer.errors import KlayerError, unknown_name
from klayer.study.search.optuna_space import (
    distributions,
    from_choice,
    import_optuna,
    quiet_optuna,
    to_choice,
)
from klayer.study.search.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = ["SAMPLERS", "Sampler", "draw"]

History = Sequence[tuple[Mapping[str, Any], float]]


@dataclass(frozen=True)
class Sampler:
    """A way to draw trials.

    Attributes
    ----------
    make : callable
        Returns Optuna's sampler for a seed (a whole number >= 0).
    learns : bool
        Whether it looks at finished trials: then it draws in batches, not a stage at once.
    """

    make: Callable[[int], BaseSampler]
    learns: bool = False


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _qmc(seed: int) -> BaseSampler:
    from optuna.samplers import QMCSampler

    return QMCSampler(
        scramble=True,
        seed=seed,
        warn_independent_sampling=False,
        independent_sampler=_random(seed),
    )


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, constant_liar=True)


def _gp(seed: int) -> BaseSampler:
    try:
        import torch  # noqa: F401
    except ImportError:
        others = [name for name in SAMPLERS if name != "gp"]
        raise KlayerError(
            "the sampler gp needs PyTorch, which isn't installed: `pip install torch`, "
            f"or choose {', '.join(others[:-1])} or {others[-1]}."
        ) from None
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, warn_independent_sampling=False)


# Independent draws; a scrambled Sobol sequence; tree-structured Parzen estimators; a Gaussian process.
# A new sampler is a function and a row.
SAMPLERS: Mapping[str, Sampler] = {
    "random": Sampler(_random),
    "qmc": Sampler(_qmc),
    "tpe": Sampler(_tpe, learns=True),
    "gp": Sampler(_gp, learns=True),
}


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
        For an unknown sampler, and if ``gp`` is wanted and PyTorch isn't installed.

    Examples
    --------
    >>> from klayer.study.search.space import Range
    >>> space = Space({"l2": Range(1e-5, 1e-1)}, {"batch_norm": ["none", "hidden"]})
    >>> points = draw(space, 4, seed=[7])
    >>> points == draw(space, 4, seed=[7]), len({point["l2"] for point in points})
    (True, 4)
    """
    optuna = import_optuna()
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    row, wanted = SAMPLERS[sampler], distributions(space)
    number = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    with quiet_optuna():
        study = optuna.create_study(sampler=row.make(number), direction="maximize")
        if row.learns:
            for params, value in history:
                if _inside(space, params):
                    study.add_trial(
                        optuna.trial.create_trial(
                            params={name: to_choice(params[name]) for name in wanted},
                            distributions=wanted,
                            value=value,
                        )
                    )
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
