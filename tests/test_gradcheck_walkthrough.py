"""The walk shows the numbers of a real pass."""

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.gradcheck import walk_through
from klayer.nn import ACTIVATIONS, LOSSES, Network


@pytest.mark.parametrize("batch_norm", ["none", "hidden", "all"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_piece_is_a_halt_forward_and_backward(activation, batch_norm):
    network = Network(2, (3, 2), 2, batch_norm=batch_norm, activation=activation)
    walk = walk_through(network)
    assert walk.check.verdict == "right"
    places = [step.place for step in walk.steps]
    there = list(range(-1, len(network.pieces) + 1))
    assert places == there + there[:0:-1]
    assert set(walk.grads) == set(network.shapes())


def test_the_numbers_are_those_of_the_network():
    network = Network(2, (3,), 2)
    walk = walk_through(network, l2=0.2)
    first, *_, last, penalty = walk.steps
    assert penalty.title == "The penalty"
    by_title = {step.title: step.arrays for step in walk.steps}
    affine = by_title["Affine map 1"]
    np.testing.assert_allclose(affine["out"], first.arrays["x"] @ affine["W1"] + affine["b1"])
    relu = by_title["ReLU 1"]
    np.testing.assert_allclose(relu["out"], np.maximum(relu["in"], 0))
    back = by_title["Back through ReLU 1"]
    np.testing.assert_allclose(back["g for the piece below"], back["g"] * (relu["in"] > 0))
    np.testing.assert_allclose(last.arrays["dW1"], first.arrays["x"].T @ last.arrays["g"])
    params = {key: array[None] for arrays in by_title.values() for key, array in arrays.items()}
    params = {key: params[key].reshape(1, *network.shapes()[key]) for key in network.shapes()}
    _, _, grads = network.loss_and_grads(
        params, first.arrays["x"], first.arrays["labels"][:, 0], 0.2
    )
    for key, grad in walk.grads.items():
        np.testing.assert_allclose(grad, grads[key][0])


def test_the_page_stands_alone_and_shows_all_steps_without_scripts():
    text = walk_through().html("A <pass>")
    assert "A &lt;pass&gt;" in text
    assert text.count('<section class="step') == len(walk_through().steps) + 1
    assert "http" not in text
    assert "-0<" not in text


def test_too_many_numbers_are_refused():
    with pytest.raises(
        KlayerError, match="at most 100 numbers in an array, but got 1 networks and 400"
    ):
        walk_through(Network(20, (20,), 2))
    network = Network(2, (3,), 2)
    params = {key: np.ones((2, *shape)) for key, shape in network.shapes().items()}
    with pytest.raises(KlayerError, match="for one network"):
        walk_through(network, params)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_walk_draws_labels_for_every_loss(loss):
    quantiles = (0.2, 0.8) if loss == "quantile" else ()
    network = Network(2, (3,), 2, loss=loss, quantiles=quantiles)
    assert walk_through(network).check.verdict == "right"
