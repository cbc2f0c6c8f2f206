"""The record of a finished network: a line of ``networks.jsonl``, typed once for both directions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from klayer.errors import KlayerError
from klayer.files import parse_json
from klayer.train import Settings
from klayer.train.metrics import METRICS, main_metric

__all__ = ["PARTS", "STATES", "Key", "NetworkRecord", "Score", "numbers"]

# What a network belongs to: the arms of a study, the networks that part their variance, the trials of
# a search, its finalists.
PARTS = ("arms", "variance", "search", "finalists")
# What became of it. `at chance`: its training accuracy never left that of guessing.
STATES = ("trained", "at chance", "pruned", "diverged")

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Score:
    """What a network reached on one whole split; all None if it diverged.

    Attributes
    ----------
    loss : float or None
        The mean of what was trained on.
    cost : float or None
        Loss and penalty.
    accuracy : float or None, 0 to 1
    r2, rmse : float or None
        Of a regression; the latter in the target's unit.
    balanced_accuracy, macro_f1 : float or None, 0 to 1
        Every class counts the same. None in runs of older versions.
    label_accuracy, exact_match : float or None, 0 to 1
        Where a row may have several labels.
    """

    accuracy: float | None = None
    loss: float | None = None
    cost: float | None = None
    r2: float | None = None
    rmse: float | None = None
    label_accuracy: float | None = None
    exact_match: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None

    @property
    def main(self) -> float | None:
        """The score that networks are compared by, the greater the better; None if it diverged."""
        for name in dict.fromkeys(main_metric(metric.task) for metric in METRICS.values()):
            value: float | None = getattr(self, name)
            if value is not None:
                return value
        return None


@dataclass(frozen=True)
class NetworkRecord:
    """A finished network of a run.

    Attributes
    ----------
    part : {"arms", "variance", "search", "finalists"}
    arm : str
    seed : int
    state : {"trained", "at chance", "pruned", "diverged"}
    failure : str or None
        Why it diverged.
    scores : mapping of str to Score
        By split. A split is absent if the data have none, or if the network must not see it: the
        trials of a search leave ``test`` alone.
    settings : Settings
    population : str
        The population that it was trained in: the name of the file of its weights.
    lane : int, >= 0
        Its place in that population.
    at_once : int or None
        How many updates of the first layer were carried out at once: with this and the same settings
        it has the same bits again. None in runs of schema 1, which don't say.
    seconds : float
        Its share of the time that the population took.
    history : mapping of str to list
        The curves, all of one length: ``update``, ``epoch``, ``lr``, and ``train_cost``,
        ``train_loss``, ``train_accuracy`` and so on for each split that is recorded. None where the
        network had diverged.
    backend : str
        Who carried out the updates, as ``at_once`` a part of what gives the same bits again.
    stopped_at, best_at : int or None
        With early stopping: the update at which it stopped, None if it trained to the end, and that of
        the best weights, which it ended with.
    temperature : float or None, > 0
        By which its outputs are divided when it answers, if it was calibrated; scores and curves are
        those of the outputs as training left them.

    Examples
    --------
    >>> record = NetworkRecord("arms", "a", 0, "trained", None, {"train": Score(0.5, 1.0, 1.5)},
    ...                        Settings(), "p", 0, 1, 0.1, {"update": [0], "epoch": [0], "lr": [0.1]})
    >>> record.score("train"), record.score("test")
    (0.5, None)
    >>> NetworkRecord.from_json(record.to_json()) == record
    True
    """

    part: str
    arm: str
    seed: int
    state: str
    failure: str | None
    scores: Mapping[str, Score]
    settings: Settings
    population: str
    lane: int
    at_once: int | None
    seconds: float
    history: Mapping[str, list[Any]]
    backend: str = "numpy"
    stopped_at: int | None = None
    best_at: int | None = None
    temperature: float | None = None

    @property
    def key(self) -> Key:
        """What identifies the network in its run: part, arm, seed."""
        return self.part, self.arm, self.seed

    def score(self, split: str) -> float | None:
        """Return the main score on a split: accuracy, R² or accuracy per label.

        None if it diverged or never saw the split.
        """
        return self.scores.get(split, Score()).main

    @property
    def score_name(self) -> str:
        """The name of the main score: that of its task, whose curve it has even if it diverged."""
        names = (main_metric(metric.task) for metric in METRICS.values())
        return next((name for name in names if f"train_{name}" in self.history), "accuracy")

    @property
    def updates(self) -> int:
        """How many updates were done."""
        return int(self.history["update"][-1])

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as they stand in ``networks.jsonl``."""
        scores = {
            f"{split}_{name}": value
            for split, score in self.scores.items()
            for name, value in vars(score).items()
            if value is not None or name in ("accuracy", "loss", "cost")
        }
        return {
            "part": self.part,
            "arm": self.arm,
            "seed": self.seed,
            "state": self.state,
            "failure": self.failure,
            **scores,
            "settings": self.settings.as_dict(),
            "population": self.population,
            "lane": self.lane,
            "at_once": self.at_once,
            "backend": self.backend,
            "seconds": self.seconds,
            "stopped_at": self.stopped_at,
            "best_at": self.best_at,
            "temperature": self.temperature,
            "history": dict(self.history),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "a network") -> NetworkRecord:
        """Make a record from plain values.

        Parameters
        ----------
        values : mapping
            What :meth:`to_json` returned.
        where : str
            How to name the place in a message: the file and the line.

        Raises
        ------
        KlayerError
            If something is missing or of another kind, or this version doesn't know it.
        """
        rest = dict(_of(dict, values, where, "a record"))

        def take(name: str, *kinds: type) -> Any:
            if name not in rest:
                raise KlayerError(f"{where}: a network's record must have {name!r}, but has none.")
            return _of(kinds, rest.pop(name), where, f"{name!r}")

        part, arm, seed = take("part", str), take("arm", str), take("seed", int)
        state, failure = take("state", str), take("failure", str, type(None))
        for name, value, known in (("part", part, PARTS), ("state", state, STATES)):
            if value not in known:
                raise KlayerError(
                    f"{where}: {name!r} must be one of {', '.join(known)}, but got {value!r}: "
                    "was it written by a later version of klayer?"
                )
        settings = _settings(take("settings", dict), where)
        population, lane = take("population", str), take("lane", int)
        if not re.fullmatch(r"(?!\.)[\w.-]+", population):
            raise KlayerError(
                f"{where}: 'population' must be the name of a file of weights, without a folder, but "
                f"got {population!r}."
            )
        if lane < 0:
            raise KlayerError(f"{where}: 'lane' must be >= 0, but got {lane}.")
        at_once = take("at_once", int, type(None)) if "at_once" in rest else None
        backend = take("backend", str) if "backend" in rest else "numpy"
        seconds = take("seconds", int, float)
        stopped_at, best_at = (
            take(name, int, type(None)) if name in rest else None
            for name in ("stopped_at", "best_at")
        )
        heat = take("temperature", float, int, type(None)) if "temperature" in rest else None
        if heat is not None and not heat > 0:
            raise KlayerError(f"{where}: 'temperature' must be > 0, but got {heat}.")
        history = _history(take("history", dict), where)
        return cls(
            part,
            arm,
            seed,
            state,
            failure,
            _scores(rest, where),
            settings,
            population,
            lane,
            at_once,
            seconds,
            history,
            backend,
            stopped_at,
            best_at,
            heat,
        )

    @classmethod
    def from_line(cls, line: bytes, where: str, *, sealed: bool = False) -> NetworkRecord:
        """Make a record from a line of ``networks.jsonl``; ``where`` names file and line.

        Raises
        ------
        Damaged
            If it is no JSON, or not as it was written; if it has no digest, though ``sealed``.
        KlayerError
            As :meth:`from_json`.
        """
        return cls.from_json(parse_json(line, where, sealed=sealed), where)


