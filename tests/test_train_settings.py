import importlib.util
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import klayer.train.settings as table
from klayer.errors import KlayerError
from klayer.files import plain
from klayer.study import Study
from klayer.study.search.space import NUMBERS, Range, Space
from klayer.train import SETTINGS, Batches, Settings
from klayer.train.other_names import OTHER_NAMES
from klayer.train.schedules import SCHEDULES, Course, cosine, triangular
from klayer.train.setting import rows_of, setting

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr_min": 0.2}, r"`0 <= lr_min <= lr_max` must hold, but got lr_min=0.2, lr_max=0.1\."),
        ({"l2": -1}, "`l2` must be a number >= 0, but got l2=-1"),
        ({"l2": float("nan")}, "`l2` must be a number >= 0, but got l2=nan"),
        (
            {"updates_at_once": 0},
            "`updates_at_once` must be 'auto' or >= 1, but got updates_at_once=0",
        ),
        ({"bn_eps": 0.0}, "`1e-30 <= bn_eps < 1` must hold, but got bn_eps=0.0"),
        ({"cycles": 0}, "`cycles` must be > 0, but got cycles=0"),
        ({"batch_size": 0}, "`batch_size` must be >= 1, but got batch_size=0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number >= 1, but got batch_size=2.5"),
        ({"points_per_cycle": 0}, "`points_per_cycle` must be >= 1"),
        ({"curve_samples": 0}, "`curve_samples` must be >= 1"),
        ({"hidden": (5, 0)}, r"`hidden` must be whole numbers >= 1, but got hidden=\[5, 0\]"),
        ({"batch_norm": "al"}, "unknown batch_norm 'al': did you mean 'all'"),
        ({"schedule": "triangle"}, "unknown schedule 'triangle': did you mean 'triangular'"),
        ({"last_batch": "keeep"}, "unknown last_batch 'keeep': did you mean 'keep'"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
        ({"order_seed": -1}, "`order_seed` must be a whole number >= 0, but got order_seed=-1"),
        ({"half_cycle": "5 weeks"}, "`half_cycle` must read like '5 epochs'.* got '5 weeks'"),
        ({"half_cycle": 0}, "`half_cycle` must be at least one update"),
        ({"half_cycle": "9" * 400 + " epochs"}, "`half_cycle` must read like '5 epochs'"),
        ({"half_cycle": 7.5}, "`half_cycle` must read like '5 epochs'.* got 7.5"),
        ({"init": "gauss:1"}, "unknown initialiser 'gauss'"),
        ({"hidden": 50}, r"must be a list of whole numbers, as in \[10, 20\], but got hidden=50"),
        ({"hidden": "50"}, r"must be a list of whole numbers, as in \[10, 20\], .* hidden='50'"),
        ({"l2": float("inf")}, "`l2` must be a finite number >= 0, but got l2=inf"),
        ({"l2": Fraction(1, 2)}, r"`l2` must be a number >= 0, but got l2=Fraction\(1, 2\)"),
        ({"l2": 10**400}, "`l2` must be a finite number >= 0"),
        ({"l2": -float("inf")}, "`l2` must be a finite number >= 0, but got l2=-inf"),
        ({"cycles": float("inf")}, "`cycles` must be a finite number > 0, but got cycles=inf"),
        ({"lr_max": 1e39}, "`lr_max` must fit into a float32, "),
        ({"weight_decay": 1e300}, "`weight_decay` must fit into a float32"),
        ({"lr_max": float("inf")}, "`lr_max` must be a finite number, but got lr_max=inf"),
        ({"bn_eps": float("inf")}, "`1e-30 <= bn_eps < 1` must hold, but got bn_eps=inf"),
        ({"lr_max": float("nan")}, "`0 <= lr_min <= lr_max` must hold"),
        (
            {"updates_at_once": "two"},
            "`updates_at_once` must be 'auto' or a whole number >= 1, but got updates_at_once='two'",
        ),
        (
            {"momentum": 0.5},
            "`momentum` has an effect with optimiser='momentum', 'nesterov', 'adam', .* only",
        ),
        (
            {"lr_min": 1e-3, "schedule": "constant"},
            "`lr_min` has an effect with schedule='triangular', 'cosine', .* or 'exponential' only, "
            "but got lr_min=0.001 with schedule='constant': leave it away, or set schedule",
        ),
        (
            {"bn_eps": 1e-5},
            "`bn_eps` has an effect with batch_norm='hidden', 'all' or numbers of layers only, "
            "but got bn_eps=1e-05 with batch_norm='none'",
        ),
    ],
)
def test_a_wrong_setting_is_refused(change, message):
    with pytest.raises(KlayerError, match=message):
        Settings(**change)


