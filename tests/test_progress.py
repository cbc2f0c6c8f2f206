"""Progress: live in a terminal, in place in a notebook, by lines elsewhere, never in the results."""

import io
import json
import os
import re
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from klayer.progress import Meter, clock, way_to_show

BRIEF = ["--hidden", "6", "--batch-size", "50", "--cycles", "1", "--half-cycle", "1 epoch"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def every(monkeypatch):
    """Lines come every hundredth of a second."""
    monkeypatch.setattr("klayer.progress.EVERY", 0.01)


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


@pytest.mark.parametrize(
    ("file", "term", "way"),
    [
        (Terminal(), "xterm-256color", "live"),
        (Terminal(), "dumb", "lines"),
        (Terminal(), "", "lines"),
        (io.StringIO(), "xterm-256color", "lines"),
    ],
)
def test_what_can_not_be_written_over_gets_lines(monkeypatch, file, term, way):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as builds have it: colour, but no terminal
    assert way_to_show(file) == way


def test_a_line_says_what_is_under_way_how_far_it_is_and_the_time_left(every):
    out = io.StringIO()
    with Meter("lines", out) as meter:
        meter.whole(400)
        meter.begin("width 25 x 2", 100)
        meter.move(50, "validation 91.2%")
        wait_for(lambda: out.getvalue().count("\n") >= 2)
    for line in out.getvalue().splitlines()[1:2]:
        assert re.fullmatch(
            r"width 25 x 2, 50%, 12% of all, 0:00 so far, about 0:00 left, validation 91\.2%", line
        )


def test_a_phase_is_said_when_it_begins_and_again_if_it_lasts(every):
    out = io.StringIO()
    with Meter("lines", out) as meter:
        meter.phase("reading digits")
        assert out.getvalue() == "reading digits ...\n"
        wait_for(lambda: out.getvalue().count("\n") >= 2)
    assert "reading digits ..., 0:00 so far" in out.getvalue()


def test_nothing_more_is_said_when_it_is_over(every):
    out = io.StringIO()
    with Meter("lines", out) as meter:
        meter.phase("x")
    said = out.getvalue()
    time.sleep(0.1)
    assert out.getvalue() == said


def test_off_says_nothing(every):
    out = io.StringIO()
    with Meter("off", out) as meter:
        meter.phase("x")
        meter.begin("y", 10)
        meter.leave("z")
    assert out.getvalue() == ""


@pytest.mark.parametrize("width", [100, 80, 60, 40, 24])
def test_the_lines_of_a_terminal_fit_and_numbers_stay_whole(width):
    meter = Meter("off")
    meter.whole(1000)
    names = ["9-layer [50, 30, 20, 20], BN hidden, batch size 20 x 5"]
    names += [names[0].replace("20 x", "200 x")]
    shown = []
    for name in names:
        meter.begin(name, 100)
        meter.move(33, "validation 91.2% (90.1% to 92.3%)")
        lines = meter.lines(width)
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert " 33%" in text
        assert "left 0:00" in text
        assert "…" not in text
        assert "".join(name.split()) in "".join(text.split()).replace("━", "").replace("─", "")
        shown.append(text)
    assert shown[0] != shown[1]


def test_a_notebook_shows_it_in_place(monkeypatch):
    drawn = []

    class Handle:
        def update(self, shown):
            drawn.append(shown)

    def display(shown, display_id):
        assert display_id
        drawn.append(shown)
        return Handle()

    notebook = ModuleType("IPython")
    notebook.get_ipython = lambda: SimpleNamespace(kernel=1)
    shown = ModuleType("IPython.display")
    shown.HTML, shown.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    meter = Meter()
    assert meter.way == "notebook"
    with meter:
        meter.begin("5 networks", 10)
        meter.move(5, "validation <91%>")
        meter.leave("done & stored")
    assert "5 networks" in drawn[0]
    assert "done &amp; stored" in drawn[-1]
    assert "5 networks" not in drawn[-1]


def test_durations_are_whole():
    assert [clock(s) for s in (0.4, 59.6, 3599.7, 86400)] == ["0:00", "1:00", "1:00:00", "24:00:00"]


# The command.


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "klayer", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )


def test_json_is_all_on_stdout_and_progress_stays_on_stderr(tmp_path):
    done = run("train", *BRIEF, "--seeds", 2, "--out", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["arms"][0]["n"] == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "reading digits ..."
    assert "training 2 networks ..." in lines
    assert any("2 trained in" in line for line in lines)
    assert lines[-1] == "writing the page ..."
    assert "\x1b" not in done.stderr


def test_quiet_says_nothing_and_with_json_only_that(tmp_path):
    done = run("train", *BRIEF, "--out", tmp_path / "a", "-q", FORCE_COLOR="1")
    assert (done.stdout, done.stderr) == ("", "")
    done = run("train", *BRIEF, "--out", tmp_path / "b", "-q", "--json")
    assert json.loads(done.stdout)["kind"] == "train"
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("width", [80, 60])
def test_a_terminal_sees_it_live_and_is_left_clean(tmp_path, width):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = ["train", *BRIEF, "--cycles", "4", "--seeds", "4", "--out", str(tmp_path / "run")]
    child = subprocess.Popen(
        [sys.executable, "-m", "klayer", *command],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**env, "TERM": "xterm"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
    assert child.wait(60) == 0
    os.close(ours)
    text = said.decode()
    assert "writing the page" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert all(len(line) <= width for part in plain.split("\n") for line in part.split("\r"))
    assert "…" not in plain
    assert text.rstrip().endswith("\x1b[2K")  # nothing of it stays


def test_of_several_at_work_each_is_named_with_its_time_left(every):
    from klayer.study import Bars
    from klayer.study.execute import AtWork

    out = io.StringIO()
    with Meter("lines", out) as meter:
        bars = Bars(meter)
        bars.start(*packs_of(3))
        bars.at_work(5.0, [AtWork("one:1", "a", 0.25, 90.0), AtWork("two:2", "b", 0.5, None)])
        wait_for(lambda: "two:2" in out.getvalue())
    line = next(line for line in out.getvalue().splitlines() if "two:2" in line)
    assert "25%, " not in line
    assert re.search(r"in all, \d+%.*2 at work: one:1\s+25%\s+left 1:30; two:2\s+50%", line), line


def packs_of(seeds):
    """Return a population and its number of updates, as a reporter hears of them."""
    from klayer.study import Arm, jobs, pack
    from klayer.train import Settings

    return pack(jobs([Arm("a", Settings())], range(seeds))), [4]


def test_many_at_work_are_counted_where_there_is_no_room(every):
    meter = Meter("off")
    meter.begin("in all", 10)
    meter.beside([f"worker {i}" for i in range(40)])
    lines = meter.lines(80)
    assert lines[1] == "worker 0"
    assert lines[-1] == "and 24 more"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"arms": [{"name": "mine"}]}, ["mine"]),
        ({"arms": [{"name": "mine"}, {"name": "a wide one", "hidden": [9]}]}, ["mine", "a wide one"]),
        ({"arms": [{"name": "mine"}, {"hidden": [9]}]}, ["mine", "width 9"]),
        ({"arms": [{}, {"hidden": [9]}]}, ["width 6", "width 9"]),
        ({"arms": [{}]}, ["networks"]),
        # Several arms that train in one population.
        ({"arms": [{"name": "a", "l2": 0}, {"name": "b"}]}, ["a, b"]),
        ({"arms": [{"name": name, "l2": i} for i, name in enumerate("abcde")]}, ["a, b, c and 2 more"]),
        ({"arms": [{"name": "a", "l2": 0}, {"l2": 1}]}, ["networks"]),
        ({"steps": [{"name": "+ plus"}, {"name": "then", "batch_norm": "all"}]}, ["+ plus", "then"]),
        # Several populations of one arm.
        ({"arms": [{"name": "a"}], "vary": ["init", "order"]},
         ["a (order seed 0)", "a (order seed 1)"]),
    ],
)  # fmt: skip
def test_populations_are_called_by_the_names_that_arms_were_given(values, named):
    from klayer.study import Study
    from klayer.study.arms import pack
    from klayer.study.watch import Bars

    study = Study.from_values({"seeds": 2, "settings": {"hidden": [6]}, **values})
    packs, out = pack(study.jobs), io.StringIO()
    bars = Bars(Meter("lines", out))
    bars.start(packs, [10] * len(packs))
    said = []
    for one in packs:
        bars.progress(one, 5)
        said.append(bars.meter.lines(300)[0].partition(f" x {len(one.jobs)}  ")[0])
    assert said == named
