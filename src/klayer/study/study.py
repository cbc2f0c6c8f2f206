"""What a study is: parsed once, from a TOML file or flags, into arms, seeds and search.

A mistake is answered with the file, the place and the rule, and "did you mean" for names.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from klayer.data import DataOptions, Dataset, load
from klayer.data.options import OPTIONS
from klayer.errors import KlayerError, located, require_kind, unknown_name
from klayer.printable import printable
from klayer.study.arms import SOURCES, Arm, Job, describe, jobs
from klayer.study.factors import labels
from klayer.study.search.options import Search
from klayer.study.search.space import apply
from klayer.study.toml_values import anchored, read_toml, validate
from klayer.train import OPTIMISERS, Settings
from klayer.train.other_names import unknown_setting
from klayer.train.seeds import seeds_of
from klayer.train.settings import SETTINGS, current_names, has_effect

__all__ = ["Published", "Study", "as_study", "preset_names", "read_document", "read_study"]

# A text that is shown wherever results are.
Name = Annotated[str, AfterValidator(printable)]

MOST_ARMS, MOST_NETWORKS = 10_000, 200_000

Values = Mapping[str, Any]
Make = Callable[[Values, str], Settings]


class Published(BaseModel):
    """An accuracy that somebody published, to be set beside the measured one.

    ``where`` names the settings that an arm must have to be compared: ``{hidden = [50, 50],
    batch_norm = "none", init = "he"}``; a list of lists or names means any of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    where: dict[str, Any]
    source: Name
    train: float | None = Field(default=None, ge=0, le=1)
    validation: float | None = Field(default=None, ge=0, le=1)
    test: float | None = Field(default=None, ge=0, le=1)
    note: Name = ""

    def matches(self, settings: Settings) -> bool:
        """Whether an arm with these settings is what was published."""
        for name, wanted in current_names(self.where).items():
            have = settings.as_dict()[name]
            several = isinstance(wanted, list) and not (name == "hidden" and _flat(wanted))
            if have not in (wanted if several else [wanted]):
                return False
        return True


def _flat(value: list[Any]) -> bool:
    return not any(isinstance(item, list) for item in value)


