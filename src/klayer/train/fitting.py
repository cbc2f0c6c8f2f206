"""One call from data to trained networks: a name, a file, arrays or a frame in, a population out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from klayer.data import Dataset
from klayer.errors import KlayerError, unknown_name
from klayer.progress import PATIENCE, Meter, unasked_way
from klayer.train.engine import Engine
from klayer.train.feed import Augment, Feed
from klayer.train.other_names import unknown_setting
from klayer.train.population import Member, Population
from klayer.train.seeds import seeds_of
from klayer.train.settings import SETTINGS, Settings
from klayer.train.told import standing
from klayer.train.trainer import Trainer

__all__ = ["as_dataset", "fit"]


_ARGUMENTS = (
    *("data", "y", "settings", "seeds", "seed", "validation", "test"),
    *("augment", "workers", "progress"),
)
# What others call an argument of `fit`.
_OTHER_ARGUMENTS = {
    **dict.fromkeys(("random_state", "rng"), "seed"),
    **dict.fromkeys(("networks", "n_networks", "n_seeds", "repeats", "n_estimators"), "seeds"),
    **dict.fromkeys(("n_jobs", "threads", "n_threads", "jobs"), "workers"),
    **dict.fromkeys(("verbose", "quiet", "silent"), "progress"),
    **dict.fromkeys(("X", "x", "dataset", "X_train"), "data"),
    **dict.fromkeys(("labels", "y_train", "targets"), "y"),
    **dict.fromkeys(("val", "validation_split", "eval_set", "valid"), "validation"),
}


def fit(
    data: Any = None,
    y: Any = None,
    settings: Settings | Sequence[Settings] | None = None,
    *,
    seeds: Any = 1,
    seed: int | None = None,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    augment: Augment | str | Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    **said: Any,
) -> Population:
    """Train one network for each seed, all at once.

    Parameters
    ----------
    data : Dataset, str, Path, array or frame
        A data set; a name or a path, as :func:`klayer.load` takes them; or rows: an array or a sparse
        matrix of shape (N, D), images (N, H, W) or (N, C, H, W), a frame of pandas, polars or pyarrow;
        or a tuple (X, y) of both.
    y : array, shape (N,) or (N, K), optional
        What is to be predicted, of rows: names or numbers of classes, numbers, 0 and 1 for several
        labels. Of a frame, ``target="column"`` may say it. Beside a data set or a name the settings may
        stand here: ``fit(data, settings)``.
    settings : Settings or sequence of Settings, optional
        By default those of :class:`Settings`. Several are trained with every seed; they may differ in
        what networks of one population may differ in. Single ones may be given by name:
        ``fit(data, hidden=(20,), l2=1e-3)``.
    seeds : int or sequence of int
        How many networks, or their seeds, each >= 0.
    seed : int, >= 0, optional
        The first seed, for a number of seeds; by default 0.
    validation, test : (X, y), optional
        Rows of their own. Without them the rows are cut, about 70 / 15 / 15 %.
    augment : str or callable, optional
        Changes the rows of each mini-batch: the setting ``augment``, as in ``"mirror,crop:4"``, or a
        function of your own, see :class:`Feed`.
    workers : int, >= 1, optional
        Threads; by default all cores.
    progress : bool, optional
        Whether to show it. By default a notebook and a terminal show it, a log doesn't.
    **said
        Settings by name, and what `DataOptions` may say of rows or a file: ``target``, ``missing``,
        ``group_by``, ...

    Returns
    -------
    population : Population
        Trained: ask it to :meth:`~Population.evaluate`, for its :meth:`~Population.curves` or its
        :meth:`~Population.model`.

    Raises
    ------
    KlayerError
        For whatever can't be: data, settings, seeds, names.

    Warns
    -----
    UserWarning
        If all networks diverged.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> population = fit(X, np.where(X[:, 0] > 0, "right", "left"), hidden=(8,), seeds=2)
    >>> population.feed.dataset.class_names, len(population)
    (('left', 'right'), 2)
    >>> fit("digits", hiden=(8,))
    Traceback (most recent call last):
        ...
    klayer.errors.KlayerError: unknown argument 'hiden': did you mean 'hidden'?
    """
    if isinstance(y, Settings) or _is_several(y):
        if settings is not None:
            raise KlayerError(
                f"`settings` are given already, but got {settings!r:.40} too: name it, as in seeds=5."
            )
        y, settings = None, y
    if isinstance(augment, str | list | tuple):  # the setting of that name
        said, augment = {"augment": augment, **said}, None
    own, about_data = _parted(said)
    each = _settings(settings, own)
    numbers = seeds_of(seeds, seed)
    if augment is not None and not callable(augment):
        raise KlayerError(
            f"`augment` must be a function (rows, update=t) -> rows, but got {augment!r}."
        )
    if progress is not None and not isinstance(progress, bool):
        raise KlayerError(f"`progress` must be True, False or None, but got {progress!r}.")
    engine = Engine(workers)
    dataset = as_dataset(data, y, validation=validation, test=test, **about_data)
    population = Population(
        Feed(dataset, each[0].dtype, augment), [Member(one, n) for one in each for n in numbers]
    )
    started = time.perf_counter()
    with Meter(_way(progress), patience=PATIENCE) as meter:
        many = f"{len(population)} network{'s' * (len(population) > 1)} on {dataset.name}"
        meter.begin(many, population.total_updates)
        Trainer(population, engine).train(
            on_progress=meter.move,
            on_record=lambda state: meter.move(state.update, standing(state)),
        )
    population.seconds = time.perf_counter() - started
    if not population.alive:
        warnings.warn(
            f"all {len(population)} networks diverged ({population.state.failures[0]}): lower lr_max, "
            "or l2.",
            stacklevel=2,
        )
    return population


def as_dataset(data: Any, y: Any = None, **said: Any) -> Dataset:
    """Return the data set that some data are: themselves, what a name or path names, or rows.

    Parameters
    ----------
    data, y
        As in :func:`fit`.
    **said
        ``validation``, ``test``, ``data_dir`` and the fields of `DataOptions`.

    Raises
    ------
    KlayerError
        If they are none of these, or something is said that has no meaning for them.
    """
    given = {name: value for name, value in said.items() if value is not None}
    if y is None and isinstance(data, tuple) and len(data) == 2:
        data, y = data
    if not isinstance(data, Dataset | str | Path):
        from klayer.data import from_arrays

        folder = given.pop("data_dir", None)
        if folder is not None:
            raise KlayerError(f"`data_dir` is for named data sets, but got {folder!r} beside rows.")
        return from_arrays(data, y, **given)
    if y is not None:
        what = "a data set" if isinstance(data, Dataset) else f"{str(data)!r}"
        raise KlayerError(
            f"{what} has its own labels, but got `y` ({type(y).__name__}) too: leave it out, or pass "
            "rows as `data`. Settings are kl.Settings(...), seeds are seeds=5."
        )
    for name in ("validation", "test"):
        if name in given:
            raise KlayerError(
                f"`{name}` is for rows, as in fit(X, y, {name}=(X_{name}, y_{name})), but the data are "
                f"{data.name if isinstance(data, Dataset) else data}: it has its own splits."
            )
    if isinstance(data, Dataset):
        if given:
            raise KlayerError(
                f"a data set is complete, but got {next(iter(given))}=... too: say it to kl.load."
            )
        return data
    from klayer.data import load

    return load(data, **given)


def _way(progress: bool | None) -> Any:
    if progress is None:
        return unasked_way()
    return None if progress else "off"


def _is_several(value: Any) -> bool:
    """Whether a value is a list of settings."""
    return isinstance(value, list | tuple) and any(isinstance(one, Settings) for one in value)


def _parted(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part settings from what is said of the data; refuse what is neither."""
    from klayer.data.options import OPTIONS

    own = {name: value for name, value in said.items() if name in SETTINGS}
    about = {n: v for n, v in said.items() if n in OPTIONS or n == "data_dir"}
    for name, value in said.items():
        if name in own or name in about:
            continue
        if name in _OTHER_ARGUMENTS:
            hint = f"did you mean {_OTHER_ARGUMENTS[name]!r}?"
            raise unknown_name("argument", name, _ARGUMENTS, hint)
        meant = str(unknown_setting(name, value, SETTINGS, kind="argument")).partition(" Known:")[0]
        if "did you mean" in meant or "say" in meant:
            raise KlayerError(meant)
        raise unknown_name("argument", name, [*_ARGUMENTS, *OPTIONS, *SETTINGS])
    return own, about


def _settings(given: Any, own: Mapping[str, Any]) -> list[Settings]:
    """Return the settings that were given, whole or by name."""
    if given is None:
        return [Settings(**own)]
    each = list(given) if isinstance(given, list | tuple) else [given]
    if not each or not all(isinstance(one, Settings) for one in each):
        raise KlayerError(
            f"`settings` must be kl.Settings(...), or several of them, but got {given!r:.80}."
        )
    if own:
        raise KlayerError(
            f"settings are given whole or by name, but got `settings` and {next(iter(own))}=...: put it "
            "into kl.Settings(...)."
        )
    return each
