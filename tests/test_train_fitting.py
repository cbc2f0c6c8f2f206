"""One call from data to networks: every form of the data, and every wrong call a message."""

import re
import warnings

import numpy as np
import pytest

import klayer as kl
from klayer.train import fitting

BRIEF = {"hidden": (4,), "cycles": 1, "half_cycle": 3}


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(120, 3))
    return X, (X[:, 0] > 0).astype(int)


def same(one, other):
    return all(
        np.array_equal(value, other.state.params[key]) for key, value in one.state.params.items()
    )


def test_a_name_is_the_data_set_of_that_name():
    named = kl.fit("digits", seeds=2, **BRIEF)
    given = kl.fit(kl.load("digits"), kl.Settings(**BRIEF), seeds=range(2))
    assert same(named, given)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (lambda y: y, ("0", "1")),
        (lambda y: np.where(y, "yes", "no"), ("no", "yes")),
        (lambda y: np.where(y, 7, -1), ("-1", "7")),
        (lambda y: y.astype(bool), None),
        (lambda y: [["a", "b"][one] for one in y], ("a", "b")),
    ],
)
def test_any_labels_will_do_and_the_model_answers_with_them(rows, labels, names):
    X, y = rows
    population = kl.fit(X, labels(y), hidden=(4,), cycles=1, half_cycle="30 epochs", batch_size=20)
    assert names is None or population.feed.dataset.class_names == names
    answers = population.model().predict_names(X)[0]
    assert np.mean(answers == np.array(population.feed.dataset.class_names)[y]) > 0.8


def test_arrays_and_frames_of_the_same_rows_give_the_same_bits(rows):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    X, y = rows
    names = list("abc")
    frame = pandas.DataFrame(X, columns=names)
    wanted = kl.fit(X, y, **BRIEF)
    forms = [
        (X.tolist(), y.tolist()),
        (frame, y),
        (frame, pandas.Series(y, name="t")),
        (polars.DataFrame(X, schema=names), y),
    ]
    for data, labels in forms:
        assert same(kl.fit(data, labels, **BRIEF), wanted)
    assert same(kl.fit(frame.assign(t=y), target="t", **BRIEF), wanted)


def test_numbers_are_a_regression_and_several_labels_are_several_labels(rows):
    X, _ = rows
    assert kl.fit(X, 3.5 * X[:, 0], **BRIEF).network.task == "regression"
    assert kl.fit(X, (X[:, :2] > 0).astype(int), **BRIEF).network.task == "multilabel"


def test_train_and_test_alone_are_enough(rows):
    X, y = rows
    population = kl.fit(X[:80], y[:80], test=(X[80:], y[80:]), **BRIEF)
    assert len(population.feed.dataset.splits["test"]) == 40
    assert population.evaluate("test")["accuracy"].shape == (1,)


@pytest.mark.parametrize(
    ("seeds", "wanted"),
    [({"seeds": 3}, [0, 1, 2]), ({"seeds": 2, "seed": 5}, [5, 6]), ({"seeds": [7, 3]}, [7, 3]),
     ({}, [0]), ({"seeds": np.arange(2)}, [0, 1]), ({"seeds": np.int64(2)}, [0, 1])],
)  # fmt: skip
def test_seeds_are_a_number_or_a_list(rows, seeds, wanted):
    assert [member.seed for member in kl.fit(*rows, **BRIEF, **seeds).members] == wanted


def test_several_settings_are_trained_with_every_seed(rows):
    several = [kl.Settings(l2=l2, **BRIEF) for l2 in (0.1, 0.01)]
    population = kl.fit(*rows, several, seeds=2)
    assert [(one.settings.l2, one.seed) for one in population.members] == [
        *((0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1))
    ]


