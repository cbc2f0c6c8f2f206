"""Which candidates a search tries: scikit-learn's draws and grids, or a sampler that learns."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import loguniform, rv_discrete, uniform
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.utils import check_random_state

from klayer.errors import KlayerError, unknown_name
from klayer.estimator.parameters import allowed, takes_a_range, unknown_parameter
from klayer.study.search.options import DRAWN_AT_A_TIME
from klayer.study.search.samplers import SAMPLERS, draw
from klayer.study.search.space import Range, Space

__all__ = ["Rounds", "known_samplers", "learns", "require_parameters", "rounds"]

Candidate = dict[str, Any]
Rounds = Generator[list[Candidate], Sequence[float], None]

# Candidates at a time: networks in one population gain nothing beyond, and all of them are in memory.
ROUND = 128
# What is drawn beyond the ends of a distribution that has none.
TAIL = 1e-6


def known_samplers() -> list[str]:
    """Return the names of all samplers."""
    return ["random", "grid", *(name for name in SAMPLERS if name != "random")]


def learns(sampler: str) -> bool:
    """Whether a sampler draws by what it has been told."""
    return sampler in SAMPLERS and SAMPLERS[sampler].learns


def require_parameters(distributions: Any, known: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse what is no parameter, before anything is trained.

    Parameters
    ----------
    distributions : as in :func:`rounds`
    known : mapping
        The parameters that there are.
    prefix : str
        What stands before those of our estimator.
    """
    several = [distributions] if isinstance(distributions, Mapping) else distributions
    if not isinstance(several, list | tuple) or not several:
        raise KlayerError(
            "`param_distributions` must be a dict of parameter to list, distribution or range, as in "
            f"{{'lr_max': '1e-4:1e-1', 'hidden': [(32,), (64, 64)]}}, but got {distributions!r:.80}."
        )
    for space in several:
        if not isinstance(space, Mapping) or not space:
            raise KlayerError(
                f"`param_distributions` must hold at least one parameter, but got {space!r:.80}."
            )
        for name, values in space.items():
            replaced = any(str(name).startswith(f"{step}__") for step in space)
            if name not in known and not replaced:
                raise KlayerError(f"`param_distributions`: {_unknown(str(name), known, prefix)}")
            fixed = isinstance(values, Iterable) and not isinstance(values, str)
            if not fixed and not isinstance(values, str) and not hasattr(values, "rvs"):
                raise KlayerError(
                    f"`param_distributions`, `{name}`: must be a list, a distribution of scipy.stats or "
                    f"a range as in '1e-4:1e-1', but got {values!r:.60}."
                )
            if fixed and not hasattr(values, "rvs") and len(list(values)) == 0:
                raise KlayerError(
                    f"`param_distributions`, `{name}`: there must be a value to choose, but got none."
                )
            own = str(name).removeprefix(prefix)
            ours = name in known and str(name).startswith(prefix)
            if isinstance(values, str) and _read(name, values) and ours and not takes_a_range(own):
                raise KlayerError(
                    f"`param_distributions`, `{name}`: a range draws real numbers, but `{own}` must be "
                    f"{allowed(own)}, and got {values!r}: give a list of values, or of whole numbers a "
                    "distribution as scipy.stats.randint."
                )


def _unknown(name: str, known: Mapping[str, Any], prefix: str) -> KlayerError:
    """Build the error for a name that is no parameter: in a pipeline the step belongs to it."""
    own = {one.removeprefix(prefix): 0 for one in known if one.startswith(prefix)}
    if not prefix:
        return unknown_parameter(name, own)
    bare = name.rpartition("__")[2]
    if bare in own:
        return unknown_name("parameter", name, known, f"did you mean {prefix + bare!r}?")
    if "__" in name and not name.startswith(prefix):
        return unknown_name("parameter", name, known)
    return KlayerError(f"{unknown_parameter(bare, own)} Say it as in '{prefix}lr_max'.")


