"""A state that is written down in mid-epoch goes on to the same bits, whatever an update depends on."""

import numpy as np
import pytest

import klayer as kl
from klayer.train import TrainingState

BASE = {"hidden": (12, 10), "batch_size": 30, "cycles": 2, "half_cycle": "3 epochs",
        "points_per_cycle": 3, "l2": 1e-3}  # fmt: skip
SETTINGS = {
    "plain": {},
    "updates at once": {"hidden": (24,), "updates_at_once": 2},
    "batch normalisation": {"batch_norm": "all", "bn_momentum": 0.7},
    "momentum": {"optimiser": "momentum", "batch_norm": "hidden", "last_batch": "keep"},
    "nesterov": {"optimiser": "nesterov", "clip_norm": 1.0},
    "adam": {"optimiser": "adam", "lr_max": 0.01, "warm_up": "1 epoch"},
    "adamw": {"optimiser": "adamw", "lr_max": 0.01, "schedule": "one_cycle"},
    "rmsprop": {"optimiser": "rmsprop", "lr_max": 0.01, "cycle_growth": 1.5, "peak_decay": 0.8},
    "muon": {"optimiser": "muon", "lr_max": 0.01},
    "dropout": {"dropout": 0.3, "input_dropout": 0.1, "optimiser": "momentum"},
    "noise": {"input_noise": 0.2, "input_dropout": 0.1},
    "average": {"average": "ema", "ema_decay": 0.98, "batch_norm": "hidden"},
    "snapshots": {"snapshots": "cycles", "average": "cycle_end"},
    "early stopping": {"early_stopping": "accuracy", "patience": 2, "optimiser": "adam"},
    "augmentation": {"augment": "mirror,crop:1,noise:0.1,mixup:0.2"},
    "float64": {"dtype": "float64", "skip": "equal", "hidden": (12, 12), "layer_norm": "hidden"},
    "compiled": {"backend": "compiled", "optimiser": "momentum"},
}


def everything(state):
    """All arrays of a state, and its plain values."""
    arrays, plain = state.packed()
    return arrays, {key: value for key, value in plain.items() if key != "digest"}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_written_down_at_a_pause_goes_on_to_the_same_bits(
    digits, tmp_path, monkeypatch, name
):
    if name == "compiled":
        pytest.importorskip("numba")
    settings = kl.Settings(**{**BASE, **SETTINGS[name]})
    feed = kl.Feed(digits, settings.dtype, augment=None)
    members = [kl.Member(settings, seed) for seed in (3, 5, 8)]
    whole = kl.Population(feed, members)
    kl.Trainer(whole).train()
    wanted, about = everything(whole.state)

    monkeypatch.setattr("klayer.train.trainer.STRETCH_SECONDS", 0.01)
    monkeypatch.setattr("klayer.train.engine.WAIT_SECONDS", 0.005)
    paths = []

    def keep(state):
        paths.append(tmp_path / f"{len(paths)}.safetensors")
        state.save(paths[-1])

    paused = kl.Population(feed, members)
    kl.Trainer(paused).train(on_pause=keep, on_record=keep)
    states = [paused.state]
    chosen = sorted({0, len(paths) // 3, len(paths) // 2, len(paths) - 2})
    for number in chosen:
        population = kl.Population(feed, members, TrainingState.load(paths[number], sealed=True))
        kl.Trainer(population, kl.Engine(1 + number % 2)).train()
        states.append(population.state)
    for state in states:
        found, plain = everything(state)
        assert plain == about
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert np.array_equal(found[key], value, equal_nan=True), key


def test_a_point_that_is_noted_by_half_is_not_written_down(digits, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    settings = kl.Settings(**BASE, early_stopping="accuracy", patience=2)
    trainer = kl.Trainer(kl.Population(kl.Feed(digits), [kl.Member(settings, 0)]))
    monkeypatch.setattr("klayer.train.trainer.note_point", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert not trainer.consistent
