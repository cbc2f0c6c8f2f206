"""A population in a file of its own: networks, settings, curves, what standardises its data.

The data themselves are not stored: whoever goes on training gives them again, and their fingerprint is
checked. Curves and models need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.data import Dataset, Standardiser, load
from klayer.data.encoder import Encoder
from klayer.data.fingerprint import differing, standardiser_digest
from klayer.errors import KlayerError, require_kind
from klayer.files import (
    Damaged,
    foreign_kind,
    plain,
    read_bytes,
    unpacked_arrays,
    write_arrays,
)
from klayer.train.feed import Data, Feed
from klayer.train.fitting import as_dataset
from klayer.train.population import Member, Population
from klayer.train.settings import Settings
from klayer.train.state import TrainingState

__all__ = ["load_population", "save_population"]

FORMAT = "klayer.population/1"


@dataclass(frozen=True)
class _AbsentSplit:
    """A split of which only the size is known."""

    name: str
    size: int
    data: str

    @property
    def features(self) -> NDArray[Any]:
        raise KlayerError(
            f"the population was loaded without its data, {self.data!r}, so the split {self.name!r} "
            "can't be read: say load_population(path, data), with what fit was given."
        )

    @property
    def labels(self) -> NDArray[Any]:
        return np.broadcast_to(np.int64(0), (self.size,))

    weights: None = None

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True)
class AbsentData:
    """What is known of data that are not there: enough for models and curves."""

    name: str
    task: str
    n_features: int
    class_names: tuple[str, ...]
    standardiser: Standardiser
    targets: Standardiser | None
    encoder: Encoder | None
    splits: Mapping[str, _AbsentSplit]
    absent: bool = True
    image_shape: tuple[int, int, int] | None = None

    @property
    def n_classes(self) -> int:
        """K, the number of classes, targets or labels."""
        return len(self.class_names)


def save_population(population: Population, path: str | Path) -> Path:
    """Write a population: see :meth:`Population.save`."""
    require_kind(path, (str, Path), "path", "a path")
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".safetensors")
    arrays, state = population.state.packed()
    data: Any = population.feed.dataset
    standardisers = {"inputs": data.standardiser, "targets": data.targets}
    for name, one in standardisers.items():
        if one is not None:
            arrays |= {f"{name}/mean": one.mean, f"{name}/scale": one.scale}
    encoder = getattr(data, "encoder", None)
    about = {
        "format": FORMAT,
        "members": [[one.settings.as_dict(), int(one.seed)] for one in population.members],
        "state": state,
        "data": {
            "name": str(getattr(data, "name", "data")),
            "task": data.task,
            "class_names": list(data.class_names),
            "samples": {name: len(split.labels) for name, split in data.splits.items()},
            "fingerprint": getattr(population.feed.original.dataset, "fingerprint", {}),
            "encoder": None if encoder is None else encoder.as_plain(),
            "image_shape": getattr(data, "image_shape", None),
        },
    }
    if not path.parent.is_dir():
        raise KlayerError(f"{path} can't be written: there is no folder {path.parent}.")
    try:
        write_arrays(path, arrays, plain(about))
    except OSError as error:
        raise KlayerError(f"{path} can't be written: {error.strerror or error}.") from None
    return path


def load_population(path: str | Path, data: Any = None, y: Any = None, **said: Any) -> Population:
    """Read a population that :meth:`Population.save` wrote.

    Parameters
    ----------
    path : str or Path
    data, y, **said
        The data, as :func:`fit` was given them. Left out, a data set with a name is read again; of
        other data the population knows enough for its :meth:`~Population.model` and
        :meth:`~Population.curves`, and training and evaluating ask for them.

    Returns
    -------
    population : Population
        The same, bit for bit: training it goes on as if nothing had happened.

    Raises
    ------
    KlayerError
        If the file is missing, damaged or of another kind, or the data are others.

    Examples
    --------
    >>> import tempfile
    >>> import klayer as kl
    >>> population = kl.fit("digits", hidden=(8,), cycles=1, half_cycle="1 epoch")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = population.save(f"{folder}/mine")
    ...     again = kl.load_population(path)
    >>> bool((again.evaluate("test")["accuracy"] == population.evaluate("test")["accuracy"]).all())
    True
    """
    require_kind(path, (str, Path), "path", "a path")
    path = Path(path)
    if not path.exists():
        raise KlayerError(f"no such file: {path}. Population.save says where it wrote.")
    content = b"" if path.is_dir() else read_bytes(path)
    kind = "a folder" if path.is_dir() else foreign_kind(content)
    if kind:
        raise Damaged(
            f"{path} must be a file that Population.save wrote, but is {kind}: kl.load_model reads runs "
            "and exports."
        )
    arrays, about = unpacked_arrays(content, str(path), sealed=True)
    if about.get("format") != FORMAT:
        raise KlayerError(
            f"{path} must be a population that Population.save wrote ({FORMAT}), but says "
            f"{about.get('format')!r}."
        )
    try:
        stored = _absent(about["data"], arrays)
        members = [
            Member(Settings.from_stored(values, str(path)), seed)
            for values, seed in about["members"]
        ]
        own = {
            key: one for key, one in arrays.items() if not key.startswith(("inputs/", "targets/"))
        }
        state = TrainingState.unpacked(own, about["state"])
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"{path} must hold a whole population, but reading it failed: {error!r}."
        ) from None
    dataset = _dataset(path, stored, about["data"]["fingerprint"], data, y, said)
    return Population(Feed(dataset, members[0].settings.dtype), members, state)


def _absent(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> AbsentData:
    def standardiser(name: str) -> Standardiser | None:
        if f"{name}/mean" not in arrays:
            return None
        return Standardiser(arrays[f"{name}/mean"], arrays[f"{name}/scale"])

    inputs, encoder = standardiser("inputs"), about["encoder"]
    if inputs is None:
        raise KeyError("inputs/mean")
    return AbsentData(
        about["name"],
        about["task"],
        len(inputs.mean),
        tuple(about["class_names"]),
        inputs,
        standardiser("targets"),
        None if encoder is None else Encoder.from_plain(encoder),
        {n: _AbsentSplit(n, size, about["name"]) for n, size in about["samples"].items()},
        image_shape=tuple(about["image_shape"]) if about.get("image_shape") else None,
    )


def _dataset(
    path: Path, stored: AbsentData, fingerprint: Mapping[str, str], data: Any, y: Any, said: Any
) -> Data:
    """Return the data: those that were given, those of the name, or what is known without them."""
    if data is None and y is None and not said:
        with suppress(KlayerError):
            found = load(stored.name, may_download=False)
            if not differing(fingerprint, found.fingerprint):
                return _measured_then(found, stored, fingerprint)
        return stored
    given: Dataset = as_dataset(data, y, **said)
    changed = differing(fingerprint, given.fingerprint)
    if changed:
        raise KlayerError(
            f"{path} was trained on other data: what differs from {given.name!r} is "
            f"{', '.join(changed)}. Give what fit was given, or leave the data out."
        )
    return _measured_then(given, stored, fingerprint)


def _measured_then(data: Dataset, stored: AbsentData, fingerprint: Mapping[str, str]) -> Dataset:
    """Return the data with the mean and scale that they had; those of rows drawn anew are others'."""
    if standardiser_digest(stored.standardiser) != fingerprint.get("standardiser"):
        return data
    return data.measured_as(stored.standardiser, stored.targets)
