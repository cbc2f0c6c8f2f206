"""The kernel's products and transposes against NumPy's, and the promise of their bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from klayer.nn.backends.kernel.functions import compiled
from klayer.nn.backends.kernel.products import multiply, transpose

pytest.importorskip("numba", reason="without numba they are NumPy's own")

# Less than a vector, just one, a bit more; tiles of every height; more columns than a tile has.
SHAPES = [
    (1, 1, 1), (1, 7, 3), (2, 3, 8), (3, 1, 16), (5, 4, 17), (7, 9, 31), (8, 2, 33), (11, 5, 48),
    (13, 3, 50), (17, 64, 10), (25, 6, 65), (4, 2, 130),
]  # fmt: skip
PRECISION = {np.float32: 2e-5, np.float64: 1e-13, np.complex128: 1e-13}


@compiled
def _multiply(a, b, base, out, keep, c):
    multiply(a, b, base, out, keep, c)


@compiled
def _transpose(a, out):
    transpose(a, out)


def drawn(rng, dtype, *shape):
    values = rng.standard_normal(shape)
    if dtype is np.complex128:
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize(("M", "K", "H"), SHAPES)
@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns"])
def test_a_product_is_that_of_numpy(dtype, M, K, H, turned, rng):
    a = drawn(rng, dtype, K, M).T if turned else drawn(rng, dtype, M, K)
    b, base, row = drawn(rng, dtype, K, H), drawn(rng, dtype, M, H), drawn(rng, dtype, 1, H)
    exact, within = a @ b, {"rtol": 0, "atol": PRECISION[dtype] * (1 + K)}
    out = np.full((M, H), np.nan, dtype)
    _multiply(a, b, out, out, dtype(0), dtype(2))
    np.testing.assert_allclose(out, 2 * exact, **within)
    _multiply(a, b, row, out, dtype(1), dtype(1))
    np.testing.assert_allclose(out, row + exact, **within)
    out[:] = base
    _multiply(a, b, out, out, dtype(0.5), dtype(-0.25))
    np.testing.assert_allclose(out, 0.5 * base - 0.25 * exact, **within)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize(("M", "K", "H"), SHAPES)
def test_nothing_beside_the_result_is_written(dtype, M, K, H, rng):
    around = np.full(M * H + 64, 7, dtype)
    out = around[32 : 32 + M * H].reshape(M, H)
    _multiply(drawn(rng, dtype, M, K), drawn(rng, dtype, K, H), out, out, dtype(0), dtype(1))
    assert (around[:32] == 7).all()
    assert (around[32 + M * H :] == 7).all()
    around[:] = 7
    _transpose(drawn(rng, dtype, H, M), out)
    assert (around[:32] == 7).all()
    assert (around[32 + M * H :] == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_number_has_the_same_bits_in_any_tile(dtype, rng):
    a, b = drawn(rng, dtype, 30, 40), drawn(rng, dtype, 40, 70)
    whole = np.empty((30, 70), dtype)
    _multiply(a, b, whole, whole, dtype(0), dtype(1))
    for rows in (1, 2, 5, 12, 29):
        for columns in (1, 8, 16, 50, 69):
            part = np.empty((rows, columns), dtype)
            some = np.ascontiguousarray(b[:, :columns])
            _multiply(a[:rows], some, part, part, dtype(0), dtype(1))
            assert part.tobytes() == whole[:rows, :columns].tobytes()


PRODUCT = """
import numpy as np
from klayer.nn.backends.kernel.functions import compiled
from klayer.nn.backends.kernel.products import multiply
from klayer.nn.backends.kernel.tiles import VECTOR_BYTES
@compiled
def product(a, b, out, keep, c):
    multiply(a, b, out, out, keep, c)
rng = np.random.default_rng(3)
a, b, out = (rng.standard_normal(shape, dtype=np.float32) for shape in ((21, 33), (33, 50), (21, 50)))
product(a, b, out, np.float32(0.9), np.float32(-0.1))
print(VECTOR_BYTES, out.tobytes().hex())
"""


@pytest.mark.skipif(
    "avx512f" not in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""),
    reason="this processor has no longer vectors to compare with",
)
def test_a_processor_with_shorter_vectors_gives_the_same_bits(tmp_path):
    found = {}
    for features in ("+avx2,+fma", "+avx2,+fma,+avx512f"):
        target = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
        done = subprocess.run(
            [sys.executable, "-c", PRODUCT],
            env={**os.environ, **target, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        width, bits = done.stdout.split()
        found[width] = bits
    assert found.keys() == {"32", "64"}
    assert found["32"] == found["64"]


def test_what_is_not_finite_stays_so():
    a, b = np.array([[np.inf, 1.0]], np.float32), np.array([[0.0], [1.0]], np.float32)
    out = np.empty((1, 1), np.float32)
    _multiply(a, b, out, out, np.float32(0), np.float32(1))
    assert np.isnan(out).all()


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize(("M", "_", "H"), SHAPES)
def test_a_transpose_is_that_of_numpy(dtype, M, _, H, rng):
    a, out = drawn(rng, dtype, M, H), np.empty((H, M), dtype)
    _transpose(a, out)
    assert (out == a.T).all()
