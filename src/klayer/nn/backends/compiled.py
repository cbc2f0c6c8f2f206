"""The compiled backend: many updates of one network in one call, outside the interpreter's lock.

What the kernel needs is prepared here: a network as a table of integers, its numbers as one row of a
matrix that the dictionaries of the training state are views of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from klayer.nn.network import Network
from klayer.nn.pieces import (
    IN_TRAINING_ALONE,
    Affine,
    BatchNorm,
    Dropout,
    Fork,
    Join,
    LayerNorm,
    draw_keys,
)
from klayer.nn.pieces.activations import LEAK
from klayer.nn.pieces.noise import normal_numbers
from klayer.nn.pieces.piece import NUMBERS
from klayer.nn.workspace import Workspace

__all__ = ["Kernel", "Updates", "pack", "refusal", "warm_up"]

Array = NDArray[Any]

NO_LABELS, NO_TARGETS, NO_KEY = np.empty(0, np.int64), np.empty((0, 1)), draw_keys([0])[0]


@cache
def _source() -> ModuleType:
    """Return the kernel's module; importing numba takes a while, and so it is done when it is used."""
    from klayer.nn.backends import kernel

    return kernel


def _columns() -> ModuleType:
    from klayer.nn.backends.kernel import table

    return table


@cache
def why_no_numba() -> str | None:
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba can't be imported ({error}): `pip install klayer[fast]`"
    return None


def refusal(network: Network, optimiser: str, needs: Sequence[str] = ()) -> str | None:
    """Return why this backend can't train, with the next step; None if it can."""
    if missing := why_no_numba():
        return missing
    source = _source()
    kinds = [piece.describe()["piece"] for piece in network.pieces]
    for what, names, known in (
        ("piece", kinds, source.PIECES),
        ("loss", [network.loss], source.LOSSES),
        ("optimiser", [optimiser], source.OPTIMISERS),
    ):
        for name in names:
            if name not in known:
                return f"it knows no {what} {name!r}, only {', '.join(known)}: choose 'numpy'"
    if needs:
        return f"it knows no {' and no '.join(needs)}: choose 'numpy', or leave it away"
    return None


@dataclass(frozen=True)
class Updates:
    """What successive updates work on; all networks of a population share it.

    Attributes
    ----------
    start : int
        Index of the first one, from 0.
    x : array, shape (N, D)
        The samples of all batches, one below another.
    labels : array, int64 (N,), or (N, K)
        As the loss takes them.
    ends : int64 array, shape (T + 1,)
        Batch ``i`` is made of the rows ``ends[i]`` to ``ends[i + 1]``.
    weights : array, shape (N,), or None
    """

    start: int
    x: Array
    labels: Array
    ends: NDArray[np.int64]
    weights: Array | None = None


