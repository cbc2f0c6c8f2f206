"""What a file says, wherever the user is: paths, seeds, mistakes that come to light later."""

import json
import re
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from klayer.cli.app import app, main
from klayer.study import Run
from klayer.study.search.options import Search
from report_runs import make_npz

BRIEF = "[settings]\nhidden = [6]\nbatch_size = 50\ncycles = 1\nhalf_cycle = '1 epoch'\n"
SEARCH = "[search]\ntrials = 2\nstages = [{l2 = '1e-4:1e-1'}]\nfinalists = {top = 0}\n"


@pytest.fixture(autouse=True)
def _no_page(monkeypatch):
    """The page has its own tests."""
    monkeypatch.setattr("klayer.report.write_report", lambda *_args, **_options: [])


def klayer(*args):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def fails(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["klayer", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        return re.sub(r"\s+", " ", capsys.readouterr().err)

    return run


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["train", "--config"], BRIEF.replace("[settings]\n", "")),
        (["study"], "seeds = 1\n" + BRIEF),
        (["search"], BRIEF + SEARCH),
    ],
)
def test_a_path_in_a_file_is_read_from_the_folder_of_the_file(tmp_path, monkeypatch, command, text):
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    elsewhere.mkdir()
    make_npz(folder / "data" / "three.npz", np.random.default_rng(0))
    (folder / "my.toml").write_text("data = 'data/three.npz'\n" + text)
    monkeypatch.chdir(elsewhere)
    assert klayer(*command, "../mine/my.toml", "--out", "run", "-q").exit_code == 0
    monkeypatch.chdir(tmp_path)  # and the run finds its data from anywhere, too
    assert Run(elsewhere / "run").load_data().name == "three"


def test_a_storage_in_a_file_lies_in_the_folder_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    text = SEARCH.replace("[search]", "[search]\nstorage = 'sqlite:///trials.db'")
    (tmp_path / "mine" / "my.toml").write_text(BRIEF + text)
    monkeypatch.chdir(tmp_path)
    assert klayer("search", "mine/my.toml", "--out", "run", "-q").exit_code == 0
    assert (tmp_path / "mine" / "trials.db").exists()
    assert not (tmp_path / "trials.db").exists()


@pytest.mark.parametrize("name", ["digits", "synthetic:samples=100"])
def test_a_name_of_data_is_no_path(tmp_path, monkeypatch, name):
    (tmp_path / "my.toml").write_text(f"data = '{name}'\nseeds = 1\n" + BRIEF)
    monkeypatch.chdir(tmp_path)
    assert klayer("study", "my.toml", "--out", "run", "-q").exit_code == 0
    assert Run("run").info["config"]["data"] == name


@pytest.mark.parametrize("command", [["train", "--config"], ["study"], ["search"]])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.toml must hold at least one line like name = value, but holds none"),
        ("# nothing\n\n", "my.toml must hold at least one line"),
        ("data = 'digitz'\nhalf_cycle = 3", "my.toml: unknown data set 'digitz'"),
        ("data = 'no/such.npz'\nhalf_cycle = 3", "my.toml: "),
        ("half_cycle = '0.001 epochs'", "my.toml: `half_cycle` must be at least one update, but"),
    ],
)
def test_every_mistake_names_the_file(tmp_path, fails, command, text, message):
    path = tmp_path / "my.toml"
    if command[0] != "train":
        text = re.sub(r"^half_cycle.*$", r"[settings]\n\g<0>", text, flags=re.MULTILINE)
        text += "\n" + SEARCH if command == ["search"] and text and "#" not in text else ""
    path.write_text(text)
    err = fails(*command, path, "--out", tmp_path / "run")
    assert message in err
    assert str(path) in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "flags", "seeds"),
    [
        ("", ["--seeds", 2], [0, 1]),
        ("", ["--networks", 2], [0, 1]),
        ("", ["--seeds", 2, "--seed", 5], [5, 6]),
        ("", ["--seeds", "7,3"], [7, 3]),
        ("seeds = 2\n", [], [0, 1]),
        ("seeds = 2\nseed = 4\n", [], [4, 5]),
        ("seeds = [9, 4]\n", [], [9, 4]),
        ("seeds = [9, 4]\n", ["--seeds", 1], [0]),
        ("seeds = 2\nseed = 4\n", ["--seeds", "7,3"], [7, 3]),
        ("seeds = 2\nseed = 4\n", ["--seed", 1], [1, 2]),
    ],
)
@pytest.mark.parametrize("command", ["train", "study"])
def test_seeds_mean_the_same_in_a_training_and_in_a_study(tmp_path, command, text, flags, seeds):
    path, out = tmp_path / "my.toml", tmp_path / "run"
    plain = text + BRIEF
    path.write_text(plain.replace("[settings]\n", "") if command == "train" else plain)
    source = ["--config", path] if command == "train" else [path]
    assert klayer(command, *source, *flags, "--out", out, "-q").exit_code == 0
    assert [record.seed for record in Run(out).networks] == seeds


