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

    asked = []
    real = duration._seconds

    def counted(one, local, share):
        asked.append((len(one.jobs), share))
        return real(one, local, share)

    monkeypatch.setattr(duration, "_seconds", counted)
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
    assert sum(share for _, share in asked) <= duration.SAMPLE_SECONDS + 1e-9
    assert found[2].seconds == found[3].seconds > 0