class _Keys(BaseModel):
    """The keys that a study's file may have, and their kinds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name = "study"
    title: Name = "A study of fully connected networks"
    data: str = "digits"
    seeds: int | list[int] = Field(default=5)
    seed: int | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    arms: list[dict[str, Any]] = Field(default_factory=list)
    steps: list[dict[str, Any]] = Field(default_factory=list)
    vary: list[Literal["init", "order", "split"]] = Field(default=["init"], min_length=1)
    gradcheck: bool = False
    search: dict[str, Any] | None = None
    published: list[Published] = Field(default_factory=list)


# What is said of the data stands beside `data`, under the names of its table.
_Document = create_model(
    "_Document",
    __base__=_Keys,
    **dict.fromkeys(OPTIONS, (Any, None)),  # type: ignore[call-overload]
)


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
        before it have, too.
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
        document = validate(_Document, values, where)
        try:
            if not document.data.strip():
                raise KlayerError(f"`data` must name a data set, but got {document.data!r}.")
            DataOptions.from_values({name: getattr(document, name) for name in OPTIONS})
            _one_data_set(document)
            document = _renamed(document)
            _check_size(document)
            search = document.search
            arms = tuple(_arms(document, make))
            if make == Settings.from_values:  # what a run stored was taken when it was made
                _check_published(document.published, arms)
            return cls(
                document.name,
                document.title,
                document.data,
                arms,
                seeds_of(document.seeds, document.seed),
                None if search is None else Search.from_values(search, document.settings, make),
                tuple(document.published),
                document.gradcheck,
                _varied(document),
                document.model_dump(exclude_none=True),
                where,
            )
        except KlayerError as error:
            raise located(where, str(error)) from None

    @property
    def labels(self) -> dict[str, str]:
        """What each arm is called, by its name: what tells it from the others."""
        settings = [arm.settings for arm in self.arms]
        named = {i: arm.name for i, arm in enumerate(self.arms) if arm.named}
        return dict(zip([arm.name for arm in self.arms], labels(settings, named)[0], strict=True))

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


def _renamed(document: _Keys) -> _Keys:
    """Give settings the names of today, before one table wins over another."""
    for one in document.published:
        for name, value in current_names(one.where, "published").items():
            if name not in SETTINGS:
                raise located("published", str(unknown_setting(name, value, SETTINGS)))
    return document.model_copy(
        update={
            "settings": current_names(document.settings, "settings"),
            "grid": current_names(document.grid, "grid"),
            "arms": [current_names(arm, "arms") for arm in document.arms],
            "steps": [current_names(step, "steps") for step in document.steps],
        }
    )


def _one_data_set(document: _Keys) -> None:
    """Refuse arms on other data: all networks of a study see the same rows."""
    if any("data" in one for one in _tables(document)):
        raise KlayerError(
            "a study has one data set, `data` at its top, so `data` can't differ among its arms: run it "
            "on each (`klayer study FILE --data NAME`), and set the runs side by side by `klayer report "
            "RUN OTHER` or `klayer runs compare`."
        )


def _tables(document: _Keys) -> list[dict[str, Any]]:
    """Return all tables of settings."""
    return [document.settings, document.grid, *document.arms, *document.steps]


def _varied(document: _Keys) -> tuple[str, ...]:
    """Return what a seed decides."""
    vary = document.vary
    if "init" not in vary or len(set(vary)) < len(vary):
        raise KlayerError(
            "`vary` must be a list of different sources with 'init' among them, as in ['init', 'order', "
            f"'split'], but got {vary}."
        )
    return tuple(source for source in SOURCES if source in vary)


def _check_size(document: _Keys) -> None:
    """Refuse more arms and networks than anybody waits for, before the first is made."""
    crossed = math.prod(map(len, document.grid.values())) if document.grid else 0
    count = crossed + len(document.arms) + len(document.steps)
    if count > MOST_ARMS:
        raise KlayerError(
            f"a study must have at most {MOST_ARMS:,} arms, but the grid makes {crossed:,} and `arms` "
            f"and `steps` {count - crossed:,}: leave some values away, or search them."
        )
    seeds = document.seeds if isinstance(document.seeds, int) else len(document.seeds)
    if count * seeds > MOST_NETWORKS:
        raise KlayerError(
            f"a study must have at most {MOST_NETWORKS:,} networks, but {count:,} arms x {seeds:,} "
            f"seeds are {count * seeds:,}."
        )


def _check_published(published: Sequence[Published], arms: Sequence[Arm]) -> None:
    """Refuse a published accuracy that is set beside nothing: its `where` has a slip."""
    for number, one in enumerate(published, start=1):
        if not any(one.matches(arm.settings) for arm in arms):
            first = arms[0].settings.as_dict()
            raise KlayerError(
                f"published, number {number}: `where` must name the settings of an arm, but no arm has "
                f"{one.where!r:.200}. The first arm has "
                f"{ {name: first[name] for name in current_names(one.where)}!r:.200}."
            )


def _arms(document: _Keys, make: Make) -> Iterator[Arm]:
    names = set()
    for arm in _all_arms(document, make):
        if arm.name in names:
            raise KlayerError(
                f"arms must have different names, but two are called {arm.name!r}: "
                "give one a `name`, or drop it."
            )
        names.add(arm.name)
        yield arm


def _all_arms(document: _Keys, make: Make) -> Iterator[Arm]:
    grid, arms = document.grid, [*document.arms, *_climbed(document.steps)]
    if grid or not arms:
        where, made = "grid" if grid else "settings", set[Settings]()
        points = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
        shared = _effective(document.settings, points)
        for point, rest in zip(_effective_points(points), shared, strict=True):
            chosen = {**rest, **point}
            settings = make(chosen, where)
            if settings in made and len(point) < len(grid):
                continue  # it differs from another in a setting that has no effect on it
            if settings in made:  # 0 and 0.0
                raise KlayerError(
                    f"{where}: a list must have each value once, but two arms have the same "
                    f"settings, {point!r:.200}: leave one away."
                )
            made.add(settings)
            yield Arm(", ".join([describe(settings), *_extra(point)]), settings)
    shared = _effective(document.settings, arms)
    found = []
    for one, rest in zip(arms, shared, strict=True):
        chosen = {**rest, **one}
        name = chosen.pop("name", None)
        table = "arms" if document.arms or not document.steps else "steps"
        settings = make(chosen, table if grid or len(arms) > 1 else "")
        found.append((str(name or describe(settings)), settings, name is not None, one))
    names = [name for name, *_ in found]
    for name, settings, given, one in found:
        # Where the usual name is another's, all that the arm sets.
        extra = [] if given or names.count(name) == 1 else _extra(one)
        yield Arm(", ".join([name, *extra]), settings, named=given)


def _climbed(steps: Sequence[Values]) -> Iterator[Values]:
    """Return each of some steps with what those before it have, where that still has an effect."""
    before: dict[str, Any] = {}
    for number, step in enumerate(steps, start=1):
        own = {name: value for name, value in step.items() if name != "name"}
        if number > 1 and all(before.get(name) == value for name, value in own.items()):
            called = step.get("name", f"number {number}")
            raise KlayerError(
                f"steps: each must add a setting to those before it, but {str(called)!r:.80} adds none: "
                "say what it changes, or leave it away."
            )
        kept = {
            name: value
            for name, value in before.items()
            if name in own or has_effect(name, {**before, **own})
        }
        before = {**kept, **own}
        yield {**before, "name": step["name"]} if "name" in step else dict(before)


def _extra(point: Values) -> list[str]:
    """Name what the usual name of an arm leaves out."""
    return [
        f"{name} {value}"
        for name, value in point.items()
        if name not in ("hidden", "batch_norm", "init")
    ]


def _effective(shared: Values, points: Sequence[Values]) -> list[Values]:
    """Return what is shared by all points, for each without what has no effect on it alone.

    What has an effect on none of them stays, to be refused.
    """
    kept = [{name for name in shared if has_effect(name, {**shared, **one})} for one in points]
    some = set().union(*kept) if kept else set()
    return [
        {name: value for name, value in shared.items() if name in own or name not in some}
        for own in kept
    ]


def _effective_points(points: Sequence[Values]) -> list[Values]:
    """Return a grid's points, each without what has no effect on it, though on others."""
    some = {name for one in points for name in one if has_effect(name, one)}
    return [
        {name: value for name, value in one.items() if has_effect(name, one) or name not in some}
        for one in points
    ]


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
    validate(_Document, values, where)
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
        Keys that win over those of the file: ``data="cifar10"``, ``seeds=2``, ``search=None``.

    Examples
    --------
    >>> study = read_study("report", seeds=2)
    >>> len(study.arms), study.seeds
    (24, (0, 1))
    """
    values, where = read_document(source)
    return Study.from_values({**values, **changes}, where)
