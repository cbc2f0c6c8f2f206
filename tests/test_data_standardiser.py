"""`Standardiser`: what it measures, how exact it is, the same bits for a row in any block."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

from klayer.data import Standardiser
from klayer.errors import KlayerError

ROWS = np.arange(24.0).reshape(6, 4)


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_a_hand_worked_column_is_standardised():
    # 1, 3, 5, 7: mean 4, population variance (9 + 1 + 1 + 9) / 4 = 5
    column = np.array([[1], [3], [5], [7]], np.uint8)
    standardiser = Standardiser.fit(column)
    assert standardiser.mean == [4.0]
    assert standardiser.scale == [np.sqrt(5.0)]
    np.testing.assert_allclose(
        standardiser.transform(column, np.float64)[:, 0], np.array([-3, -1, 1, 3]) / np.sqrt(5.0)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_row_blocks_give_the_same_as_one_pass_over_everything(monkeypatch, dtype):
    monkeypatch.setattr(
        "klayer.data.row_blocks.BLOCK", 21
    )  # 3 rows of 7 at once, a last block of 1
    values = np.random.default_rng(0).integers(0, 200, (100, 7)).astype(dtype)
    standardiser = Standardiser.fit(values)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(standardiser.mean, exact.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(standardiser.scale, exact.std(axis=0), rtol=1e-14)
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(standardiser.transform(values, np.float64), expected, atol=1e-13)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4 + 1 / 3, -1e-300, 1e300])
def test_a_constant_feature_gets_scale_1_and_becomes_0_whatever_its_value(value):
    values = np.full((1000, 2), value)
    values[:, 1] = np.arange(1000)
    standardiser = Standardiser.fit(values)
    assert standardiser.scale[0] == 1.0
    assert not standardiser.transform(values)[:, 0].any()


def test_an_offset_of_ten_thousand_leaves_the_standardised_features_as_they_are():
    values = np.random.default_rng(1).standard_normal((500, 3))
    plain = Standardiser.fit(values).transform(values, np.float64)
    offset = Standardiser.fit(values + 1e4).transform(values + 1e4, np.float64)
    np.testing.assert_allclose(offset, plain, atol=1e-10)


def test_bytes_are_never_converted_to_float64_as_a_whole():
    values = np.random.default_rng(2).integers(0, 256, (4000, 3072), dtype=np.uint8)  # 12 MB
    tracemalloc.start()
    Standardiser.fit(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6  # as float64 they would be 98 MB


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e-200, 1e-170, 1e-30, 1.0, 1e30, 1e170, 1e300])
def test_tiny_and_huge_columns_are_standardised_like_others(unit):
    values = np.array([[1.0], [3.0], [5.0], [7.0]])
    standardised = Standardiser.fit(values * unit).transform(values * unit, np.float64)
    np.testing.assert_allclose(
        standardised[:, 0],
        np.array([-3, -1, 1, 3]) / np.sqrt(5.0),
        rtol=1e-9 if unit > 1e-300 else 0.2,
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_smallest_and_largest_numbers_of_short_floats_are_standardised(dtype):
    for most in (np.finfo(dtype).max / 8, np.finfo(dtype).tiny):
        values = (np.array([[1.0], [3.0], [5.0], [7.0]]) * float(most)).astype(dtype)
        standardised = Standardiser.fit(values).transform(values, np.float64)
        np.testing.assert_allclose(
            standardised[:, 0], np.array([-3, -1, 1, 3]) / np.sqrt(5.0), rtol=1e-3
        )


def test_a_column_of_both_signs_of_the_largest_numbers_is_standardised_or_refused():
    found = Standardiser.fit(np.array([[0.0, 8e307], [1.0, -8e307]]))
    assert found.scale[1] == pytest.approx(8e307)
    with refuses("column 1: features must lie less than 1e308 apart"):
        Standardiser.fit(np.array([[0.0, 1.7e308], [1.0, -1.7e308], [1.0, -1.7e308]]))


NOISE = {
    "float64": [0.3, 0.1 + 0.2, 0.3, 0.3],
    "float64, large": [1e9, np.nextafter(1e9, 2e9), 1e9, 1e9],
    "float32": np.array([1.1, np.nextafter(np.float32(1.1), np.float32(2)), 1.1, 1.1], np.float32),
    "float32, negative": np.array(
        [-7.3, np.nextafter(np.float32(-7.3), np.float32(0))] * 2, np.float32
    ),
    "float16": np.array([2.2, np.nextafter(np.float16(2.2), np.float16(3))] * 2, np.float16),
}


@pytest.mark.parametrize("case", NOISE)
def test_values_that_differ_by_rounding_alone_count_as_constant(case):
    values = np.array(NOISE[case])[:, np.newaxis]
    standardiser = Standardiser.fit(values)
    assert standardiser.scale.tolist() == [1.0]
    other = standardiser.transform(values + values.dtype.type(0.5), np.float64)
    assert np.abs(other - 0.5).max() < 0.01  # not 1e15 deviations


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, 1e12])
def test_values_that_differ_by_more_than_rounding_do_not(offset):
    step = max(1e-3, 64 * float(np.spacing(offset)))
    values = offset + step * np.array([[1.0], [3.0], [5.0], [7.0]])
    standardised = Standardiser.fit(values).transform(values, np.float64)
    np.testing.assert_allclose(
        standardised[:, 0], np.array([-3, -1, 1, 3]) / np.sqrt(5.0), rtol=0.05
    )


def test_whole_numbers_are_never_rounding_noise():
    values = np.array([[2**40], [2**40 + 1]])
    assert Standardiser.fit(values).scale.tolist() == [0.5]


def test_transform_refuses_rows_of_another_length():
    with refuses("features must have shape (N, 4), but got (4, 6): pass samples as rows."):
        Standardiser.fit(ROWS).transform(np.zeros((4, 6)))


def test_transform_refuses_another_place_for_the_result():
    standardiser = Standardiser.fit(ROWS)
    with refuses("`out` must have shape (6, 4) and dtype float32, but got (6, 3) and float32."):
        standardiser.transform(ROWS, out=np.empty((6, 3), np.float32))
    with refuses("`out` must have shape (6, 4) and dtype float64, but got (6, 4) and float32."):
        standardiser.transform(ROWS, np.float64, out=np.empty((6, 4), np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.float32, bool])
def test_the_result_goes_where_it_is_asked_to_with_the_same_bits(kind, dtype):
    rows = ROWS.astype(kind)
    standardiser = Standardiser.fit(rows)
    place = np.zeros((6, 8), dtype)[:, ::2]
    assert standardiser.transform(rows, dtype, out=place) is place
    assert place.tobytes() == standardiser.transform(rows, dtype).tobytes()


# bytes in float32


def photographs(rng):
    return rng.integers(0, 256, (500, 300), dtype=np.uint8)


def white_paper(rng):
    """Hardly ever anything but 255: one pixel in 500 differs, some by 1."""
    values = np.full((500, 300), 255, np.uint8)
    values[rng.integers(0, 500, 300), np.arange(300)] = rng.integers(0, 255, 300)
    values[7, ::3] = 254
    return values


def signed(rng):
    return rng.integers(-128, 128, (500, 300), dtype=np.int8)


@pytest.mark.parametrize("values", [photographs, white_paper, signed])
def test_bytes_in_float32_are_right_to_4_units_in_the_last_place(values, rng):
    values = values(rng)
    standardiser = Standardiser.fit(values)
    exact = standardiser.transform(values, np.float64)
    error = np.abs(standardiser.transform(values) - exact)
    assert (error <= 2.0**-21 * np.maximum(1, np.abs(exact))).all()


@pytest.mark.parametrize("values", [photographs, white_paper, signed])
def test_a_row_has_the_same_bits_in_every_block(values, rng):
    values = values(rng)
    standardiser = Standardiser.fit(values)
    whole = standardiser.transform(values)
    some = rng.permutation(500)[:37]
    np.testing.assert_array_equal(standardiser.transform(values[some]), whole[some], strict=True)
    for row in (0, 7, 499):
        alone = standardiser.transform(
            np.asfortranarray(values[[row]]), out=np.empty((1, 300), "f4")
        )
        np.testing.assert_array_equal(alone, whole[[row]], strict=True)


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_other_numbers_are_computed_in_float64_and_rounded_once(kind, rng):
    values = rng.integers(0, 200, (100, 7)).astype(kind)
    standardiser = Standardiser.fit(values)
    exact = (values.astype(np.float64) - standardiser.mean) / standardiser.scale
    np.testing.assert_array_equal(standardiser.transform(values), exact.astype(np.float32))


def test_bytes_need_no_room_beside_the_result(rng):
    values = rng.integers(0, 256, (200, 3072), dtype=np.uint8)
    standardiser = Standardiser.fit(values)
    out = standardiser.transform(values)
    tracemalloc.start()
    standardiser.transform(values, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e3  # as float32 one block would be 1 MB
