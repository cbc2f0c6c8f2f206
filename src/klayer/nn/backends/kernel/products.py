"""Views of memory as matrices, and their products.

A library's product costs some tenths of a microsecond before its first multiplication, as much as a
whole layer of a small network, and its result takes another pass to be used. Here
``keep base + c a b`` is one thing: a layer with its bias, or a step of gradient descent. Each number of
the result is one sum in one order, by multiplications and additions that are rounded once: its bits
depend neither on the shapes around it nor on the processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klayer.nn.backends.kernel.functions import compiled, numba
from klayer.nn.backends.kernel.tiles import MOST_VECTORS, VECTOR_BYTES, most_rows, tile, turn

__all__ = ["matrix", "multiply", "transpose"]

Array = NDArray[Any]

MOST_ROWS = (0, *(most_rows(vectors) for vectors in range(1, MOST_VECTORS + 1)))


@compiled
def matrix(memory: Array, rows: int, columns: int) -> Array:
    return memory[: rows * columns].reshape((rows, columns))


def transpose(a: Array, out: Array) -> None:
    """Write ``a^T`` to ``out``."""
    out[...] = a.T


def multiply(a: Array, b: Array, base: Array, out: Array, keep: Any, c: Any) -> None:
    """``out = keep base + c a b``; where ``keep`` is 0, ``base`` may hold anything.

    Parameters
    ----------
    a : array, shape (M, K), of any strides
    b : array, shape (K, H)
        Like the others with the numbers of a row side by side.
    base : array, shape (M, H), or (1, H) for all rows
        May be ``out``.
    out : array, shape (M, H)
    keep, c : float
    """
    product = c * (a @ b)  # (M, K) @ (K, H)
    out[...] = product if keep == 0 else keep * base + product


@compiled
def by_tiles(places: tuple[int, ...], M: int, H: int, lanes: int, keep: Any, c: Any) -> None:
    """Cover the result with tiles, as equally high ones as can be; ``places`` are those of a tile."""
    a, a_row, a_column, b, b_row, base, base_row, out, out_row, depth, _ = places
    for first in range(0, H, MOST_VECTORS * lanes):
        vectors = min(MOST_VECTORS, (H - first + lanes - 1) // lanes)
        last = min(lanes, H - first - (vectors - 1) * lanes)
        aside = first * (VECTOR_BYTES // lanes)
        i = 0
        for left in range((M + MOST_ROWS[vectors] - 1) // MOST_ROWS[vectors], 0, -1):
            rows = (M - i + left - 1) // left
            here = (
                a + i * a_row,
                a_row,
                a_column,
                b + aside,
                b_row,
                base + i * base_row + aside,
                base_row,
                out + i * out_row + aside,
                out_row,
                depth,
                last,
            )
            tile(rows, vectors, here, keep, c)
            i += rows


@compiled
def by_squares(places: tuple[int, ...], side: int, one: Any) -> None:
    """Turn a matrix over, square by square; ``places`` are those of a square."""
    a, a_row, out, out_row, rows, columns = places
    step = VECTOR_BYTES // side
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            here = a + i * a_row + j * step, a_row, out + j * out_row + i * step, out_row
            turn((*here, min(side, rows - i), min(side, columns - j)), one)


if numba is not None:
    from numba.extending import overload

    @compiled
    def address(array: Array) -> int:
        return np.int64(array.ctypes.data)  # type: ignore[return-value]

    def _multiply(a: Any, b: Any, base: Any, out: Any, keep: Any, c: Any) -> Any:  # noqa: ARG001
        def by_loops(a: Any, b: Any, base: Any, out: Any, keep: Any, c: Any) -> Any:
            for i in range(a.shape[0]):
                for j in range(b.shape[1]):
                    total = keep * base[i % base.shape[0], j] if keep != 0 else keep
                    for k in range(a.shape[1]):
                        total += c * a[i, k] * b[k, j]
                    out[i, j] = total

        if isinstance(a.dtype, numba.types.Complex):  # a check's, not training's
            return by_loops
        lanes = VECTOR_BYTES // (a.dtype.bitwidth // 8)

        def multiply_by_tiles(a: Any, b: Any, base: Any, out: Any, keep: Any, c: Any) -> Any:
            places = (
                address(a),
                a.strides[0],
                a.strides[1],
                address(b),
                b.strides[0],
                address(base),
                base.strides[0] if base.shape[0] > 1 else 0,
                address(out),
                out.strides[0],
                a.shape[1],
                0,
            )
            by_tiles(places, a.shape[0], b.shape[1], lanes, keep, c)

        return multiply_by_tiles

    def _transpose(a: Any, out: Any) -> Any:  # noqa: ARG001
        def by_loops(a: Any, out: Any) -> Any:
            for i in range(a.shape[0]):
                for j in range(a.shape[1]):
                    out[j, i] = a[i, j]

        if isinstance(a.dtype, numba.types.Complex):
            return by_loops
        side = VECTOR_BYTES // (a.dtype.bitwidth // 8)

        def transpose_by_squares(a: Any, out: Any) -> Any:
            here = address(a), a.strides[0], address(out), out.strides[0], *a.shape
            by_squares(here, side, a.dtype.type(1))

        return transpose_by_squares

    overload(transpose)(_transpose)
    overload(multiply, jit_options={"fastmath": {"contract"}})(_multiply)
