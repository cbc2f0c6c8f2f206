import csv
import json
import math

import numpy as np
import pytest

from klayer.data import load
from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.execute import open_executor
from klayer.study.launch import run_search, run_study
from klayer.study.search import stages as engine
from klayer.study.search.halving import survivors
from klayer.study.search.next_space import next_space
from klayer.study.search.samplers import SAMPLERS
from klayer.study.search.space import Range, Space
from klayer.study.search.stages import search_stages
from klayer.study.search.tables import (
    finalist_table,
    importance,
    sorted_rows,
    stage_table,
    trial_table,
)

FAST = {
    "hidden": [12],
    "batch_norm": "hidden",
    "batch_size": 50,
    "cycles": 2,
    "half_cycle": "1 epoch",
    "points_per_cycle": 3,
}


def parsed(**values):
    return Study.from_values(values)


def config(others=(), **values):
    values = {
        "stages": [{"l2": "1e-4:1e-1"}],
        "trials": 6,
        "finalists": {"top": 2, "cycles": 1, "seeds": 2},
        **values,
    }
    values["settings"] = {**FAST, **values.get("settings", {})}
    return parsed(search=values, **dict(others))


def optuna_trials(run):
    import optuna

    name = json.loads((run.path / "search.json").read_text())["study"]
    return optuna.load_study(study_name=name, storage=f"sqlite:///{run.path}/search.db").trials


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two stages of six trials, two finalists."""
    stages = [{"l2": "1e-4:1e-1"}, {"l2": "1e-3:2e-2:linear"}]
    return run_search(config(stages=stages), out=tmp_path_factory.mktemp("search") / "run")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The first of those stages, pruned."""
    one = config(prune=True, finalists={"top": 1, "cycles": 1, "seeds": 1})
    return run_search(one, out=tmp_path_factory.mktemp("search") / "run")


def test_every_trial_has_one_row_and_one_network(plain):
    rows = trial_table(plain)
    assert [row["trial"] for row in rows] == list(range(12))
    assert [row["stage"] for row in rows] == [1] * 6 + [2] * 6
    trained = [record.key for record in plain.networks if record.part == "search"]
    assert trained == [("search", f"trial {n}", n) for n in range(12)]
    assert all(Range(1e-4, 1e-1).contains(row["l2"]) for row in rows[:6])
    assert all(Range(1e-3, 2e-2).contains(row["l2"]) for row in rows[6:])


def test_a_row_holds_what_its_network_reached(plain):
    for row, record in zip(trial_table(plain), plain.networks, strict=False):
        assert record.settings.l2 == row["l2"]
        assert row["validation_accuracy"] == record.score("validation")
        assert row["train_accuracy"] == record.score("train")
        assert (row["validation_sd"], row["failure"]) == (None, None)
        assert row["updates"] == record.updates


def test_the_tables_are_written(plain):
    with (plain.path / "trials.csv").open() as lines:
        found = list(csv.DictReader(lines))
    rows = trial_table(plain)
    assert [float(one["l2"]) for one in found] == [row["l2"] for row in rows]
    assert [float(one["value"]) for one in found] == [row["l2"] for row in rows]
    assert [one["seed"] for one in found] == [str(n) for n in range(12)]
    assert {"stage", "validation_accuracy", "train_accuracy", "state"} <= set(found[0])
    stored = json.loads((plain.path / "trials.json").read_text())
    assert stored["trials"] == rows
    assert stored["stages"] == stage_table(plain)
    assert stored["finalists"] == finalist_table(plain)
    with (plain.path / "finalists.csv").open() as lines:
        assert [int(one["n"]) for one in csv.DictReader(lines)] == [2, 2]


def test_rows_are_sorted_with_the_best_last_and_the_diverged_first():
    rows = [{"validation_accuracy": value} for value in (0.3, None, 0.5, 0.1)]
    assert [row["validation_accuracy"] for row in sorted_rows(rows)] == [None, 0.1, 0.3, 0.5]


def test_finalists_are_the_best_two_by_validation_accuracy(plain):
    rows = sorted(trial_table(plain), key=lambda row: (-row["validation_accuracy"], row["trial"]))
    finalists = finalist_table(plain)
    assert [one["trial"] for one in finalists] == [row["trial"] for row in rows[:2]]
    for one in finalists:
        records = [record for record in plain.networks if record.arm == one["arm"]]
        assert [record.seed for record in records] == [0, 1] == one["seeds"]
        assert {record.settings.cycles for record in records} == {1}
        assert {record.settings.l2 for record in records} == {one["l2"]}
        tests = [record.score("test") for record in records]
        assert one["test_accuracy"] == pytest.approx(sum(tests) / 2)
        assert one["test_sd"] == pytest.approx(abs(tests[0] - tests[1]) / math.sqrt(2))


