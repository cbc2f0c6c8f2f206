"""Several trainings in one process: the same bits in any thread, no more threads than cores."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import klayer as kl
from klayer.train import engine as engine_module
from klayer.train.engine import available_cores

SMALL = kl.Settings(hidden=(16,), batch_norm="hidden", batch_size=20, cycles=1, half_cycle=40)
# A first layer large enough for a BLAS to use threads of its own, and for an engine to share it.
LARGE = kl.Settings(hidden=(300,), batch_norm="hidden", batch_size=100, cycles=1, half_cycle=5)


@pytest.fixture(scope="module")
def wide():
    return kl.load("synthetic:samples=600,features=800")


def bits(data, settings, seeds=range(2)):
    """Every byte of some trained networks."""
    state = kl.fit(data, settings, seeds=seeds).state
    return b"".join(state.params[key].tobytes() for key in sorted(state.params))


def blas_threads():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("settings", [SMALL, LARGE], ids=["small", "large"])
def test_fits_in_any_number_of_threads_have_the_bits_of_one_alone(digits, wide, threads, settings):
    data = digits if settings is SMALL else wide
    alone = bits(data, settings)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda _: bits(data, settings), range(2 * threads)))
    assert found == [alone] * len(found)
    assert bits(data, settings) == alone


@pytest.mark.parametrize("backend", ["threading", "loky", "sequential"])
def test_joblib_gives_the_same_bits(digits, backend):
    alone = bits(digits, SMALL)
    with joblib.parallel_config(backend, n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(bits)(digits, SMALL) for _ in range(3))
    assert found == [alone] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_process_forked_in_the_middle_of_a_training_can_train(digits):
    alone, started, go_on = bits(digits, SMALL), threading.Event(), threading.Event()

    def train():
        with kl.Engine(available_cores()) as engine:
            engine.map(lambda *_: (started.set(), go_on.wait()), range(available_cores()))

    busy = threading.Thread(target=train)
    busy.start()
    started.wait()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=lambda: results.put(bits(digits, SMALL)))
    child.start()
    child.join(60)
    ended = child.exitcode
    child.kill()
    go_on.set()
    busy.join()
    assert ended == 0
    assert results.get() == alone


def test_the_threads_of_the_blas_are_given_back_when_the_last_fit_ends(digits):
    before = blas_threads()
    inside = []
    with kl.Engine() as engine:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: bits(digits, SMALL), range(3)))
        inside += blas_threads()
        engine.map(lambda *_: inside.extend(blas_threads()), range(3))
    assert set(inside) == {1}
    assert blas_threads() == before
    with threadpool_limits(1, user_api="blas"):
        bits(digits, SMALL)
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_a_fit_that_fails_gives_the_threads_back_too(digits):
    before = blas_threads()

    def fail(*_):
        raise KeyboardInterrupt

    population = kl.Population(kl.Feed(digits), [kl.Member(SMALL, 0)])
    with pytest.raises(KeyboardInterrupt):
        kl.Trainer(population).train(on_record=fail)
    assert blas_threads() == before
    assert engine_module._SEATS._free._value == available_cores()


def test_many_fits_at_once_keep_no_more_threads_busy_than_there_are_cores(digits, monkeypatch):
    busy, most, lock = [0], [0], threading.Lock()
    real = kl.Engine._call

    def counted(self, function, item, stop):
        nested = getattr(self._local, "stop", None) is stop and stop is not None and depth.n
        depth.n += 1
        with lock:
            busy[0] += not nested
            most[0] = max(most[0], busy[0])
        try:
            time.sleep(0.001)
            return real(self, function, item, stop)
        finally:
            depth.n -= 1
            with lock:
                busy[0] -= not nested

    class Depth(threading.local):
        n = 0

    depth = Depth()
    monkeypatch.setattr(kl.Engine, "_call", counted)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bits(digits, SMALL, range(40)), range(4)))
    assert 1 <= most[0] <= available_cores()
    assert engine_module._SEATS._free._value == available_cores()


def test_a_state_that_is_handed_out_at_a_pause_goes_on_to_the_same_bits(digits, monkeypatch):
    monkeypatch.setattr("klayer.train.trainer.STRETCH_SECONDS", 0.02)
    settings = kl.Settings(hidden=(30, 20), batch_norm="hidden", batch_size=20, cycles=2,
                           half_cycle="7 epochs", points_per_cycle=1)  # fmt: skip
    members = [kl.Member(settings, seed) for seed in range(37)]
    feed = kl.Feed(digits)
    whole = kl.Population(feed, members)
    kl.Trainer(whole).train()
    paused = kl.Population(feed, members)
    kept = []

    kl.Trainer(paused).train(on_pause=lambda state: kept.append(state.take(range(len(members)))))
    assert any(state.update % whole.updates_per_epoch for state in kept)
    for state in (paused.state, *kept[:: max(1, len(kept) // 3)]):
        population = kl.Population(feed, members, state)
        kl.Trainer(population).train()
        for key, value in whole.state.params.items():
            assert np.array_equal(population.state.params[key], value)
        assert population.state.recorded == whole.state.recorded
        for curve, values in whole.state.history.items():
            assert np.array_equal(population.state.history[curve], values)
