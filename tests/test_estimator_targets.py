"""What may be predicted, and what is refused: before anything is trained, with the next step."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError

from klayer.errors import KlayerError
from klayer.estimator import PopulationSearchCV
from plain_estimators import KLayerClassifier, KLayerRegressor

N = np.arange(30)
X = np.random.default_rng(0).normal(size=(30, 3))
BRIEF = {"hidden": (4,), "epochs": 1, "random_state": 0}
DAYS = np.datetime64("2026-01-01") + N.astype("m8[D]")
DATES = [datetime.date(2026, 1, 1 + n % 3) for n in N]

NO_NUMBERS = {
    "dates": (DAYS, r"dates \(datetime64\[D\]\): say how long after a date"),
    "dates with NaT": (np.where(N == 3, np.datetime64("NaT"), DAYS), "dates"),
    "dates of pandas": (pd.Series(DAYS), "dates"),
    "dates with a time zone": (pd.Series(DAYS).dt.tz_localize("UTC"), "dates"),
    "dates of polars": (pl.Series(DATES), "dates"),
    "dates of Python": (DATES, "dates"),
    "spans of time": (N.astype("m8[h]"), r"spans of time \(timedelta64\[h\]\): count them in a unit"),
    "spans of pandas": (pd.Series(pd.to_timedelta(N, unit="D")), "spans of time"),
    "spans of Python": ([datetime.timedelta(int(n)) for n in N], "spans of time"),
    "complex numbers": (N + 1j, r"complex numbers .*two targets are"),
    "complex objects": (np.array([1j * n for n in N], object), "complex numbers"),
    "texts": (N.astype(str), r"texts .*y\.astype\(float\)"),
    "texts of pandas": (pd.Series(N.astype(str), dtype="string"), "texts"),
    "categories": (pd.Series(N.astype(str)).astype("category"), "texts"),
    "numbers beside texts": ([1.5, "a"] * 15, "several kinds of objects, numbers and texts"),
    "gaps among objects": (np.array([None, 1.0] * 15, object), "gaps and numbers"),
    "bytes": (N.astype("S"), "bytes"),
    "dicts": (np.array([{} for _ in N], object), "objects of type dict"),
    "periods": (pd.Series(pd.period_range("2026", periods=30)), "objects of type Period"),
    "records": (np.zeros(30, [("a", float)]), "records"),
    "numbers beyond floats": ([10**400] * 30, "whole numbers beyond the largest float"),
    "a frame with dates": (pd.DataFrame({"a": N, "b": DAYS}), "dates and numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_a_regressor_refuses_what_is_no_number(name):
    y, what = NO_NUMBERS[name]
    fitted = KLayerRegressor(**BRIEF).fit(X, N)
    calls = [
        lambda: KLayerRegressor(**BRIEF).fit(X, y),
        lambda: fitted.partial_fit(X, y),
        lambda: fitted.score(X, y),
        lambda: fitted.fit(X, N, X_val=X, y_val=y),
        lambda: PopulationSearchCV(KLayerRegressor(**BRIEF), {"l2": [0.0]}, cv=2).fit(X, y),
    ]
    for call in calls:
        with pytest.raises(KlayerError, match=f"`y` must be real numbers, but got .*{what}"):
            call()


@pytest.mark.parametrize(
    "y",
    [N.tolist(), N.astype(object), [Decimal(int(n)) for n in N], [Fraction(int(n)) for n in N],
     pd.Series(N, dtype="Int64"), pl.Series(N), N.astype(np.int8), N.astype(np.float16),
     np.asfortranarray(N[:, None])[:, 0], np.repeat(N, 2)[::2]],
)  # fmt: skip
def test_a_regressor_takes_numbers_of_every_kind(y):
    wanted = KLayerRegressor(**BRIEF).fit(X, N.astype(float)).predict(X)
    np.testing.assert_array_equal(KLayerRegressor(**BRIEF).fit(X, y).predict(X), wanted)


NO_LABELS = {
    "complex numbers": (N % 2 + 1j, "complex numbers"),
    "complex objects": (np.array([1j * (n % 2) for n in N], object), "complex numbers"),
    "dicts": (np.array([{} for _ in N], object), "objects of type dict"),
    "lists": (np.array([*([[1, 2]] * 29), [1]], object), "objects of type list"),
    "sets": (np.array([frozenset([n % 2]) for n in N], object), "objects of type frozenset"),
    "decimals": (
        [Decimal(int(n % 2)) for n in N],
        r"numbers that NumPy has no type for \(Decimal\)",
    ),
    "long numbers": ([10**30 * int(n % 2) for n in N], "numbers that NumPy has no type for"),
    "dates of Python": (DATES, r"dates: write np\.array\(y, 'M8\[us\]'\)"),
    "periods": (pd.Series(pd.period_range("2026", periods=30)), "objects of type Period"),
    "bytes": ((N % 2).astype("S"), "bytes"),
    "records": (np.zeros(30, [("a", int)]), "records"),
}


@pytest.mark.parametrize("name", NO_LABELS)
def test_a_classifier_refuses_what_is_no_label(name):
    y, what = NO_LABELS[name]
    fitted = KLayerClassifier(**BRIEF).fit(X, N % 2)
    calls = [
        lambda: KLayerClassifier(**BRIEF).fit(X, y),
        lambda: fitted.partial_fit(X, y),
        lambda: KLayerClassifier(**BRIEF).partial_fit(X, N % 2, classes=y),
        lambda: PopulationSearchCV(KLayerClassifier(**BRIEF), {"l2": [0.0]}, cv=2).fit(X, y),
    ]
    for call in calls:
        with pytest.raises(KlayerError, match=f"`y` must hold numbers, texts, .*but got {what}"):
            call()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, "a"] * 15, "labels of one kind, but got int and str"),
        ([None, "a"] * 15, "labels of one kind, but got NoneType and str"),
        ([np.nan, "a"] * 15, "labels of one kind, but got float and str"),
        ([pd.NA, True] * 15, "labels of one kind, but got NAType and bool"),
        (np.where(N == 3, np.datetime64("NaT"), DAYS), "must have no gaps, but has NaT"),
        ([[1], [1, 2]] * 15, "an array with equal rows"),
        (3.0, "a value for each row, but got float"),
    ],
)
def test_a_classifier_refuses_labels_of_several_kinds_and_gaps(y, message):
    with pytest.raises(KlayerError, match=message):
        KLayerClassifier(**BRIEF).fit(X, y)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array(N % 2, object), "i"),
        (np.array([bool(n % 2) for n in N], object), "b"),
        (pd.Series(N % 2, dtype="Int64"), "i"),
        (pd.Series(N % 2 == 1, dtype="boolean"), "b"),
        (pl.Series(N % 2), "i"),
        (pl.Series(["a", "b"] * 15), np.asarray(pl.Series(["a"])).dtype.kind),
        (pd.Series(["a", "b"] * 15).astype("category"), "O"),
        (np.datetime64("2026-01-01") + (N % 2).astype("m8[D]"), "M"),
        ((N % 2).astype("m8[D]"), "m"),
        (np.array(["a", "b"] * 15), "U"),
    ],
)
def test_labels_come_back_as_what_they_were(y, kind):
    model = KLayerClassifier(**BRIEF).fit(X, y)
    assert model.classes_.dtype.kind == model.predict(X).dtype.kind == kind
    assert set(model.predict(X).tolist()) <= set(np.asarray(y).tolist())


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])

NO_ROWS = {
    "a frame with dates": (FRAME.assign(c=DAYS), "column 'c' holds datetime64"),
    "a frame with spans": (FRAME.assign(a=N.astype("m8[s]")), "column 'a' holds timedelta64"),
    "a frame with a time zone": (
        FRAME.assign(c=pd.Series(DAYS).dt.tz_localize("UTC")), "column 'c' holds datetime64"),
    "periods": (FRAME.assign(b=pd.period_range("2026", periods=30)), "column 'b' holds period"),
    "dates of polars": (pl.DataFrame({"a": DATES, "b": N}), "column 'a' holds Date"),
    "dates of pyarrow": (pl.DataFrame({"a": DATES, "b": N}).to_arrow(), "column 'a' holds date32"),
    "an array of dates": (np.repeat(DAYS[:, None], 3, axis=1), "it holds datetime64"),
    "an array of spans": (X.astype("m8[s]"), "it holds timedelta64"),
    "texts": (FRAME.assign(c="u"), "could not convert string to float: 'u'"),
    "categories": (FRAME.assign(c=pd.Categorical(["u", "v"] * 15)), "could not convert string"),
    "texts and gaps": (np.array([["u", np.nan, "v"]] * 30, object), "could not convert string"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name", NO_ROWS)
def test_rows_that_are_no_numbers_are_refused_by_their_column_with_the_next_step(name):
    rows, what = NO_ROWS[name]
    fitted = KLayerRegressor(**BRIEF).fit(X, N)
    for call in (
        lambda: KLayerClassifier(**BRIEF).fit(rows, N % 2),
        lambda: fitted.partial_fit(rows, N),
    ):
        with pytest.raises(
            KlayerError, match=rf"`X` must hold numbers, but.*{what}.*kl\.fit\(X, y\)"
        ):
            call()


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 2.0}])
def test_weights_of_classes_are_told_from_those_of_rows(weights):
    with pytest.raises(KlayerError, match="classes are weighed by the parameter `class_weight`"):
        KLayerClassifier(**BRIEF).fit(X, N % 2, sample_weight=weights)


def test_an_estimator_that_is_not_fitted_says_so_when_it_is_scored():
    with pytest.raises(NotFittedError):
        KLayerRegressor().score(X, N)


def as_map(rows, folder):
    kept = np.memmap(folder / "rows", rows.dtype, "w+", shape=rows.shape)
    kept[:] = rows
    kept.flush()
    return np.memmap(folder / "rows", rows.dtype, "r", shape=rows.shape)


FORMS = {
    "by columns": lambda rows, _: np.asfortranarray(rows),
    "every other row": lambda rows, _: np.repeat(rows, 2, axis=0)[::2],
    "backwards": lambda rows, _: rows[::-1].copy()[::-1],
    "some columns": lambda rows, _: np.hstack([rows, rows])[:, 3:],
    "a map that is read": as_map,
    "other bytes": lambda rows, _: rows.astype(">f8"),
    "objects": lambda rows, _: rows.astype(object),
    "lists": lambda rows, _: rows.tolist(),
    "nullable": lambda rows, _: pd.DataFrame(rows).astype("Float64").to_numpy(),
    "polars": lambda rows, _: pl.DataFrame(rows),
    "pyarrow": lambda rows, _: pl.DataFrame(rows).to_arrow(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_rows_changes_no_bit(form, tmp_path):
    wanted = KLayerClassifier(**BRIEF).fit(X, N % 2)
    rows = FORMS[form](X, tmp_path)
    found = KLayerClassifier(**BRIEF).fit(rows, N % 2)
    np.testing.assert_array_equal(found.predict_proba(rows), wanted.predict_proba(X))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint64, bool])
def test_rows_of_every_type_are_read_as_their_values(dtype):
    rows = (np.abs(X) * 20).astype(dtype)
    wanted = KLayerRegressor(**BRIEF).fit(rows.astype(float), N).predict(rows.astype(float))
    found = KLayerRegressor(**BRIEF).fit(rows, N).predict(rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