def test_a_setting_with_an_effect_is_accepted():
    assert Settings(lr_min=1e-3, schedule="cosine").lr_min == 1e-3
    assert Settings(bn_eps=1e-5, batch_norm="all").bn_eps == 1e-5
    assert Settings(batch_size=10**400).batch_size == 10**400  # the whole split
    assert Settings(lr_max=1e-6, schedule="constant").lr_max == 1e-6  # below lr_min's default


def test_half_cycles_count_in_epochs_or_updates():
    assert Settings(half_cycle="5 epochs").half_cycle_updates(450) == 2250
    assert Settings(half_cycle="0.5 epoch").half_cycle_updates(450) == 225
    assert Settings(half_cycle="7 updates").half_cycle_updates(450) == 7
    assert Settings(half_cycle=2250).total_updates(450) == 9000


def test_the_defaults_are_the_report_s():
    settings = Settings()
    assert settings.total_updates(settings.batches(45_000).per_epoch) == 20 * 450


def test_settings_survive_a_round_trip_through_plain_values():
    settings = Settings(hidden=(3,), init="gaussian:0.001", l2=1e-4)
    assert Settings(**settings.as_dict()) == settings


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_described_and_takes_its_default(name):
    row = SETTINGS[name]
    assert row.sentence.endswith(".")
    assert "{" not in row.sentence
    assert row.allowed
    assert f"{name} : {row.allowed}\n        {row.sentence}" in Settings.__doc__
    assert row.check(row.default) == row.default == getattr(Settings(), name)
    assert Settings.from_values({name: Settings().as_dict()[name]}, "file") == Settings()
    assert Settings.from_values({name: row.parse(row.shown_default)}, "flags") == Settings()


@pytest.mark.parametrize("name", [*SETTINGS, *table.ALIASES])
def test_every_searchable_setting_is_a_parameter_of_a_search(name):
    row = table.SEARCHABLE.get(name)
    if row is None:
        with pytest.raises(KlayerError, match=f"unknown parameter '{name}'"):
            Space.parse({name: "1:2"})
    elif name in NUMBERS:
        assert Space.parse({name: "0.1:0.2"}).ranges[name].scale == row.search
    else:
        assert Space.parse({name: [row.default]}).categories == {name: [row.default]}


@dataclass(frozen=True)
class Later:
    """Settings as they may come."""

    momentum: float = setting(
        0.9, "How much.", at_least=0, below=1, scope="network", search="linear"
    )
    at_once: Literal["auto"] | int = setting("auto", "How many.", at_least=1)
    activation: str = setting("triangular", "One of {choices}.", choices=SCHEDULES)
    clip: float | None = setting(None, "Largest norm.", above=0)


@pytest.mark.parametrize(
    ("name", "good", "bad", "message"),
    [
        ("momentum", 0, 1, "`0 <= momentum < 1` must hold, but got momentum=1."),
        ("momentum", 0.5, "x", "`momentum` must be a number, but got momentum='x'."),
        (
            "at_once",
            "auto",
            "aut",
            "`at_once` must be 'auto' or a whole number >= 1, but got at_once='aut'.",
        ),
        ("at_once", 2, 0, "`at_once` must be 'auto' or >= 1, but got at_once=0."),
        ("activation", "cosine", "cosin", "unknown activation 'cosin': did you mean 'cosine'?"),
        ("clip", None, 0, "`clip` must be > 0, but got clip=0."),
    ],
)
def test_a_new_row_needs_no_code_of_its_own(name, good, bad, message):
    row = rows_of(Later)[name]
    assert row.check(good) == good
    with pytest.raises(KlayerError) as caught:
        row.check(bad)
    assert str(caught.value).startswith(message)


