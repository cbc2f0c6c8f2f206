"""`klayer runs`: list, compare, remove; and what the shell completes."""

import fcntl
import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.launch import run_study
from klayer.study.run_list import remove_run

BRIEF = {"hidden": [6], "batch_size": 50, "cycles": 1, "half_cycle": "1 epoch"}


def klayer(*args, width=100, stdin=None):
    runner = CliRunner(env={"COLUMNS": str(width)})
    result = runner.invoke(app, [str(arg) for arg in args], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two studies in runs/, the second with two arms."""
    monkeypatch.chdir(tmp_path)
    for name, l2 in (("monday", [0.5]), ("tuesday", [0.5, 0.0625])):
        values = {"seeds": 2, "settings": BRIEF, "grid": {"l2": l2}, "title": f"On {name}"}
        run_study(Study.from_values(values), out=tmp_path / "runs" / name)
    return tmp_path / "runs"


def test_a_list_says_what_when_data_best_and_state(runs):
    found = json.loads(klayer("runs", "--json").stdout)
    assert {one["path"] for one in found} == {"runs/monday", "runs/tuesday"}
    for one in found:
        run = Run(one["path"])
        assert (one["kind"], one["data"], one["state"]) == ("study", "digits", "finished")
        assert one["created"] == run.info["created"].replace("T", " ")[:16]
        assert one["best"] == f"validation {run.best().score('validation'):.2%}"
        assert one["networks"] == len(run.networks)
    assert json.loads(klayer("runs", "list", runs / "monday", "--json").stdout)[0]["networks"] == 2


@pytest.mark.parametrize("lost", [("wild",), ("wild", "mad"), ("wild", "calm")])
def test_a_run_of_which_all_diverged_is_not_just_finished(tmp_path, monkeypatch, lost):
    monkeypatch.chdir(tmp_path)
    rates = {"wild": {"lr_min": 1e20, "lr_max": 1e30}, "mad": {"lr_max": 1e25}, "calm": {}}
    arms = [{"name": name, **rates[name]} for name in lost]
    run = run_study(Study.from_values({"seeds": 1, "settings": BRIEF, "arms": arms}), out="runs/a")
    state = "finished" if "calm" in lost else "all diverged"
    assert Run("runs/a").state_in_words == state
    assert f"{len(lost)} networks, {state}>" in repr(run)
    assert json.loads(klayer("runs", "--json").stdout)[0]["state"] == state
    assert klayer("runs").stdout.count(state) == 1


@pytest.mark.parametrize("width", [100, 80, 60])
def test_the_list_fits_and_names_every_run(runs, width):
    text = klayer("runs", width=width).stdout
    assert max(map(len, text.splitlines())) <= width
    for name in ("monday", "tuesday"):
        assert re.search(rf"^{name} .*finished$", text, flags=re.MULTILINE)


def test_an_unfinished_a_running_and_a_damaged_run_are_told_apart(runs):
    (runs / "monday" / "summary.json").unlink()
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    with (runs / "tuesday" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {one["path"]: one for one in json.loads(klayer("runs", "--json").stdout)}
        text = klayer("runs").stdout
    states = {path.partition("/")[2]: one["state"] for path, one in found.items()}
    assert states == {"monday": "not finished", "tuesday": "running", "broken": "damaged"}
    assert "run.json must be JSON" in text


def test_without_runs_it_says_how_one_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no run directories in runs: `klayer train`" in klayer("runs").stdout
    with pytest.raises(KlayerError, match="there is no folder nowhere"):
        klayer("runs", "list", "nowhere")


def test_a_comparison_names_arms_by_what_varies_in_the_order_given(runs):
    text = klayer("runs", "compare", "runs/tuesday", "runs/monday").stdout
    assert "what varies: penalty λ." in text
    rows = [line.split("  ")[0] for line in text.splitlines() if "%" in line]
    assert rows == ["tuesday", "tuesday", "monday"]
    found = json.loads(klayer("runs", "compare", "runs/tuesday", "runs/monday", "--json").stdout)
    assert [row["varied"] for row in found["rows"]] == [{"l2": 0.5}, {"l2": 0.0625}, {"l2": 0.5}]
    networks = Run("runs/monday").networks
    mean = sum(one.score("test") for one in networks) / len(networks)
    assert found["rows"][2]["test"] == pytest.approx(mean)
    same = klayer("runs", "compare", "runs/monday", "runs/monday").stdout
    assert "all settings are the same" in same


def test_a_comparison_says_that_the_data_differ(runs):
    values = {"seeds": 1, "settings": BRIEF, "data": "synthetic:samples=200"}
    run_study(Study.from_values(values), out=runs / "other")
    text = klayer("runs", "compare", "runs/monday", "runs/other").stdout
    assert "the data differ (monday: digits, other: synthetic" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compare", "runs/monday"], "two runs or more are compared, but got 1"),
        (["compare", "runs/monday", "nowhere"], "a run directory holds a file run.json"),
        (["remove", "nowhere"], "nothing was removed"),
        (["remove", "runs/monday", "nowhere"], "nothing was removed"),
        (["remove", "runs/monday"], "needs a yes, and nobody can be asked here: say --yes"),
    ],
)
def test_what_can_not_be_done_leaves_everything_as_it_is(runs, args, message):
    with pytest.raises(KlayerError, match=re.escape(message)):
        klayer("runs", *args)
    assert (runs / "monday" / "networks.jsonl").exists()


def test_a_run_is_removed_after_a_yes_only(runs, monkeypatch):
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    result = klayer("runs", "remove", "runs/monday", stdin="n\n")
    assert "Remove runs/monday (study, digits, 2 networks" in result.stdout
    assert (runs / "monday").exists()
    klayer("runs", "remove", "runs/monday", stdin="y\n")
    assert not (runs / "monday").exists()
    assert (runs / "tuesday").exists()


def test_yes_asks_nothing_and_what_is_not_ours_stays(runs):
    (runs / "monday" / "thesis.txt").write_text("mine")
    (runs / "monday" / "tables").mkdir(exist_ok=True)
    text = klayer("runs", "remove", "runs/monday", "runs/tuesday", "--yes").stdout
    assert "runs/monday: removed, but not what klayer didn't write: thesis.txt" in text
    assert [path.name for path in runs.iterdir()] == ["monday"]
    assert [path.name for path in (runs / "monday").iterdir()] == ["thesis.txt"]


def test_a_run_that_is_being_written_or_is_a_link_is_not_removed(runs):
    (runs / "link").symlink_to(runs / "monday")
    with pytest.raises(KlayerError, match="is a link to"):
        remove_run(runs / "link")
    with (runs / "monday" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KlayerError, match="another one is writing|is being written by another"):
            klayer("runs", "remove", "runs/monday", "--yes")
    assert (runs / "monday" / "weights").is_dir()


def test_a_check_names_what_is_damaged_and_what_helps(runs):
    result = klayer("runs", "check", "runs/monday")
    assert (result.exit_code, "all whole" in result.stdout) == (0, True)
    [weights] = (runs / "monday" / "weights").iterdir()
    weights.write_bytes(weights.read_bytes()[:-8])
    result = klayer("runs", "check", "runs/monday")
    text = " ".join(result.stdout.split())
    assert result.exit_code == 1
    assert f"weights/{weights.stem[:10]}" in text
    assert "--resume" in text
    found = json.loads(klayer("runs", "check", "runs/monday", "--json").stdout)
    assert [bool(one["damage"]) for one in found].count(True) == 1


# Completion, as bash asks for it.


def completed(*words, folder=None):
    done = subprocess.run(
        [sys.executable, "-m", "klayer"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "_KLAYER_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["klayer", *words]),
            "COMP_CWORD": str(len(words)),
        },
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["study", "--preset", "q"], {"quick"}),
        (["study", "re"], {"report"}),
        (["search", "--preset", "r"], {"report"}),
        (["train", "--data", "dig"], {"digits"}),
        (["data", "info", "cif"], {"cifar10", "cifar100"}),
        (["train", "--batch-norm", "h"], {"hidden"}),
        (["train", "--last-batch", "k"], {"keep"}),
        (["search", "--sampler", "q"], {"qmc"}),
        (["gradcheck", "--method", "com"], {"complex"}),
        (["run"], {"runs"}),
        (["train", "--half"], {"--half-cycle"}),
    ],
)
def test_values_are_completed(words, wanted):
    assert set(completed(*words)) == wanted


def test_runs_and_files_are_completed(tmp_path):
    for name in ("runs/mine", "runs/yours", "old/mine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "runs" / "no").mkdir()
    (tmp_path / "my.toml").write_text("")
    (tmp_path / "mine.csv").write_text("")
    for words in (["predict"], ["report"], ["train", "--resume"], ["runs", "remove"]):
        found = completed(*words, "r", folder=tmp_path)
        assert {"runs/mine", "runs/yours"} <= set(found)
        assert "runs/no" not in found
    assert completed("report", "old/", folder=tmp_path) == ["old/mine"]
    assert completed("study", "m", folder=tmp_path) == ["my.toml"]
    assert completed("train", "--data", "m", folder=tmp_path) == ["mnist", "mine.csv"]
