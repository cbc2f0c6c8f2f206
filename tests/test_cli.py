import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from klayer.cli.app import app, main
from klayer.study import Run
from klayer.train import SETTINGS
from klayer.train.settings import SEARCHABLE

BRIEF = ["--hidden", "12", "--batch-size", "50", "--cycles", "1", "--half-cycle", "1 epoch"]


def klayer(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def fails(monkeypatch, capsys, *args):
    """Run the command as a user does and return its exit status and what it says on stderr."""
    monkeypatch.setattr(sys, "argv", ["klayer", *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return stopped.value.code, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    result = klayer("train", "--networks", 3, "--seed", 5, *BRIEF, "--out", out)
    assert result.exit_code == 0, result.output
    return out, result


def test_train_ends_with_a_table_and_a_run_directory(trained):
    out, result = trained
    summary = json.loads((out / "summary.json").read_text())
    assert [record["seed"] for record in summary["networks"]] == [5, 6, 7]
    for record in summary["networks"]:
        assert record["state"] == "trained"
        assert f"{record['test_accuracy']:.2%}" in result.output
    assert {"run.json", "networks.jsonl", "weights", "report.html"} <= {
        p.name for p in out.iterdir()
    }
    assert (out / "figures" / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def no_page(monkeypatch):
    """The page has its own tests."""
    monkeypatch.setattr("klayer.report.write_report", lambda _run, pdf=False: [])


@pytest.mark.usefixtures("no_page")
def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("hidden = [9]\nl2 = 0.25\nbatch_size = 40\nnetworks = 2\nseed = 3\n")
    out = tmp_path / "run"
    result = klayer(
        "train", "--config", path, "--l2", 0.5, "--cycles", 1, "--half-cycle", 3, "--out", out, "-q"
    )
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in (out / "networks.jsonl").read_text().splitlines()]
    assert [record["seed"] for record in records] == [3, 4]
    settings = records[0]["settings"]
    assert (settings["hidden"], settings["l2"], settings["batch_size"]) == ([9], 0.5, 40)
    assert settings["lr_max"] == 0.1


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize(("flag", "value"), [("2", 2), ("auto", "auto")])
def test_a_run_can_be_read_whatever_its_flags_were(tmp_path, flag, value):
    out = tmp_path / "run"
    result = klayer("train", *BRIEF, "--updates-at-once", flag, "--out", out, "-q")
    assert result.exit_code == 0, result.output
    run = Run(out)
    assert run.info["config"]["arms"][0]["updates_at_once"] == value
    assert run.networks[0].settings == run.study.arms[0].settings
    assert run.networks[0].settings.updates_at_once == value


@pytest.fixture
def renamed(monkeypatch):
    """The table, as if the penalty had been called `shrinkage` once."""
    row = replace(SETTINGS["l2"], was=("shrinkage",))
    monkeypatch.setattr("klayer.train.settings.SETTINGS", {**SETTINGS, "l2": row})
    monkeypatch.setattr("klayer.train.settings.SEARCHABLE", {**SEARCHABLE, "l2": row})


@pytest.mark.usefixtures("no_page", "renamed")
def test_a_former_name_is_a_hidden_flag_and_loses_to_the_new_one(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "my.toml", tmp_path / "run"
    path.write_text("shrinkage = 0.25\n")
    assert "shrinkage" not in klayer("train", "--help").output
    result = klayer("train", *BRIEF, "--shrinkage", 0.5, "--out", out, "-q")
    assert result.exit_code == 0, result.output
    assert Run(out).networks[0].settings.l2 == 0.5
    for number, flag in enumerate(("--l2", "--shrinkage")):
        again = tmp_path / str(number)
        result = klayer("train", "--config", path, *BRIEF, flag, 0.125, "--out", again, "-q")
        assert result.exit_code == 0, result.output
        assert Run(again).networks[0].settings.l2 == 0.125
    code, err = fails(monkeypatch, capsys, "train", "--l2", 1, "--shrinkage", 2)
    assert code == 2
    assert "`l2` is given twice, as 'l2' and as 'shrinkage'" in err


@pytest.mark.usefixtures("renamed")
def test_a_former_name_is_a_parameter_of_a_search(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "my.toml", tmp_path / "run"
    path.write_text("[search]\nstages = [{shrinkage = '0.1:0.2'}]\n")
    code, err = fails(monkeypatch, capsys, "search", path, "--l2", 1)
    assert code == 2
    assert "`l2` is what this search varies" in err
    brief = [*BRIEF, "--trials", 2, "--finalists", 0, "--out", out, "-q"]
    result = klayer("search", "--shrinkage", "0.1:0.2", *brief)
    assert result.exit_code == 0, result.output
    assert all(0.1 <= record.settings.l2 <= 0.2 for record in Run(out).networks)


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize(
    ("flags", "data", "seeds"),
    [
        ([], "digits", [3, 4]),
        (["--data", "synthetic:samples=100"], "synthetic", [3, 4]),
        (["--networks", 3], "digits", [3, 4, 5]),
        (["--seed", 0], "digits", [0, 1]),
    ],
)
def test_flags_win_over_data_networks_and_seed_of_the_file(tmp_path, flags, data, seeds):
    path = tmp_path / "my.toml"
    path.write_text(
        "data = 'digits'\nnetworks = 2\nseed = 3\nhidden = [4]\ncycles = 1\nhalf_cycle = 3\n"
    )
    out = tmp_path / "run"
    result = klayer("train", "--config", path, *flags, "--out", out, "-q")
    assert result.exit_code == 0, result.output
    run = Run(out)
    assert [record.seed for record in run.networks] == seeds
    assert run.info["data"]["name"].partition(":")[0] == data


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "networks = 0",
            "my.toml: `networks` must be a number >= 1, or a list",
        ),
        ("networks = true", "my.toml: `networks` must be a number >= 1, or a list"),
        ("networks = 'x'", "my.toml: `networks` must be a number >= 1, or a list"),
        ("seed = -1", r"my.toml: `seed` must be a whole number >= 0, but got -1"),
        ("l_2 = 1", "unknown setting 'l_2': did you mean 'l2'?"),
        ("batch_size = 'x'", "`batch_size` must be a whole number >= 1, but got batch_size='x'"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, monkeypatch, capsys, line, message):
    path = tmp_path / "my.toml"
    path.write_text(line)
    code, err = fails(monkeypatch, capsys, "train", "--config", path)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("command", ["train", "search"])
def test_every_setting_is_an_option_with_its_help_and_default(command):
    result = CliRunner(env={"COLUMNS": "500"}).invoke(app, [command, "--help"])
    lines = result.output.splitlines()
    for name, row in {**SETTINGS, **(SEARCHABLE if command == "search" else {})}.items():
        [line] = [line for line in lines if ",".join(row.flags) in line.split()[1:2]]
        assert row.sentence.rstrip(".") in line, name
        if command == "train":
            assert f"[default: {row.shown_default}]" in line
        elif row.search == "choices":
            assert "given more than once" in line
        elif row.search:
            assert f"LOW:HIGH[:{row.search}" in line


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_no_two_options_of_a_command_share_a_name_or_a_flag(command):
    made = typer.main.get_command(app).commands[command]
    options = made.get_params(typer.Context(made))
    for taken in (
        [one.name for one in options],
        [flag for one in options for flag in (*one.opts, *one.secondary_opts)],
    ):
        assert sorted(taken) == sorted(set(taken))


def test_a_new_row_of_the_table_is_an_option(monkeypatch):
    row = replace(
        SETTINGS["l2"], name="momentum", flags=("--momentum",), help="How much.", default=0.9
    )
    monkeypatch.setattr("klayer.train.settings.SETTINGS", {**SETTINGS, "momentum": row})
    output = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["train", "--help"]).output
    assert re.search(r"--momentum +<float> +How much\. \[default: 0\.9\]", output)


@pytest.mark.usefixtures("no_page")
def test_depth_and_width_make_hidden_layers(tmp_path):
    out = tmp_path / "run"
    klayer("train", "--depth", 4, "--width", 6, "--half-cycle", 2, "--out", out, "-q")
    record = json.loads((out / "networks.jsonl").read_text())
    assert record["settings"]["hidden"] == [6, 6, 6]


@pytest.mark.usefixtures("no_page")
def test_json_is_all_that_train_prints_on_stdout(tmp_path):
    result = klayer("train", *BRIEF, "--out", tmp_path / "run", "--json")
    summary = json.loads(result.stdout)
    assert summary["kind"] == "train"
    assert summary["arms"][0]["n"] == 1


def test_predict_labels_rows_with_the_best_network(trained, tmp_path, digits):
    import numpy as np

    out, _ = trained
    rows = digits.splits["test"].features[:20]
    np.save(tmp_path / "rows.npy", rows)
    result = klayer("predict", out, tmp_path / "rows.npy")
    assert result.exit_code == 0, result.output
    names = [line.split("\t")[1] for line in result.stdout.splitlines()]
    labels = Run(out).model().predict_labels(rows)[0]
    assert names == [digits.class_names[label] for label in labels]
    assert len(set(names)) > 5
    as_json = klayer("predict", out, tmp_path / "rows.npy", "--seed", 6, "--json")
    rows = json.loads(as_json.stdout)
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_study_of_a_toml_file_ends_in_a_page(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(
        "title = 'Two widths'\nseeds = 2\n"
        "[settings]\nbatch_size = 50\ncycles = 1\nhalf_cycle = '1 epoch'\n"
        "[grid]\nhidden = [[6], [12]]\n"
    )
    out = tmp_path / "run"
    result = klayer("study", path, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Two widths" in (out / "report.html").read_text(encoding="utf-8")


def test_a_dry_run_prints_the_plan_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("klayer.study.execute.timing.SAMPLE_SECONDS", 0.01)
    result = klayer("study", "--preset", "quick", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("search, stage 4", "finalists", "nothing was trained"):
        assert words in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--batch-norm", "hiden"], "unknown batch_norm 'hiden': did you mean 'hidden'"),
        (
            ["train", "--lr-min", "1"],
            "`0 <= lr_min <= lr_max` must hold, but got lr_min=1.0, lr_max=0.1",
        ),
        (
            ["train", "--hidden", "5,x"],
            "`--hidden` must be widths with commas, as in 50,30,20, but got '5,x'",
        ),
        (["train", "--hidden", "5", "--depth", "3"], "by --hidden, or by --depth and --width"),
        (["train", "--depth", "0"], "`--depth` must be >= 1, but got 0"),
        (["train", "--networks", "0"], "`seeds` must be a number >= 1, or a list"),
        (["train", "--init", "gaussian"], "needs a sigma > 0"),
        (["train", "--data", "digitz"], "did you mean 'digits'"),
        (["train", "--resume", "nowhere"], "a run directory holds a file run.json"),
        (["train", "--resume", "x", "--l2", "1"], "a run goes on with its own settings"),
        (["train", "--hidden", "50,,30"], "`--hidden` must be widths with commas, as in 50,30,20"),
        (
            ["train", "--updates-at-once", "two"],
            "`updates_at_once` must be 'auto' or a whole number >= 1, but got updates_at_once='two'",
        ),
        (["train", "--data", ""], "`data` must name a data set, but got ''"),
        (["study", "--data", ""], "`data` must name a data set, but got ''"),
        (["train", "--workers", "0"], "`--workers` must be >= 1, but got"),
        (["study", "--workers", "0"], "`--workers` must be >= 1, but got"),
        (["search", "--workers", "0"], "`--workers` must be >= 1, but got"),
        (
            ["train", "--half-cycle", "0.001 epochs"],
            "`half_cycle` must be at least one update, but '0.001 epochs' is less",
        ),
        (
            ["search", "--l2", "1e-3:1", "--half-cycle", "0.001 epochs"],
            "`half_cycle` must be at least one update, but '0.001 epochs' is less",
        ),
        (["train", "--momentum", "0.5"], "`momentum` has an effect with optimiser='momentum'"),
        (
            ["train", "--schedule", "constant", "--lr-min", "0.01"],
            "`lr_min` has an effect with schedule='triangular', 'cosine', ",
        ),
        (["train", "--bn-eps", "1e-5"], "`bn_eps` has an effect with batch_norm="),
        (["study", "reprot"], "unknown study 'reprot': did you mean 'report'"),
        (
            ["study", "a", "--preset", "b"],
            "a study has one source, but got both 'a' and --preset 'b'",
        ),
        (["study", "--resume", "x", "--seeds", "3"], "a run goes on with its own configuration"),
        (["study", "--seeds", "0"], "`seeds` must be a number >= 1"),
        (["predict", "nowhere", "x.png"], "a run directory holds a file run.json"),
    ],
)
def test_a_mistake_is_one_message_and_exit_status_2(args, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, err = fails(monkeypatch, capsys, *args)
    assert code == 2
    assert message in re.sub(r"\s+", " ", err)
    assert not list(tmp_path.iterdir())


def test_predict_names_arms_and_seeds_if_there_is_no_such_network(trained, monkeypatch, capsys):
    code, err = fails(monkeypatch, capsys, "predict", trained[0], "x.npy", "--seed", 99)
    assert code == 2
    assert "has the seed 99" in err
    assert "Seeds: 5, 6, 7" in err


def test_debug_shows_the_traceback(monkeypatch):
    from klayer.errors import KlayerError

    monkeypatch.setattr(sys, "argv", ["klayer", "--debug", "train", "--depth", "0"])
    with pytest.raises(KlayerError):
        main()


def test_importing_klayer_imports_nothing_heavy():
    heavy = ["sklearn", "optuna", "vl_convert", "typer", "scipy", "pydantic", "rich"]
    code = f"import sys, klayer; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['klayer', '--help']\n"
        "from klayer.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = ['sklearn', 'optuna', 'vl_convert', 'scipy', 'pydantic', 'numpy', 'jinja2']\n"
        "print('HEAVY', [m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in found.stdout
    for command in ("study", "train", "search", "gradcheck", "report", "predict", "data"):
        assert f" {command} " in found.stdout


@pytest.mark.usefixtures("no_page")
def test_ctrl_c_says_how_to_go_on_and_resume_does(tmp_path):
    out = tmp_path / "run"
    # A shell that started the tests in the background has them, and so the child, ignore Ctrl-C.
    # The child is interrupted a moment after its first recorded point.
    code = (
        "import os, signal, threading; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from klayer.cli import main\n"
        "from klayer.study.watch import Bars\n"
        "press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "started = []\n"
        "def record(self, pack, state):\n"
        "    if not started:\n"
        "        started.append(threading.Timer(0.05, press)); started[0].start()\n"
        "Bars.record = record\n"
        "main()"
    )
    command = [sys.executable, "-c", code]
    long = ["train", "--networks", "4", "--cycles", "10", "--batch-size", "20", "--out", str(out)]
    child = subprocess.Popen([*command, *long], stderr=subprocess.PIPE, text=True)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    message = re.sub(r"\s+", " ", err)
    assert f"interrupted; nothing is lost: go on with `klayer train --resume {out}`" in message
    assert [path.suffix for path in (out / "checkpoints").iterdir()] == [".safetensors"]
    assert not (out / "networks.jsonl").exists()
    resumed = klayer("train", "--resume", out, "-q")
    assert resumed.exit_code == 0, resumed.output
    assert len(Run(out).networks) == 4


PLAN = "seeds = 2\n[settings]\nhidden = [6]\nhalf_cycle = 5\ncycles = 1\n"
PLAN += "[grid]\nl2 = [0.5, 0.0001, 0.01]\n"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.study.execute.timing.SAMPLE_SECONDS", 0.01)
    path = tmp_path / "my.toml"
    path.write_text(PLAN)
    return path


def test_a_plan_as_json_is_all_on_stdout(plan):
    result = klayer("study", plan, "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert [one["settings"]["l2"] for one in found["arms"]] == [0.5, 0.0001, 0.01]
    assert [one["networks"] for one in found["populations"]] == [6]
    assert found["seconds"] == sum(one["seconds"] for one in found["populations"]) > 0
    assert found["seeds"] == [0, 1]
    assert "timing some updates" in result.stderr


@pytest.mark.parametrize("flags", [["-q"], ["-q", "--json"]])
def test_a_quiet_plan_prints_what_json_asks_for_and_no_more(plan, flags):
    result = klayer("study", plan, "--dry-run", *flags)
    assert result.stderr == ""
    assert bool(result.stdout) == ("--json" in flags)


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize("width", [80, 60])
def test_a_table_keeps_the_order_of_the_file_and_tells_its_rows_apart(plan, tmp_path, width):
    runner = CliRunner(env={"COLUMNS": str(width)})
    result = runner.invoke(app, ["study", str(plan), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    places = [text.index(f"{l2:g}") for l2 in (0.5, 0.0001, 0.01)]
    assert places == sorted(places)
    assert max(map(len, result.stdout.split("\n\n")[0].splitlines())) <= width


DIVERGES = ["--hidden", 6, "--lr-max", 1e30, "--cycles", 1, "--half-cycle", "1 epoch", "--l2", 0]


@pytest.mark.usefixtures("no_page")
def test_a_training_of_which_nothing_is_left_ends_with_status_1(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    code, err = fails(monkeypatch, capsys, "train", *DIVERGES, "--seeds", 2, "--out", out)
    assert code == 1
    assert "klayer: all 2 networks diverged (cost not finite at update" in err
    assert "lower lr_max" in err
    result = klayer("train", "--resume", out, "--json")  # the results are there all the same
    assert result.exit_code == 1
    assert json.loads(result.stdout)["arms"][0]["diverged"] == 2


@pytest.mark.usefixtures("no_page")
def test_a_study_of_which_something_is_left_ends_with_status_0(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(PLAN.replace("l2 = [0.5, 0.0001, 0.01]", "lr_max = [0.1, 1e30]"))
    assert klayer("study", path, "--out", tmp_path / "run").exit_code == 0
    path.write_text(PLAN.replace("l2 = [0.5, 0.0001, 0.01]", "lr_max = [1e29, 1e30]"))
    assert klayer("study", path, "--out", tmp_path / "gone").exit_code == 1


def test_a_search_of_which_nothing_is_left_ends_with_status_1(tmp_path, monkeypatch, capsys):
    flags = ["--lr-max", "1e29:1e30", "--hidden", 6, "--cycles", 1, "--half-cycle", "1 epoch"]
    flags += ["--trials", 2, "--l2", 0, "--out", tmp_path / "run"]
    code, err = fails(monkeypatch, capsys, "search", *flags)
    assert code == 1
    assert "klayer: all 2 networks diverged" in err
