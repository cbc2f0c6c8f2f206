"""What a TOML file may say: a training, a study; read, checked, resolved.

A mistake is answered with the file, the place and the rule, and "did you mean" for names.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from klayer.errors import KlayerError, invalid, located, unknown_name
from klayer.study.arms import Arm, describe
from klayer.train import Settings

__all__ = [
    "Published",
    "StudyConfig",
    "preset_names",
    "read_study",
    "read_toml",
    "validate",
]


class Published(BaseModel):
    """An accuracy that somebody published, to be set beside the measured one.

    ``where`` names the settings that an arm must have to be compared: ``{hidden = [50, 50],
    batch_norm = "none", init = "he"}``; a list of lists or names means any of them.
    """

    model_config = ConfigDict(extra="forbid")

    where: dict[str, Any]
    source: str
    train: float | None = None
    validation: float | None = None
    test: float | None = None
    note: str = ""

    def matches(self, settings: Settings) -> bool:
        """Whether an arm with these settings is what was published."""
        for name, wanted in self.where.items():
            have = settings.as_dict()[name]
            several = isinstance(wanted, list) and not (name == "hidden" and _flat(wanted))
            if have not in (wanted if several else [wanted]):
                return False
        return True


def _flat(value: list) -> bool:
    return not any(isinstance(item, list) for item in value)


class StudyConfig(BaseModel):
    """A study: data, arms, seeds; with search stages and a gradient check if wanted.

    Arms are ``settings`` crossed with every list in ``grid``, and after them those of ``arms``, each
    a table of settings with an optional ``name``.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = "study"
    title: str = "A study of fully connected networks"
    data: str = "digits"
    seeds: int | list[int] = Field(default=5)
    settings: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    arms: list[dict[str, Any]] = Field(default_factory=list)
    gradcheck: bool = False
    search: dict[str, Any] | None = None
    published: list[Published] = Field(default_factory=list)

    def seed_list(self) -> list[int]:
        """Return the seeds: those listed, or 0 ... n-1."""
        seeds = list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise KlayerError(
                "`seeds` must be a number >= 1, or a list of different whole numbers >= 0, "
                f"but got {self.seeds}."
            )
        return seeds

    def arm_list(self) -> list[Arm]:
        """Return the arms of the study.

        Raises
        ------
        KlayerError
            For a setting that doesn't exist or is out of range, and for two arms of one name.
        """
        arms = []
        if self.grid or not self.arms:
            for values in itertools.product(*self.grid.values()):
                chosen = {**self.settings, **dict(zip(self.grid, values, strict=True))}
                settings = Settings.from_values(chosen, "grid" if self.grid else "settings")
                extra = [
                    f"{name} {chosen[name]}"
                    for name in self.grid
                    if name not in ("hidden", "batch_norm", "init")
                ]
                arms.append(Arm(", ".join([describe(settings), *extra]), settings))
        for one in self.arms:
            chosen = {**self.settings, **one}
            name = chosen.pop("name", None)
            settings = Settings.from_values(
                chosen, "arms" if self.grid or len(self.arms) > 1 else ""
            )
            arms.append(Arm(str(name or describe(settings)), settings))
        names = [arm.name for arm in arms]
        for name in names:
            if names.count(name) > 1:
                raise KlayerError(
                    f"arms must have different names, but two are called {name!r}: "
                    "give one a `name`, or drop it."
                )
        return arms


def validate(model: type[BaseModel], values: Mapping[str, Any], where: str):
    """Make a checked record from plain values; a mistake names ``where``, the key and the rule."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error, where, model.model_fields) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    KlayerError
        If it is missing or is not TOML, with the line.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KlayerError(f"no such file: {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KlayerError(f"{path} must be TOML, but: {error}.") from None
    except OSError as error:
        raise KlayerError(f"{path} can't be read: {error.strerror}.") from None


def preset_names() -> list[str]:
    """Return the names of the studies that come with klayer."""
    folder = resources.files("klayer.study") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir())


def read_study(source: str | Path) -> StudyConfig:
    """Read a study from a TOML file, or by the name of one that comes with klayer.

    Examples
    --------
    >>> config = read_study("report")
    >>> len(config.arm_list()), config.seed_list()
    (24, [0, 1, 2, 3, 4])
    """
    if str(source) in preset_names():
        text = resources.files("klayer.study") / "presets" / f"{source}.toml"
        values, where = tomllib.loads(text.read_text(encoding="utf-8")), f"preset {source}"
    elif Path(source).suffix == ".toml" or Path(source).exists():
        values, where = read_toml(source), str(source)
    else:
        raise unknown_name("study", source, [*preset_names(), "FILE.toml"])
    config = validate(StudyConfig, values, where)
    try:
        config.seed_list()
        config.arm_list()
    except KlayerError as error:
        raise located(where, str(error)) from None
    return config
