"""Many networks: a first layer whose updates are carried out several at a time.

The first layer takes nearly all the time: its weights are large, and each update reads and writes
them all. But an update by plain gradient descent is a product of the batch and a small matrix, so the
weights during a block of updates are known without being written down (equation 15). Only at the
end of the block they move, once. All networks share the batches, and so the products between them.

The products of several networks with the shared batch run side by side, as one, and those of a
single network on several threads, where a trial shows that this changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.gradients import is_large
from klayer.nn.workspace import Workspace

__all__ = ["DelayedWeights", "best_at_once", "can_delay", "in_column_order", "lay_out"]

# Memory for the products of networks side by side; on CIFAR-10 shape 16 networks take 10 MB.
ABREAST_BYTES = 1 << 24

# Entries left free between the columns of large matrices. Without them, columns of 3,072 numbers in
# float32, three pages, would push each other out of the cache (measured: 4 % of an update).
GAP = 16

Array = NDArray[Any]
Share = tuple[slice, slice, slice]  # networks, rows of x, rows of W (features)
Spread = Callable[[Callable[[Share, Workspace], None], Sequence[Share]], None]


# The cost model: with two updates at once, a weight is read and written half as often. That saves, for
# each weight and update, the time of so many operations in a product (measured, with BLAS kernels of
# two instruction sets: 29 and 58).
SAVED_OPERATIONS = 36


def can_delay(W: Array) -> bool:
    """Whether updates of ``W``, shape (P, D, H), may be carried out several at a time.

    That is where the weights are large: small ones stay in the cache from update to update.
    """
    return is_large(W)


def best_at_once(W: Array, batch: int) -> int:
    """Return how many updates of ``W``, shape (P, D, H), are best carried out at once, 1 or 2.

    Two at once cost, for each update, a product between two mini-batches, ``batch^2 D`` operations,
    which all networks share, and ``batch^2 H`` operations of each network; they save passes over
    ``D H`` weights of each network, as much time as :data:`SAVED_OPERATIONS` operations for a weight.

    Examples
    --------
    >>> [best_at_once(np.empty((P, 3072, 50), np.float32), batch=100) for P in (1, 6, 7, 30)]
    [1, 1, 2, 2]
    >>> [best_at_once(np.empty((P, 3072, 200), np.float32), batch=100) for P in (1, 2)]
    [1, 2]
    """
    P, D, H = W.shape
    if P == 1 or not can_delay(W):  # one network alone is better off with shares for threads
        return 1
    cost = batch**2 * (D / P + H)
    return 2 if cost < SAVED_OPERATIONS * D * H else 1


def in_column_order(W: Array) -> bool:
    """Whether each network's matrix of ``W``, shape (P, D, H), lies in memory column by column."""
    return bool(W.strides[1] == W.itemsize < W.strides[2])


def lay_out(W: Array) -> Array:
    """Return ``W``, (P, D, H), with each matrix in column order: then networks fit side by side."""
    if in_column_order(W):
        return W
    P, D, H = W.shape
    laid_out = np.empty((P, H, D + GAP), W.dtype)[..., :D].transpose(0, 2, 1)
    laid_out[...] = W
    return laid_out


