"""Run a study from its configuration to its summary: `klayer train` is one with a single arm."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from klayer.data import load
from klayer.data.dataset import Dataset
from klayer.errors import KlayerError
from klayer.study.arms import Pack, jobs, pack
from klayer.study.config import StudyConfig, validate
from klayer.study.run import Run, write_json
from klayer.study.runner import Reporter, train_jobs, updates
from klayer.study.summary import summarise
from klayer.train import Standardised
from klayer.files import read_arrays

__all__ = ["open_run", "plan", "resumable", "resume_study", "run_study"]


def plan(config: StudyConfig, data: Standardised) -> list[tuple[Pack, int]]:
    """Return the populations of a study, each with its number of updates."""
    packs = pack(jobs(config.arm_list(), config.seed_list()))
    return [(one, updates(data, one.jobs[0].member.settings)) for one in packs]


def run_study(
    config: StudyConfig,
    *,
    out: str | Path | None = None,
    kind: str = "study",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train every arm with every seed, and write a run directory.

    Parameters
    ----------
    config : StudyConfig
    out : path, optional
        The run directory, new or empty; by default ``runs/DATE-TIME-KIND``.
    kind : {"study", "train"}
    data_dir : path, optional
        Where the data set lies.
    workers : int, optional
        Threads; by default all cores.
    reporter : Reporter, optional

    Returns
    -------
    run : Run
        Finished, with ``summary.json``. After an interruption, :func:`resume_study` goes on.
    """
    config.arm_list()
    dataset = load(config.data, data_dir=data_dir)
    stored = {**config.model_dump(exclude_none=True), "data_dir": data_dir}
    return _go_on(Run.create(out, kind, stored, dataset), config, dataset, workers, reporter)


def resume_study(
    path: str | Path,
    *,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Go on with an interrupted study: finished networks are kept, the others trained.

    The result is the same, bit for bit, as without the interruption.
    """
    run, config, dataset = open_run(path, ("study", "train"), data_dir=data_dir)
    return _go_on(run, config, dataset, workers, reporter)


def open_run(
    path: str | Path, kinds: Sequence[str] = (), *, data_dir: str | Path | None = None
) -> tuple[Run, StudyConfig, Dataset]:
    """Open a run with its configuration and its data.

    Parameters
    ----------
    path : path
    kinds : sequence of str
        Commands whose runs are wanted; all, if left out.
    data_dir : path, optional

    Raises
    ------
    KlayerError
        If another command made the run, or the data are not those that it was made with.
    """
    run = Run(path)
    kind = run.info["kind"]
    if kinds and kind not in kinds:
        raise KlayerError(
            f"{run.path} was made by `klayer {kind}`: "
            f"go on with `klayer {kind} --resume {run.path}`."
        )
    stored = dict(run.info["config"])
    data_dir = data_dir or stored.pop("data_dir", None)
    stored.pop("data_dir", None)
    config = validate(StudyConfig, stored, str(run.path / "run.json"))
    dataset = load(config.data, data_dir=data_dir)
    inputs, _ = read_arrays(run.path / "inputs.safetensors")
    if not np.array_equal(inputs["mean"], dataset.standardiser.mean):
        raise KlayerError(
            f"a run goes on with the data that it began with, but {config.data!r} has changed since "
            f"{run.path} was made: start a new run."
        )
    return run, config, dataset


@contextlib.contextmanager
def resumable(run: Run):
    """Let a Ctrl-C say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"nothing is lost: go on with `klayer {run.info['kind']} --resume {run.path}`"
        ) from None


def _go_on(
    run: Run,
    config: StudyConfig,
    dataset: Dataset,
    workers: int | None,
    reporter: Reporter | None,
) -> Run:
    started = time.monotonic()
    everything = jobs(config.arm_list(), config.seed_list())
    with run, resumable(run):
        if config.gradcheck:
            _check_gradients(run, dataset)
        standardised: dict[str, Standardised] = {}
        for job in everything:
            dtype = job.member.settings.dtype
            standardised.setdefault(dtype, Standardised(dataset, dtype))
        for dtype, data in standardised.items():
            chosen = [job for job in everything if job.member.settings.dtype == dtype]
            train_jobs(run, data, chosen, workers=workers, reporter=reporter)
        if config.search:
            from klayer.study.search import read_search, run_search

            dtype = read_search(config)[1].dtype
            data = standardised.get(dtype) or Standardised(dataset, dtype)
            run_search(config, run, data, workers=workers, reporter=reporter)
        summarise(run, time.monotonic() - started)
    return run


def _check_gradients(run: Run, dataset: Dataset) -> None:
    """Write ``gradcheck.json``: the report's section 1, on the data of the study where they fit."""
    from klayer.gradcheck.section import CLASSES, FEATURES, SAMPLES, report_section

    path = run.path / "gradcheck.json"
    if path.exists():
        return
    if dataset.n_features < FEATURES or dataset.n_classes > CLASSES:
        section = report_section()
    else:
        rows = np.random.default_rng(0).permutation(len(dataset.splits["train"]))
        rows = rows[:SAMPLES]
        x = dataset.standardiser.transform(dataset.splits["train"].features[rows], np.float64)
        labels = dataset.splits["train"].labels[rows]
        inputs = f"{dataset.name}, first {FEATURES} features"
        section = report_section(x, labels, inputs=inputs)
    write_json(path, section.to_dict())
