"""What the estimators promise: no option without effect, exact resume, limits that are kept."""

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError

from klayer.errors import KlayerError
from klayer.estimator.parameters import defaults_of, of_its_own
from plain_estimators import KLayerClassifier, KLayerRegressor

KINDS = {"classification": KLayerClassifier, "regression": KLayerRegressor}
BRIEF = {"hidden": (8,), "epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    return {
        "classification": load_iris(return_X_y=True),
        "regression": load_diabetes(return_X_y=True),
    }


# Another value of each parameter, and what has to stand beside it for an effect: a new one needs a row.
HELD = {"early_stopping": "loss", "points_per_cycle": 30, "patience": 1, "epochs": 30}
HELD |= {"lr_max": 0.2, "schedule": "constant"}
OTHER = {
    "hidden": ((5, 5), {}),
    "n_networks": (2, {}),
    "epochs": (1.5, {}),
    "cycles": (2, {}),
    "batch_size": (11, {}),
    "optimiser": ("nesterov", {}),
    "lr_max": (0.02, {}),
    "lr_min": (0.004, {}),
    "schedule": ("triangular", {}),
    "warm_up": ("1 epochs", {}),
    "momentum": (0.5, {}),
    "beta2": (0.9, {}),
    "optimiser_eps": (1e-2, {}),
    "weight_decay": (0.3, {"optimiser": "adamw"}),
    "clip_norm": (1e-2, {"optimiser": "sgd"}),
    "last_batch": ("drop", {"batch_size": 40}),
    "points_per_cycle": (3, {}),
    "dtype": ("float64", {}),
    "backend": ("compiled", {}),
    "batch_norm": ("hidden", {}),
    "bn_eps": (0.5, {"batch_norm": "hidden"}),
    "bn_place": ("after", {"batch_norm": "hidden"}),
    "bn_momentum": (0.1, {"batch_norm": "hidden"}),
    "layer_norm": ("hidden", {}),
    "init": ("xavier", {}),
    "l2": (0.1, {}),
    "activation": ("tanh", {}),
    "skip": ("equal", {"hidden": (8, 8)}),
    "dropout": (0.4, {}),
    "dropout_layers": ("1", {"dropout": 0.4, "hidden": (8, 8)}),
    "input_dropout": (0.4, {}),
    "input_noise": (0.4, {}),
    "smoothing": (0.2, {}),
    "huber_delta": (0.05, {"loss": "huber"}),
    "quantiles": ((0.1, 0.5), {"loss": "quantile"}),
    "augment": ("noise:0.3", {}),
    "shuffle": ("block:10", {}),
    "average": ("ema", {}),
    "average_share": (0.9, {"average": "cycle_end"}),
    "ema_decay": (0.3, {"average": "ema"}),
    "early_stopping": ("loss", {}),
    "patience": (10, HELD),
    "validation_fraction": (0.4, HELD),
    "calibrate": (True, {}),
    "random_state": (1, {}),
    "warm_start": (True, {}),
    "class_weight": ("balanced", {}),
}
# What they say or take, not what they answer: tests of their own.
ELSEWHERE = {"n_jobs", "time_limit", "callback", "verbose"}
LOSS = {"classification": "binary_cross_entropy", "regression": "absolute"}


def answers(kind, X, y, **values):
    """All that a fit leaves behind."""
    # Most rows of the first class: weights of classes matter.
    model = kind(**{**BRIEF, **values}).fit(X, y).fit(X, y)
    history = {name: curve.tolist() for name, curve in model.history_.items()}
    return np.concatenate([model.members(X).ravel(), [model.n_iter_]]).tolist(), history


@pytest.mark.parametrize(
    ("task", "name"),
    [(task, name) for task in KINDS for name in defaults_of(task) if name not in ELSEWHERE],
)
def test_every_parameter_changes_something_or_raises(rows, task, name):
    X, y = rows[task]
    X, y = X[:110], y[:110]
    value, beside = (LOSS[task], {}) if name == "loss" else OTHER[name]
    if name == "backend" and not _has_numba():
        pytest.skip("numba is not installed")
    before = answers(KINDS[task], X, y, **beside)
    try:
        after = answers(KINDS[task], X, y, **{**beside, name: value})
    except KlayerError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert json.dumps(after) != json.dumps(before)