class DelayedWeights:
    """Weights of the form ``keep W + x^T g`` (equation 15): what ``W`` became by delayed updates.

    Parameters
    ----------
    W : array, shape (P, D, H)
        Moves when :meth:`settle` is called, and not before.
    x : array, shape (N, D)
        The batches of the whole block, one below another.
    overlaps : sequence of array
        For each batch its products with the samples before it, ``x_i x_{<i}^T`` (n_i, N_{<i}).
    l2 : array, shape (P,)
    ws : Workspace
    threads : int, >= 1
        How many may work on a single network.
    spread : callable ``(function, shares)``, optional
        Calls ``function(share, workspace)`` for all shares, on these threads.
    blas_threads : int, optional
        On how many threads a product runs. Networks share products only where a trial on just so many
        has shown that this changes no bit; not known, each network has products of its own.

    Examples
    --------
    Two updates at once, on batches of one sample:

    >>> x, W = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[[0.5], [1.0]]])
    >>> delayed = DelayedWeights(W, x, [np.empty((1, 0)), x[1:] @ x[:1].T], np.zeros(1), Workspace())
    >>> product = np.empty((1, 1, 1))
    >>> delayed.multiply(0, out=product)
    >>> product.tolist()
    [[[2.5]]]
    >>> delayed.descend(0, g=np.array([[[1.0]]]), lr=np.array([0.5]))
    >>> delayed.multiply(1, out=product)
    >>> product.tolist(), W.ravel().tolist()
    ([[[0.0]]], [0.5, 1.0])
    >>> delayed.settle()
    >>> W.ravel().tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        W: Array,
        x: Array,
        overlaps: Sequence[Array],
        l2: Array,
        ws: Workspace,
        threads: int = 1,
        spread: Spread | None = None,
        blas_threads: int | None = None,
    ) -> None:
        self.W, self.x, self.overlaps, self.l2, self.ws = W, x, overlaps, l2, ws
        self.threads, self.spread, self.blas_threads = threads, spread, blas_threads
        self.keep = np.ones_like(l2)
        self.known = 0  # rows of x that updates have come from
        P, _, H = W.shape
        # The samples come first in memory: the networks of a row lie side by side.
        self._s, self._g = (
            ws.array(name, (len(x), P, H), W.dtype).transpose(1, 0, 2) for name in ("x W", "g")
        )
        self._each_share(self._product, len(x))

    def part(self, lanes: slice) -> DelayedWeights:
        """Return the same block for the networks ``lanes`` alone."""
        part = object.__new__(DelayedWeights)
        part.__dict__.update(self.__dict__, spread=None, threads=1)
        for name in ("W", "l2", "keep", "_s", "_g"):
            setattr(part, name, getattr(self, name)[lanes])
        return part

    def multiply(self, i: int, out: Array) -> None:
        """Write ``x_i (keep W + x_{<i}^T g)`` to ``out``, shape (P, n_i, H) (equation 16)."""
        overlap = self.overlaps[i]
        before = overlap.shape[1]
        rows = slice(before, before + len(overlap))
        np.multiply(self._s[:, rows], self.keep[:, None, None], out=out)
        if before:
            moved = self.ws.array("moved", out.shape, out.dtype)
            np.matmul(overlap, self._g[:, :before], out=moved)  # (n_i, N_{<i}) @ (P, N_{<i}, H)
            out += moved

    def descend(self, i: int, g: Array, lr: Array) -> None:
        """Go down the gradient ``x_i^T g + 2 lambda W`` by the rate ``lr``, shape (P,)."""
        before = self.known
        self.known += len(self.overlaps[i])
        keep = 1 - lr * (2 * self.l2)
        if before:
            self._g[:, :before] *= keep[:, None, None]
        np.multiply(g, -lr[:, None, None], out=self._g[:, before : self.known])
        self.keep = self.keep * keep

    def settle(self) -> None:
        """Carry out the updates: ``W`` becomes what it stood for."""
        if self.known:
            self._each_share(self._settle, self.known)

    def _product(self, share: Share, _ws: Workspace) -> None:
        lanes, rows, _ = share
        _multiply(self.x[rows], self.W[lanes], self._s[lanes, rows])

    def _settle(self, share: Share, ws: Workspace) -> None:
        lanes, _, features = share
        x, g = self.x[: self.known, features], self._g[lanes, : self.known]
        _add_product(self.W[lanes, features], self.keep[lanes], x, g, ws)

    def _each_share(self, function: Callable[[Share, Workspace], None], rows: int) -> None:
        shares = _shares(self.W, rows, self.threads, self.blas_threads)
        if self.spread:
            self.spread(function, shares)
        else:
            for share in shares:
                function(share, self.ws)


def _add_product(W: Array, keep: Array, x: Array, g: Array, ws: Workspace) -> None:
    """Replace ``W`` by ``keep W + x^T g``, in place, for weights by columns: networks side by side.

    Parameters
    ----------
    W : array, shape (P, D, H), in column order or with P = 1
    keep : array, shape (P,)
    x : array, shape (N, D)
    g : array, shape (P, N, H)
    """
    P, D, H = W.shape
    if in_column_order(W):
        columns = ws.array("product", (P * H, D + GAP), W.dtype)[:, :D]
        side_by_side = g.transpose(1, 0, 2).reshape(-1, P * H)
        np.matmul(side_by_side.T, x, out=columns)  # (P * H, N) @ (N, D)
        products = columns.reshape(P, H, D).transpose(0, 2, 1)
    else:
        products = ws.array("product", (P, D, H), W.dtype)
        np.matmul(x.T, g, out=products)  # (D, N) @ (P, N, H) -> (P, D, H)
    for p, product in enumerate(products):
        W[p] *= keep[p]
        W[p] += product


def _multiply(x: Array, W: Array, s: Array) -> None:
    """Write ``x W`` to ``s``, shape (P, N, H): one product for all networks if ``W`` is by columns."""
    P, D, H = W.shape
    if in_column_order(W):
        side_by_side = W.transpose(0, 2, 1).reshape(-1, D).T  # (D, P * H)
        np.matmul(x, side_by_side, out=s.transpose(1, 0, 2).reshape(-1, P * H))
    else:
        np.matmul(x, W, out=s)  # (N, D) @ (P, D, H) -> (P, N, H)


def _shares(W: Array, rows: int, threads: int, blas_threads: int | None) -> list[Share]:
    """Cut a layer's products with a batch: into many networks each, or a network for many threads."""
    P, D, H = W.shape
    whole = slice(0, rows), slice(0, D)
    alone = [(slice(p, p + 1), *whole) for p in range(P)]
    if not in_column_order(W) or blas_threads is None:
        return alone
    if P == 1:
        cuts = zip(_cut(rows, threads), _cut(D, threads), strict=True)
        shares = [(slice(0, 1), *cut) for cut in cuts]
    else:
        most = max(1, ABREAST_BYTES // (D * H * W.itemsize))
        shares = [(slice(p, min(p + most, P)), *whole) for p in range(0, P, most)]
    kinds = {
        (lanes.stop - lanes.start, *((cut.start, cut.stop) for cut in cuts))
        for lanes, *cuts in shares
    }
    shape = rows, D, H
    if all(_same_bits(*kind, shape, W.dtype, blas_threads) for kind in kinds):
        return shares
    return alone


def _cut(size: int, parts: int) -> list[slice]:
    """Cut evenly, but for whole tiles of 16, which products like."""
    ends = [min(size, round(size * i / parts / 16) * 16) for i in range(parts)] + [size]
    return [slice(first, last) for first, last in pairwise(ends)]


@cache
def _same_bits(
    networks: int,
    rows: tuple[int, int],
    features: tuple[int, int],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    blas_threads: int,  # noqa: ARG001
) -> bool:
    """Try whether a share of the products of some networks has the bits that each has alone.

    What a BLAS does depends on the shapes and on its threads, and not on the values, so that one
    trial on random numbers, kept by number of threads, answers for all. (OpenBLAS on one thread: true
    for all but small products and some float64 ones.)
    """
    N, D, H = shape
    rng, ws = np.random.default_rng(0), Workspace()
    x = rng.random((N, D)).astype(dtype)
    g = rng.random((N, networks, H)).astype(dtype).transpose(1, 0, 2)
    W = rng.random((networks, H, D)).astype(dtype).transpose(0, 2, 1)
    keep = np.ones(networks, dtype)

    def products(lanes: slice, rows: slice, features: slice) -> tuple[Array, Array]:
        s, moved = np.copy(g, order="K"), np.copy(W, order="K")
        _multiply(x[rows], W[lanes], s[lanes, rows])
        _add_product(moved[lanes, features], keep[lanes], x[:, features], g[lanes], ws)
        return s[lanes, rows], moved[lanes, features]

    cuts = slice(*rows), slice(*features)
    together = products(slice(None), *cuts)
    return all(
        (alone[0][cut] == found[p]).all()
        for p in range(networks)
        for alone, found, cut in zip(
            products(slice(p, p + 1), slice(None), slice(None)), together, cuts, strict=True
        )
    )