class Kernel:
    """The kernel, ready for networks of one architecture.

    Parameters
    ----------
    network : Network
    optimiser : str
    dtype : float32, float64 or complex128

    Examples
    --------
    >>> network = Network(n_features=2, hidden=(), n_classes=2)
    >>> kernel = Kernel(network, "sgd", np.float64)
    >>> params, running, slots = np.zeros(6), np.empty(0), np.empty((0, 6))
    >>> updates = Updates(0, np.eye(2), np.array([0, 1]), np.array([0, 2]))
    >>> losses = np.empty(1)
    >>> rates = kernel.rates({"lr": np.array([1.0])})
    >>> kernel.train(params, running, slots, updates, rates, {}, Workspace(), losses)
    (1, 0)
    >>> params.tolist(), losses.round(3).tolist()
    ([0.25, -0.25, -0.25, 0.25, 0.0, 0.0], [0.693])
    """

    def __init__(self, network: Network, optimiser: str, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._pieces = _table(network)
        self._optimiser = _source().OPTIMISERS[optimiser]
        self._loss = _source().LOSSES[network.loss]
        self._quantiles = np.array(network.quantiles, self.dtype)
        self._numbers = {**NUMBERS, "eps": network.bn_eps, "leak": LEAK}
        columns = _columns()
        pieces, widest = len(self._pieces), int(self._pieces[:, columns.TO].max())
        product = max(int(np.prod(network.shapes()[key])) for key in network.weights)
        own = int(self._pieces[:, columns.MEMORY].max()) + 1
        self._fixed = pieces * 3 * widest + 2 * widest + product
        self._per_sample = (pieces + 2 + own) * widest
        self._drawing = [one for one in network.pieces if isinstance(one, IN_TRAINING_ALONE)]
        noisy = network.noisy_inputs
        self._normal = normal_numbers(self.dtype) if noisy else np.empty(0, self.dtype)
        self._normal.flags.writeable = False  # of one type for the compiler in both cases
        # Bytes of a unit that is drawn for: dropout takes one, noise two.
        self._bytes = widest * (2 if noisy else 1)

    def rates(self, rates: Mapping[str, Array]) -> Array:
        """Return what differs from update to update, each (..., T), as the kernel wants it."""
        some, kept = rates["lr"], "keep_decayed"  # 1 without decay
        columns = [rates.get(n, np.full_like(some, n == kept)) for n in _source().RATES]
        return np.ascontiguousarray(np.stack(columns, axis=-1), self.dtype)

    def train(
        self,
        params: Array,
        running: Array,
        slots: Array,
        updates: Updates,
        rates: Array,
        numbers: Mapping[str, float],
        ws: Workspace,
        losses: Array,
        key: NDArray[np.uint64] | None = None,
    ) -> tuple[int, int]:
        """Do updates of one network.

        Parameters
        ----------
        params, running : array, 1-D
            As :func:`pack` lays them out; moved in place.
        slots : array, shape (slots, size of params), moved
        updates : Updates
        rates : array, shape (T, ...)
            As :meth:`rates` makes them.
        numbers : mapping of float
            The network's own ones: ``slope`` (2 lambda), ``momentum``, ``beta2``, by default 0; and
            those of :data:`klayer.nn.NUMBERS`.
        key : uint64 array, shape (2,), optional
            What its draws follow from.
        ws : Workspace
        losses : array, shape (T,)
            Becomes the mean loss of each update's batch, before the update.

        Returns
        -------
        done, layer : int
            Updates done: fewer than T if a loss is not finite, and then nothing has moved in that
            update; and the first layer (1 ... k) that is not finite there.
        """
        source, samples = _source(), int(np.diff(updates.ends).max())
        size = self._fixed + samples * self._per_sample
        labels: Array = updates.labels
        targets: Array = NO_TARGETS.astype(self.dtype)
        if labels.ndim == 2:
            labels, targets = NO_LABELS, labels
        numbers = {**self._numbers, **numbers}
        dropped = [one.rate(numbers) if isinstance(one, Dropout) else 0.0 for one in self._drawing]
        done, layer = source.train(
            self._pieces,
            self._optimiser,
            self._loss,
            updates.ends,
            updates.x,
            labels,
            targets,
            np.empty(0, self.dtype) if updates.weights is None else updates.weights,
            self._quantiles,
            params,
            running,
            slots,
            rates,
            np.array([numbers.get(name, 0) for name in source.NUMBERS], self.dtype),
            source.schedule(NO_KEY if key is None else key, dropped),
            self._normal,
            updates.start,
            ws.array("kernel", (size,), self.dtype),
            ws.array(
                "bits", (len(self._drawing), source.words_for(samples * self._bytes)), np.uint64
            ),
            losses,
        )
        return int(done), int(layer)


@cache
def warm_up(dtype: np.dtype[Any]) -> None:
    """Compile the kernel for a dtype, or read it from the cache."""
    kernel = Kernel(Network(1, (), 2), "sgd", dtype)
    zeros = np.zeros(4, dtype)
    updates = Updates(0, np.zeros((1, 1), dtype), np.zeros(1, np.int64), np.array([0, 1]))
    slots = np.zeros((1, 4), dtype)
    rates = kernel.rates({"lr": zeros[:1]})
    kernel.train(zeros, zeros[:0], slots, updates, rates, {}, Workspace(), zeros[1:2])


def pack(
    networks: int,
    groups: Sequence[dict[str, Array]],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: DTypeLike,
) -> Array:
    """Lay the arrays of each network out in rows, and put views in their place.

    Parameters
    ----------
    networks : int
        P.
    groups : sequence of dict of array, shape (P, ...)
        With the same keys; each gets a row.
    shapes : mapping
        The keys in the order in which they are laid out, with the shapes of one network.
    dtype : dtype

    Returns
    -------
    rows : array, shape (P, len(groups), size)

    Examples
    --------
    >>> group = {"b": np.zeros((3, 2)), "W": np.ones((3, 2, 2))}
    >>> rows = pack(3, [group], {"W": (2, 2), "b": (2,)}, float)
    >>> rows[:, 0, 3:] = 5
    >>> rows.shape, group["W"][0].tolist(), group["b"][2].tolist()
    ((3, 1, 6), [[1.0, 1.0], [1.0, 5.0]], [5.0, 5.0])
    """
    sizes = {key: int(np.prod(shape)) for key, shape in shapes.items()}
    rows = np.empty((networks, len(groups), sum(sizes.values())), dtype)
    for group, row in zip(groups, rows.transpose(1, 0, 2), strict=True):
        at = 0
        for key, shape in shapes.items():
            view = row[:, at : at + sizes[key]].reshape(networks, *shape)
            view[...] = group[key]
            group[key] = view
            at += sizes[key]
    return rows


def _table(network: Network) -> NDArray[np.int64]:
    """Return the pieces as the kernel reads them; their numbers lie in the order of the pieces.

    A fork has no row: the join above it names the piece whose output it adds, and the affine map between
    them where to find the gradient that comes back past it.
    """
    columns, kinds = _columns(), _source().PIECES
    rows: list[NDArray[np.int64]] = []
    offset = running = memory = masks = 0
    past = source = -1
    for piece in network.pieces:
        if isinstance(piece, Fork):
            past, source, memory = memory, len(rows) - 1, memory + 1
            continue
        row = np.zeros(columns.COLUMNS, np.int64)
        row[[columns.MEMORY, columns.SOURCE, columns.PAST]] = -1
        row[columns.KIND], row[columns.LAYER] = kinds[piece.describe()["piece"]], piece.layer
        row[columns.FROM] = row[columns.TO] = network.widths[piece.layer]
        row[columns.OFFSET], row[columns.RUNNING] = offset, running
        if isinstance(piece, Affine):
            row[columns.FROM], row[columns.BIAS] = piece.fan_in, piece.bias
            row[columns.PAST] = past
        elif isinstance(piece, LayerNorm) or (isinstance(piece, BatchNorm) and piece.after):
            row[columns.MEMORY], memory = memory, memory + 1
        elif isinstance(piece, IN_TRAINING_ALONE):
            row[columns.MEMORY], masks = masks, masks + 1
        elif isinstance(piece, Join):
            row[columns.MEMORY], row[columns.SOURCE], past = past, source, -1
        offset += sum(int(np.prod(one.shape)) for one in piece.params().values())
        running += sum(int(np.prod(one.shape)) for one in piece.running().values())
        rows.append(row)
    return np.array(rows)
