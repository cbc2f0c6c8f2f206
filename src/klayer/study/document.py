"""What may stand in a study: its keys, their kinds, and what must hold among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from klayer.data.options import OPTIONS
from klayer.errors import KlayerError, located
from klayer.printable import printable
from klayer.study.arms import SOURCES, Arm
from klayer.train import Settings
from klayer.train.other_names import unknown_setting
from klayer.train.settings import SETTINGS, current_names

__all__ = [
    "Document",
    "Published",
    "StudyKeys",
    "check_published",
    "check_size",
    "one_data_set",
    "renamed",
    "varied",
]

# A text that is shown wherever results are.
Name = Annotated[str, AfterValidator(printable)]

MOST_ARMS, MOST_NETWORKS = 10_000, 200_000


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


class StudyKeys(BaseModel):
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
Document = create_model(
    "Document",
    __base__=StudyKeys,
    **dict.fromkeys(OPTIONS, (Any, None)),  # type: ignore[call-overload]
)


def renamed(document: StudyKeys) -> StudyKeys:
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


def one_data_set(document: StudyKeys) -> None:
    """Refuse arms on other data: all networks of a study see the same rows."""
    if any("data" in one for one in _tables(document)):
        raise KlayerError(
            "a study has one data set, `data` at its top, so `data` can't differ among its arms: run it "
            "on each (`klayer study FILE --data NAME`), and set the runs side by side by `klayer report "
            "RUN OTHER` or `klayer runs compare`."
        )


def _tables(document: StudyKeys) -> list[dict[str, Any]]:
    """Return all tables of settings."""
    return [document.settings, document.grid, *document.arms, *document.steps]


def varied(document: StudyKeys) -> tuple[str, ...]:
    """Return what a seed decides."""
    vary = document.vary
    if "init" not in vary or len(set(vary)) < len(vary):
        raise KlayerError(
            "`vary` must be a list of different sources with 'init' among them, as in ['init', 'order', "
            f"'split'], but got {vary}."
        )
    return tuple(source for source in SOURCES if source in vary)


def check_size(document: StudyKeys) -> None:
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


def check_published(published: Sequence[Published], arms: Sequence[Arm]) -> None:
    """Refuse a published accuracy that is set beside nothing: its `where` has a slip."""
    for number, one in enumerate(published, start=1):
        if not any(one.matches(arm.settings) for arm in arms):
            first = arms[0].settings.as_dict()
            raise KlayerError(
                f"published, number {number}: `where` must name the settings of an arm, but no arm has "
                f"{one.where!r:.200}. The first arm has "
                f"{ {name: first[name] for name in current_names(one.where)}!r:.200}."
            )
