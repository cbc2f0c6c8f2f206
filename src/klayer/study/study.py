"""What a study is: parsed once, from a TOML file or flags, into arms, seeds and search.

A mistake is answered with the file, the place and the rule, and "did you mean" for names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from klayer.data import DataOptions, Dataset, load
from klayer.data.options import OPTIONS
from klayer.data.tables.table import is_frame
from klayer.errors import KlayerError, located, require_kind, unknown_name
from klayer.study.arms import Arm, Job, jobs
from klayer.study.document import (
    Document,
    Published,
    check_published,
    check_size,
    one_data_set,
    renamed,
    varied,
)
from klayer.study.ladder import arm_labels
from klayer.study.search.options import Search
from klayer.study.search.space import apply
from klayer.study.toml_values import anchored, read_toml, validate
from klayer.study.written_arms import Make, written_arms
from klayer.train import OPTIMISERS, Settings
from klayer.train.seeds import seeds_of

__all__ = ["Published", "Study", "as_study", "preset_names", "read_document", "read_study"]


@dataclass(frozen=True)
class Study:
    """A study: data, arms, seeds; with a search and a gradient check if wanted.

    Attributes
    ----------
    name, title : str
    data : str
        Name of the data set, as :func:`klayer.load` takes it; ``target``, ``task`` and its other
        arguments are keys of the document too.
    arms : tuple of Arm
        ``settings`` crossed with every list in ``grid``, and after them those of ``arms``, each a
        table of settings with an optional ``name``; then those of ``steps``, each with what the steps
        before it have, too, and with settings that none of them has.
    seeds : tuple of int
    search : Search or None
    published : tuple of Published
    gradcheck : bool
    vary : tuple of {"init", "order", "split"}
        What a seed decides: see :func:`klayer.study.arms.jobs`.
    document : mapping
        The plain values that it was parsed from, defaults filled in: what a run stores.
    where : str
        What it was read from, for messages: a file.

    Examples
    --------
    >>> study = Study.from_values({"seeds": 2, "grid": {"init": ["he", "xavier"]}})
    >>> [arm.name for arm in study.arms], study.seeds
    (['3-layer [50, 50], no BN, he', '3-layer [50, 50], no BN, xavier'], (0, 1))
    """

    name: str
    title: str
    data: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    search: Search | None
    published: tuple[Published, ...]
    gradcheck: bool
    vary: tuple[str, ...]
    document: Mapping[str, Any] = field(repr=False)
    where: str = field(default="", repr=False, compare=False)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], where: str = "") -> Study:
        """Parse plain values, as a TOML file has them.

        Parameters
        ----------
        values : mapping
        where : str
            How to name their place in a message: the file.

        Raises
        ------
        KlayerError
            For an unknown key or setting, a value out of range, two arms of one name, a search that
            can't be.
        """
        return cls._parsed(values, where, Settings.from_values)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any], where: str) -> Study:
        """Parse what a run stored: former names are known, unknown ones may be a later version's."""
        return cls._parsed(values, where, Settings.from_stored)

    @classmethod
    def _parsed(cls, values: Mapping[str, Any], where: str, make: Make) -> Study:
        if isinstance(values, Mapping):
            _require_named(values.get("data"), where)
        document = validate(Document, values, where)
        try:
            if not document.data.strip():
                raise KlayerError(f"`data` must name a data set, but got {document.data!r}.")
            DataOptions.from_values({name: getattr(document, name) for name in OPTIONS})
            one_data_set(document)
            document = renamed(document)
            check_size(document)
            search = document.search
            arms = tuple(written_arms(document, make))
            if make == Settings.from_values:  # what a run stored was taken when it was made
                check_published(document.published, arms)
            return cls(
                document.name,
                document.title,
                document.data,
                arms,
                seeds_of(document.seeds, document.seed),
                None if search is None else Search.from_values(search, document.settings, make),
                tuple(document.published),
                document.gradcheck,
                varied(document),
                document.model_dump(exclude_none=True),
                where,
            )
        except KlayerError as error:
            raise located(where, str(error)) from None

    @property
    def labels(self) -> dict[str, str]:
        """What each arm is called, by its name: see :func:`klayer.study.ladder.arm_labels`."""
        return arm_labels(self.arms)

    @property
    def jobs(self) -> list[Job]:
        """The networks of its arms: every arm with every seed, and what parts their variance."""
        return jobs(self.arms, self.seeds, self.vary)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let a mistake that comes to light later name the file that it stands in, too."""
        try:
            yield
        except KlayerError as error:
            raise type(error)(str(located(self.where, str(error)))) from None

    def _all_settings(self, *, arms: bool) -> list[Settings]:
        """Return the settings of the arms, and those at the ends of what the search draws from."""
        found = [arm.settings for arm in self.arms] if arms else []
        if self.search:
            found += [
                apply(self.search.base, corner)
                for stage in self.search.stages
                for corner in stage.space.corners()
            ]
        return found

    def load_data(
        self, data_dir: str | Path | None = None, *, may_download: bool = True
    ) -> Dataset:
        """Load its data set, with what the study says of it.

        Raises
        ------
        KlayerError
            As :func:`klayer.load`.
        """
        said = {name: self.document[name] for name in OPTIONS if name in self.document}
        return load(self.data, data_dir=data_dir, may_download=may_download, **said)

    def require_updates(self, samples: int, *, arms: bool = True) -> list[str]:
        """Refuse a half-cycle of less than one update of a training split with this many samples.

        Parameters
        ----------
        samples : int
        arms : bool
            Whether the arms are trained too, beside the search.

        Returns
        -------
        notes : list of str
            What is not refused, but should be said: mini-batches that are larger than the split, rates
            that are rarely meant.

        Raises
        ------
        KlayerError
            With the half-cycle.
        """
        notes: dict[str, None] = {}
        for settings in self._all_settings(arms=arms):
            batches = settings.batches(samples)
            settings.course(batches.per_epoch)
            if settings.batch_size > samples:
                notes[
                    f"batch_size is {settings.batch_size:,}, but there are {samples:,} training rows: "
                    "each update sees all of them."
                ] = None
            if batches.dropped:
                notes[
                    f"the last mini-batch of an epoch would have {batches.dropped} row, which batch "
                    "normalisation can't normalise: it is dropped, another row in each epoch."
                ] = None
        for arm in self.arms if arms else ():
            settings = arm.settings
            if settings.lr_max > OPTIMISERS[settings.optimiser].greatest_rate:
                notes[
                    f"lr_max is {settings.lr_max:g}, but with {settings.optimiser} 0.001 to 0.01 is "
                    "usual: `klayer train --find-lr` suggests one."
                ] = None
        return list(notes)

    def require_search(self) -> Search:
        """Return the search.

        Raises
        ------
        KlayerError
            If the study has none.
        """
        if self.search is None:
            raise KlayerError(
                f"study {self.name!r} has no search: give it a table [search] with stages, or pass "
                "a range such as --l2 1e-5:1e-1."
            )
        return self.search


def _require_named(data: Any, where: str) -> None:
    """Refuse rows as a study's data: it is a description, which can be written down."""
    if isinstance(data, Dataset | np.ndarray | tuple) or is_frame(data):
        given = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
        raise located(
            where,
            f"`data` must be the name or path of a data set, but got {given}: give rows and data sets "
            "to kl.run_study(study, X, y) or kl.run_search, where they win over the study's own.",
        )


