import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from klayer.cli.options import SearchCommand
from klayer.cli.search import search as command
from klayer.errors import KlayerError
from klayer.report import write_report
from klayer.study import Run
from klayer.study.search.samplers import SAMPLERS, Sampler
from klayer.study.search.tables import finalist_table, stage_table, trial_table

QUICK = [
    *("--hidden", "6", "--batch-size", "50", "--half-cycle", "1 epoch", "--cycles", "1"),
    *("--trials", "3", "--finalists", "1", "--final-cycles", "1", "--final-seeds", "2"),
]

app = typer.Typer(pretty_exceptions_enable=False)
app.command(cls=SearchCommand)(command)


@pytest.fixture(autouse=True)
def _no_page(monkeypatch):
    """The page has its own tests."""
    monkeypatch.setattr("klayer.report.write_report", lambda _run: [])


def klayer_search(*args):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_ranges_by_flags_print_tables_and_write_a_run(tmp_path):
    out = tmp_path / "run"
    result = klayer_search("--l2", "1e-4:1e-1", "--auto", 1, *QUICK, "--out", out)
    run = Run(out)
    assert len(trial_table(run)) == 6
    assert [row["trial"] for row in finalist_table(run)] != []
    text = result.stdout
    assert "Stage 1: 3 trials, l2 from 0.0001 to 0.1 (log)" in text
    assert "because the best 2 of 3 trials of stage 1" in text
    assert "stage 2, sorted by validation accuracy" in text
    assert "finalists on digits: mean ± sd over n seeds" in text
    assert "trials.csv" in text
    for row in trial_table(run):
        assert f"{row['l2']:.6g}" in text


def test_a_stage_is_printed_with_its_best_trial_last(tmp_path):
    text = klayer_search("--l2", "1e-4:1e1", *QUICK, "--out", tmp_path / "run").stdout
    table = text[: text.index("finalists on")]
    rows = sorted(trial_table(Run(tmp_path / "run")), key=lambda row: row["validation_accuracy"])
    places = [table.index(f"{row['l2']:.6g}") for row in rows]
    assert places == sorted(places)


def test_one_value_is_fixed_and_several_are_searched(tmp_path):
    out = tmp_path / "run"
    klayer_search(
        *("--l2", "0.01", "--sigma", "0.1", "--bn", "none", "--bn", "hidden", "--lr-max", "0.1:1"),
        *QUICK,
        *("--out", out, "--quiet"),
    )
    run = Run(out)
    assert stage_table(run)[0]["space"] == {
        "lr_max": "0.1:1.0:log",
        "batch_norm": ["none", "hidden"],
    }
    assert {record.settings.l2 for record in run.networks} == {0.01}
    assert {record.settings.init for record in run.networks} == {"gaussian:0.1"}


def test_the_page_of_a_search_over_a_range_and_choices_has_a_chart_of_each(tmp_path):
    out = tmp_path / "run"
    klayer_search("--lr-max", "0.1:1", "--bn", "none", "--bn", "hidden", *QUICK, "--out", out, "-q")
    write_report(Run(out))
    assert (out / "figures" / "trials.svg").exists()


def test_any_setting_may_be_fixed_for_all_trials(tmp_path):
    out = tmp_path / "run"
    flags = ("--schedule", "constant", "--order-seed", 3, "--points-per-cycle", 2)
    klayer_search("--l2", "1e-4:1e-1", *flags, *QUICK, "--out", out, "--quiet")
    settings = [record.settings for record in Run(out).networks]
    assert {(one.schedule, one.order_seed) for one in settings} == {("constant", 3)}


def test_json_is_the_only_output(tmp_path):
    out = tmp_path / "run"
    result = klayer_search(
        "--l2", "1e-4:1e-1", *QUICK, "--prune", "--cycles", 2, "--out", out, "--json"
    )
    found = json.loads(result.stdout)
    assert found["run"] == str(out)
    assert found["trials"] == trial_table(Run(out))
    assert [row["state"] for row in found["trials"]].count("pruned") == 1


def test_the_share_that_pruning_keeps_is_an_option(tmp_path):
    out = tmp_path / "run"
    how = ("--prune", "--keep-share", 0.3, "--cycles", 2)
    klayer_search("--l2", "1e-4:1e-1", *QUICK, *how, "--out", out, "-q")
    assert [row["state"] for row in trial_table(Run(out))].count("pruned") == 2


def test_quiet_prints_nothing(tmp_path):
    result = klayer_search("--l2", "1e-4:1e-1", *QUICK, "--out", tmp_path / "run", "--quiet")
    assert (result.stdout, result.stderr) == ("", "")


def test_resume_prints_the_same_tables(tmp_path):
    out = tmp_path / "run"
    first = klayer_search("--l2", "1e-4:1e-1", *QUICK, "--out", out)
    assert klayer_search("--resume", out).stdout == first.stdout


