"""Networks of Python's, exported: models, ensembles, populations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from klayer.data import Dataset
from klayer.export.exported import Exported, exported
from klayer.export.of_run import data_of_run, of_run
from klayer.export.verify import RowsToVerify, features_of, given_rows, rows_of_run
from klayer.export.write import Written, write_export
from klayer.files import plain
from klayer.study import Run
from klayer.study.provenance import versions
from klayer.study.summary import spread
from klayer.train import Population
from klayer.train.metrics import metrics_of

__all__ = ["export_model"]


def export_model(
    model: Any,
    path: str | Path,
    to: str | None = None,
    *,
    X: Any = None,
    force: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Written:
    """Write trained networks to a file for other programs, and a model card beside it.

    Before anything is written, the file's content answers for raw rows, and its answers must be those of
    the networks to 1e-5: of probabilities; of targets in standard deviations.

    Parameters
    ----------
    model : Model, Ensemble, Population, Run or fitted estimator
        Several networks answer by their mean. Of a population those that did not diverge, of a run the
        best network, of a search of estimators its ``best_estimator_``.
    path : path
        A file, ``.onnx`` or ``.safetensors``, with its card beside it (``mine.onnx.md``); or a folder,
        with ``to``, whose card is ``README.md``.
    to : {"safetensors", "onnx", "csv"}, optional
        The format; by default as the ending says.
    X : array of shape (N, D), frame or sparse matrix, optional
        Real rows to verify by. By default those of the data of a population or a run; rows are drawn
        if there are none.
    force : bool
        Whether files that are there are replaced.
    about : mapping, optional
        What the card is to say besides: see :class:`klayer.export.Exported`.

    Returns
    -------
    written : Written
        ``files``, ``format``, ``verified`` with the largest ``difference``.

    Raises
    ------
    KlayerError
        If the answers differ, a file is there already, or a package is missing (``pip install
        'klayer[onnx]'``). Nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> import klayer as kl
    >>> population = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = kl.export_model(population, f"{folder}/digits", to="safetensors")
    >>> [path.name for path in written.files], written.verified.difference
    (['model.safetensors', 'README.md'], 0.0)
    """
    what, rows = _made_ready(model)
    what = replace(what, about={**what.about, **(about or {})})
    rows = rows if X is None else given_rows(X)
    return write_export(what, path, to, rows, force=force)


def _made_ready(model: Any) -> tuple[Exported, RowsToVerify | None]:
    """Return networks with what is known of them, and rows of their data, if they are there."""
    if isinstance(model, Run):
        dataset, _ = data_of_run(model)
        return of_run(model, (), dataset), rows_of_run(model, dataset)
    if isinstance(model, Population):
        return replace(exported(model), about=_about(model)), _rows(model)
    model = getattr(model, "best_estimator_", model)  # of a search
    if hasattr(model, "_exported") and not isinstance(model, type):  # an estimator
        return model._exported(), None
    return exported(model), None


def _about(population: Population) -> dict[str, Any]:
    """What is known of a population and its data."""
    dataset: Any = population.feed.original.dataset
    alive = population.alive
    members = [population.members[lane] for lane in alive]
    data: dict[str, Any] = {"name": dataset.name}
    scores: dict[str, dict[str, list[float]]] = {}
    if isinstance(dataset, Dataset):
        data |= {
            "source": dataset.source,
            "fingerprint": dict(dataset.fingerprint),
            "samples": {name: len(split) for name, split in dataset.splits.items()},
            "image_shape": dataset.image_shape,
            "value_range": dataset.value_range,
            "background": dataset.background,
        }
        for split in dataset.splits:
            values = population.evaluate(split)
            scores[split] = {
                name: np.asarray(values[name])[alive].tolist() for name in metrics_of(dataset.task)
            }
    found: dict[str, Any] = plain(
        {
            "data": data,
            "networks": [
                {"seed": int(one.seed), "settings": one.settings.as_dict()} for one in members
            ],
            "scores": [
                {"split": split, "score": name, **spread(one)}
                for split, each in scores.items()
                for name, one in each.items()
            ],
            "diverged": len(population.members) - len(members),
            "versions": versions(),
        }
    )
    return found


def _rows(population: Population) -> RowsToVerify | None:
    """Return raw rows of a population's data, if they are there."""
    dataset: Any = population.feed.original.dataset
    return features_of(dataset) if isinstance(dataset, Dataset) else None