WRONG = {
    "no data": (lambda X, y: kl.fit(), "`X` must be an array, a frame or a sparse matrix"),
    "a number": (lambda X, y: kl.fit(3), "`X` must have shape (N, D)"),
    "no labels": (lambda X, y: kl.fit(X), "the column to predict must be named"),
    "too few labels": (lambda X, y: kl.fit(X, y[:5]), "must have as many rows, but have 120 and 5"),
    "a column": (lambda X, y: kl.fit(X[:, 0], y), "pass samples as rows"),
    "gaps": (lambda X, y: kl.fit(np.where(X > 2, np.nan, X), y), "missing"),
    "complex": (lambda X, y: kl.fit(X + 1j, y), "must hold numbers"),
    "one class": (lambda X, y: kl.fit(X, 0 * y), "at least two classes"),
    "settings as a dict": (lambda X, y: kl.fit(X, y, {"l2": 1}), "must be kl.Settings(...)"),
    "settings twice": (lambda X, y: kl.fit(X, y, kl.Settings(), l2=1), "whole or by name"),
    "seeds by place": (lambda X, y: kl.fit("digits", kl.Settings(), 5), "as in seeds=5"),
    "no seeds": (lambda X, y: kl.fit(X, y, seeds=0), "`seeds` must be a number >= 1"),
    "seeds as text": (lambda X, y: kl.fit(X, y, seeds="5"), "`seeds` must be a number >= 1"),
    "half a seed": (lambda X, y: kl.fit(X, y, seeds=2.5), "`seeds` must be a number >= 1"),
    "a seed twice": (lambda X, y: kl.fit(X, y, seeds=[1, 1]), "list of different whole numbers"),
    "a true seed": (lambda X, y: kl.fit(X, y, seeds=True), "`seeds` must be a number >= 1"),
    "labels of a name": (lambda X, y: kl.fit("digits", y), "'digits' has its own labels"),
    "labels of data": (lambda X, y: kl.fit(kl.load("digits"), y), "has its own labels"),
    "a split of a name": (lambda X, y: kl.fit("digits", test=(X, y)), "`test` is for rows"),
    "an option of a name": (lambda X, y: kl.fit("digits", target="x"), "takes none of these"),
    "an unknown name": (lambda X, y: kl.fit("digitz"), "did you mean 'digits'"),
    "epochs": (lambda X, y: kl.fit(X, y, epochs=8), "say cycles = 2, half_cycle = '2 epochs'"),
    "lr": (lambda X, y: kl.fit(X, y, lr=1), "did you mean 'lr_max'?"),
    "a slip": (lambda X, y: kl.fit(X, y, hiden=(3,)), "did you mean 'hidden'?"),
    "random_state": (lambda X, y: kl.fit(X, y, random_state=1), "did you mean 'seed'?"),
    "n_jobs": (lambda X, y: kl.fit(X, y, n_jobs=1), "did you mean 'workers'?"),
    "nothing like it": (lambda X, y: kl.fit(X, y, zzz=1), "unknown argument 'zzz': Known: data"),
    "workers as text": (lambda X, y: kl.fit(X, y, workers="2"), "`workers` must be a whole number"),
    "no workers": (lambda X, y: kl.fit(X, y, workers=0), "`workers` must be a whole number >= 1"),
    "no function": (lambda X, y: kl.fit(X, y, augment=3), "`augment` must be a function"),
    "no yes or no": (lambda X, y: kl.fit(X, y, progress="bar"), "`progress` must be True, False"),
    "no pair": (lambda X, y: kl.fit(X, y, test=X), "`test` must be a pair (X, y)"),
    "pairs where files go": (
        lambda X, y: kl.fit(X, y, validation_data=(X, y)),
        "`validation_data` must be a text, but got a tuple; arrays are `validation=(X, y)`",
    ),
    "a width alone": (lambda X, y: kl.fit(X, y, hidden=5), "must be a list of whole numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_every_wrong_call_is_a_klayer_error_that_says_what_is_wrong(rows, case):
    call, message = WRONG[case]
    with pytest.raises(kl.KlayerError) as refused:
        call(*rows)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [["a"], ["b", "c"]]])
