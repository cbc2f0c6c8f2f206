"""Signals: what is under way is saved, the message says how to go on, the status names the signal."""

import os
import re
import signal
import subprocess
import sys

import pytest

from klayer.study import Run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

SIGNALS = {"SIGINT": "interrupted", "SIGTERM": "asked to end", "SIGHUP": "left by its terminal"}
each_signal = pytest.mark.parametrize("name", SIGNALS)

# A process that sends itself the signals: `press()` from wherever it is called. A shell that started the
# tests in the background has them, and so the child, ignore Ctrl-C.
CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
NUMBER, TIMES = getattr(signal, sys.argv.pop(1)), int(sys.argv.pop(1))
def press(done=[]):
    if not done:
        done.append(1)
        for _ in range(TIMES):
            os.kill(os.getpid(), NUMBER)
            time.sleep(0.3)  # two of one kind that wait to be heard are one
{when}
from klayer.cli import main
sys.argv[0] = "klayer"
main()
"""
AT_START = """
class Finder:
    def find_spec(self, name, *_):
        if name == "klayer.cli.app":
            press()
sys.meta_path.insert(0, Finder())
"""
IN_TRAINING = """
from klayer.train.trainer import Trainer
real = Trainer._group
def group(self, *args):
    for t in real(self, *args):
        steps.append(t)
        if len(steps) == 4:
            press()
        yield t
steps = []
Trainer._group = group
"""
IN_A_CALLBACK = (
    """
import ctypes
lost = ctypes.CFUNCTYPE(None)(press)
def press():
    lost()  # C code: what is raised inside gets no further
    time.sleep(1)
"""
    + IN_TRAINING
)
IN_PAGE = """
from klayer.report import page
page.Page = lambda view: press()
"""
TRAIN = ["train", "--networks", "3", "--cycles", "2", "--half-cycle", "2 epochs", "--hidden", "8",
         "--batch-size", "20"]  # fmt: skip


def ended(when, name, times, *arguments):
    command = [sys.executable, "-c", CHILD.replace("{when}", when), name, str(times), *arguments]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in child.stderr
    return child.returncode, re.sub(r"\s+", " ", child.stderr)


def status(name):
    return 128 + getattr(signal, name)


@each_signal
@pytest.mark.parametrize("times", [1, 2])
def test_at_start_up_it_leaves_with_a_word(name, times):
    code, told = ended(AT_START, name, times, "--help")
    assert code == status(name)
    assert f"klayer: {SIGNALS[name]}." in told


@each_signal
@pytest.mark.parametrize("times", [1, 2])
def test_in_training_it_saves_and_says_how_to_go_on(tmp_path, name, times):
    out = tmp_path / "run"
    code, told = ended(IN_TRAINING, name, times, *TRAIN, "--out", str(out))
    assert code == status(name)
    assert f"{SIGNALS[name]}; nothing is lost: go on with `klayer train --resume {out}`." in told
    assert ("once more to leave it" in told) == (times == 2)
    assert [one.suffix for one in (out / "checkpoints").iterdir()] == [".safetensors"]
    assert not (out / "lock").exists()
    assert not list(out.rglob("*.part"))
    assert Run(out).networks == []


@each_signal
def test_a_signal_that_meets_a_callback_of_c_code_is_heard(tmp_path, name):
    out = tmp_path / "run"
    code, told = ended(IN_A_CALLBACK, name, 1, *TRAIN, "--out", str(out))
    assert code == status(name)
    assert f"{SIGNALS[name]}; nothing is lost: go on with `klayer train --resume {out}`." in told


@each_signal
def test_a_third_time_it_leaves_at_once(tmp_path, name):
    code, _ = ended(IN_TRAINING, name, 3, *TRAIN, "--out", str(tmp_path / "run"))
    assert code == status(name)


@each_signal
def test_in_the_page_it_says_how_to_write_it(tmp_path, name):
    out = tmp_path / "run"
    code, told = ended(IN_PAGE, name, 1, *TRAIN, "--out", str(out))
    assert code == status(name)
    assert f"{SIGNALS[name]}; the page isn't written: `klayer report {out}` writes it." in told
    assert len(Run(out).networks) == 3


def test_a_signal_that_is_ignored_stays_ignored():
    when = "signal.signal(signal.SIGHUP, signal.SIG_IGN)" + AT_START
    code, _ = ended(when, "SIGHUP", 1, "--version")
    assert code == 0