def _has_numba():
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("task", KINDS)
def test_every_parameter_refuses_what_it_can_not_be_and_says_what_it_may_be(rows, task):
    for name in defaults_of(task):
        wrong = [] if name == "callback" else ["nonsense"]
        for value in [*wrong, -3.5, {"a": 1}, None, object()]:
            accepted = {
                "random_state": (None,),
                "callback": (None,),
                "n_jobs": (None,),
                "time_limit": (None,),
                "class_weight": (None, {"a": 1}),
            }
            if value in accepted.get(name, ()):
                continue
            with pytest.raises(ValueError, match=rf"{name}|{name.split('_')[0]}"):
                KINDS[task](**{**BRIEF, name: value}).fit(*rows[task])


@pytest.mark.parametrize("task", KINDS)
def test_constraints_are_declared_for_every_parameter_as_scikit_learn_does(task):
    kind = KINDS[task]
    assert kind._parameter_constraints.keys() == defaults_of(task).keys()
    kind()._validate_params()
    with pytest.raises(ValueError, match="'optimiser' parameter of .* must be a str among"):
        kind(optimiser="sdg")._validate_params()
    for name, row in of_its_own(task).items():
        row.check(name, row.default)


@pytest.mark.parametrize("task", KINDS)
def test_numbers_of_numpy_are_numbers(rows, task):
    values = {"epochs": np.float64(2), "n_networks": np.int64(2), "lr_max": np.float64(0.01)}
    values |= {"warm_start": np.bool_(False), "optimiser": np.str_("adam"), "cycles": np.int32(1)}
    values |= {"hidden": np.array([8]), "batch_size": np.int64(16), "random_state": np.int64(3)}
    plain = {"epochs": 2, "n_networks": 2, "lr_max": 0.01, "batch_size": 16, "random_state": 3}
    X, y = rows[task]
    numpy, python = (KINDS[task](**one).fit(X, y) for one in (values, {**plain, "hidden": (8,)}))
    assert (numpy.members(X) == python.members(X)).all()


# Going on.

COURSES = [
    {},
    {"schedule": "triangular"},
    {"schedule": "one_cycle"},
    {"schedule": "linear", "optimiser": "nesterov", "lr_max": 0.05},
    {"schedule": "constant", "optimiser": "muon"},
    {"average": "ema", "batch_norm": "hidden"},
    {"average": "cycle_end"},
    {"early_stopping": "loss", "patience": 1, "points_per_cycle": 20, "epochs": 15},
    {"calibrate": True, "dropout": 0.2, "n_networks": 3},
    {"augment": "mixup:0.2", "warm_up": "1 epochs", "last_batch": "drop"},
]


def courses_of(task):
    """Estimators for a task, each with other ingredients."""
    return [
        KINDS[task](**{**BRIEF, "n_networks": 2, **more})
        for more in COURSES
        if task == "classification" or "calibrate" not in more
    ]


@pytest.fixture(scope="module")
def gone_on(rows, tmp_path_factory):
    """Estimators that were trained for a cycle, and in another process for one more."""
    folder = tmp_path_factory.mktemp("pickled")
    for task, (X, y) in rows.items():
        models = [one.fit(X, y) for one in courses_of(task)]
        (folder / f"{task}.half").write_bytes(pickle.dumps((models, X, y)))
    code = (
        "import pickle, pathlib\n"
        "for path in pathlib.Path().glob('*.half'):\n"
        "    models, X, y = pickle.loads(path.read_bytes())\n"
        "    models = [one.partial_fit(X, y) for one in models]\n"
        "    path.with_suffix('.whole').write_bytes(pickle.dumps(models))\n"
    )
    source = str(Path(__file__).parent.parent / "src")
    environment = os.environ | {"PYTHONPATH": source}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)
    return {task: pickle.loads((folder / f"{task}.whole").read_bytes()) for task in KINDS}


@pytest.mark.parametrize("task", KINDS)
def test_one_cycle_a_new_process_and_one_cycle_more_are_two_cycles(rows, gone_on, task):
    X, y = rows[task]
    for one, resumed in zip(courses_of(task), gone_on[task], strict=True):
        whole = one.set_params(cycles=2).fit(X, y)
        assert (resumed.members(X) == whole.members(X)).all(), one
        assert resumed.n_iter_ == whole.n_iter_
        for key, value in whole._state.params.items():
            assert (resumed._state.params[key] == value).all()
        for name in ("train_loss", "update", "lr"):
            np.testing.assert_array_equal(resumed.history_[name], whole.history_[name])