def test_flags_may_write_numbers_beside_words():
    rows = rows_of(Later)
    assert rows["at_once"].flag_type is str
    assert [rows["at_once"].parse(text) for text in ("2", "auto", "two")] == [2, "auto", "two"]
    assert rows["clip"].parse("0.5") == 0.5
    assert rows["activation"].parse("cosine") == "cosine"
    assert SETTINGS["half_cycle"].parse("2250") == "2250"


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("l2", np.float32(0.5), 0.5),
        ("l2", np.longdouble(0.5), 0.5),
        ("l2", np.array(0.5), 0.5),
        ("l2", 1, 1.0),
        ("lr_max", np.float64(0.5), 0.5),
        ("momentum", np.int64(0), 0.0),
        ("batch_size", np.int64(20), 20),
        ("order_seed", np.uint8(3), 3),
        ("updates_at_once", np.int16(3), 3),
        ("half_cycle", np.int64(7), 7),
        ("hidden", np.array([50, 20]), (50, 20)),
        ("hidden", [np.int32(5)], (5,)),
        ("activation", np.str_("tanh"), "tanh"),
    ],
)
def test_numbers_of_other_kinds_are_stored_as_plain_ones(name, given, stored):
    settings = Settings(
        **{name: given, **({"optimiser": "momentum"} if name == "momentum" else {})}
    )
    value = getattr(settings, name)
    assert value == stored
    assert type(value) is type(stored)
    assert not isinstance(value, tuple) or {type(one) for one in value} == {int}
    assert Settings.from_stored(json.loads(json.dumps(settings.as_dict())), "run") == settings


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("true", [True, np.True_])
def test_a_boolean_is_no_value_of_any_setting(name, true):
    with pytest.raises(KlayerError, match=r"must .*, but got .*True|unknown \w+ 'True'"):
        Settings(**{name: (true,) if SETTINGS[name].is_list else true})


def test_every_setting_that_is_accepted_is_read_again():
    given = [
        "2",
        "2.0",
        2,
        2.0,
        0.5,
        True,
        None,
        [2],
        ["2"],
        "auto",
        "full",
        "2 epochs",
        "he",
        "mirror,crop:2",
        Fraction(1, 2),
    ]
    for name in SETTINGS:
        accepted = 0
        for value in given:
            try:
                study = Study.from_values({"settings": {name: value}})
            except KlayerError:
                continue
            accepted += 1
            stored = json.loads(json.dumps(plain(study.document)))
            assert Study.from_stored(stored, "run").arms == study.arms
            one = study.arms[0].settings
            assert Settings.from_stored(json.loads(json.dumps(plain(one.as_dict()))), "run") == one
        assert accepted or tuple(SETTINGS[name].choices) or SETTINGS[name].only_with


def test_a_row_speaks_for_itself():
    rows = rows_of(Later)
    choices = f"{', '.join([*SCHEDULES][:-1])} or {[*SCHEDULES][-1]}"
    assert rows["activation"].sentence == f"One of {choices}."
    assert rows["at_once"].allowed == "auto or a whole number >= 1"
    assert rows["momentum"].allowed == "0 <= momentum < 1"
    assert rows["at_once"].label == rows["at_once"].symbol == "at once"
    assert rows["momentum"].flags == ("--momentum",)


def test_a_number_is_drawn_on_the_scale_of_its_row():
    assert Range.parse("0.5:0.9", "linear").scale == "linear"
    assert Range.parse("0.5:0.9:log", "linear").scale == "log"


@pytest.fixture
def renamed(monkeypatch):
    """The penalty, as if it had been called `decay` once."""
    rows = {**SETTINGS, "l2": replace(SETTINGS["l2"], was=("decay",))}
    monkeypatch.setattr(table, "SETTINGS", rows)


@pytest.mark.usefixtures("renamed")
def test_a_former_name_is_understood_in_stored_runs_and_files():
    assert Settings.from_stored({"decay": 0.25}, "runs/mine").l2 == 0.25
    assert Settings.from_values({"decay": 0.25}, "mine.toml").l2 == 0.25
    assert Space.parse({"decay": "0.1:0.2"}).names == ("l2",)
    for given in ({"l2": 0.1, "decay": 0.25}, {"decay": 0.25, "l2": 0.1}):
        first, second = given
        message = (
            f"mine.toml: `l2` is given twice, as '{first}' and as '{second}': it is one setting, "
            "so give 'l2' alone."
        )
        with pytest.raises(KlayerError) as caught:
            Settings.from_values(given, "mine.toml")
        assert str(caught.value) == message


@pytest.mark.usefixtures("renamed")
def test_of_a_former_name_and_the_new_one_the_nearer_table_wins():
    study = Study.from_values(
        {
            "settings": {"decay": 0.5},
            "arms": [{"name": "a", "l2": 0.25}, {"name": "b"}],
            "search": {"stages": [{"lr_max": "0.01:0.1"}], "settings": {"l2": 0.125}},
        }
    )
    assert [arm.settings.l2 for arm in study.arms] == [0.25, 0.5]
    assert study.search.base.l2 == 0.125
    assert study.document["settings"] == {"l2": 0.5}