# The same trials one by one.


def test_a_trial_in_lockstep_is_the_network_that_training_it_alone_gives(plain, tmp_path):
    for row in trial_table(plain)[:4]:
        alone = parsed(seeds=row["seeds"], settings={**FAST, "l2": row["l2"]})
        run = run_study(alone, out=tmp_path / str(row["trial"]), kind="train")
        for split in ("train", "validation"):
            assert run.networks[0].score(split) == row[f"{split}_accuracy"]
        with_others = plain.model(plain.networks[row["trial"]]).params
        for key, value in run.model().params.items():
            assert np.array_equal(value, with_others[key])


# The test split.


def test_no_trial_carries_a_test_number(plain):
    for record in plain.networks:
        assert ("test" in record.scores) == (record.part == "finalists")
    assert not any("test" in name for row in trial_table(plain) for name in row)
    assert not any("test" in name for one in optuna_trials(plain) for name in one.user_attrs)


class Watched(dict):
    """Splits that note who was asked for."""

    def __init__(self, splits):
        super().__init__(splits)
        self.asked = []

    def __getitem__(self, name):
        self.asked.append(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("prune", [False, True])
def test_the_test_split_is_first_touched_for_the_finalists(tmp_path, monkeypatch, prune):
    dataset = load("digits")
    splits = Watched(dataset.splits)
    object.__setattr__(dataset, "splits", splits)
    one = config(stages=[{"l2": "1e-3:1e-1"}], auto=1, trials=4, prune=prune)
    touched = []
    real = engine._finalists

    def choose(*args):
        touched.append("test" in splits.asked)
        return real(*args)

    monkeypatch.setattr(engine, "_finalists", choose)
    run = Run.create(tmp_path / "run", "search", one.document, dataset)
    splits.asked.clear()
    with run, open_executor("local", dataset) as executor:
        search_stages(run, one.search, executor)
    assert touched == [False]
    assert "test" in splits.asked


def test_no_choice_depends_on_the_test_split(tmp_path, monkeypatch):
    one = config(stages=[{"l2": "1e-4:1e-1"}], auto=2, sampler="tpe", batch=3)
    honest = run_search(one, out=tmp_path / "honest")

    def poisoned(*args, **kwargs):
        dataset = load(*args, **kwargs)
        labels = dataset.splits["test"].labels
        labels[:] = (labels + 1) % 10
        return dataset

    monkeypatch.setattr("klayer.study.study.load", poisoned)
    fooled = run_search(one, out=tmp_path / "fooled")
    assert trial_table(fooled) == trial_table(honest)
    assert stage_table(fooled) == stage_table(honest)
    true, false = finalist_table(honest), finalist_table(fooled)
    assert [row["trial"] for row in true] == [row["trial"] for row in false]
    assert [row["validation_accuracy"] for row in true] == [
        row["validation_accuracy"] for row in false
    ]
    assert (
        max(row["test_accuracy"] for row in false) < 0.1 < min(row["test_accuracy"] for row in true)
    )


# Seeds.


def test_own_seeds_differ_between_trials_and_common_seeds_do_not(tmp_path):
    none = {"top": 0}
    own = run_search(config(trials=3, seeds=2, seed=5, finalists=none), out=tmp_path / "own")
    assert [row["seeds"] for row in trial_table(own)] == [[5, 6], [7, 8], [9, 10]]
    common = config(trials=3, seeds=2, seed=5, common_seeds=True, finalists=none)
    rows = trial_table(run_search(common, out=tmp_path / "common"))
    assert [row["seeds"] for row in rows] == [[5, 6]] * 3


def test_the_value_of_a_trial_is_the_mean_over_its_seeds(tmp_path):
    run = run_search(config(trials=2, seeds=3), out=tmp_path / "run")
    for row, stored in zip(trial_table(run), optuna_trials(run), strict=True):
        values = [record.score("validation") for record in run.networks if record.arm == row["arm"]]
        assert row["validation_accuracy"] == pytest.approx(sum(values) / 3)
        assert row["validation_sd"] == pytest.approx(np.std(values, ddof=1))
        assert stored.value == row["validation_accuracy"]
        assert stored.user_attrs["validation_sd"] == row["validation_sd"]


def test_another_seed_draws_other_trials(plain, tmp_path):
    other = run_search(config(trials=2, seed=1, finalists={"top": 0}), out=tmp_path / "run")
    assert trial_table(other)[0]["l2"] != trial_table(plain)[0]["l2"]
    assert finalist_table(other) == []


# Pruning.


def test_survivors_are_the_better_share_and_a_diverged_one_is_none():
    values = {"a": 0.1, "b": math.nan, "c": 0.3, "d": 0.2, "e": 0.3}
    assert survivors(values, keep=0.5) == ["c", "e"]
    assert survivors(values, keep=0.51) == ["c", "d", "e"]
    assert survivors({"a": 0.1}, keep=0.01) == ["a"]
    assert survivors({"a": math.nan}, keep=0.5) == []
    assert survivors({"a": 0.2, "b": 0.2, "c": 0.2}, keep=0.3) == ["a"]


def test_pruning_keeps_the_better_half_and_says_so(pruned):
    rows = trial_table(pruned)
    half = {row["updates"] for row in rows if row["state"] == "pruned"}
    whole = {row["updates"] for row in rows if row["state"] == "trained"}
    assert [row["state"] for row in rows].count("pruned") == 3
    assert {2 * updates for updates in half} == whole


def test_what_pruning_keeps_and_drops_is_what_it_was_without(pruned, plain):
    """Survivors to the last bit; the dropped to the accuracy at their end; by the same ranking."""
    at_rung = {}
    for row, all_the_way in zip(trial_table(pruned), trial_table(plain), strict=False):
        record = next(one for one in plain.networks if one.arm == row["arm"])
        history = dict(
            zip(record.history["update"], record.history["validation_accuracy"], strict=True)
        )
        at_rung[row["trial"]] = history[max(history) // 2]
        if row["state"] == "trained":
            assert {**row, "arm": None} == {**all_the_way, "arm": None}
        else:
            assert row["validation_accuracy"] == at_rung[row["trial"]]
    best = sorted(at_rung, key=lambda trial: -at_rung[trial])[:3]
    kept = [row["trial"] for row in trial_table(pruned) if row["state"] == "trained"]
    assert kept == sorted(best)


@pytest.mark.parametrize("change", [{"prune": True}, {"settings": {"points_per_cycle": 3}}])
def test_pruning_and_curves_change_no_bit_of_a_large_first_layer(tmp_path, change):
    """Updates two at once are counted from the first, wherever a cycle or a point of a curve ends."""
    large = {
        "hidden": [24],
        "batch_norm": "none",
        "batch_size": 20,
        "cycles": 1.5,
        "half_cycle": 53,
        "points_per_cycle": 5,
        "updates_at_once": 2,
    }
    runs = []
    for name, other in (("one", {}), ("other", change)):
        values = {"trials": 4, "finalists": {"top": 0}, **other}
        values["settings"] = {**large, **values.get("settings", {})}
        data = {"data": "synthetic:samples=500,features=1500"}
        runs.append(run_search(config(data, **values), out=tmp_path / name))
    one, other = runs
    for record in other.networks:
        assert record.at_once == 2
        if record.state == "trained":
            theirs = one.model(one.find(record.key)).params
            ours = other.model(record).params
            assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_pruned_networks_have_their_weights_and_no_part_in_the_finals(pruned):
    dropped = next(record for record in pruned.networks if record.state == "pruned")
    probs = pruned.model(dropped).predict_probs(np.zeros((2, 64)))
    assert probs.shape == (1, 2, 10)
    chosen = finalist_table(pruned)[0]["trial"]
    assert next(row["state"] for row in trial_table(pruned) if row["trial"] == chosen) == "trained"
    assert list((pruned.path / "checkpoints").iterdir()) == []


def test_pruning_ranks_all_populations_of_a_stage_together(tmp_path):
    """One architecture can't learn: its trials go, however many there are of the other."""
    stages = [{"l2": "1e-4:1e-3", "init": ["he"], "hidden": [[12], [1, 1, 1]]}]
    run = run_search(config(stages=stages, trials=8, prune=True, seed=2), out=tmp_path / "run")
    rows = trial_table(run)
    wide = [row for row in rows if row["hidden"] == [12]]
    assert 0 < len(wide) < 8
    order = sorted(rows, key=lambda row: row["state"] == "pruned")
    assert [row["state"] for row in order] == ["trained"] * 4 + ["pruned"] * 4
    better = sum(row["state"] == "trained" for row in wide)
    assert better == min(4, len(wide))


def test_three_cycles_have_two_rounds_of_pruning(tmp_path):
    one = config(trials=8, prune=True, keep=0.5, settings={"cycles": 3}, finalists={"top": 0})
    rows = trial_table(run_search(one, out=tmp_path / "run"))
    updates = sorted(row["updates"] for row in rows)
    cycle = updates[0]
    assert updates == [cycle] * 4 + [2 * cycle] * 2 + [3 * cycle] * 2


# Trials that diverge.


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_diverged_trial_is_a_result(tmp_path, prune):
    stages = [{"lr_max": "0.05:1e12"}]
    one = config(stages=stages, trials=6, prune=prune, settings={"batch_norm": "none"}, seed=1)
    run = run_search(one, out=tmp_path / "run")
    rows = trial_table(run)
    failed = [row for row in rows if row["state"] == "diverged"]
    assert 0 < len(failed) < 6
    for row in failed:
        assert row["validation_accuracy"] is None
        assert row["failure"].startswith("cost not finite at update ")
    stored = {one.number: one for one in optuna_trials(run)}
    assert all(stored[row["trial"]].state.name == "FAIL" for row in failed)
    assert all(stored[row["trial"]].user_attrs["failure"] == row["failure"] for row in failed)
    assert all(one["trial"] not in [row["trial"] for row in failed] for one in finalist_table(run))


def test_one_diverged_seed_fails_its_trial(tmp_path):
    one = config(
        stages=[{"lr_max": "1e9:1e12"}],
        trials=2,
        seeds=2,
        auto=1,
        settings={"batch_norm": "none", "lr_min": 1e-5},
    )
    run = run_search(one, out=tmp_path / "run")
    assert all("of 2 seeds: cost not finite" in row["failure"] for row in trial_table(run))
    stored = json.loads((run.path / "trials.json").read_text())
    assert stored["stopped"] == "stage 2 needs two trials of stage 1 that ran to their end"
    assert (stored["finalists"], len(stored["stages"])) == ([], 1)


# Coarse to fine.


def rows_at(values, accuracy):
    return [
        {"l2": value, "validation_accuracy": accuracy(value), "state": "trained"}
        for value in values
    ]


def test_the_next_range_spans_the_best_quarter_and_one_distance_more():
    first = Space({"l2": Range(1e-5, 1e-1)}, {})
    exponents = [-4.9, -4.4, -3.9, -3.4, -2.9, -2.4, -1.9, -1.4]
    rows = rows_at([10.0**e for e in exponents], lambda l2: 1 - abs(math.log10(l2) + 2.6))
    space, reason = next_space(first, rows, first, 0.25, stage=1)
    # The best two lie at -2.4 and -2.9; eight trials on four decades are half a decade apart.
    one = space.ranges["l2"]
    assert np.log10([one.low, one.high]) == pytest.approx([-3.4, -1.9])
    assert reason.startswith(
        "the best 2 of 8 trials of stage 1 (validation accuracy >= 70.00 %) have"
    )
    assert "l2 from 0.001259 to 0.003981; the mean distance between two trials was added" in reason


def test_the_next_range_stays_in_the_first():
    first = Space({"l2": Range(1e-5, 1e-1)}, {})
    rows = rows_at([1e-5, 2e-5, 1e-3, 1e-2], lambda l2: -l2)
    assert next_space(first, rows, first, 0.25, 1)[0].ranges["l2"].low == 1e-5


def test_categories_that_the_best_do_not_use_are_dropped():
    first = Space({}, {"batch_norm": ["none", "hidden", "all"]})
    rows = [
        {"batch_norm": name, "validation_accuracy": value, "state": "trained"}
        for name, value in (("none", 0.1), ("hidden", 0.5), ("all", 0.3), ("hidden", 0.6))
    ]
    space, reason = next_space(first, rows, first, 0.5, 1)
    assert space.categories == {"batch_norm": ["hidden"]}
    assert reason.endswith("have batch_norm in ['hidden']")


def test_too_few_results_give_no_next_stage():
    first = Space({"l2": Range(1e-5, 1e-1)}, {})
    rows = [
        {"l2": 1e-3, "validation_accuracy": 0.5, "state": state} for state in ("trained", "pruned")
    ]
    assert next_space(first, rows, first, 0.5, 1) is None


def test_auto_stages_follow_and_their_reasons_are_stored(tmp_path):
    run = run_search(config(auto=2), out=tmp_path / "run")
    stages = stage_table(run)
    assert [stage["stage"] for stage in stages] == [1, 2, 3]
    assert stages[0]["reason"] == "given"
    for stage in stages[1:]:
        assert f"of 6 trials of stage {stage['stage'] - 1} (validation" in stage["reason"]
        assert Range.parse(stage["space"]["l2"]).low >= 1e-4
    assert len(trial_table(run)) == 18


# Several parameters.


def test_categories_share_a_stage_and_importance_is_told(tmp_path):
    stages = [{"l2": "1e-5:1e-4", "lr_max": "1e-4:0.3", "batch_norm": ["none", "hidden"]}]
    one = config(stages=stages, trials=16, sampler="qmc", finalists={"top": 0})
    run = run_search(one, out=tmp_path / "run")
    populations = {record.population for record in run.networks}
    assert len(populations) == 2
    found = importance(run)
    assert set(found) == {"l2", "lr_max", "batch_norm"}
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.get) == "lr_max"
    assert json.loads((run.path / "trials.json").read_text())["importance"] == found


def test_one_parameter_has_no_importance(plain):
    assert importance(plain) == {}


def test_equal_settings_are_one_finalist(tmp_path):
    one = config(stages=[{"init": ["he", "xavier"]}], trials=6)
    rows = finalist_table(run_search(one, out=tmp_path / "run"))
    assert sorted(row["init"] for row in rows) == ["he", "xavier"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_searches(tmp_path, sampler):
    if sampler == "gp":
        pytest.importorskip("torch", reason="the sampler gp needs PyTorch")
    batch = {"batch": 12 if sampler == "gp" else 4} if SAMPLERS[sampler].learns else {}
    trials = 13 if sampler == "gp" else 10
    if SAMPLERS[sampler].ranges:
        batch["stages"] = [{"l2": "1e-5:1e-1", "lr_max": "0.01:0.5"}]
    one = config(sampler=sampler, trials=trials, finalists={"top": 0}, **batch)
    rows = trial_table(run_search(one, out=tmp_path / "run"))
    assert len({row["l2"] for row in rows}) == trials


# Optuna's storage.


def test_the_storage_shows_values_curves_and_attributes(plain):
    stored, rows = optuna_trials(plain), trial_table(plain)
    assert [one.number for one in stored] == [row["trial"] for row in rows]
    for one, row, record in zip(stored, rows, plain.networks, strict=False):
        assert (one.state.name, one.value) == ("COMPLETE", row["validation_accuracy"])
        assert one.params == {"l2": row["l2"]}
        history = record.history
        assert one.intermediate_values == dict(
            zip(history["update"], history["validation_accuracy"], strict=True)
        )
        assert one.user_attrs["seeds"] == row["seeds"]
        assert one.user_attrs["arm"] == row["arm"]
        assert one.user_attrs["stage"] == row["stage"]
        assert one.user_attrs["run"] == str(plain.path.resolve())


def test_pruned_trials_are_pruned_in_the_storage(pruned):
    states = {row["trial"]: row["state"] for row in trial_table(pruned)}
    for one in optuna_trials(pruned):
        assert one.state.name == ("PRUNED" if states[one.number] == "pruned" else "COMPLETE")
        assert one.value == one.intermediate_values[one.last_step]


def test_published_finalists_stand_beside_the_measured_ones(tmp_path):
    published = [{"l2": 0.005, "test": 0.5}]
    run = run_search(config(trials=2, published=published), out=tmp_path / "run")
    assert json.loads((run.path / "trials.json").read_text())["published"] == published


def test_a_run_without_a_search_has_no_trials(tmp_path):
    run = run_study(parsed(seeds=1, settings=FAST), out=tmp_path / "run")
    assert trial_table(run) == finalist_table(run) == stage_table(run) == []
    assert importance(run) == {}


def test_a_search_fills_its_part_of_a_study(tmp_path):
    one = config({"seeds": 2, "settings": FAST}, trials=3)
    run = run_study(one, out=tmp_path / "run")
    parts = [record.part for record in run.networks]
    assert parts == ["arms"] * 2 + ["search"] * 3 + ["finalists"] * 4
    assert len(trial_table(run)) == 3


def test_a_search_checks_itself_before_it_starts(tmp_path):
    with pytest.raises(KlayerError, match="stage 1: unknown parameter 'l3'"):
        run_search(config(stages=[{"l3": "1:2"}]), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert config().search.trials_of(1) == 6