def test_going_on_by_warm_start_and_with_rows_of_ones_own_is_the_same(rows):
    X, y = rows["classification"]
    own = {"X_val": X[1::2], "y_val": y[1::2]}
    values = {**BRIEF, "early_stopping": "accuracy", "calibrate": True}
    whole = KLayerClassifier(**values, cycles=3).fit(X[::2], y[::2], **own)
    warm = KLayerClassifier(**values, warm_start=True)
    for _ in range(3):
        warm.fit(X[::2], y[::2], **own)
    part = KLayerClassifier(**values).partial_fit(X[::2], y[::2], **own)
    part.set_params(cycles=2).partial_fit(X[::2], y[::2], **own)
    for other in (warm, part):
        assert (other.members(X) == whole.members(X)).all()


# What can't be.


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (["a", 1, "b"], "labels of one kind, but got int and str"),
        (["a", None, "b"], "labels of one kind, but got NoneType and str"),
        ([1.5, 2.5, 0.1], "Unknown label type: continuous"),
        ([0, 0, 0], "at least two classes, but got one class"),
    ],
)
def test_labels_that_can_not_be_are_named(rows, labels, rule):
    X, y = rows["classification"]
    kinds = {type(one) for one in labels}
    named = np.array(labels, object if len(kinds) > 1 else None)[y]
    with pytest.raises(ValueError, match=rule):
        KLayerClassifier(**BRIEF).fit(X, named)


def test_what_has_no_effect_beside_the_rest_is_refused(rows):
    X, y = rows["classification"]
    with pytest.raises(KlayerError, match="has an effect with early_stopping or calibrate only"):
        KLayerClassifier(**BRIEF, validation_fraction=0.3).fit(X, y)
    several = np.column_stack([y == 1, y == 2]).astype(int)
    with pytest.raises(KlayerError, match="`class_weight` is for rows of one class each"):
        KLayerClassifier(**BRIEF, class_weight="balanced").fit(X, several)
    for name in ("n_networks", "epochs", "cycles"):
        with pytest.raises(KlayerError, match=f"`{name}` must be a .*number .*, but got True"):
            KLayerClassifier(**{**BRIEF, name: True}).fit(X, y)


def test_quantiles_are_judged_by_the_one_nearest_the_median(rows):
    X, y = rows["regression"]
    values = {"hidden": (16,), "epochs": 40, "loss": "quantile", "random_state": 0}
    model = KLayerRegressor(**values, quantiles=(0.1, 0.5, 0.9)).fit(X, y)
    low, middle, high = model.predict(X).T
    assert (low <= middle).all()
    assert (middle <= high).all()
    spread = ((y - y.mean()) ** 2).sum()
    assert model.score(X, y) == pytest.approx(1 - ((y - middle) ** 2).sum() / spread)
    assert model.score(X, y) > 0.3
    assert model.importance(X, y).score == pytest.approx(model.score(X, y))


@pytest.mark.parametrize("task", KINDS)
def test_what_goes_wrong_on_the_way_leaves_the_networks_as_they_were(rows, task):
    X, y = rows[task]

    def broken(*_):
        raise KeyboardInterrupt

    model = KINDS[task](**BRIEF).fit(X, y)
    before, twin = model.members(X), copy.copy(model)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callback=broken).partial_fit(X, y)
    with pytest.raises(KlayerError, match="the network diverged"):
        model.set_params(callback=None, lr_max=1e30).partial_fit(X, y)
    twin.partial_fit(X, y)
    assert (model.members(X) == before).all()
    model.set_params(lr_max=KINDS[task]().lr_max).partial_fit(X, y)
    whole = KINDS[task](**{**BRIEF, "cycles": 2}).fit(X, y)
    for one in (model, twin):
        assert (one.members(X) == whole.members(X)).all()


@pytest.mark.parametrize("task", KINDS)
def test_a_fit_that_fails_leaves_no_networks_of_other_rows(rows, task):
    X, y = rows[task]
    model = KINDS[task](**BRIEF).fit(X, y)
    with pytest.raises(KlayerError, match="unknown activation"):
        model.set_params(activation="rellu").fit(X[:, :2], y == y[0])
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(activation="relu").fit(X, y).predict(X)


# Limits.


