"""One suite for every optimiser: an independent reference, its own bits in any circumstances."""

from dataclasses import replace

import numpy as np
import pytest

from klayer.data import load
from klayer.nn import Workspace
from klayer.nn.gradients import ArrayGradient
from klayer.train import OPTIMISERS, Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.clipping import Clipping
from klayer.train.optimisers import Numbers
from klayer.train.optimisers.muon import COEFFICIENTS, STEPS
from klayer.train.state import TrainingState

LR, L2 = 0.05, 0.01
# Settings, and PyTorch's name and options for the same; muon has a reference of its own.
REFERENCES = {
    "sgd": ({}, "SGD", {}),
    "momentum": ({"momentum": 0.8}, "SGD", {"momentum": 0.8}),
    "nesterov": ({"momentum": 0.8}, "SGD", {"momentum": 0.8, "nesterov": True}),
    "adam": (
        {"momentum": 0.8, "beta2": 0.95, "optimiser_eps": 1e-3},
        "Adam",
        {"betas": (0.8, 0.95), "eps": 1e-3},
    ),
    "adamw": (
        {"momentum": 0.8, "beta2": 0.95, "optimiser_eps": 1e-3, "weight_decay": 0.3},
        "AdamW",
        {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "rmsprop": (
        {"beta2": 0.9, "optimiser_eps": 1e-3},
        "RMSprop",
        {"alpha": 0.9, "eps": 1e-3},
    ),
}


def numbers(optimiser, settings, t, ndim, l2=L2, lr=LR):
    """The numbers of update t, from 1, for one network."""

    def fit(value):
        return np.reshape(np.asarray(value, float), (1,) * ndim)

    more = {name: np.array([value]) for name, value in settings.items()}
    found = OPTIMISERS[optimiser].rates(np.array([[lr]]), more, np.array([[float(t)]]))
    slope, keep = (fit(2 * l2), fit(1 - 2 * lr * l2)) if l2 else (None, None)
    both = {name: fit(value) for name, value in {**more, **found}.items()}
    return Numbers(fit(lr), fit(-lr), slope, keep, both)


def updated(optimiser, settings, W, gradients, l2=L2, others=()):
    """W after the updates; beside it the optimiser's slots know other parameters."""
    group = {"W1": W, **{f"W{i + 2}": one for i, one in enumerate(others)}}
    slots = OPTIMISERS[optimiser].init(group)
    here = {name: slot["W1"] for name, slot in slots.items() if "W1" in slot}
    for t, g in enumerate(gradients, start=1):
        row = OPTIMISERS[optimiser]
        now = numbers(optimiser, settings, t, W.ndim, l2)
        row.prepare(W, ArrayGradient(g.copy()), here, now, Workspace())()
    return W


@pytest.mark.parametrize("optimiser", REFERENCES)
@pytest.mark.parametrize("penalised", [True, False])
def test_every_optimiser_matches_pytorch_for_fifty_updates(optimiser, penalised, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    settings, name, options = REFERENCES[optimiser]
    l2 = L2 if penalised and optimiser != "adamw" else 0.0
    W, gradients = rng.standard_normal((1, 4, 3)), rng.standard_normal((50, 1, 4, 3))
    theirs = torch.tensor(W[0].copy(), requires_grad=True)
    options = {"weight_decay": 2 * l2, **options}
    peer = getattr(torch.optim, name)([theirs], lr=LR, **options)
    for g in gradients:
        theirs.grad = torch.tensor(g[0].copy())
        peer.step()
    # AdamW's decay is for weights alone, which are told by their penalty, maybe of strength 0.
    if optimiser == "adamw":
        found = W.copy()
        slots = {name: group["W"] for name, group in OPTIMISERS["adamw"].init({"W": W}).items()}
        for t, g in enumerate(gradients, start=1):
            now = numbers("adamw", settings, t, 3, l2=0.0)
            weights = Numbers(now.lr, now.minus_lr, 0 * now.lr, 1 + 0 * now.lr, now.more)
            OPTIMISERS["adamw"].prepare(
                found, ArrayGradient(g.copy()), slots, weights, Workspace()
            )()
    else:
        found = updated(optimiser, settings, W.copy(), gradients, l2)
    np.testing.assert_allclose(found[0], theirs.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_adamw_leaves_what_is_no_weight_without_decay(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    settings, _, options = REFERENCES["adamw"]
    b, gradients = rng.standard_normal((1, 3)), rng.standard_normal((50, 1, 3))
    theirs = torch.tensor(b[0].copy(), requires_grad=True)
    peer = torch.optim.Adam([theirs], lr=LR, betas=options["betas"], eps=options["eps"])
    for g in gradients:
        theirs.grad = torch.tensor(g[0].copy())
        peer.step()
    found = updated("adamw", settings, b.copy(), gradients, l2=0.0)
    np.testing.assert_allclose(found[0], theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


def reference_muon(W, gradients, momentum, decay, l2):
    """Muon as its paper has it, on the matrix itself and not through its Gram matrix."""
    W, v = W.copy(), np.zeros_like(W)
    a, b, c = COEFFICIENTS
    for g in gradients:
        d = g + 2 * l2 * W
        v = momentum * v + d
        u = d + momentum * v
        X = u / np.linalg.norm(u)
        tall = X.shape[0] > X.shape[1]
        X = X.T if tall else X
        for _ in range(STEPS):
            A = X @ X.T
            X = a * X + (b * A + c * A @ A) @ X
        X = X.T if tall else X
        W = (1 - LR * decay) * W - LR * 0.2 * max(W.shape) ** 0.5 * X
    return W


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (6, 6), (300, 120)])
def test_muon_matches_newton_schulz_on_the_whole_matrix_for_fifty_updates(shape, rng):
    settings = {"momentum": 0.9, "beta2": 0.99, "optimiser_eps": 1e-8, "weight_decay": 0.1}
    W, gradients = rng.standard_normal(shape), rng.standard_normal((50, *shape))
    found = updated(
        "muon", settings, W[None].copy(), gradients[:, None], others=[np.zeros((1, 5, 2))]
    )
    expected = reference_muon(W, gradients, 0.9, 0.1, L2)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-12)


def test_muon_brings_singular_values_near_one_and_stands_a_gradient_of_zero(rng):
    settings = {"momentum": 0.0, "beta2": 0.9, "optimiser_eps": 1e-8, "weight_decay": 0.0}
    others = [np.zeros((1, 2, 2))]
    W = updated(
        "muon", settings, np.zeros((1, 40, 8)), rng.standard_normal((1, 1, 40, 8)), 0.0, others
    )
    singular = np.linalg.svd(W[0] / (LR * 0.2 * 40**0.5), compute_uv=False)
    assert (singular > 0.6).all()
    assert (singular < 1.3).all()
    still = updated("muon", settings, np.ones((1, 4, 3)), np.zeros((1, 1, 4, 3)), 0.0, others)
    assert (still == 1).all()


def test_muon_moves_the_last_layer_and_what_is_no_matrix_by_adam(digits32, brief):
    population = Population(digits32, [Member(replace(brief, optimiser="muon", lr_max=0.01), 0)])
    slots = population.state.slots
    assert set(slots["velocity"]) == {"W1", "W2"}
    assert set(slots["mean"]) == set(slots["square"]) == {"b1", "b2", "W3", "b3"}


def test_every_optimiser_has_a_reference():
    assert set(OPTIMISERS) == {*REFERENCES, "muon"}


# In populations.


def own_numbers(optimiser, p):
    """Settings of network p: each number that the optimiser uses is its own."""
    names = {
        "momentum": 0.5 + 0.1 * p,
        "beta2": 0.9 + 0.02 * p,
        "optimiser_eps": 1e-8 * (1 + p),
        "weight_decay": 0.1 * p,
    }
    uses = {
        "momentum": ["momentum"],
        "nesterov": ["momentum"],
        "adam": ["momentum", "beta2", "optimiser_eps"],
        "rmsprop": ["beta2", "optimiser_eps"],
    }
    uses["adamw"] = uses["muon"] = list(names)
    rate = 0.1 if optimiser in ("sgd", "momentum", "nesterov") else 0.01
    return {"lr_max": rate / (1 + p), **{name: names[name] for name in uses.get(optimiser, ())}}


def trained(data, members, workers=1, chunk=16, state=None, **more):
    population = Population(data, members, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
    return population


def groups(state):
    yield from (("params", state.params), ("running", state.running), ("history", state.history))
    yield from state.slots.items()


def assert_same_bits(one, p, other, q):
    theirs = dict(groups(other.state))
    for name, group in groups(one.state):
        for key, value in group.items():
            assert value[p].tobytes() == theirs[name][key][q].tobytes(), (name, key)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("clipped", [False, True], ids=["", "clipped"])
def test_every_optimiser_keeps_the_bits_alone_or_among_others_resumed_or_not(
    digits32, brief, optimiser, clipped, tmp_path
):
    settings = replace(brief, optimiser=optimiser, batch_norm="hidden", backend="numpy")
    members = [
        Member(
            replace(
                settings,
                l2=1e-3 * p,
                clip_norm=0.2 + p if clipped else 0.0,
                **own_numbers(optimiser, p),
            ),
            p,
        )
        for p in range(4)
    ]
    together = trained(digits32, members, workers=2, chunk=3)
    assert clipped or together.evaluate("test")["accuracy"][0] > 0.5
    for p in (0, 3):
        assert_same_bits(together, p, trained(digits32, members[p : p + 1]), 0)
    first = trained(digits32, members, until=17)
    first.state.save(tmp_path / "state.safetensors")
    state = TrainingState.load(tmp_path / "state.safetensors")
    assert state.slots.keys() == together.state.slots.keys()
    parts = TrainingState.join([state.take([0, 1]), state.take([2, 3])])
    second = trained(digits32, members, state=parts)
    for p in range(4):
        assert_same_bits(together, p, second, p)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_a_large_first_layer_has_the_same_bits_whoever_works_on_it(optimiser, clip_norm):
    data = Feed(load("synthetic:samples=400"))
    settings = Settings(
        batch_norm="hidden", cycles=1, half_cycle=4, updates_at_once=1, clip_norm=clip_norm
    )
    members = [
        Member(replace(settings, optimiser=optimiser, l2=1e-2 * p, **own_numbers(optimiser, p)), p)
        for p in range(3)
    ]
    alone = [trained(data, [member]) for member in members]
    for P, workers, chunk in ((1, 2, 16), (1, 4, 16), (3, 1, 16), (3, 2, 1), (3, 8, 2)):
        together = trained(data, members[:P], workers, chunk)
        for p in range(P):
            assert_same_bits(together, p, alone[p], 0)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_layers_are_cut_for_the_cache_without_changing_an_update(optimiser, rng):
    """A matrix that is used in parts moves as one that is used whole."""
    data = Feed(load("synthetic:samples=200"), np.float64)
    settings = Settings(
        hidden=(40,),
        cycles=1,
        half_cycle=3,
        dtype="float64",
        optimiser=optimiser,
        updates_at_once=1,
    )
    member = Member(replace(settings, **own_numbers(optimiser, 1)), 0)
    population = Population(data, [member])
    W = population.state.params["W1"].copy()
    X, labels = data["train"].X, data["train"].labels
    rows = population.batches[0]
    _, _, grads = population.network.loss_and_grads(population.state.params, X[rows], labels[rows])
    Trainer(population, Engine(1)).train(until=1)
    more = {name: getattr(member.settings, name) for name in own_numbers(optimiser, 1)}
    now = numbers(optimiser, more, 1, 3, member.settings.l2, member.settings.lr_min)
    slots = OPTIMISERS[optimiser].init({"W1": W, "W2": np.zeros((1, 2, 2))})
    here = {name: slot["W1"] for name, slot in slots.items() if "W1" in slot}
    OPTIMISERS[optimiser].prepare(W, ArrayGradient(grads["W1"]), here, now, Workspace())()
    np.testing.assert_allclose(population.state.params["W1"], W, rtol=1e-9, atol=1e-14)


# Clipping.


def test_clipping_is_that_of_pytorch(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is the independent reference here")
    shapes = {"W1": (2, 5, 4), "b1": (2, 4), "W2": (2, 200, 200)}
    grads = {key: rng.standard_normal(shape) for key, shape in shapes.items()}
    norms = [3.0, 1e9]
    expected = []
    for p, norm in enumerate(norms):
        theirs = [
            torch.zeros(g[p].shape, dtype=torch.float64, requires_grad=True) for g in grads.values()
        ]
        for one, g in zip(theirs, grads.values(), strict=True):
            one.grad = torch.tensor(g[p].copy())
        torch.nn.utils.clip_grad_norm_(theirs, norm)
        expected.append([one.grad.numpy() for one in theirs])
    clipping, found = Clipping(np.array(norms), Workspace()), {}
    for key, g in grads.items():
        collect, clipped = clipping.collect(key, ArrayGradient(g.copy()), np.zeros(shapes[key]))
        collect()
        clipping.then(lambda key=key, g=clipped: found.update({key: g.value().copy()}))
    clipping.update()
    for p in range(2):
        for key, theirs in zip(grads, expected[p], strict=True):
            np.testing.assert_allclose(found[key][p], theirs, rtol=1e-12)


def test_a_norm_that_is_never_reached_changes_an_update_to_rounding_alone(digits, brief):
    settings = replace(brief, dtype="float64", half_cycle=4, backend="numpy")
    free, held, clipped = (
        trained(Feed(digits, np.float64), [Member(replace(settings, clip_norm=norm), 0)])
        for norm in (0.0, 1e6, 1e-3)
    )
    for key, value in free.state.params.items():
        np.testing.assert_allclose(held.state.params[key], value, rtol=1e-10, atol=1e-12)
    moved = [
        sum(float(((one.state.params[k] - start) ** 2).sum()) for k, start in begin.items()) ** 0.5
        for begin in [Population(Feed(digits, np.float64), free.members).state.params]
        for one in (free, clipped)
    ]
    assert moved[1] < moved[0] / 10


def test_networks_with_and_without_clipping_do_not_share_a_population(digits32, brief):
    from klayer.errors import KlayerError

    one, two = (Member(replace(brief, clip_norm=norm), 0) for norm in (0.0, 1.0))
    assert one.settings.shared != two.settings.shared
    with pytest.raises(KlayerError, match=r"network 1 has clip_norm=1.0 instead of 0.0"):
        Population(digits32, [one, two])
    Population(digits32, [two, Member(replace(brief, clip_norm=3.0), 0)])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimiser": "adam"}, True),
        ({"optimiser": "adam", "lr_max": 0.01}, False),
        ({"optimiser": "muon", "lr_max": 0.5}, True),
        ({"optimiser": "nesterov"}, False),
        ({}, False),
    ],
)
def test_a_rate_that_is_rarely_meant_is_said(settings, said):
    from klayer.study import Study

    notes = Study.from_values({"settings": settings}).require_updates(1000)
    assert bool(notes) is said
    if said:
        assert "0.001 to 0.01 is usual: `klayer train --find-lr` suggests one" in notes[0]
