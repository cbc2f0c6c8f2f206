"""Every executor gives the bits that one network alone has; a part may be cut and joined."""

from dataclasses import replace

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.execute import EXECUTORS, Local, PartSpec, Unheard, open_executor
from klayer.study.launch import run_study
from klayer.train import Member, TrainingState


class Cut(Local):
    """Trains the networks of a part one by one, each state by way of a file, as a far worker would."""

    def __init__(self, dataset, workers=None, folder=None):
        super().__init__(dataset, workers)
        self.folder = folder

    def train_part(self, spec, state, listener):
        done = []
        for p, member in enumerate(spec.members):
            alone = replace(spec, members=(member,))
            done.append(self.sent(super().train_part(alone, self.sent(state.take([p])), listener)))
        return TrainingState.join(done)

    def sent(self, state):
        path = self.folder / "state.safetensors"
        state.save(path)
        return TrainingState.load(path)


@pytest.fixture
def spec(brief):
    settings = [replace(brief, l2=l2, batch_norm="hidden") for l2 in (0.0, 1e-3, 1e-2)]
    return PartSpec(tuple(Member(one, seed) for seed, one in enumerate(settings)), "digits")


def trained(executor, spec, listener=None):
    return executor.train_part(spec, executor.start_part(spec), listener or Unheard())


def same(one, other):
    assert (one.update, one.recorded, one.failures) == (
        other.update,
        other.recorded,
        other.failures,
    )
    for group in ("params", "running", "history"):
        for key, value in getattr(one, group).items():
            assert np.array_equal(value, getattr(other, group)[key], equal_nan=True), key


def test_a_network_has_the_bits_that_it_has_alone(digits, spec):
    with Local(digits, 2) as executor:
        together = trained(executor, spec)
        alone = replace(spec, members=spec.members[1:2])
        same(trained(executor, alone), together.take([1]))


def test_a_part_may_stop_at_a_recorded_point_and_go_on(digits, spec):
    with Local(digits) as executor:
        whole = trained(executor, spec)
        half = trained(executor, replace(spec, until=whole.recorded[2]))
        assert half.update == whole.recorded[2]
        same(executor.train_part(spec, half, Unheard()), whole)


def test_scores_are_of_whole_splits(digits, spec):
    with Local(digits) as executor:
        state = trained(executor, spec)
        scores = executor.evaluate_part(spec, state, "validation")
    assert set(scores) == {"accuracy", "balanced_accuracy", "macro_f1", "loss", "cost"}
    n = len(digits.splits["validation"])
    right = scores["accuracy"] * n
    assert right.shape == (3,)
    assert np.allclose(right, right.round())


def test_a_listener_hears_of_every_recorded_point(digits, spec):
    heard = []

    class Ear(Unheard):
        def record(self, state):
            heard.append(state.update)

    with Local(digits) as executor:
        state = trained(executor, spec, Ear())
    assert heard == state.recorded


def test_ctrl_c_leaves_a_whole_state_to_go_on_from(digits, spec):
    left = []

    class Impatient(Unheard):
        def record(self, state):
            if state.update:
                raise KeyboardInterrupt

        def interrupted(self, state):
            left.append(state)

    with Local(digits) as executor, pytest.raises(KeyboardInterrupt):
        trained(executor, spec, Impatient())
    with Local(digits) as executor:
        whole = trained(executor, spec)
        same(executor.train_part(spec, left[0], Unheard()), whole)


def test_an_unknown_executor_is_refused(digits):
    with pytest.raises(KlayerError, match="unknown scheduler 'locl': did you mean 'local'"):
        open_executor("locl", digits)