def test_a_message_ends_with_one_full_stop(rows):
    with pytest.raises(kl.KlayerError) as refused:
        kl.fit(rows, [0, 1])
    assert re.search(r"[^.]\.$", str(refused.value))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.evaluate("tset"), "unknown split 'tset': did you mean 'test'"),
        (lambda p: p.evaluate(3), "unknown split '3'"),
        (lambda p: p.model([9]), "`lanes` must be numbers from 0 to 0"),
        (lambda p: p.model().predict(np.ones((2, 5))), "`X` must have shape (N, 3)"),
        (lambda p: p.model().predict(None), "`X` must be an array"),
        (lambda p: p.model().predict_names([["a", "b", "c"]]), "must be a number as in training"),
        (lambda p: p.model().predict_values(np.ones((2, 3))), "is for regression"),
    ],
)
def test_so_is_every_wrong_question_to_a_population(rows, ask, message):
    population = kl.fit(*rows, **BRIEF)
    with pytest.raises(kl.KlayerError) as refused:
        ask(population)
    assert message in str(refused.value)


def test_that_all_networks_diverged_is_said(rows):
    with pytest.warns(UserWarning, match="all 2 networks diverged .*: lower lr_max"):
        kl.fit(*rows, lr_max=1e30, seeds=2, **BRIEF)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kl.fit(*rows, [kl.Settings(lr_max=rate, **BRIEF) for rate in (0.1, 1e30)])


def test_progress_is_shown_where_it_is_asked_for(rows, monkeypatch, capsys):
    monkeypatch.setattr("klayer.progress.EVERY", 0.001)
    kl.fit(*rows, **{**BRIEF, "half_cycle": 2000})
    assert capsys.readouterr().err == ""  # a log is left alone
    kl.fit(*rows, progress=True, **{**BRIEF, "half_cycle": 2000})
    err = capsys.readouterr().err
    assert "1 network on arrays, " in err
    assert " so far, about " in err
    assert "validation " in err


def test_what_is_over_at_once_shows_nothing(rows, monkeypatch):
    shown = []
    monkeypatch.setattr("klayer.progress._Terminal", lambda file: shown.append(file))
    monkeypatch.setattr(fitting, "unasked_way", lambda: "live")
    kl.fit(*rows, **BRIEF)
    assert shown == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl.load(3), "must have shape (N, D)"),
        (
            lambda: kl.read_study(3),
            "`source` must be a TOML file or the name of a study, but got 3",
        ),
        (
            lambda: kl.run_study(3),
            "`study` must be a Study, a TOML file or a name, but got 3 (int)",
        ),
        (lambda: kl.run_search(3), "`study` must be a Study"),
        (lambda: kl.run_study("quik"), "unknown study 'quik': did you mean 'quick'?"),
        (lambda: kl.Run(None), "`path` must be the path of a run directory, but got None"),
        (lambda: kl.write_report(3), "`run` must be a run or the path of one, but got 3 (int)"),
        (lambda: kl.Feed(3), "`dataset` must be a data set, but got 3 (int)"),
        (lambda: kl.Population(kl.load("digits"), [kl.Member(kl.Settings(), 0)]), "must be a Feed"),
        (lambda: kl.Population(kl.Feed(kl.load("digits")), [3]), "must be a list of Member"),
        (lambda: kl.Member("x", 0), "`settings` must be kl.Settings(...), but got 'x' (str)"),
        (lambda: kl.Trainer(3), "`population` must be a Population, but got 3"),
        (lambda: kl.Engine("x"), "`workers` must be a whole number"),
        (lambda: kl.load_population(3), "`path` must be a path, but got 3"),
        (lambda: kl.run_of(3), "`population` must be what kl.fit returned, but got 3"),
        (lambda: kl.Settings(3), "`hidden` must be a list of whole numbers"),
        (lambda: kl.plot_curves("x"), "a population or a run can be drawn"),
    ],
)
def test_a_value_of_another_kind_is_refused_at_every_door(call, message):
    with pytest.raises(kl.KlayerError) as refused:
        call()
    assert message in str(refused.value)