def test_a_stored_setting_that_this_version_does_not_know_is_refused():
    stored = Settings(l2=0.1, hidden=(3,)).as_dict()
    assert Settings.from_stored(stored, "runs/mine") == Settings(l2=0.1, hidden=(3,))
    message = (
        r"runs/mine: unknown setting 'colour' = 'red': a later version of klayer may have made"
    )
    with pytest.raises(KlayerError, match=message):
        Settings.from_stored(stored | {"colour": "red"}, "runs/mine")
    message = r"runs/mine: unknown schedule 'spiral': .* a later version of klayer may have made it"
    with pytest.raises(KlayerError, match=message):
        Settings.from_stored(stored | {"schedule": "spiral"}, "runs/mine")


def test_a_setting_that_an_older_version_did_not_store_is_at_its_default():
    stored = Settings(l2=0.1).as_dict()
    del stored["updates_at_once"]
    assert Settings.from_stored(stored, "runs/mine") == Settings(l2=0.1)


def test_a_stored_value_without_effect_is_at_its_default():
    stored = Settings(schedule="constant").as_dict() | {"lr_min": 1e-3, "bn_eps": 1e-5}
    assert Settings.from_stored(stored, "runs/mine") == Settings(schedule="constant")


def test_the_tables_in_the_documentation_are_those_of_the_settings():
    path = ROOT / "tools" / "settings_table.py"
    spec = importlib.util.spec_from_file_location("settings_table", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for page in tool.PAGES:
        assert page.read_text(encoding="utf-8") == tool.page(page), (
            f"{page.name} is behind: python tools/settings_table.py"
        )


def test_triangular_rate_climbs_and_falls_linearly():
    rates = [
        float(triangular(t, 1e-5, 1e-1, Course(2250))) for t in (0, 1125, 2250, 3375, 4500, 6750)
    ]
    middle = (1e-5 + 1e-1) / 2
    np.testing.assert_allclose(rates, [1e-5, middle, 1e-1, middle, 1e-5, 1e-1])


def test_cosine_rate_falls_and_restarts():
    rates = [float(cosine(t, 0.1, 0.5, Course(10))) for t in (0, 10, 20)]
    np.testing.assert_allclose(rates, [0.5, 0.3, 0.5])


def test_an_epoch_shows_every_sample_once_in_an_order_of_its_own():
    batches = Batches(samples=12, batch_size=4, order_seed=3)
    epochs = [np.concatenate([batches[t] for t in range(e * 3, e * 3 + 3)]) for e in (0, 1)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert (epochs[0] != epochs[1]).any()


def test_batches_are_a_function_of_the_update_alone():
    batches = Batches(samples=12, batch_size=5, order_seed=3, last_batch="keep")
    forwards = [batches[t].tolist() for t in range(7)]
    backwards = [batches[t].tolist() for t in reversed(range(7))]
    assert forwards == backwards[::-1]


def test_a_smaller_last_batch_is_dropped_or_kept():
    assert Batches(10, 4, 0, "drop").per_epoch == 2
    kept = Batches(10, 4, 0, "keep")
    assert [len(kept[t]) for t in range(3)] == [4, 4, 2]


def test_a_batch_larger_than_the_split_is_the_split():
    batches = Batches(samples=3, batch_size=100, order_seed=0)
    assert batches.per_epoch == 1
    assert sorted(batches[0]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "lr_max"),
        ("learning_rate", "lr_max"),
        ("Learning-Rate", "lr_max"),
        ("optimizer", "optimiser"),
        ("wd", "l2"),
        ("grad_clip", "clip_norm"),
        ("n_iter_no_change", "patience"),
        ("alpha", "l2"),
        ("hidden_layer_sizes", "hidden"),
        ("batchsize", "batch_size"),
        ("Momentum", "momentum"),
    ],
)
def test_what_others_call_a_setting_is_understood_well_enough_to_name_it(name, meant):
    for make in (lambda: Settings(**{name: 1}), lambda: Settings.from_values({name: 1})):
        with pytest.raises(KlayerError, match=f"unknown setting '{name}': did you mean '{meant}'"):
            make()


@pytest.mark.parametrize(
    ("value", "half"), [(20, "5 epochs"), (3, "0.75 epochs"), ("x", "5 epochs")]
)
def test_a_number_of_epochs_is_answered_with_the_settings_that_train_as_long(value, half):
    with pytest.raises(KlayerError, match=f"say cycles = 2, half_cycle = '{half}'"):
        Settings(epochs=value)
    if value == 20:
        said = Settings(cycles=2, half_cycle=half)
        assert said.total_updates(per_epoch=100) == 20 * 100


def test_other_names_belong_to_settings_and_are_none_themselves():
    assert OTHER_NAMES.keys() <= SETTINGS.keys()
    words = [word for several in OTHER_NAMES.values() for word in several]
    assert len(set(words)) == len(words)
    assert not set(words) & SETTINGS.keys()
