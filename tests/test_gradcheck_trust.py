"""The command that CI trusts: 0 only after a check, 1 only for a mistake; models of any make load."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.errors import KlayerError
from klayer.gradcheck import ModelEnded, ModelFailed, TimeLimit, check_remote

F = """
import numpy as np

def f(p):
    return (p["a"] ** 2).sum(), {"a": FACTOR * p["a"].real}

def model():
    return f, {"a": np.arange(1.0, 4.0)}
"""
RIGHT = F.replace("FACTOR", "2")


@pytest.fixture
def klayer(tmp_path):
    """Run the real command in a folder with a file ``m.py``."""

    def run(text, *arguments, target="m.py:model"):
        (tmp_path / "m.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "klayer", "gradcheck", target, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nsys.exit(0)\n",
        "import os\nos._exit(0)\n",
        "import sys\ndef model():\n    sys.exit(0)\n",
        "raise SystemExit\n",
        RIGHT.replace("    return (p", "    import sys; sys.exit(0)\n    return (p"),
        RIGHT.replace("    return (p", "    import os; os._exit(0)\n    return (p"),
        "import threading, os, time\n"
        "threading.Timer(0.0, lambda: os._exit(0)).start()\ntime.sleep(5)\n" + RIGHT,
    ],
)
def test_a_file_that_exits_with_0_is_no_check(klayer, text):
    result = klayer(text)
    assert result.returncode == 2, result
    assert "ended" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_exit_handler_of_the_model_does_not_change_the_status(klayer):
    wrong = F.replace("FACTOR", "3")
    assert klayer("import atexit, os\natexit.register(os._exit, 0)\n" + wrong).returncode == 1


def test_what_the_model_prints_is_not_in_the_json(klayer):
    noisy = "import os\nprint('loading')\nos.system('echo from a shell')\n" + RIGHT.replace(
        "    return (p", "    print('loss', flush=True)\n    return (p"
    )
    result = klayer(noisy, "--json")
    assert json.loads(result.stdout)["verdict"] == "right"
    assert "loading" in result.stderr
    assert "from a shell" in result.stderr


def test_undecided_has_a_status_of_its_own(klayer):
    offset = RIGHT.replace('(p["a"] ** 2).sum()', "float((abs(p['a']) ** 2).sum()) + 1e16")
    result = klayer(offset)
    assert result.returncode == 3, result.stdout
    assert result.stdout.startswith("The gradient could not be checked everywhere.")
    assert "below the rounding of the loss: a" in " ".join(result.stdout.split())
    data = json.loads(klayer(offset, "--json").stdout)
    assert (data["verdict"], data["ok"], data["rows"][0]["verdict"]) == (
        "undecided", False, "undecided",
    )  # fmt: skip


@pytest.mark.parametrize("place", ["no/such/folder/x.html", "."])
def test_a_page_that_cannot_be_written_is_wrong_use_and_no_verdict(klayer, place):
    result = klayer(RIGHT, "--html", place)
    assert result.returncode == 2
    assert "can't be written" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tolerance", "2"],
        ["--tolerance", "nan"],
        ["--entries", "0"],
        ["--seed", "-1"],
        ["--method", "magic"],
        ["--array", "nothing"],
        ["--time-limit", "-3"],
        ["--entries", "many"],
    ],
)
def test_bad_options_are_wrong_use(klayer, arguments):
    result = klayer(RIGHT, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("klayer: ")
    assert "Traceback" not in result.stderr


def test_a_model_that_takes_too_long_is_stopped(klayer):
    result = klayer("while True:\n    pass\n", "--time-limit", 2)
    assert result.returncode == 2
    assert "longer than the time limit of 2 s" in result.stderr


def test_packages_and_relative_imports_are_found(klayer, tmp_path):
    inner = tmp_path / "pkg" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("")
    (tmp_path / "pkg" / "loss.py").write_text(RIGHT)
    (inner / "net.py").write_text("from ..loss import model\nfrom . import other\n")
    (inner / "other.py").write_text("")
    assert klayer("", target="pkg.loss:model").returncode == 0
    assert klayer("", target="pkg.inner.net:model").returncode == 0
    assert klayer("", target="pkg/inner/net.py:model").returncode == 0
    # Without __init__.py the folder is a package, too.
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "net.py").write_text("from .loss import model\n")
    (loose / "loss.py").write_text(RIGHT)
    assert klayer("", target="loose/net.py:model").returncode == 0


def test_a_file_beside_the_model_does_not_stand_for_a_library(klayer, tmp_path):
    for name in ("json.py", "socket.py", "klayer.py"):
        (tmp_path / name).write_text("raise SystemExit(0)\n")
    # `python -m klayer` itself looks in the folder; the installed command and the child don't.
    assert check_remote("m.py:model", folder=_with(tmp_path, RIGHT)).ok


def _with(folder, text):
    (folder / "m.py").write_text(text, encoding="utf-8")
    return folder


def test_what_a_model_raises_is_told_with_its_name(tmp_path):
    text = RIGHT.replace("    return (p", "    {}['missing']\n    return (p")
    with pytest.raises(ModelFailed, match=r"failed while it was checked: KeyError: 'missing'") as f:
        check_remote("m.py:model", folder=_with(tmp_path, text))
    assert "m.py" in f.value.__notes__[0]
    with pytest.raises(KlayerError, match="unknown gradient 'b': Known: a"):
        check_remote("m.py:model", folder=_with(tmp_path, RIGHT.replace('{"a": 2', '{"b": 2')))
    folder = _with(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ModelEnded, match="signal 9"):
        check_remote("m.py:model", folder=folder)
    folder = _with(tmp_path, "import time\ntime.sleep(30)\n")
    with pytest.raises(TimeLimit):
        check_remote("m.py:model", folder=folder, time_limit=1.5)


def test_all_that_a_model_says_of_itself_reaches_the_check(tmp_path):
    text = """
