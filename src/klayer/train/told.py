"""A population as a reader sees it: its curves as a table, and what a notebook shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from klayer.shown import Facts, Part, ShownColumn, ShownTable, Told
from klayer.train.metrics import METRICS
from klayer.train.settings import Settings
from klayer.train.state import TrainingState

if TYPE_CHECKING:
    from klayer.train.population import Population

__all__ = ["Faces", "curve_table", "layers", "one_line", "population_parts", "standing"]

Array = NDArray[Any]

# Networks that a notebook lists.
SHOWN = 12


def layers(widths: tuple[int, ...]) -> str:
    """Write an architecture by its widths.

    Examples
    --------
    >>> layers((64, 50, 10))
    '64-50-10'
    """
    return "-".join(map(str, widths))


def standing(state: TrainingState) -> str:
    """Say how good networks are so far: the main score on the validation split, or in training."""
    split, name = _judge(state)
    if not name:
        return ""
    scores: Array = state.history[f"{split}_{name}"][:, -1]
    alive = scores[np.isfinite(scores)]
    if not len(alive):
        return "all networks diverged"
    span = f" ({_said(name, alive.min())} to {_said(name, alive.max())})" if len(alive) > 1 else ""
    return f"{split} {_said(name, alive.mean())}{span}"


def _judge(state: TrainingState) -> tuple[str, str]:
    """Return the split and the score that networks are judged by; none before the first point."""
    split = "validation" if any(one.startswith("validation_") for one in state.history) else "train"
    return split, next((name for name in METRICS if f"{split}_{name}" in state.history), "")


def _said(name: str, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    if METRICS[name].share:
        return f"{value:.1%}"
    # R² of what grew without bounds has any size.
    shown = f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
    return f"{METRICS[name].title} {shown}"


def curve_table(population: Population) -> dict[str, Array]:
    """Return the curves of a population: see :meth:`Population.curves`."""
    state = population.state
    P, T = len(population), len(state.recorded)
    at = np.array(state.recorded, np.int64)
    rates = population.learning_rates(at) if T else np.empty((0, P))  # (T, P)
    return {
        "network": np.repeat(np.arange(P), T),
        "seed": np.repeat(np.array([int(one.seed) for one in population.members]), T),
        "update": np.tile(at, P),
        "epoch": np.tile(at / population.updates_per_epoch, P),
        "lr": rates.T.ravel(),
        **{name: np.asarray(curve, float).ravel() for name, curve in state.history.items()},
    }


def data_name(population: Population) -> str:
    """Return what the data are called."""
    return str(getattr(population.feed.dataset, "name", "data"))


def one_line(population: Population) -> str:
    """Describe a population in a line."""
    P, state = len(population), population.state
    many = f"{P} network{'s' * (P > 1)}"
    at = f"update {state.update:,} of {population.total_updates:,}"
    now = standing(state)
    data = data_name(population)
    parts = [f"{many} {layers(population.network.widths)} on {data}", f"at {at}", now]
    return f"<Population of {', '.join(filter(None, parts))}>"


def population_parts(population: Population) -> list[Part]:
    """Return what a notebook shows of a population; the test split is left alone."""
    state = population.state
    default = Settings().as_dict()
    varied = [
        name
        for name in Settings.per_network()
        if len({getattr(one.settings, name) for one in population.members}) > 1
    ]
    own = {
        name: value
        for name, value in population.settings.as_dict().items()
        if value != default[name] and name not in varied and name != "hidden"
    }
    facts = [
        ("data", f"{data_name(population)}, {population.network.task}"),
        ("networks", f"{len(population)} of {layers(population.network.widths)}"),
        (
            "settings",
            ", ".join(f"{name} = {value}" for name, value in own.items()) or "the defaults",
        ),
        ("trained", f"update {state.update:,} of {population.total_updates:,}"),
    ]
    split, name = _judge(state)
    shown = range(min(SHOWN, len(population)))
    columns = [ShownColumn("seed", [str(population.members[p].seed) for p in shown], header=True)]
    for one in varied:
        values = [str(getattr(population.members[p].settings, one)) for p in shown]
        columns.append(ShownColumn(one, values))
    for part in dict.fromkeys(("train", split)) if name else ():
        scores = state.history[f"{part}_{name}"][:, -1]
        columns.append(
            ShownColumn(f"{part} {METRICS[name].title}", [_cell(name, scores[p]) for p in shown])
        )
    states = ["" if state.failures[p] is None else f"diverged: {state.failures[p]}" for p in shown]
    if any(states):
        columns.append(ShownColumn("state", states, words=True))
    caption = "At the last recorded point" + (
        f"; {SHOWN} of {len(population)} networks" if len(population) > SHOWN else ""
    )
    table = ShownTable(columns, [caption] * len(shown), [False] * len(shown))
    return [Facts(facts), table]


def _cell(name: str, value: float) -> str:
    return f"{value:.2%}" if METRICS[name].share else f"{value:.4g}"


class Faces(Told):
    """What a population shows and leaves behind: for a prompt, a notebook, a file, a page."""

    @property
    def _itself(self) -> Population:
        return cast("Population", self)

    def __repr__(self) -> str:
        return one_line(self._itself)

    def parts(self) -> list[Part]:
        """Return what a notebook shows: settings, and each network's scores so far."""
        return population_parts(self._itself)

    def _heading(self) -> str:
        return f"Population of {len(self._itself)} network{'s' * (len(self._itself) > 1)}"

    def save(self, path: str | Path) -> Path:
        """Write the population to one file, whole or not at all; the data are not written.

        Parameters
        ----------
        path : str or Path
            ``.safetensors`` is added where it has no ending.

        Returns
        -------
        path : Path
            What :func:`klayer.load_population` takes.

        Raises
        ------
        KlayerError
            If it can't be written.
        """
        from klayer.train.stored import save_population

        return save_population(self._itself, path)

    def plot_curves(self, measure: str | None = None) -> Any:
        """Draw loss and main score against epochs: see :func:`klayer.plot_curves`."""
        import klayer

        return klayer.plot_curves(self, measure)

    def plot_accuracy(self, split: str | None = None) -> Any:
        """Draw where each network ended: see :func:`klayer.plot_accuracy`."""
        import klayer

        return klayer.plot_accuracy(self, split)

    def report(self, out: str | Path | None = None, *, title: str = "") -> Path:
        """Write a run directory with a page, as ``klayer train`` does; return the page.

        Parameters
        ----------
        out : path, optional
            The run directory, new or empty; by default ``runs/DATE-TIME-train``.
        title : str, optional

        Raises
        ------
        KlayerError
            As :func:`klayer.study.run_of`.
        """
        import klayer

        page: Path = klayer.write_report(klayer.run_of(self, out, title))[0]
        return page

    def curves(self) -> dict[str, Array]:
        """Return the recorded curves as a table, a row for each network and recorded update.

        Returns
        -------
        columns : dict of array, shape (P * T,)
            ``network`` (its place in the population, from 0), ``seed``, ``update``, ``epoch``, ``lr``
            (the learning rate of the next update); and for each split that is recorded, ``train`` and
            ``validation``, its curves: ``train_loss``, ``train_cost`` (with the penalty) and the scores
            of the task, ``train_accuracy`` (0 to 1), or ``train_r2`` and ``train_rmse`` (in the
            target's unit), or ``train_label_accuracy`` and ``train_exact_match``. NaN from where a
            network diverged. ``pandas.DataFrame(columns)`` and ``polars.DataFrame(columns)`` take it
            as it is.

        Examples
        --------
        >>> import klayer as kl
        >>> population = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch", seeds=2)
        >>> curves = population.curves()
        >>> list(curves)[:7]
        ['network', 'seed', 'update', 'epoch', 'lr', 'train_cost', 'train_loss']
        >>> curves["epoch"][[0, -1]].tolist(), len(curves["seed"]) // 2
        ([0.0, 2.0], 11)
        """
        return curve_table(self._itself)
