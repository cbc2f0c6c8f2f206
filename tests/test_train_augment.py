"""Changed rows: each change by itself, their seeds, and that training on them keeps its bits."""

from dataclasses import replace

import numpy as np
import pytest

from klayer.data import Dataset, Split, load
from klayer.errors import KlayerError
from klayer.nn import Batch, Network
from klayer.train import Engine, Feed, Member, Population, Settings, Trainer
from klayer.train.augment import AUGMENTATIONS, Augmentation, read_augment
from klayer.train.augment.images import crop, cutout, jitter, mirror, rotate
from klayer.train.state import TrainingState

EVERYTHING = "mirror,crop:2,rotate:5,jitter:0.1,cutout:3,noise:0.05,mixup:0.3"


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (40, 3, 8, 6), dtype=np.uint8)


@pytest.fixture
def fill(images):
    return images.mean(axis=0)


def test_mirroring_turns_some_images_and_leaves_the_others(images, fill, rng):
    found = mirror(images, 0, rng, fill)
    turned = (found == images[..., ::-1]).all(axis=(1, 2, 3))
    left = (found == images).all(axis=(1, 2, 3))
    assert (turned ^ left).all()
    assert 8 < turned.sum() < 32


def test_a_crop_is_a_shift_of_the_reflected_image(images, fill, rng):
    found = crop(images, 2, rng, fill)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    shifts = set()
    for n in range(len(images)):
        windows = {(y, x): padded[n, :, y : y + 8, x : x + 6] for y in range(5) for x in range(5)}
        matching = [s for s, window in windows.items() if (window == found[n]).all()]
        assert matching
        shifts.update(matching)
    assert len(shifts) > 15


def test_a_turn_by_nothing_is_none_and_a_turn_keeps_the_centre(images, fill, rng):
    still = rotate(images, 1e-9, rng, fill)
    assert (still == images).all()
    smooth = np.broadcast_to(np.linspace(0, 200, 9), (5, 1, 9, 9)).astype(np.uint8)
    turned = rotate(smooth, 30.0, rng, smooth[0])
    assert np.abs(turned[:, 0, 4, 4].astype(int) - smooth[:, 0, 4, 4]).max() <= 1
    assert (turned != smooth).any()


def test_rotation_is_that_of_scipy(rng):
    ndimage = pytest.importorskip("scipy.ndimage", reason="SciPy is the independent reference here")
    image = ndimage.gaussian_filter(rng.random((21, 21)), 2) * 255
    seed = 5
    found = rotate(image[None, None], 20.0, np.random.default_rng(seed), np.zeros((1, 21, 21)))
    angle = np.random.default_rng(seed).uniform(-20, 20, size=(1, 1))[0, 0]
    inside = np.s_[5:-5, 5:-5]
    errors = [
        np.abs(found[0, 0] - ndimage.rotate(image, sign * angle, reshape=False, order=1))[
            inside
        ].max()
        for sign in (1, -1)
    ]
    assert min(errors) < 0.01


def test_jitter_keeps_bytes_within_their_range_and_moves_each_image(images, fill, rng):
    found = jitter(images, 1.0, rng, fill)
    assert found.dtype == np.uint8
    assert (found != images).any(axis=(1, 2, 3)).all()
    one = jitter(images, 0.2, rng, fill)[0].astype(float)
    free = (one > 0) & (one < 255)
    slope = np.polyfit(images[0].astype(float)[free], one[free], 1)[0]
    assert 0.8 - 0.02 < slope < 1.2 + 0.02


def test_a_cutout_covers_a_square_with_the_mean(images, rng):
    found = cutout(images, 3, rng, np.full((3, 8, 6), 7.4))
    changed = found != images
    for n in range(len(images)):
        ys, _ = np.where((found[n] == 7).all(axis=0))
        assert 0 < len(ys) <= 9
        assert changed[n].any()


