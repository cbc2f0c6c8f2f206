"""Data given in Python for those that a study names: rows, a frame, a data set, another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from klayer.data import DataOptions, Dataset
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError, unknown_name
from klayer.study.document import StudyKeys
from klayer.study.study import Study
from klayer.train.fitting import as_dataset
from klayer.train.settings import SETTINGS

__all__ = ["given_again", "with_data"]

# What may be said of rows beside the options of data.
_OF_ROWS = ("validation", "test", "name")


def with_data(
    study: Study, data: Any, y: Any, data_dir: str | Path | None, said: Mapping[str, Any]
) -> tuple[Study, Dataset, bool]:
    """Return a study with the data that it is trained on: those it names, unless others are given.

    Parameters
    ----------
    study : Study
        What it says of its data, as ``target``, holds of rows and names that are given, too; of a data
        set, which is complete, it doesn't.
    data, y : as in :func:`klayer.fit`, or None
    data_dir : path, optional
        Where a named data set lies.
    said : mapping
        ``validation``, ``test``, ``name``, and the fields of `DataOptions`, which win over the study's.

    Returns
    -------
    study : Study
        Whose document says what it is trained on.
    dataset : Dataset
    given : bool
        Whether no name leads to the data.

    Raises
    ------
    KlayerError
        As :func:`klayer.fit`; for what belongs to the study.
    """
    options = _options(study.document, said)
    more = {name: value for name, value in said.items() if name not in OPTIONS}
    if data is None or isinstance(data, str | Path):
        if data is None and y is not None:
            raise KlayerError(
                f"`y` is what is to be predicted of rows, but got it ({type(y).__name__}) without any: "
                "give both, as in run_study(study, X, y)."
            )
        changes = options if data is None else {"data": str(data), **options}
        if data is not None or options != _options(study.document, {}):
            study = Study.from_values({**study.document, **changes}, study.where)
        if y is not None or more:
            return study, as_dataset(study.data, y, data_dir=data_dir, **more), False
        return study, study.load_data(data_dir), False
    dataset = _read(data, y, data_dir, options, said)
    rest = {name: value for name, value in study.document.items() if name not in OPTIONS}
    plain = {} if isinstance(data, Dataset) else DataOptions.from_values(options).given
    name = dataset.name.strip() or "data"
    return replace(study, data=name, document={**rest, "data": name, **plain}), dataset, True


def given_again(
    config: Mapping[str, Any],
    data: Any,
    y: Any,
    data_dir: str | Path | None,
    said: Mapping[str, Any],
) -> Dataset:
    """Return data that are given once more, of which a run's configuration knows what was said."""
    if not isinstance(data, Dataset | str | Path) and "data" in config:
        said = {"name": config["data"], **said}
    return _read(data, y, data_dir, _options(config, said), said)


def _options(document: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the data: by a document and, winning over it, by a call."""
    for name in said:
        if name in OPTIONS or name in _OF_ROWS:
            continue
        if name in StudyKeys.model_fields or name in SETTINGS:
            how = f"{name}=..." if name in StudyKeys.model_fields else f"settings={{{name!r}: ...}}"
            raise KlayerError(
                f"`{name}` belongs to the study, not to the data: say it to "
                f"kl.read_study(..., {how}), or in its file."
            )
        raise unknown_name("argument", name, [*OPTIONS, *_OF_ROWS])
    given = {name: one for name, one in said.items() if name in OPTIONS and one is not None}
    return {**{name: document[name] for name in OPTIONS if name in document}, **given}


def _read(
    data: Any,
    y: Any,
    data_dir: str | Path | None,
    options: Mapping[str, Any],
    said: Mapping[str, Any],
) -> Dataset:
    complete = isinstance(data, Dataset)  # what is said of it in vain is refused
    return as_dataset(data, y, data_dir=data_dir, **(said if complete else {**options, **said}))