def preset_names() -> list[str]:
    """Return the names of the studies that come with klayer."""
    folder = resources.files("klayer.study") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir())


def read_document(source: str | Path) -> tuple[dict[str, Any], str]:
    """Read a study's plain values, by its file or by the name of one that comes with klayer.

    Returns
    -------
    values, where : dict, str
        What :meth:`Study.from_values` takes, after any changes; keys and kinds are checked.
    """
    require_kind(source, (str, Path), "source", "a TOML file or the name of a study")
    if str(source) in preset_names():
        text = resources.files("klayer.study") / "presets" / f"{source}.toml"
        values, where = tomllib.loads(text.read_text(encoding="utf-8")), f"preset {source}"
    elif Path(source).suffix == ".toml" or Path(source).exists():
        values, where = anchored(read_toml(source), Path(source).parent), str(source)
    else:
        raise unknown_name("study", source, [*preset_names(), "FILE.toml"])
    validate(Document, values, where)
    return values, where


def as_study(study: Study | str | Path) -> Study:
    """Return the study that is given, or named: by its file, or as one that comes with klayer."""
    hint = "kl.read_study reads one"
    require_kind(study, (Study, str, Path), "study", "a Study, a TOML file or a name", hint)
    return study if isinstance(study, Study) else read_study(study)


def read_study(source: str | Path, **changes: Any) -> Study:
    """Read a study from a TOML file, or by the name of one that comes with klayer.

    Parameters
    ----------
    source : path or str
    **changes
        StudyKeys that win over those of the file: ``data="cifar10"``, ``seeds=2``, ``search=None``.

    Examples
    --------
    >>> study = read_study("report", seeds=2)
    >>> len(study.arms), study.seeds
    (24, (0, 1))
    """
    values, where = read_document(source)
    return Study.from_values({**values, **changes}, where)