@pytest.mark.parametrize("change", [mirror, crop, rotate, jitter, cutout])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 3, 5, 9)])
def test_every_change_of_images_keeps_shape_dtype_and_its_input(change, dtype, shape, rng):
    images = (rng.random(shape) * 100).astype(dtype)
    before = images.copy()
    found = change(images, 2, np.random.default_rng(0), images.mean(axis=0))
    again = change(images, 2, np.random.default_rng(0), images.mean(axis=0))
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert (images == before).all()
    assert (found == again).all()


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("none", "none"),
        ("", "none"),
        ([], "none"),
        ("mirror", "mirror"),
        (" mirror , crop:2", "mirror,crop:2"),
        (["cutout", "mixup:1"], "cutout:8,mixup:1"),
        ("noise:1e-2", "noise:0.01"),
    ],
)
def test_a_list_of_changes_has_one_form(given, stored):
    if given == "":
        with pytest.raises(KlayerError, match="unknown augmentation ''"):
            read_augment(given)
        return
    assert read_augment(given) == read_augment(stored) == stored
    assert Settings(augment=given).augment == stored


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("miror", "unknown augmentation 'miror': did you mean 'mirror'"),
        ("mirror:2", "mirror takes no amount, but got mirror:2"),
        ("crop:0", "the amount of crop must be a whole number > 0 and <= 1000, but got crop:0"),
        ("crop:1.5", "the amount of crop must be a whole number"),
        ("crop:x", "the amount of crop must be a whole number .* but got crop:x"),
        ("noise:nan", "the amount of noise must be a number > 0"),
        ("rotate:500", "the amount of rotate must be a number > 0 and <= 180, but got rotate:500"),
        ("crop,crop:2", "names 'crop' twice"),
        (3, "must be a list of changes, as in mirror,crop:4, but got augment=3"),
        ("none,mirror", "unknown augmentation|none"),
    ],
)
def test_a_wrong_list_is_refused(given, message):
    with pytest.raises(KlayerError, match=message):
        Settings(augment=given)


def test_data_that_are_no_images_are_told_so(brief):
    feed = Feed(_table())
    with pytest.raises(KlayerError, match="mirror, crop is for images, but the data have no image"):
        Population(feed, [Member(replace(brief, augment="mirror,crop"), 0)])
    Population(feed, [Member(replace(brief, augment="noise,mixup"), 0)])


def test_a_change_as_large_as_the_images_is_refused(digits32, brief):
    with pytest.raises(
        KlayerError, match="crop:8 must be smaller than the images, .* 8 x 8 pixels"
    ):
        Population(digits32, [Member(replace(brief, augment="crop:8"), 0)])


def _table():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) * [1, 10, 100, 1, 0.1]
    labels = (X[:, 0] > 0).astype(int)
    rows = {"train": Split(X[:200], labels[:200]), "validation": Split(X[200:], labels[200:])}
    return Dataset("table", rows, ("no", "yes"))


# In training.


def trained(data, members, workers=1, chunk=16, state=None, **more):
    population = Population(data, members, state, chunk)
    with Engine(workers) as engine:
        Trainer(population, engine).train(**more)
    return population


def assert_same_bits(one, p, other, q):
    for group in ("params", "running", "history"):
        theirs = getattr(other.state, group)
        for key, value in getattr(one.state, group).items():
            assert value[p].tobytes() == theirs[key][q].tobytes(), (group, key)


@pytest.mark.parametrize("name", [*AUGMENTATIONS, EVERYTHING])
def test_training_on_changed_rows_keeps_the_bits_alone_among_others_and_resumed(
    digits32, brief, name, tmp_path
):
    # digits are 8 x 8
    name = {"cutout": "cutout:3"}.get(name, name)
    settings = replace(brief, augment=name, batch_norm="hidden", smoothing=0.1)
    members = [Member(replace(settings, l2=1e-3 * p), p) for p in range(8)]
    alone = [trained(digits32, [member]) for member in members[:3]]
    for P, workers, chunk in ((1, 2, 16), (3, 2, 1), (8, 2, 3)):
        together = trained(digits32, members[:P], workers, chunk)
        for p in range(min(P, 3)):
            assert_same_bits(together, p, alone[p], 0)
    first = trained(digits32, members[:3], until=17)
    first.state.save(tmp_path / "state.safetensors")
    second = trained(
        digits32, members[:3], 2, state=TrainingState.load(tmp_path / "state.safetensors")
    )
    for p in range(3):
        assert_same_bits(second, p, alone[p], 0)
    plain = trained(digits32, [Member(replace(settings, augment="none"), 0)])
    assert (plain.state.params["W1"][0] != alone[0].state.params["W1"][0]).any()