def test_a_file_and_flags_that_win_over_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        data = "digits"
        [search]
        trials = 5
        settings = { hidden = [6], batch_size = 50, cycles = 1, half_cycle = "1 epoch" }
        stages = [{ l2 = "1e-4:1e-1", trials = 4 }, { l2 = "1e-3:1e-2" }]
        finalists = { top = 0 }
        """
    )
    klayer_search(file, "--out", tmp_path / "a", "--quiet")
    assert [row["stage"] for row in trial_table(Run(tmp_path / "a"))] == [1] * 4 + [2] * 5
    klayer_search(file, "--stages", 1, "--trials", 2, "--out", tmp_path / "b", "--quiet")
    assert [row["stage"] for row in trial_table(Run(tmp_path / "b"))] == [1] * 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--l2", "much"], "`--l2` must be a number, or a range like 1e-5:1e-1, but got 'much'."),
        (["--l2", "1:0.1"], r"search: stage 1, `l2`: a range must have `low < high`"),
        (
            ["--hidden", "5,x"],
            "`--hidden` must be widths with commas, as in 50,30,20, but got '5,x'.",
        ),
        (["quick", "--preset", "report"], "a search has one source, but got both 'quick' and"),
        (["quik"], "unknown study 'quik': did you mean 'quick'?"),
        (
            ["quick", "--stages", "9"],
            "`--stages` must be from 1 to 4, the number of those given, but",
        ),
        (
            ["--resume", "x", "--l2", "1:2"],
            "--resume takes no other flag but --storage, --data-dir",
        ),
        (["--resume", "x", "--trials", "0"], "--resume takes no other flag"),
        (["--resume", "no/such/run"], "a run directory holds a file run.json"),
        (
            ["quick", "--trials", "0"],
            "search, `trials`: must be >= 1",
        ),
        (["quick", "--sampler", "grid"], "search, `sampler`: must be 'random', 'qmc'"),
        (["quick", "--seeds", "0"], "search, `seeds`: must be >= 1, but got 0"),
        (
            ["quick", "--finalists", "-1"],
            "`finalists.top`: must be >= 0",
        ),
        (["--l2", "0.1"], "`l2` is what this search varies, so it can't be 0.1 for all trials"),
        (["--sigma", "1e-3:1", "--init", "he"], "`init` is what this search varies, so"),
        (
            ["--sigma", "0.1", "--init", "he", "--l2", "1e-3:1"],
            "`--sigma` stands for --init, so give one of the two.",
        ),
        (["--momentum", "0.5:0.9"], "`momentum` has an effect with optimiser='momentum', "),
        (
            ["--lr-min", "1e-5:1e-3", "--schedule", "constant"],
            "`lr_min` has an effect with schedule='triangular', 'cosine', ",
        ),
        (["--l2", "1e-3:1", "--data", ""], "`data` must name a data set, but got ''"),
        (["--l2", "1e-3:1", "--updates-at-once", "two"], "must be 'auto' or a whole number >= 1"),
        (["--l2", "1e-3:1", "--hidden", "5,,3"], "`--hidden` must be widths with commas"),
        (["--l2", "1e-3:1", "--schedule", "constnt"], "did you mean 'constant'?"),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KlayerError) as caught:
        klayer_search(*args)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_study_without_a_search_is_named(tmp_path):
    file = tmp_path / "plain.toml"
    file.write_text('data = "digits"\n')
    with pytest.raises(KlayerError, match=r"plain\.toml has no search: give it a table \[search\]"):
        klayer_search(file)


def test_a_search_without_stages_is_named(tmp_path):
    file = tmp_path / "plain.toml"
    file.write_text("[search]\ntrials = 3\n")
    with pytest.raises(KlayerError, match=r"search, `stages`:"):
        klayer_search(file, "--trials", 2)


def test_the_help_names_the_samplers_of_the_table(monkeypatch):
    def samplers():
        made = typer.main.get_command(app)
        help = {one.name: one.help for one in made.get_params(typer.Context(made))}
        return help["sampler"], help["batch"]

    assert samplers() == (
        "random, qmc, tpe, gp or cmaes.",
        "Trials drawn at a time by tpe, gp and cmaes, which learn.",
    )
    monkeypatch.setitem(SAMPLERS, "grid", Sampler(SAMPLERS["random"].make))
    assert samplers()[0] == "random, qmc, tpe, gp, cmaes or grid."


def test_the_help_shows_the_search_of_the_report():
    text = " ".join(klayer_search("--help").stdout.split())
    assert "klayer search --preset report --data cifar10" in text
    for option in (
        "--auto",
        "--prune",
        "--common-seeds",
        "--finalists",
        "--storage",
        "--resume",
    ):
        assert option in text


def test_the_command_imports_nothing_heavy():
    code = "import sys, klayer.cli.search; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["optuna", "sqlalchemy", "sklearn", "pydantic", "numpy"]
    out = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
