"""What a user may say about data beside their name: one table for the command, files and Python."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from klayer.data.labels import TASKS
from klayer.errors import KlayerError, unknown_name

__all__ = ["OPTIONS", "DataOption", "DataOptions"]


@dataclass(frozen=True)
class DataOption:
    """One row of :data:`OPTIONS`.

    Parameters
    ----------
    name : str
        A field of `DataOptions`; the flag is ``--name`` with dashes.
    kind : {"names", "name", "choice", "count"}
        Several names, one name, one of `choices`, or a whole number.
    metavar : str
    help : str
        One sentence.
    choices : tuple of str
    least : int
        The smallest count.
    """

    name: str
    kind: Literal["names", "name", "choice", "count"]
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    least: int = 0

    @property
    def flag(self) -> str:
        """``--group-by``."""
        return f"--{self.name.replace('_', '-')}"


# A new option is a row, a field, and the sources that take it (`Source.takes`).
OPTIONS: Mapping[str, DataOption] = {
    option.name: option
    for option in (
        DataOption(
            "target",
            "names",
            "COLUMN",
            "Column to predict, by name or position (from 1; -1 is the last); again for several.",
        ),
        DataOption(
            "task",
            "choice",
            "TASK",
            "What the target is: classification, regression, multilabel. \\[default: inferred]",
            TASKS,
        ),
        DataOption("drop", "names", "COLUMN", "Column to leave out; again for several."),
        DataOption(
            "category",
            "names",
            "COLUMN",
            "Column whose numbers are names, such as postcodes; again for several.",
        ),
        DataOption(
            "max_levels",
            "count",
            "COUNT",
            "Levels of a category that get a column each, the most frequent ones. \\[default: 32]",
            least=1,
        ),
        DataOption(
            "missing",
            "choice",
            "HOW",
            "Gaps: error, or mean (of training, with a column that marks them). \\[default: error]",
            ("error", "mean"),
        ),
        DataOption(
            "split",
            "name",
            "COLUMN",
            "Column that says train, validation or test; none: all rows train.",
        ),
        DataOption("group_by", "name", "COLUMN", "Rows that agree here stay in one split."),
        DataOption("time", "name", "COLUMN", "The latest rows test, those before them validate."),
        DataOption("weights", "name", "COLUMN", "How much each row counts in the loss, >= 0."),
        DataOption("validation_data", "name", "FILE", "A table of its own to validate."),
        DataOption("test_data", "name", "FILE", "A table of its own to test."),
        DataOption(
            "heading",
            "choice",
            "HOW",
            "Whether the first line of a text file names the columns. \\[default: auto]",
            ("auto", "yes", "no"),
        ),
        DataOption(
            "keep",
            "choice",
            "WHERE",
            "Where rows of .npy and Parquet files are while networks train: memory, disk, or auto: on "
            "disk if they would fill a quarter of the memory. \\[default: auto]",
            ("auto", "memory", "disk"),
        ),
        DataOption(
            "background",
            "choice",
            "COLOUR",
            "Behind transparent pixels of images: white or black. \\[default: white]",
            ("white", "black"),
        ),
    )
}


@dataclass(frozen=True)
class DataOptions:
    """What was said about the data beside their name; the fields are the rows of :data:`OPTIONS`.

    Parameters
    ----------
    target : tuple of str
        Columns to predict, by name or position (from 1; -1 is the last).
    task : {"classification", "regression", "multilabel"}, optional
        By default it is inferred from the target.
    drop, category : tuple of str
        Columns to leave out; columns whose numbers are names.
    max_levels : int, >= 1
        Levels of a category that get a column each.
    missing : {"error", "mean"}
    split, group_by, time : str, optional
        Columns that decide about the splits.
    weights : str, optional
        Column that says how much each row counts in the loss.
    validation_data, test_data : str, optional
        Files.
    heading : {"auto", "yes", "no"}
    keep : {"auto", "memory", "disk"}
        Where rows of .npy and Parquet files are while networks train; auto: on disk if they would fill a
        quarter of the memory.
    background : {"white", "black"}
        Behind transparent pixels of images.

    Examples
    --------
    >>> DataOptions.from_values({"target": "price"}).target
    ('price',)
    >>> DataOptions.from_values({"targe": "price"})
    Traceback (most recent call last):
    klayer.errors.KlayerError: unknown option of the data 'targe': did you mean 'target'? Known: \
target, task, drop, category, max_levels, missing, split, group_by, time, weights, validation_data, \
test_data, heading, keep, background.
    """

    target: tuple[str, ...] = ()
    task: str | None = None
    drop: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    max_levels: int = 32
    missing: str = "error"
    split: str | None = None
    group_by: str | None = None
    time: str | None = None
    weights: str | None = None
    validation_data: str | None = None
    test_data: str | None = None
    heading: str = "auto"
    keep: str = "auto"
    background: str = "white"

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> DataOptions:
        """Read plain values; None stands for what was not said.

        Raises
        ------
        KlayerError
            For an unknown name, or a value of another kind, with the rule.
        """
        found = {}
        for name, value in values.items():
            if name not in OPTIONS:
                raise unknown_name("option of the data", name, OPTIONS)
            if value is not None:
                found[name] = _read(OPTIONS[name], value)
        options = cls(**found)
        ways = [name for name in ("split", "group_by", "time") if getattr(options, name)]
        if len(ways) > 1:
            raise KlayerError(
                f"one column decides about the splits, but got `{ways[0]}` and `{ways[1]}`: "
                "give one of split, group_by, time."
            )
        return options

    @property
    def given(self) -> dict[str, Any]:
        """Those that differ from the defaults, as plain values."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = list(value) if isinstance(value, tuple) else value
        return found


def _read(option: DataOption, value: Any) -> Any:
    if option.kind == "count":
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or value < option.least:
            raise KlayerError(
                f"`{option.name}` must be a whole number >= {option.least}, but got {value!r}."
            )
        return int(value)
    if option.kind == "names":
        several = isinstance(value, Sequence) and not isinstance(value, str)
        names = tuple(_name(option, one) for one in (value if several else [value]))
        if len(set(names)) < len(names):
            raise KlayerError(f"`{option.name}` must name each column once, but got {value!r}.")
        return names
    name = _name(option, value)
    if option.choices and name not in option.choices:
        raise unknown_name(option.name, name, option.choices)
    return name


def _name(option: DataOption, value: Any) -> str:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        value = int(value)
    elif not hasattr(value, "__fspath__") and not isinstance(value, str):
        pairs = option.name in ("validation_data", "test_data") and isinstance(value, Sequence)
        arrays = f"; arrays are `{option.name.removesuffix('_data')}=(X, y)`" if pairs else ""
        raise KlayerError(
            f"`{option.name}` must be a text, but got a {type(value).__name__}{arrays}."
        )
    if not str(value):
        raise KlayerError(f"`{option.name}` must be a text of at least one character.")
    return str(value)
