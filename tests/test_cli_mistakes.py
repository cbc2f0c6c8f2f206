"""What the command says about a command line that can't be read: one message, exit status 2."""

import subprocess
import sys

import pytest

from klayer.cli.app import main


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Run the command as a user does; return its exit status and what it says on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["klayer", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert not list(tmp_path.iterdir())
        return stopped.value.code, err

    return run


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["train", "--epochs", "30"],
            "unknown option '--epochs': training lasts `--cycles` of two half-cycles each, so for 30 "
            "epochs say --cycles 2 --half-cycle '7.5 epochs'. `klayer train --help`",
        ),
        (["train", "--epochs=8"], "so for 8 epochs say --cycles 2 --half-cycle '2 epochs'."),
        (["search", "--n-epochs", "x"], "so for 20 epochs say --cycles 2 --half-cycle '5 epochs'."),
        (["train", "--lr", "0.1"], "unknown option '--lr': did you mean '--lr-max'?"),
        (["train", "--optimizer", "sgd"], "did you mean '--optimiser'?"),
        (["search", "--learning-rate", "1:2"], "did you mean '--lr-max'?"),
        (["train", "--hiden", "5"], "unknown option '--hiden': did you mean '--hidden'?"),
        (["study", "--pdff"], "unknown option '--pdff': did you mean '--pdf'?"),
        (["train", "-x"], "unknown option '-x'. `klayer train --help` shows what there is."),
        (["trian"], "unknown command 'trian': did you mean 'train'? Known: study, train"),
        (["compare"], "unknown command 'compare': did you mean `klayer runs compare`?"),
        (["runs", "."], "unknown command '.': did you mean `klayer runs list .`?"),
        (["data", "inof"], "unknown command 'inof': did you mean 'info'?"),
        (["train", "--workers", "0"], "`--workers` must be >= 1, but got '0'."),
        (["train", "--cycles", "x"], "`--cycles` must be a number, but got 'x'."),
        (["train", "--batch-size", "2.5"], "`--batch-size` must be a whole number, but got '2.5'."),
        # What Pydantic reads as -2, -5 and -1.
        (
            ["predict", "r", "x.csv", "--seed", "0-2"],
            "`--seed` must be a whole number, but got '0-2'.",
        ),
        (["train", "--seed=0-2"], "`--seed` must be a whole number, but got '0-2'."),
        (
            ["train", "--batch-size", "00-5"],
            "`--batch-size` must be a whole number, but got '00-5'.",
        ),
        (["search", "--trials", "0-1"], "`--trials` must be a whole number, but got '0-1'."),
        (["study", "--workers", "0-1"], "`--workers` must be"),
        (["gradcheck", "--seed", "0-2"], "`--seed` must be a whole number, but got '0-2'."),
        (["train", "--seeds", "0-2"], "or several with commas, as in 3,7,9, but got '0-2'."),
        (["train", "--hidden", "50-30"], "`--hidden` must be widths with commas, as in 50,30,20"),
        (["train", "--batch-norm", "1-3"], "or numbers of layers with commas, as in 1,3."),
        (["gradcheck", "--entries", "many"], "`--entries` must be a whole number, but got 'many'."),
        (["search", "--quantile", "x"], "`--quantile` must be a number, but got 'x'."),
        (["study", "--preset"], "`--preset` must be given a value."),
        (["train", "--json=3"], "`--json` takes no value."),
        (["train", "digits"], "`digits` is one argument too many: did you mean --data digits?"),
        (["data", "list", "digits"], "`digits` is one argument too many."),
        (["predict"], "`RUN` must be given, but isn't. `klayer predict --help`"),
        (["data", "info"], "`NAME` must be given, but isn't. `klayer data info --help`"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_answered_in_words(said, args, message):
    code, err = said(*args)
    assert code == 2
    assert err.startswith("klayer: ")
    assert message in err


def test_without_a_command_the_help_is_shown(said):
    assert said() == (2, "")


def test_the_module_is_the_command():
    shown = subprocess.run(
        [sys.executable, "-m", "klayer", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("klayer ")
    wrong = subprocess.run(
        [sys.executable, "-m", "klayer", "trian"], capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "did you mean 'train'" in wrong.stderr
    assert "`klayer --help`" in wrong.stderr


@pytest.mark.parametrize("seed", ["0", "00", "+3", " 7 ", "1_000", "3.0"])
def test_a_whole_number_may_be_written_in_several_ways(said, seed):
    _, err = said("predict", "nowhere", "x.csv", "--seed", seed)
    assert "a run directory holds a file run.json" in err