def test_a_new_executor_is_a_row_and_changes_no_bit(tmp_path, monkeypatch):
    """A study and its pruned search, on an executor that cuts every part into its networks."""
    study = Study.from_values(
        {
            "seeds": 2,
            "settings": {
                "hidden": [8],
                "batch_size": 50,
                "cycles": 2,
                "half_cycle": "1 epoch",
                "points_per_cycle": 2,
            },
            "search": {
                "stages": [{"l2": "1e-4:1e-1"}],
                "trials": 4,
                "prune": True,
                "finalists": {"top": 1, "cycles": 1, "seeds": 2},
            },
        }
    )
    monkeypatch.setitem(
        EXECUTORS, "cut", lambda dataset, workers, _: Cut(dataset, workers, tmp_path)
    )
    here = run_study(study, out=tmp_path / "here")
    there = run_study(study, out=tmp_path / "there", scheduler="cut")
    for one, other in zip(here.networks, there.networks, strict=True):
        assert replace(one, seconds=0) == replace(other, seconds=0)
        ours, theirs = here.model(one).params, Run(there.path).model(other).params
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_a_study_is_timed_in_short_and_once_for_each_shape(digits, monkeypatch):
    from klayer.study import Study, duration
    from klayer.study.execute import timing

    asked = []
    real = timing._seconds_of

    def counted(spec, total, local, about, seconds):
        asked.append((len(spec.members), seconds))
        return real(spec, total, local, about, seconds)

    monkeypatch.setattr(timing, "_seconds_of", counted)
    stages = [{"l2": "1e-4:1e-2"}, {"l2": "1e-3:1e-2"}]
    study = Study.from_values(
        {
            "seeds": 2,
            "settings": {"hidden": [4], "batch_size": 50},
            "grid": {"batch_norm": ["none", "hidden"], "l2": [0.0, 0.1]},
            "search": {"stages": stages, "trials": 3},
        }
    )
    found = duration.durations(study, digits, workers=1)
    assert [one.networks for one in found] == [4, 4, 3, 3, 6]
    assert [n for n, _ in asked] == [4, 4, 3, 6], "both stages are of one shape"
    assert sum(share for _, share in asked) <= timing.SAMPLE_SECONDS + 1e-9
    assert found[2].seconds == found[3].seconds > 0


class Machine:
    """A call of n updates takes ``beginning + n * update``, by a clock of its own."""

    def __init__(self, beginning, update, slow=()):
        self.beginning, self.update, self.slow = beginning, update, slow
        self.calls, self.spent = [], 0.0

    def __call__(self, n):
        took = self.beginning + n * self.update
        if len(self.calls) in self.slow:
            took += 10 * (self.beginning + 0.01)
        self.calls.append(n)
        self.spent += took
        return took


@pytest.mark.parametrize("about", [1e-6, 4e-4, 0.1])
@pytest.mark.parametrize("slow", [(), (0,), (2,), (3,), (4,)])
@pytest.mark.parametrize(
    ("beginning", "update"),
    [(0.0, 0.0004), (0.001, 0.0004), (0.1, 0.0004), (0.1, 5e-6), (0.5, 0.05), (0.0, 2.0)],
)
def test_what_a_call_takes_to_begin_does_not_count_as_its_updates(beginning, update, slow, about):
    from klayer.study.execute import timing

    machine = Machine(beginning, update, slow if beginning <= 0.1 and update < 1 else ())
    most = 10**6
    found = timing.beginning_and_update(machine, most, about, 0.8)
    foreseen, true = found[0] + found[1] * most, beginning + update * most
    assert true / 1.5 <= foreseen <= true * 1.5
    longest = beginning + max(machine.calls) * update + 10 * (beginning + 0.01)
    assert machine.spent <= timing.KIND_SECONDS + 2 * timing.CALLS * longest


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_of_a_short_training_no_call_is_longer_than_the_whole(most):
    from klayer.study.execute.timing import beginning_and_update

    machine = Machine(0.1, 0.0004)
    beginning, update = beginning_and_update(machine, most, 1e-4, 0.8)
    assert max(machine.calls) == most
    assert beginning + most * update == pytest.approx(0.1 + most * 0.0004)


def test_on_a_busy_machine_few_kinds_are_timed_and_the_others_reckoned(digits, monkeypatch):
    from types import SimpleNamespace

    from klayer.study import Study, duration
    from klayer.study.execute import timing

    clock = [0.0]
    asked = []

    def slow(spec, total, local, about, seconds):
        asked.append(spec)
        clock[0] += 1.5
        return 7 * about * total

    monkeypatch.setattr(timing, "_seconds_of", slow)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    widths = [[n] for n in range(4, 16)]
    study = Study.from_values({"settings": {"batch_size": 50}, "grid": {"hidden": widths}})
    found = duration.durations(study, digits, workers=1)
    assert (len(found), len(asked)) == (12, 3)
    seconds = [one.seconds for one in found]
    assert 0 < seconds[0] < seconds[-1]
    assert seconds == sorted(seconds)
