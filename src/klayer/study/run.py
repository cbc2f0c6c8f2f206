"""A run directory: everything that a training, a study or a search leaves behind.

::

    RUN/
      run.json              kind, resolved configuration, data, versions, machine
      networks.jsonl        a line for each finished network: settings, seed, accuracies, curves
      weights/*.safetensors the networks, a file for each population
      inputs.safetensors    mean and scale of the inputs
      checkpoints/          populations under way; gone when they are finished
      summary.json          the end: a line for each network and each arm, time, memory

Lines are appended a whole population at a time and never changed; a line that a kill cut short is
dropped when the run is opened again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from klayer.data.dataset import Dataset, Standardiser
from klayer.errors import KlayerError
from klayer.nn import Network
from klayer.train import Population, available_cores
from klayer.train.state import read_arrays, write_arrays

__all__ = ["Model", "Run", "plain", "record_key", "write_json"]

_PACKAGES = ("klayer", "numpy", "scipy", "threadpoolctl", "safetensors", "optuna", "vl-convert-python")


def plain(value):
    """Turn arrays, NumPy numbers, tuples and paths into what JSON knows; NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)


def record_key(record: Mapping) -> tuple[str, str, int]:
    """Return what identifies a finished network in its run: part, arm, seed."""
    return record["part"], record["arm"], int(record["seed"])