def rounds(
    distributions: Any, n_iter: int, sampler: str, random_state: Any, most: int = ROUND
) -> tuple[int, Rounds]:
    """Return how many candidates there are, and rounds of them; a sampler that learns is sent scores.

    Parameters
    ----------
    distributions : dict, or list of dict
        Of each parameter a list of values, a distribution of ``scipy.stats``, or a range as a search of
        klayer's has it, ``"LOW:HIGH"`` on the log scale or ``"LOW:HIGH:linear"``.
    n_iter : int, >= 1
        How many are drawn; a grid is tried whole.
    sampler : str
        ``random`` draws what ``RandomizedSearchCV`` draws, ``grid`` is ``ParameterGrid``; the others are
        the rows of `klayer.study.search.samplers.SAMPLERS`.
    random_state : int, RandomState or None
    most : int
        Candidates of a round, at the most.

    Examples
    --------
    >>> many, drawn = rounds({"hidden": [(8,), (16,)], "l2": [0.0]}, 10, "grid", 0)
    >>> many, next(drawn)
    (2, [{'hidden': (8,), 'l2': 0.0}, {'hidden': (16,), 'l2': 0.0}])
    """
    if sampler not in known_samplers():
        raise unknown_name("sampler", str(sampler), known_samplers())
    several = [distributions] if isinstance(distributions, Mapping) else distributions
    spaces = [{name: _read(name, one) for name, one in space.items()} for space in several]
    if sampler in ("random", "grid"):
        every = _grid(spaces) if sampler == "grid" else _drawn(spaces, n_iter, random_state)
        return len(every), _cut(every, most)
    if len(spaces) > 1:
        raise KlayerError(
            f"the sampler {sampler} draws from one dict, but `param_distributions` has {len(spaces)}: "
            "join them, or choose sampler='random'."
        )
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    unit = _Unit(spaces[0])
    if learns(sampler):
        return n_iter, _asked(unit, n_iter, sampler, seed, most)
    points = draw(unit.space, n_iter, sampler=sampler, seed=[seed])
    return n_iter, _cut([unit.candidate(one) for one in points], most)


def _cut(candidates: Sequence[Candidate], most: int) -> Rounds:
    for start in range(0, len(candidates), most):
        yield list(candidates[start : start + most])


def _read(name: str, values: Any) -> Any:
    """Return values as scikit-learn takes them: a range becomes a distribution."""
    if not isinstance(values, str):
        return values if hasattr(values, "rvs") else list(values)
    try:
        one = Range.parse(values)
    except KlayerError as error:
        raise KlayerError(
            f"`param_distributions`, `{name}`: {error} A single value is a list, as in [{values!r}]."
        ) from None
    return (
        loguniform(one.low, one.high)
        if one.scale == "log"
        else uniform(one.low, one.high - one.low)
    )


def _grid(spaces: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    for space in spaces:
        for name, values in space.items():
            if hasattr(values, "rvs"):
                raise KlayerError(
                    f"sampler='grid' tries lists of values, but `{name}` is a distribution: give a "
                    "list, or choose sampler='random'."
                )
    return list(ParameterGrid(spaces))


def _drawn(spaces: Sequence[Mapping[str, Any]], n_iter: int, random_state: Any) -> list[Candidate]:
    """Draw what `RandomizedSearchCV` draws: of lists alone no candidate twice."""
    if not any(hasattr(values, "rvs") for space in spaces for values in space.values()):
        n_iter = min(n_iter, len(ParameterGrid(spaces)))
    return list(ParameterSampler(spaces, n_iter, random_state=random_state))


class _Unit:
    """A space in the samplers' words: of each distribution its quantiles, of a list its places."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        for name, one in values.items():
            if hasattr(one, "rvs") and not hasattr(one, "ppf"):
                raise KlayerError(
                    f"`param_distributions`, `{name}`: a sampler that learns needs the quantiles of a "
                    f"distribution, its method `ppf`, but {type(one).__name__} has none: choose "
                    "sampler='random'."
                )
        whole = Range(TAIL, 1 - TAIL, "linear")
        self.space = Space(
            {name: whole for name, one in values.items() if hasattr(one, "rvs")},
            {name: list(range(len(v))) for name, v in values.items() if not hasattr(v, "rvs")},
        )

    def candidate(self, point: Mapping[str, Any]) -> Candidate:
        """Return the parameters at a point."""
        return {name: self._at(one, point[name]) for name, one in self._values.items()}

    @staticmethod
    def _at(values: Any, place: Any) -> Any:
        if not hasattr(values, "rvs"):
            return values[place]
        value = values.ppf(place).item()
        return int(value) if isinstance(getattr(values, "dist", None), rv_discrete) else value


def _asked(unit: _Unit, n_iter: int, sampler: str, seed: int, most: int) -> Rounds:
    """Ask Optuna in batches, and tell it what came of them."""
    known: list[tuple[Mapping[str, Any], float]] = []
    while len(known) < n_iter:
        # One that failed counts as the worst that didn't: nothing is to be found there.
        scores = [score for _, score in known if np.isfinite(score)]
        history = [(p, v if np.isfinite(v) else min(scores)) for p, v in known if scores]
        many = min(DRAWN_AT_A_TIME, most, n_iter - len(known))
        points = draw(unit.space, many, sampler=sampler, seed=[seed, len(known)], history=history)
        found = yield [unit.candidate(one) for one in points]
        known += zip(points, found, strict=True)
