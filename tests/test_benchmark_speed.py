"""The speed benchmark compares like with like: every contestant trains the same networks."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SAMPLES, FEATURES, CLASSES, NETWORKS, UPDATES = 400, 40, 10, 3, 20
PEERS = {
    "klayer_population": ("klayer", NETWORKS),
    "klayer_population:Compiled": ("numba", NETWORKS),
    "torch_loop": ("torch", 1),
    "torch_batched": ("torch", NETWORKS),
    "torch_batched:Wide": ("torch", NETWORKS),
    "torch_func": ("torch", NETWORKS),
    "jax_scan": ("jax", NETWORKS),
    "jax_scan:Gathered": ("jax", NETWORKS),
    "jax_scan:Mapped": ("jax", NETWORKS),
    "sklearn_mlp": ("sklearn", 1),
}


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules, imported as its script sees them."""
    before = dict(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - set(before):
        if name.split(".")[0] in ("peers", "speed", "fit"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % CLASSES
    centres = rng.standard_normal((CLASSES, FEATURES))
    X = centres[labels] + rng.standard_normal((SAMPLES, FEATURES))
    return X.astype(np.float32), labels


def task_of(bench, architecture):
    return bench("peers.task").make_task(architecture, NETWORKS, SAMPLES, FEATURES, CLASSES)


def trained(bench, peer, task, data):
    module, _, name = peer.partition(":")
    with threadpool_limits(1):  # contestants set it for their process: put it back
        contestant = getattr(bench(f"peers.{module}"), name or "Peer")(task, *data, 1)
        contestant.train(0, UPDATES)
        if hasattr(contestant, "close"):
            contestant.close()
        return contestant.weights()


@pytest.mark.parametrize(
    "architecture", ["3 layers", "3 layers, BN", "9 layers, BN", "64 to 50, 50, N 20, BN"]
)
@pytest.mark.parametrize("peer", PEERS)
def test_contestant_trains_the_same_networks_as_the_reference(bench, data, peer, architecture):
    requires, networks = PEERS[peer]
    pytest.importorskip(requires)
    task = task_of(bench, architecture)
    if peer == "sklearn_mlp" and task.batch_norm != "none":
        pytest.skip("scikit-learn has no batch normalisation")
    reference = bench("peers.reference").Reference(task, *data, UPDATES)
    found = reference.judge(trained(bench, peer, task.take(list(range(networks))), data))
    assert found.holds(), found


def test_reference_refuses_a_missing_penalty_and_a_wrong_rate(bench, data):
    task = task_of(bench, "3 layers, BN")
    reference = bench("peers.reference").Reference(task, *data, UPDATES)
    for wrong in (
        replace(task, l2=task.l2 * 0, members=[{**one, "l2": 0.0} for one in task.members]),
        replace(task, members=[{**one, "lr_max": one["lr_max"] * 1.1} for one in task.members]),
    ):
        found = reference.judge(trained(bench, "klayer_population", wrong, data))
        assert not found.holds(), found


def rows(*entries, networks=1):
    return [
        {
            "contestant": name,
            "role": role,
            "architecture": "3 layers",
            "networks": networks,
            "microseconds": time,
            "quartiles": [time - 1, time + 1],
            "ratio_to_products": time / 300,
        }
        for name, role, time in entries
    ]


def test_comparison_takes_the_fastest_of_a_kind(bench):
    found = bench("speed").comparisons(
        rows(
            ("klayer, 30 networks", "klayer many", 500.0),
            ("one thread", "PyTorch loop", 2000.0),
            ("two threads", "PyTorch loop", 1500.0),
            ("bmm", "batched", 900.0),
            ("vmap", "batched", 750.0),
        )
    )
    assert [(one["other"], one["speed"]) for one in found] == [("two threads", 3.0), ("vmap", 1.5)]


def test_populations_are_compared_with_those_of_their_size(bench):
    found = bench("speed").comparisons(
        [
            row
            for networks, ours, theirs in ((8, 20.0, 30.0), (100, 10.0, 40.0))
            for row in rows(
                (f"klayer, {networks} networks", "klayer many", ours),
                (f"vmap, {networks} networks", "batched", theirs),
                networks=networks,
            )
        ]
        + rows(("loop", "PyTorch loop", 100.0))
    )
    speeds = {(one["networks"], one["role"]): one["speed"] for one in found}
    assert speeds == {
        (8, "batched"): 1.5,
        (100, "batched"): 4.0,
        (8, "PyTorch loop"): 5.0,
        (100, "PyTorch loop"): 10.0,
    }


def test_each_number_of_networks_is_verified_and_drawn(bench, monkeypatch, tmp_path, capsys):
    speed = bench("speed")
    monkeypatch.setattr(speed.util, "find_spec", lambda name: name == "klayer" or None)
    picture = tmp_path / "speed.svg"
    options = ("--rounds=1", "--seconds=0.01", "--samples=200", f"--picture={picture}")
    speed.main(
        [*options, "--networks", "2", "7", "--architectures", "10 to 16, N 32", "--only", "klayer,"]
    )
    printed = capsys.readouterr()
    assert "| klayer, 2 networks |" in printed.out
    assert "10 to 16, N 32: klayer, 7 networks: loss within" in printed.err
    drawn = picture.read_text()
    assert "klayer, 7 networks" in drawn
    assert "µs per network and update" in drawn


def test_table_shows_median_quartiles_and_ratio(bench):
    results = {
        "rows": rows(("klayer, 30 networks", "klayer many", 1500.0)),
        "left_out": ["JAX (jax is not installed)"],
        "about": {"rounds": 7},
    }
    text = bench("speed").markdown(results)
    assert "| klayer, 30 networks | 1,500 (1,499-1,501) 5.00x |" in text
    assert "left out: JAX (jax is not installed)" in text


def test_without_torch_and_jax_the_others_are_timed(bench, monkeypatch, tmp_path, capsys):
    speed = bench("speed")
    monkeypatch.setattr(speed.util, "find_spec", lambda name: name == "klayer" or None)
    out = tmp_path / "speed.json"
    speed.main(
        [
            *("--rounds=1", "--seconds=0.01", "--samples=200", "--networks=2", f"--json={out}"),
            *("--architectures", "3 layers", "--only", "klayer", "bmm"),
        ]
    )
    printed = capsys.readouterr()
    assert "| klayer, 2 networks |" in printed.out
    assert "PyTorch `bmm`, 2 networks (torch is not installed)" in printed.out
    assert "klayer, 1 network: loss within" in printed.err
    names = {row["contestant"] for row in speed.json.loads(out.read_text())["rows"]}
    assert names == {"klayer, 2 networks", "klayer, 1 network", "the first layer's two products"}


def test_the_short_form_measures_tables_too(bench, monkeypatch, tmp_path, capsys):
    speed = bench("speed")
    monkeypatch.setattr(speed.util, "find_spec", lambda name: name == "klayer" or None)
    monkeypatch.setattr(speed, "SHORT_ARCHITECTURES", ("10 to 16, N 32",))
    out = tmp_path / "speed.json"
    options = ("--rounds=1", "--seconds=0.01", "--samples=200", "--networks=2")
    speed.main(["--short", *options, f"--json={out}"])
    printed = capsys.readouterr()
    assert "CPU time" in printed.out
    assert "klayer compiled, 2 networks (numba is not installed)" in printed.out
    rows = speed.json.loads(out.read_text())["rows"]
    assert {row["contestant"] for row in rows} == {
        "klayer, 2 networks",
        "klayer, 1 network",
        "scikit-learn `partial_fit`, 1 thread",
        "all products of a network",
    }
    assert all(row["cpu_microseconds"] > 0 for row in rows)


def test_a_setting_that_holds_one_library_back_is_told(bench, monkeypatch, capsys):
    speed = bench("speed")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    options = ("--rounds=1", "--seconds=0.01", "--samples=200", "--networks=2")
    speed.main([*options, "--architectures", "10 to 16, N 32", "--only", "klayer, 1"])
    assert "OPENBLAS_CORETYPE=Haswell chooses the products" in capsys.readouterr().err


def test_numbers_have_three_digits_that_count(bench):
    assert [bench("speed")._short(n) for n in (1500.4, 13.84, 4.06)] == ["1,500", "13.8", "4.1"]


def test_wrong_options_are_refused_in_words(bench, capsys):
    with pytest.raises(SystemExit):
        bench("speed").main(["--networks=1"])
    assert "`networks` must be >= 2, but got 1." in capsys.readouterr().err


@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize("contestant", ["klayer", "scikit-learn `MLPClassifier`"])
def test_fits_are_timed_to_a_validation_loss(bench, monkeypatch, contestant, networks):
    fit = bench("fit")
    data, widths, batch, _ = fit.digits()
    monkeypatch.setitem(fit.TASKS, "digits", lambda: (data, widths, batch, 10))
    found = fit.one_turn("digits", contestant, networks)
    assert 0 < found["loss"] < 0.5
    assert min(found["first"], found["again"]) > 0


def test_a_fit_to_another_loss_is_told(bench):
    fit = bench("fit")
    turns = {
        ("digits", 32, name): [{"loss": loss, "first": 2.0, "again": seconds}]
        for name, loss, seconds in (("klayer", 0.2, 0.5), ("loop", 0.21, 3.0), ("wrong", 0.4, 1.0))
    }
    assert fit.disagreements(turns) == ["digits, 32: wrong 0.400 against 0.210"]
    table = fit.markdown(turns, ["klayer", "loop", "wrong"])
    assert "| klayer | 0.50 (0.50-0.50); 2.00; 0.200 |" in table