def write_json(path: Path, value) -> None:
    """Write JSON, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(plain(value), indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _machine() -> dict:
    from threadpoolctl import threadpool_info

    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    memory = None
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    blas = [f"{pool['internal_api']} {pool.get('version')}" for pool in threadpool_info()]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "architecture": platform.machine(),
        "cores": available_cores(),
        "memory_bytes": memory,
        "blas": sorted(set(blas)),
    }


class Run:
    """A run directory, open for reading and, by its creator, for appending.

    Parameters
    ----------
    path : Path
        An existing run directory.

    Attributes
    ----------
    info : dict
        What ``run.json`` says: ``kind``, ``config``, ``data``, ``versions``, ``machine``, ...
    networks : list of dict
        The finished networks, in the order of the lines.

    Raises
    ------
    KlayerError
        If there is no run at ``path``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.info = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise KlayerError(
                f"a run directory holds a file run.json, but {self.path} has none: "
                "pass the folder that `klayer train`, `study` or `search` printed."
            ) from None
        except json.JSONDecodeError as error:
            raise KlayerError(f"{self.path / 'run.json'} must be JSON, but: {error}.") from None
        self.networks = [record for record, _ in self._read_lines()]
        self._lock = None

    @classmethod
    def create(cls, path: str | Path | None, kind: str, config: Mapping, dataset: Dataset) -> Run:
        """Make a run directory and write ``run.json``.

        Parameters
        ----------
        path : path, optional
            Must be new or empty; by default ``runs/DATE-TIME-KIND``.
        kind : {"train", "study", "search"}
        config : mapping
            The resolved configuration: enough to run it all again.
        dataset : Dataset
        """
        now = datetime.datetime.now().astimezone()
        path = Path(path) if path else Path("runs") / f"{now:%Y-%m-%d-%H%M%S}-{kind}"
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise KlayerError(
                f"the run directory must be new or empty, but {path} is not: "
                "choose another with --out, or go on with a run by --resume."
            )
        info = {
            "kind": kind,
            "created": now.isoformat(timespec="seconds"),
            "command": ["klayer", *sys.argv[1:]] if "klayer" in Path(sys.argv[0]).name else None,
            "config": config,
            "data": {
                "name": dataset.name,
                "features": dataset.n_features,
                "class_names": dataset.class_names,
                "image_shape": dataset.image_shape,
                "value_range": dataset.value_range,
                "samples": {name: len(split) for name, split in dataset.splits.items()},
                "source": dataset.source,
            },
            "versions": _versions(),
            "machine": _machine(),
        }
        try:
            path.mkdir(parents=True, exist_ok=True)
            standard = dataset.standardiser
            arrays = {"mean": standard.mean, "scale": standard.scale}
            write_arrays(path / "inputs.safetensors", arrays, {})
            write_json(path / "run.json", info)
        except OSError as error:
            raise KlayerError(
                f"the run directory {path} can't be written: {error.strerror}."
            ) from None
        return cls(path)

    def __enter__(self) -> Run:
        """Hold the run for appending: a second process gets an error."""
        self._lock = (self.path / "lock").open("w")
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                raise KlayerError(
                    f"one process at a time may write a run, but another one is writing {self.path}."
                ) from None
        self._cut_torn_line()
        return self

    def __exit__(self, *exc_info) -> None:
        (self.path / "lock").unlink(missing_ok=True)
        self._lock.close()

    # Finished networks.

    def _read_lines(self) -> Iterable[tuple[dict, int]]:
        """Yield each whole record with the offset of its end."""
        end = 0
        with contextlib.suppress(FileNotFoundError), (self.path / "networks.jsonl").open("rb") as f:
            for line in f:
                end += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    yield json.loads(line), end
                except json.JSONDecodeError:
                    return

    def _cut_torn_line(self) -> None:
        path = self.path / "networks.jsonl"
        if path.exists():
            end = max((end for _, end in self._read_lines()), default=0)
            if end < path.stat().st_size:
                os.truncate(path, end)

    def append(self, records: list[dict]) -> None:
        """Append finished networks; they are on the disk when this returns.

        A network that the run holds already (its population's lines were cut short) stays as it is.
        """
        known = {record_key(record) for record in self.networks}
        records = [plain(record) for record in records if record_key(record) not in known]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        with (self.path / "networks.jsonl").open("ab") as f:
            f.write(lines.encode())
            f.flush()
            os.fsync(f.fileno())
        self.networks.extend(records)

    # Networks and their weights.

    def save_population(self, name: str, population: Population) -> None:
        """Write the networks of a finished population to ``weights/NAME.safetensors``."""
        folder = self.path / "weights"
        folder.mkdir(exist_ok=True)
        state, network = population.state, population.network
        arrays = {f"params/{key}": value for key, value in state.params.items()}
        arrays |= {f"running/{key}": value for key, value in state.running.items()}
        about = {
            "features": network.n_features,
            "hidden": network.hidden,
            "classes": network.n_classes,
            "batch_norm": network.batch_norm,
            "eps": network.eps,
            "seeds": [int(member.seed) for member in population.members],
        }
        write_arrays(folder / f"{name}.safetensors", arrays, about)

    def checkpoint(self, name: str) -> Path:
        """Return where the state of population ``name`` is kept while it is under way."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.safetensors"

    def best(self) -> dict:
        """Return the network with the best validation accuracy.

        Raises
        ------
        KlayerError
            If no network of the run is finished.
        """
        finished = [record for record in self.networks if record["validation_accuracy"] is not None]
        if not finished:
            raise KlayerError(f"no network of {self.path} is finished yet: go on with --resume.")
        return max(finished, key=lambda record: record["validation_accuracy"])

    def model(self, record: Mapping | None = None) -> Model:
        """Return a stored network (by default the best by validation accuracy), ready to predict."""
        record = record or self.best()
        path = self.path / "weights" / f"{record['population']}.safetensors"
        arrays, about = read_arrays(path)
        lane = slice(record["lane"], record["lane"] + 1)
        network = Network(
            about["features"], about["hidden"], about["classes"], about["batch_norm"], about["eps"]
        )
        groups: dict[str, dict] = {"params": {}, "running": {}}
        for key, value in arrays.items():
            group, name = key.split("/")
            groups[group][name] = value[lane]
        inputs, _ = read_arrays(self.path / "inputs.safetensors")
        return Model(
            network,
            **groups,
            standardiser=Standardiser(**inputs),
            class_names=tuple(self.info["data"]["class_names"]),
        )


class Model:
    """One trained network with the standardisation of its inputs: raw features in, classes out.

    Attributes
    ----------
    network : Network
    params, running : dict of array, shape (1, ...)
    standardiser : Standardiser
    class_names : tuple of str
    """

    def __init__(self, network, params, running, standardiser, class_names) -> None:
        self.network, self.params, self.running = network, params, running
        self.standardiser, self.class_names = standardiser, class_names

    def probs(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities of raw features (N, D), shape (N, K).

        Raises
        ------
        KlayerError
            If ``X`` has another number of features.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.network.n_features:
            raise KlayerError(
                f"`X` must have shape (N, {self.network.n_features}), but got {X.shape}: "
                "pass samples as rows."
            )
        x = self.standardiser.transform(X, self.params["W1"].dtype)
        return self.network.probs(self.params, x, self.running)[0]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Class index of raw features (N, D), int array of shape (N,)."""
        return self.probs(X).argmax(axis=-1)
