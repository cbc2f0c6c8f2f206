"""Run a study from its description to its summary, and go on with one.

`klayer train` is a study with a single arm; `klayer search` is one whose arms a sampler draws.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from klayer.data import Dataset
from klayer.data.redraw import redrawn
from klayer.errors import KlayerError
from klayer.files import Damaged, LockHeld, NotWritten
from klayer.study.execute import Executor, SchedulerLost, open_executor, require_scheduler
from klayer.study.execute.bench import Bench
from klayer.study.execute.join import created, is_joint, take_part
from klayer.study.given_data import with_data
from klayer.study.mending import discard, mend
from klayer.study.run_dir import Run
from klayer.study.search.optuna_mirror import reach
from klayer.study.search.stages import Watcher, search_stages
from klayer.study.secrets import HIDDEN, without_passwords
from klayer.study.study import Study, as_study
from klayer.study.summary import summarise
from klayer.study.training import Reporter, Silent, train_jobs
from klayer.study.watch import heard

__all__ = ["resume_search", "resume_study", "run_search", "run_study"]


def run_study(
    study: Study | str | Path,
    data: Any = None,
    y: Any = None,
    *,
    out: str | Path | None = None,
    kind: str = "study",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    scheduler: str = "local",
    **said: Any,
) -> Run:
    """Train every arm with every seed, then its search if it has one, and write a run directory.

    Parameters
    ----------
    study : Study, str or Path
        Also a TOML file, or the name of a study that comes with klayer.
    data : Dataset, str, Path, array, frame or tuple (X, y), optional
        What is trained on, in the place of the data that the study names: as in :func:`klayer.fit`. What
        the study says of its data, as ``target``, holds of rows and files that are given, too.
    y : array, optional
        What is to be predicted, of rows.
    out : path, optional
        The run directory, new or empty; by default ``runs/DATE-TIME-KIND``.
    kind : {"study", "train"}
    data_dir : path, optional
        Where the data set lies.
    workers : int, optional
        Threads; by default all cores.
    reporter : Reporter, optional
        By default a notebook and a terminal show how it goes, a log doesn't.
    scheduler : str
        Who trains: ``local``, ``processes:N``, a Dask scheduler's ``tcp://HOST:PORT``, or ``join``; see
        :func:`klayer.study.execute.open_executor`. It changes no bit of the result.
    **said
        Of the data: ``validation=(X, y)``, ``test=(X, y)`` and a ``name`` of rows; the fields of
        `DataOptions`.

    Returns
    -------
    run : Run
        Finished, with ``summary.json``. After an interruption, :func:`resume_study` goes on.

    Raises
    ------
    KlayerError
        For data and a study that can't be, or don't fit each other.

    Examples
    --------
    >>> import tempfile
    >>> study = Study.from_values({"seeds": 2, "settings": {"hidden": [4], "half_cycle": "1 epoch"}})
    >>> X = np.random.default_rng(0).normal(size=(90, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = run_study(study, X, X[:, 0] > 0, out=folder)
    >>> len(run.networks), run.info["data"]["source"]
    (2, 'numpy.ndarray, given in Python')
    """
    require_scheduler(scheduler)
    study = as_study(study)
    with study.named():
        study, dataset, given = with_data(study, data, y, data_dir, said)
        if study.search:
            _require_validation(dataset)
        _require_split(study, dataset)
        notes = study.require_updates(len(dataset.splits["train"]))
    _say(notes, reporter)
    url = study.search.storage if study.search else None
    if url:
        reach(url)
    if is_joint(scheduler):
        run = created(out, kind, _document(study), dataset, data_dir, given=given)
        return _shared(run, scheduler, workers, reporter, None, url)
    with open_executor(scheduler, dataset, workers) as engine:
        run = Run.create(out, kind, _document(study), dataset, data_dir, given=given)
        return _begin(run, study, engine, reporter)


def resume_study(
    path: str | Path,
    data: Any = None,
    y: Any = None,
    *,
    storage: str | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    scheduler: str = "local",
    **said: Any,
) -> Run:
    """Go on with an interrupted study: finished networks are kept, the others trained.

    The result is the same, bit for bit, as without the interruption. What is damaged is made again, as
    far as configuration, data and seeds can give it back.

    Parameters
    ----------
    path : path
        The run directory.
    data, y : optional
        The same data again, where they were given as rows or a data set: no name leads to them.
    storage : str, optional
        URL of its search's storage: needed again if it holds a password, which isn't written down.
    data_dir, workers, reporter, scheduler, said
        As in :func:`run_study`.

    Raises
    ------
    KlayerError
        If the data are missing, or others than those that the run began with.
    """
    require_scheduler(scheduler)
    run, study, dataset = _reopen(path, ("study", "train"), data, y, data_dir, said)
    url = _storage(study, storage)
    if is_joint(scheduler):
        return _shared(run, scheduler, workers, reporter, None, url)
    with open_executor(scheduler, dataset, workers) as engine:
        return _go_on(run, study, engine, reporter, None, url)


def run_search(
    study: Study | str | Path,
    data: Any = None,
    y: Any = None,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
    scheduler: str = "local",
    **said: Any,
) -> Run:
    """Search, and write a run directory.

    Parameters
    ----------
    study : Study, str or Path
        With a search; its arms are left alone.
    watcher : Watcher, optional
        Hears of stages as they begin and end.
    data, y, out, data_dir, workers, reporter, scheduler, said
        As in :func:`run_study`.

    Returns
    -------
    run : Run
        Finished, with ``trials.csv``, ``finalists.csv`` and ``summary.json``. After an
        interruption, :func:`resume_search` goes on.

    Raises
    ------
    KlayerError
        If the study has no search, or the data no validation split.
    """
    require_scheduler(scheduler)
    study = as_study(study)
    url = study.require_search().storage
    with study.named():
        study, dataset, given = with_data(study, data, y, data_dir, said)
        _require_validation(dataset)
        notes = study.require_updates(len(dataset.splits["train"]), arms=False)
    _say(notes, reporter)
    if url:
        reach(url)
    if is_joint(scheduler):
        run = created(out, "search", _document(study), dataset, data_dir, given=given)
        return _shared(run, scheduler, workers, reporter, watcher, url)
    with open_executor(scheduler, dataset, workers) as engine:
        run = Run.create(out, "search", _document(study), dataset, data_dir, given=given)
        return _begin(run, study, engine, reporter, watcher, url)


def resume_search(
    path: str | Path,
    data: Any = None,
    y: Any = None,
    *,
    storage: str | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
    watcher: Watcher | None = None,
    scheduler: str = "local",
    **said: Any,
) -> Run:
    """Go on with an interrupted search: finished trials are kept, the others trained.

    The result is the same, bit for bit, as without the interruption.

    Parameters
    ----------
    path : path
        The run directory.
    data, y : optional
        As in :func:`resume_study`.
    storage : str, optional
        URL of the storage: needed again if it holds a password, which isn't written down.
    data_dir, workers, reporter, watcher, scheduler, said
        As in :func:`run_search`.

    Raises
    ------
    KlayerError
        If the run isn't a search, its storage needs a password, or its data are missing or others.
    """
    require_scheduler(scheduler)
    run, study, dataset = _reopen(path, ("search",), data, y, data_dir, said)
    study.require_search()
    url = _storage(study, storage)
    if is_joint(scheduler):
        return _shared(run, scheduler, workers, reporter, watcher, url)
    with open_executor(scheduler, dataset, workers) as engine:
        return _go_on(run, study, engine, reporter, watcher, url)


def _reopen(
    path: str | Path,
    kinds: Sequence[str],
    data: Any,
    y: Any,
    data_dir: str | Path | None,
    said: Mapping[str, Any],
) -> tuple[Run, Study, Dataset]:
    run = Run(path, mending=True)
    run.require(kinds)
    if data is not None or y is not None or said:
        return run, run.study, run.use_data(data, y, data_dir=data_dir, **said)
    return run, run.study, run.load_data(data_dir)


def _document(study: Study) -> dict[str, Any]:
    """Return the configuration as it is written down: without a password."""
    url = study.search and study.search.storage
    if not url:
        return dict(study.document)
    hidden = {**study.document["search"], "storage": without_passwords(url)}
    return {**study.document, "search": hidden}


def _storage(study: Study, given: str | None) -> str | None:
    url = given or (study.search.storage if study.search else None)
    if url and HIDDEN in url:
        raise KlayerError(
            f"the storage {url} needs its password, which a run directory doesn't hold: "
            "give --storage URL again, or set KLAYER_STORAGE."
        )
    return url


def _shared(
    run: Run,
    scheduler: str,
    workers: int | None,
    reporter: Reporter | None,
    watcher: Watcher | None,
    storage: str | None,
) -> Run:
    """Take part in a run: lead it if nobody does, else train what the leader lays out."""
    dataset, study = run.load_data(), run.study

    def lead() -> Run:
        with open_executor(scheduler, dataset, workers) as engine:
            now = Run(run.path, mending=True)
            now.use_data(dataset)
            return _go_on(now, study, engine, reporter, watcher, storage)

    return take_part(run.path, lead, workers, reporter)


def _begin(
    run: Run,
    study: Study,
    executor: Executor,
    reporter: Reporter | None,
    watcher: Watcher | None = None,
    storage: str | None = None,
) -> Run:
    try:
        return _go_on(run, study, executor, reporter, watcher, storage)
    except (LockHeld, NotWritten, SchedulerLost):
        raise  # another one goes on, or it says how to
    except KlayerError:
        with contextlib.suppress(KlayerError):
            discard(run)  # the same command works again once the mistake is mended
        raise


def _go_on(
    run: Run,
    study: Study,
    executor: Executor,
    reporter: Reporter | None,
    watcher: Watcher | None = None,
    storage: str | None = None,
) -> Run:
    started = time.monotonic()
    with run, run.resumable(), heard(reporter) as reporter:
        for sentence in executor.dataset.notes:
            reporter.note(f"{executor.dataset.name}: {sentence}")
        for damage in [*run.faults, *mend(run, executor.dataset)]:
            reporter.note(damage)
        if run.kind != "search":
            if study.gradcheck:
                reporter.phase("checking gradients")
                _check_gradients(run, executor.dataset)
            train_jobs(run, executor, study.jobs, reporter=reporter)
        if study.search:
            search_stages(
                run, study.search, executor, storage=storage, reporter=reporter, watcher=watcher
            )
        run.require_held()
        run.checkpoints.clear()
        Bench(run.path).clear()
        summarise(run, time.monotonic() - started)
        if run.lost and not run.networks:
            raise KlayerError(f"no network could be trained: {next(iter(run.lost.values()))}.")
    return run


def _say(notes: Sequence[str], reporter: Reporter | None) -> None:
    for note in notes:
        (reporter or Silent()).note(note)


def _require_split(study: Study, dataset: Dataset) -> None:
    """Refuse a new draw of training and validation, and too few rows, before anything is trained."""
    everyone = [job.member.settings for job in study.jobs]
    if "validation" not in dataset.splits:
        redrawn(dataset, max(one.split_seed for one in everyone))
    for rows in dict.fromkeys(one.train_samples for one in everyone):
        redrawn(dataset, train_samples=rows)


def _require_validation(dataset: Dataset) -> None:
    if "validation" not in dataset.splits:
        raise KlayerError(
            f"a search judges its trials on the validation split, but {dataset.name!r} has only "
            f"{', '.join(dataset.splits)}: give the data one, or study arms instead."
        )


def _check_gradients(run: Run, dataset: Dataset) -> None:
    """Write ``gradcheck.json``: the report's section 1, on the data of the study where they fit."""
    from klayer.gradcheck.section import CLASSES, FEATURES, SAMPLES, report_section

    with contextlib.suppress(Damaged):
        if run.result("gradcheck.json"):
            return
    fits = dataset.task == "classification" and dataset.n_classes <= CLASSES
    if dataset.n_features < FEATURES or not fits:
        section = report_section()
    else:
        train = dataset.splits["train"]
        rows = np.random.default_rng(0).permutation(len(train))[:SAMPLES]
        x = dataset.standardiser.transform(train.features[rows], np.float64)
        inputs = f"{dataset.name}, first {FEATURES} features"
        section = report_section(x, train.labels[rows], inputs=inputs)
    run.write_result("gradcheck.json", section.to_dict())
