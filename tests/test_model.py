import numpy as np
import pytest

from klayer.data import Standardiser
from klayer.errors import KlayerError
from klayer.model import ROWS, Model
from klayer.nn import Network


@pytest.fixture(scope="module")
def rows():
    """Raw rows of 8 bits, more than a model takes at a time."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (ROWS + 7, 5), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(rows):
    network = Network(5, (4,), 3, "hidden")
    params = network.init("he", [0, 1, 2], np.float64)
    running = network.init_running(3, np.float64)
    return Model(network, params, running, Standardiser.fit(rows), ["red", "green", "blue"])


def by_hand(model, rows, p):
    """Softmax of the second layer, computed without the network's own code."""
    x = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    s = x @ model.params["W1"][p]
    variance = model.running["running_var1"][p] + model.network.bn_eps
    hidden = np.maximum((s - model.running["running_mean1"][p]) / np.sqrt(variance), 0)
    exp = np.exp(hidden @ model.params["W2"][p] + model.params["b2"][p])
    return exp / exp.sum(axis=1, keepdims=True)


def test_probabilities_of_raw_rows_are_those_worked_by_hand(model, rows):
    probs = model.predict_probs(rows)
    assert probs.shape == (3, len(rows), 3)
    for p in range(3):
        np.testing.assert_allclose(probs[p], by_hand(model, rows, p), rtol=1e-9)


def test_labels_are_indices_and_names_are_class_names(model, rows):
    labels, names = model.predict_labels(rows), model.predict_names(rows)
    assert labels.shape == names.shape == (3, len(rows))
    assert (labels == model.predict_probs(rows).argmax(axis=-1)).all()
    assert set(np.unique(names)) <= {"red", "green", "blue"}
    assert names[1, 2] == model.class_names[labels[1, 2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_no_rows_have_no_answers(model, rows, dtype):
    none = rows[:0].astype(dtype)
    assert model.predict_probs(none).shape == (3, 0, 3)
    assert model.predict_labels(none).shape == (3, 0)


def test_one_network_is_a_model_of_one_with_the_same_answers(model, rows):
    one = model.take([2])
    assert (len(model), len(one)) == (3, 1)
    assert np.array_equal(one.predict_probs(rows[:20])[0], model.predict_probs(rows[:20])[2])


@pytest.mark.parametrize("shape", [(2, 4), (5,), (1, 5, 1)])
def test_rows_of_another_width_are_refused(model, shape):
    with pytest.raises(KlayerError, match=r"`X` must have shape \(N, 5\), but got .*as rows"):
        model.predict_labels(np.zeros(shape))


def test_what_does_not_fit_the_network_is_refused(model, rows):
    network, params, running = model.network, model.params, model.running
    with pytest.raises(KlayerError, match="`standardiser` must fit the network, which has 5, but"):
        Model(network, params, running, Standardiser.fit(rows[:, :4]), model.class_names)
    with pytest.raises(KlayerError, match="`class_names` must fit the network, which has 3, but"):
        Model(network, params, running, model.standardiser, ["red"])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0, 0, 0, 0, np.nan]], "row 0, column 4: must be finite, but got nan"),
        ([[0, 0, np.inf, 0, 0]], "row 0, column 2: must be finite, but got inf"),
        ([["a"] * 5], "column 'column_1', row 0: must be a number as in training, but got 'a'"),
        ([[1j] * 5], "column 'column_1': must hold numbers, .* but holds complex128"),
        ([[0], [0, 1]], "must be an array with equal rows"),
    ],
)
def test_rows_that_are_no_numbers_are_refused(model, X, message):
    with pytest.raises(KlayerError, match=f"^(`X`|X, (?!X)).*{message}"):
        model.predict_labels(X)


def test_parameters_and_running_statistics_must_fit_the_network(model):
    parts = model.network, model.params, model.running, model.standardiser, model.class_names
    with pytest.raises(KlayerError, match=r"`running` must fit the network, .*but got none"):
        Model(*parts[:2], {}, *parts[3:])
    fewer = {key: value for key, value in model.params.items() if key != "b2"}
    with pytest.raises(KlayerError, match="`params` must fit the network"):
        Model(parts[0], fewer, *parts[2:])


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "squared"])
def test_outputs_that_are_not_finite_are_no_answer_in_any_task(rows, loss):
    network = Network(5, (4,), 3, loss=loss)
    params = network.init("he", [0, 1], np.float64)
    params["b2"][1] = -np.inf, 0, 0
    targets = Standardiser.fit(np.eye(3)) if loss == "squared" else None
    model = Model(network, params, {}, Standardiser.fit(rows), ["a", "b", "c"], targets)
    assert np.isfinite(model.take([0]).predict(rows)).all()
    with pytest.raises(KlayerError, match="^network 1 gives outputs that are not finite for row 0"):
        model.predict(rows)