def numbers(values: Iterable[Any]) -> list[float | None]:
    """Return plain floats; None for what is not finite.

    Examples
    --------
    >>> numbers([1, float("nan")])
    [1.0, None]
    """
    return [float(value) if math.isfinite(value) else None for value in values]


def _settings(values: dict[str, Any], where: str) -> Settings:
    """Read settings; those that many networks share are checked once, and are one object."""
    try:
        return _known_settings(json.dumps(values))
    except KlayerError:
        return Settings.from_stored(values, where)  # which says where


@lru_cache(maxsize=1024)
def _known_settings(text: str) -> Settings:
    return Settings.from_stored(json.loads(text), "")


def _history(history: dict[str, Any], where: str) -> dict[str, list[Any]]:
    for name, curve in history.items():
        kinds: tuple[type, ...] = (int, float, type(None))
        kinds = {"update": (int,), "epoch": (int, float)}.get(name, kinds)
        points = _of(list, curve, where, f"curve {name!r}")
        if set(map(type, points)) <= {float, type(None)} & set(kinds):
            continue  # what nearly all are
        for value in points:
            _of(kinds, value, where, f"curve {name!r}")
    lengths = {len(curve) for curve in history.values()}
    if not {"update", "epoch", "lr"} <= history.keys() or len(lengths) != 1 or 0 in lengths:
        raise KlayerError(
            f"{where}: the curves of 'history' must be of one length, 'update', 'epoch' and 'lr' "
            "among them, but got "
            f"{', '.join(f'{name} ({len(curve)})' for name, curve in history.items())}."
        )
    return history


def _scores(rest: dict[str, Any], where: str) -> dict[str, Score]:
    found: dict[str, dict[str, float | None]] = {}
    for key, value in rest.items():
        split, _, name = key.partition("_")
        if split not in ("train", "validation", "test") or name not in vars(Score()):
            raise KlayerError(
                f"{where}: a network's record has {key!r}, which this version of klayer doesn't "
                "know: was it written by a later version?"
            )
        value = _of((int, float, type(None)), value, where, f"{key!r}")
        is_share = name in METRICS and METRICS[name].share
        if is_share and value is not None and not 0 <= value <= 1:
            raise KlayerError(f"{where}: {key!r} must be from 0 to 1, but got {value}.")
        found.setdefault(split, {})[name] = value
    return {split: Score(**one) for split, one in found.items()}


def _of(kinds: type | tuple[type, ...], value: Any, where: str, name: str) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool) or _is_huge(value):
        raise KlayerError(f"{where}: {name} is damaged: got {value!r:.80}.")
    return value


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63  # no float may hold it