def test_a_time_limit_is_kept_between_recorded_points_too(rows):
    X, y = np.tile(rows["regression"][0], (50, 1)), np.tile(rows["regression"][1], 50)
    model = KLayerRegressor(
        hidden=(256, 256), epochs=10_000, points_per_cycle=1, time_limit=1.0, backend="numpy"
    )
    started = time.monotonic()
    model.fit(X, y)
    assert time.monotonic() - started < 30  # its course would take hours
    assert 0 < model.n_iter_ < 10_000 * len(X) / 32 / 2
    assert model.history_["update"][-1] == model.n_iter_
    model.predict(X[:5])
    done = model.n_iter_
    assert model.set_params(epochs=0.1, time_limit=None).partial_fit(X, y).n_iter_ > done


def test_networks_that_run_out_of_time_end_with_their_best_weights(rows):
    X, y = rows["classification"]
    ends = iter([False] * 6 + [True] * 100)
    model = KLayerClassifier(
        hidden=(16,),
        epochs=60,
        points_per_cycle=20,
        early_stopping="loss",
        patience=50,
        lr_max=0.5,
        callback=lambda *_: next(ends),
        random_state=0,
        optimiser="sgd",
        n_networks=3,
    ).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    losses = model.history_["validation_loss"].reshape(3, -1)
    assert losses.shape[1] == 7
    probs = model.members(X[1::2])
    now = -np.log(probs[:, np.arange(len(probs[0])), y[1::2]]).mean(axis=1)
    np.testing.assert_allclose(now, losses.min(axis=1), rtol=1e-4)


def test_progress_is_shown_when_asked_and_else_not(rows, capsys):
    X, y = rows["classification"]
    KLayerClassifier(**BRIEF).fit(X, y)
    assert capsys.readouterr() == ("", "")
    KLayerClassifier(**BRIEF, verbose=True).fit(X, y)
    assert "KLayerClassifier: 1 network" in "".join(capsys.readouterr())


def test_a_callback_hears_every_point_of_every_network_and_cycle(rows):
    X, y = rows["classification"]
    heard = []
    model = KLayerClassifier(
        **BRIEF, cycles=2, n_networks=2, callback=lambda one, point: heard.append((one, point))
    )
    model.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert all(one is model for one, _ in heard)
    updates = [point["update"] for _, point in heard]
    assert updates == sorted(set(model.history_["update"].tolist()))
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        curves = np.array([point[name] for _, point in heard]).T
        assert (curves == model.history_[name].reshape(2, -1)).all()


def test_what_a_callback_raises_is_raised(rows):
    def broken(model, point):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        KLayerClassifier(**BRIEF, callback=broken).fit(*rows["classification"])


# Calibration.


def test_calibrate_makes_the_ensembles_answers_honest(rows):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1200, 5))
    y = np.where(X[:, 0] + rng.normal(size=1200) > 0, "yes", "no")
    values = {"hidden": (64,), "epochs": 60, "lr_max": 0.01, "random_state": 0, "n_networks": 4}
    plain = KLayerClassifier(**values).fit(X[:600], y[:600], X_val=X[600:800], y_val=y[600:800])
    model = clone(plain).set_params(calibrate=True)
    model.fit(X[:600], y[:600], X_val=X[600:800], y_val=y[600:800])
    before, after = (one.reliability(X[800:], y[800:]) for one in (plain, model))
    assert after.log_loss < before.log_loss
    assert after.error < before.error
    assert after.n == 400
    assert model.temperature_ > plain.temperature_ == 1
    np.testing.assert_allclose(model.predict_proba(X), model.members(X).mean(axis=0))


def test_calibrate_holds_rows_out_and_works_with_several_labels():
    X, Y = make_multilabel_classification(300, 6, n_classes=3, random_state=0)
    model = KLayerClassifier(**{**BRIEF, "epochs": 40}, calibrate=True).fit(X, Y)
    assert model.history_["validation_loss"].size
    assert model.reliability(X, Y).n == 900
    assert model.temperature_ != 1


@pytest.mark.parametrize("values", [{"calibrate": True}, {"early_stopping": "loss"}], ids=str)
def test_too_few_rows_to_hold_any_out_are_named(values):
    with pytest.raises(KlayerError, match="of 1 leaves none to train on"):
        KLayerClassifier(**BRIEF, **values).partial_fit([[1.0, 2.0]], [0], classes=[0, 1])


def test_classes_with_few_rows_are_held_out_from_as_well_as_can_be():
    X = np.arange(24.0).reshape(12, 2)
    for y in ([0] * 11 + [1], list(range(12)), [0, 1] * 6, ["a", "b", "c"] * 4):
        KLayerClassifier(**BRIEF, early_stopping="loss").fit(X, y)