import numpy as np
from klayer.gradcheck import Reference
from klayer.nn import Network

x, labels = np.random.default_rng(0).standard_normal((8, 4)), np.arange(8) % 3
reference = Reference(Network(4, (5,), 3), x, labels, 0.1)
point = {k: v[0] for k, v in reference.network.init("he", [0], np.float64).items()}

class Model:
    params, l2, samples = point, 0.1, 8
    def __init__(self):
        self.reference = reference
    def loss_and_grads(self, p):
        grads = reference.gradient(reference.forward(p))
        grads = {k: v.real.copy() for k, v in grads.items()}
        grads["W1"] = grads["W1"] - 0.2 * p["W1"].real
        return reference.cost(p), grads
    def kinks(self, p):
        return [x @ p["W1"] + p["b1"]]
"""
    check = check_remote("m.py:Model", folder=_with(tmp_path, text))
    assert (check.verdict, check.method) == ("wrong", "complex")
    assert check.causes[0].kind == "l2-missing"
    assert check.kinks["units"] == 0
    assert not any("reference was not used" in note for note in check.notes)


def test_progress_is_told_in_evaluations(tmp_path):
    told = []
    slow = RIGHT.replace("    return (p", "    import time; time.sleep(0.02)\n    return (p")
    check = check_remote(
        "m.py:model", folder=_with(tmp_path, slow), progress=lambda *now: told.append(now)
    )
    assert check.ok
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] <= told[-1][1]


def test_a_model_of_complex_numbers_is_the_same_in_its_own_process(tmp_path):
    check = check_remote("m.py:model", folder=_with(tmp_path, RIGHT))
    assert (check.verdict, check.method) == ("right", "complex")
    casting = RIGHT.replace("    return (p", "    b = np.zeros(3); b[...] = p['a']\n    return (p")
    check = check_remote("m.py:model", folder=_with(tmp_path, casting))
    assert (check.verdict, check.method) == ("right", "central")
    assert "ComplexWarning" in check.reason


def test_the_report_s_own_check_takes_no_options_of_a_model():
    result = CliRunner().invoke(app, ["gradcheck", "--one-point"])
    assert isinstance(result.exception, KlayerError)