def test_seeds_of_a_search_are_those_of_each_trial(tmp_path):
    flags = ["--l2", "1e-4:1e-1", "--hidden", 6, "--batch-size", 50, "--cycles", 1]
    flags += ["--half-cycle", "1 epoch", "--trials", 2, "--finalists", 0, "--seeds", 2, "--seed", 5]
    for more, wanted in (([], [5, 6, 7, 8]), (["--common-seeds"], [5, 6, 5, 6])):
        out = tmp_path / f"run{len(more)}"
        assert klayer("search", *flags, *more, "--out", out, "-q").exit_code == 0
        assert [record.seed for record in Run(out).networks] == wanted


def test_a_search_that_was_stored_under_former_names_of_its_seeds_is_read():
    stage = {"stages": [{"l2": "1:2"}]}
    former = Search.from_values({**stage, "seeds_per_trial": 3, "seeds": "common"})
    assert (former.seeds, former.common_seeds) == (3, True)
    former = Search.from_values({**stage, "seeds_per_trial": 2, "seeds": "own"})
    assert (former.seeds, former.common_seeds) == (2, False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", 0], "`seeds` must be a number >= 1, or a list of different whole numbers"),
        (["--seeds", "2,2"], "`seeds` must be a number >= 1, or a list of different"),
        (["--seeds", "two"], "`--seeds` must be a number of seeds, or several with commas"),
        (["--seeds", "1,2", "--seed", 3], "give one of the two"),
        (["--seed", -1], "`seed` must be a whole number >= 0, but got -1"),
    ],
)
@pytest.mark.parametrize("command", ["train", "study"])
def test_wrong_seeds_are_refused_alike(tmp_path, fails, monkeypatch, command, flags, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(command, *flags)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["train", "study"])
def test_a_batch_larger_than_the_data_is_said(tmp_path, command):
    path = tmp_path / "my.toml"
    text = BRIEF.replace("batch_size = 50", "batch_size = 5000")
    path.write_text(text.replace("[settings]\n", "") if command == "train" else text)
    source = ["--config", path] if command == "train" else [path]
    result = klayer(command, *source, "--seeds", 1, "--out", tmp_path / "run", "--json")
    said = "batch_size is 5,000, but there are 1,259 training rows: each update sees all of them."
    assert said in result.stderr
    assert json.loads(result.stdout)["arms"][0]["n"] == 1


@pytest.mark.parametrize("command", [["train", "--config"], ["study"], ["search"]])
def test_a_flag_is_not_blamed_on_the_file(tmp_path, fails, command):
    path = tmp_path / "my.toml"
    text = BRIEF + SEARCH if command == ["search"] else BRIEF
    path.write_text(text.replace("[settings]\n", "") if command[0] == "train" else text)
    err = fails(*command, path, "--data", "digitz", "--out", tmp_path / "run")
    assert "my.toml with --data digitz: unknown data set 'digitz': did you mean 'digits'" in err
