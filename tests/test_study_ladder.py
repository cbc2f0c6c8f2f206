"""Arms that build on one another: written as steps, recognised by their settings."""

import pytest

from klayer.errors import KlayerError
from klayer.study import Study, preset_names, read_study
from klayer.study.ladder import ladder
from klayer.train import Settings
from klayer.train.presets import read_preset


def of(**values):
    return [arm.settings for arm in Study.from_values(values).arms]


def test_each_step_has_what_those_before_it_have():
    steps = [
        {"name": "plain"},
        {"batch_norm": "hidden"},
        {"name": "c", "l2": 0.0},
        {"dropout": 0.1},
    ]
    study = Study.from_values({"settings": {"hidden": [7]}, "steps": steps})
    have = [
        (one.batch_norm, one.l2, one.dropout) for one in of(settings={"hidden": [7]}, steps=steps)
    ]
    assert have == [
        ("none", 0.005, 0), ("hidden", 0.005, 0), ("hidden", 0, 0), ("hidden", 0, 0.1)
    ]  # fmt: skip
    assert all(one.hidden == (7,) for one in of(settings={"hidden": [7]}, steps=steps))
    assert [arm.name for arm in study.arms if arm.named] == ["plain", "c"]


def test_steps_come_after_the_grid_and_the_arms():
    study = Study.from_values(
        {"grid": {"l2": [0, 0.1]}, "arms": [{"name": "a", "lr_max": 0.2}], "steps": [{"name": "s"}]}
    )
    assert [arm.name for arm in study.arms][2:] == ["a", "s"]
    again = Study.from_stored(study.document, "run.json")
    assert again.arms == study.arms


def test_what_a_step_puts_out_of_effect_is_left_out():
    steps = [{"optimiser": "nesterov", "momentum": 0.8}, {"optimiser": "sgd"}, {"l2": 0.0}]
    assert [one.optimiser for one in of(steps=steps)] == ["nesterov", "sgd", "sgd"]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{}, {"dropout": 0.1}, {"name": "again", "dropout": 0.1}], "'again' adds none"),
        ([{}, {"name": "nothing"}], "'nothing' adds none"),
        ([{}, {"drop": 0.1}], "steps: unknown setting 'drop': did you mean 'dropout'"),
        ([{}, {"dropout": 2}], "steps: `0 <= dropout < 1` must hold"),
        ([{"name": "a"}, {"name": "a", "l2": 0}], "two are called 'a'"),
        ([{}, {"data": "digits"}], "a study has one data set"),
        ([{}, {"bn_eps": 1e-3}], "has an effect with batch_norm"),
    ],
)
def test_a_slip_in_a_step_is_said(steps, said):
    with pytest.raises(KlayerError) as found:
        of(steps=steps)
    assert said in str(found.value)


def test_a_run_of_steps_may_be_longer_than_three_and_each_adds():
    steps = [{}, {"batch_norm": "hidden"}, {"augment": "mirror"}, {"augment": "mirror,crop:2"}]
    assert [sorted(one) for one in ladder(of(steps=steps))] == [
        [], ["batch_norm"], ["augment"], ["augment"]
    ]  # fmt: skip


@pytest.mark.parametrize("name", [one for one in preset_names() if one.startswith("ablation")])
def test_the_ablation_presets_are_ladders(name):
    study = read_study(name)
    added = ladder([arm.settings for arm in study.arms])
    assert len(added) == len(study.arms) >= 5
    assert all(added[1:])
    assert all(arm.named for arm in study.arms)


def test_the_last_step_to_best_is_best():
    values = read_preset("best")
    assert values.pop("data") == read_study("ablation-best").data
    last = read_study("ablation-best").arms[-1].settings
    assert last == Settings.from_values(values, "best")


def test_what_is_no_ladder():
    assert not ladder([])
    assert not ladder([Settings()] * 3)
    assert not ladder([Settings(), Settings(dropout=0.1)])
    assert not ladder(of(grid={"batch_norm": ["none", "hidden"], "dropout": [0, 0.1]}))
