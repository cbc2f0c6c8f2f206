"""Arms that build on one another: written as steps, recognised by their settings."""

import pytest

from klayer.errors import KlayerError
from klayer.study import Study, preset_names, read_study
from klayer.study.arms import Arm
from klayer.study.ladder import arm_labels, ladder, told
from klayer.train import Settings
from klayer.train.presets import read_preset


def of(**values):
    return Study.from_values(values).arms


def test_each_step_has_what_those_before_it_have():
    steps = [
        {"name": "plain"},
        {"batch_norm": "hidden"},
        {"name": "c", "l2": 0.0},
        {"dropout": 0.1},
    ]
    study = Study.from_values({"settings": {"hidden": [7]}, "steps": steps})
    everyone = [arm.settings for arm in study.arms]
    have = [(one.batch_norm, one.l2, one.dropout) for one in everyone]
    assert have == [
        ("none", 0.005, 0), ("hidden", 0.005, 0), ("hidden", 0, 0), ("hidden", 0, 0.1)
    ]  # fmt: skip
    assert all(one.hidden == (7,) for one in everyone)
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
    assert [arm.settings.optimiser for arm in of(steps=steps)] == ["nesterov", "sgd", "sgd"]


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
    assert [sorted(one) for one in ladder(of(steps=steps)).values()] == [
        [], ["batch_norm"], ["augment"], ["augment"]
    ]  # fmt: skip


@pytest.mark.parametrize("name", [one for one in preset_names() if one.startswith("ablation")])
def test_the_ablation_presets_are_ladders(name):
    study = read_study(name)
    added = list(ladder(study.arms).values())
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
    assert not ladder([Arm(name, Settings()) for name in "abc"])
    assert not ladder(of(arms=[{}, {"dropout": 0.1}]))
    assert not ladder(of(steps=[{}]))
    assert not ladder(of(grid={"batch_norm": ["none", "hidden"], "dropout": [0, 0.1]}))


@pytest.mark.parametrize(
    ("steps", "changed"),
    [
        ([{}, {"lr_max": 0.05}, {"lr_max": 0.08}], ["rate 0.05", "rate 0.08"]),  # twice
        ([{}, {"l2": 0.1}, {"l2": 0.2, "dropout": 0.1}, {"l2": 0.0}],
         ["λ = 0.1", "λ = 0.2, dropout 0.1", "λ = 0"]),
        ([{}, {"batch_norm": "hidden"}, {"batch_norm": "none", "dropout": 0.1}],
         ["BN", "no BN, dropout 0.1"]),  # back, with something else
        ([{}, {"augment": "mirror,crop:2"}, {"augment": "crop:2"}],
         ["augment mirror,crop:2", "augment crop:2"]),
        ([{}, {"hidden": [16]}, {"hidden": [32]}], ["width 16", "width 32"]),
        ([{}, {"hidden": [16, 8]}, {"hidden": []}], ["3-layer", "1-layer"]),
        ([{}, {"optimiser": "adam", "lr_max": 0.01}, {"optimiser": "sgd"}],
         ["rate 0.01, adam", "sgd"]),
        ([{}, {"dropout": 0.1}], ["dropout 0.1"]),  # two
    ],
)  # fmt: skip
def test_what_was_written_as_steps_is_steps_whatever_they_change(steps, changed):
    arms = of(settings={"hidden": [7]}, steps=steps)
    assert [told(one) for one in ladder(arms).values()] == ["", *changed]
    assert list(arm_labels(arms).values())[1:] == [f"+ {one}" for one in changed]


@pytest.mark.parametrize(
    "values",
    [
        {"arms": [{"name": "beside", "l2": 0}]},
        {"arms": [{"l2": 0}, {"dropout": 0.3}]},
        {"grid": {"l2": [0, 0.1], "dropout": [0.2, 0.3]}},
        {"grid": {"init": ["he", "xavier"]}, "arms": [{"name": "beside", "l2": 0}]},
    ],
)
def test_beside_steps_arms_stay_arms(values):
    steps = [{"name": "a", "l2": 0.3}, {"name": "b", "batch_norm": "hidden"}]
    study = Study.from_values({**values, "steps": steps})
    assert list(ladder(study.arms)) == ["a", "b"]
    assert [arm.step for arm in study.arms][-2:] == [True, True]
    assert not any(arm.step for arm in study.arms[:-2])


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"name": "x", "hidden": [16]}, {"name": "y", "batch_norm": "hidden"},
          {"name": "back", "batch_norm": "none"}], r"'back' adds none: it has those of 'x' again"),
        ([{"hidden": [16]}, {"l2": 0.1}, {"hidden": [8]}, {"hidden": [16]}],
         r"number 4 adds none: it has those of number 2 again"),
        ([{"name": "x"}, {"name": "same", "l2": 0.005}], r"'same' adds none: it has those of 'x'"),
        ([{"name": "x", "l2": 0}, {"l2": 0.0}], r"number 2 adds none: it has those of 'x'"),
        ([{"optimiser": "nesterov"}, {"optimiser": "sgd"}, {"dropout": 0.1},
          {"dropout": 0, "momentum": 0.8, "optimiser": "nesterov"}, {"optimiser": "sgd"}],
         r"number 5 adds none: it has those of number 2"),
        ([{}, {"activation": "gelu"}, {"activation": ["relu"]}], r"number 3 .* of number 1 again"),
    ],
)  # fmt: skip
def test_a_step_that_has_been_is_refused_by_both_names(steps, said):
    with pytest.raises(KlayerError, match=rf"^mine.toml: steps: .*{said}.*leave it away\.$"):
        Study.from_values({"steps": steps}, "mine.toml")


def test_a_stored_run_with_a_step_twice_is_still_read():
    steps = [{"name": "x"}, {"name": "y", "l2": 0.1}, {"name": "back", "l2": 0.005}]
    assert len(Study.from_stored({"steps": steps}, "run.json").arms) == 3


@pytest.mark.parametrize("table", ["arms", "steps"])
def test_a_mistake_names_its_own_table(table):
    values = {"arms": [{"name": "a"}], "steps": [{"name": "b", "l2": 0.1}]}
    values[table] = [{"name": "c", "dropout": 2}]
    with pytest.raises(KlayerError, match=f"^{table}: `0 <= dropout < 1`"):
        Study.from_values(values)


@pytest.mark.parametrize("name", ["+ plus", "plus", "+", "BN", "λ = 0.1", "a, b"])
def test_a_name_that_was_given_is_the_label(name):
    steps = [
        {"name": "first"},
        {"l2": 0.1},
        {"batch_norm": "hidden"},
        {"name": name, "dropout": 0.1},
    ]
    arms = of(steps=steps)
    assert arm_labels(arms)[name] == name
    assert len(set(arm_labels(arms).values())) == 4
    arms = of(arms=[{"l2": 0.1}, {"batch_norm": "hidden"}, {"name": name, "dropout": 0.1}])
    assert arm_labels(arms)[name] == name