def test_the_order_seed_changes_what_is_drawn_and_updates_differ(digits):
    rows = digits.splits["train"].features[:20]
    one, other = (Augmentation("crop:2,mirror", digits, seed) for seed in (0, 1))
    assert (one.raw(rows, 3) == one.raw(rows, 3)).all()
    assert (one.raw(rows, 3) != one.raw(rows, 4)).any()
    assert (one.raw(rows, 3) != other.raw(rows, 3)).any()


def test_curves_and_scores_are_of_rows_as_they_are(digits32, brief):
    changed, plain = (
        Population(digits32, [Member(replace(brief, augment=name), 0)])
        for name in (EVERYTHING, "none")
    )
    assert changed.evaluate("train")["loss"] == plain.evaluate("train")["loss"]


def test_updates_at_once_see_the_changed_rows(brief):
    data = Feed(load("synthetic:samples=400"), np.float64)
    settings = Settings(
        cycles=1, half_cycle=5, dtype="float64", augment="noise:0.5,mixup:1", l2=0.01
    )
    together, apart = (
        trained(data, [Member(replace(settings, updates_at_once=n), p) for p in range(2)])
        for n in (2, 1)
    )
    for key, value in apart.state.params.items():
        np.testing.assert_allclose(together.state.params[key], value, rtol=1e-9, atol=1e-12)


# Mixup.


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_mixed_samples_is_the_mixture_of_both_losses(smoothing, weighted, rng):
    """Against two passes with the shares as weights, which need no mixture."""
    network = Network(4, (5,), 3)
    params = network.init("he", [0, 1], float)
    x, one = rng.standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    other, share = np.array([1, 1, 0, 2, 2, 2]), rng.uniform(0.5, 1, 6)
    weights = rng.random(6) if weighted else np.ones(6)
    numbers = {"smoothing": np.full(2, smoothing)}

    def passes(batch):
        grads = {}

        def use(key, gradient):
            return lambda: grads.update({key: gradient.value().copy()})

        plan = network.plan(params, batch, use=use, numbers=numbers)
        assert plan.update()
        return plan.losses().copy(), grads

    found = passes(Batch(x, one, weights=weights if weighted else None, mixed=(other, share)))
    first = passes(Batch(x, one, weights=weights * share))
    second = passes(Batch(x, other, weights=weights * (1 - share)))
    np.testing.assert_allclose(found[0], first[0] + second[0], rtol=1e-13)
    for key, value in found[1].items():
        np.testing.assert_allclose(value, first[1][key] + second[1][key], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_numbers_and_several_labels_are_mixed_with_their_rows(task, rng, brief):
    X = rng.standard_normal((60, 3))
    labels = X[:, :2] if task == "regression" else (X[:, :2] > 0).astype(np.uint8)
    data = Dataset("rows", {"train": Split(X, labels)}, ("a", "b"), task=task)
    population = Population(
        Feed(data, np.float64), [Member(replace(brief, augment="mixup:1", dtype="float64"), 0)]
    )
    blocks = Trainer(population, Engine(1))._blocks()
    block = blocks.get((0, 1))
    blocks.close()
    rows = population.feed["train"]
    index = population.batches[0]
    partner, share = None, None
    for i in range(len(index)):
        # The share follows from the rows alone, and the labels follow it.
        for j in range(len(index)):
            direction = rows.X[index[i]] - rows.X[index[j]]
            rest = block.x[i] - rows.X[index[j]]
            s = direction @ rest / (direction @ direction) if direction.any() else 1.0
            if np.allclose(s * direction, rest) and 0.5 <= s <= 1 + 1e-9:
                partner, share = j, s
                break
        expected = share * rows.labels[index[i]] + (1 - share) * rows.labels[index[partner]]
        np.testing.assert_allclose(block.labels[i], expected, atol=1e-9)
    Trainer(population, Engine(1)).train()
    assert np.isfinite(population.evaluate("train")["loss"]).all()


def test_blocks_are_made_ahead_by_a_thread_that_ends_with_the_training(digits32, brief):
    import threading

    trained(digits32, [Member(replace(brief, augment="mirror"), 0)])
    assert not [one for one in threading.enumerate() if one.name.startswith("klayer-feed")]


def test_an_error_in_a_change_reaches_the_caller(digits, brief):
    def broken(rows, *, update):
        raise ZeroDivisionError(f"at update {update}")

    feed = Feed(digits, augment=broken)
    with pytest.raises(ZeroDivisionError, match="at update"):
        trained(feed, [Member(replace(brief, augment="mirror"), 0)])
