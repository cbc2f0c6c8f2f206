"""The chart library may end its process, at any moment: the page is written all the same."""

import os
import subprocess
import sys

import pytest

from klayer.report import drawing, vega
from klayer.report.drawing import NotDrawn, png, svg
from klayer.report.vega import Figure, Panel, channel, layers, mark

SPEC = {"data": {"values": [{"a": 1}]}, "mark": "point"}


@pytest.fixture
def worker(monkeypatch):
    """A worker of the test's own, and none for the figures."""
    own = drawing._Worker()
    monkeypatch.setattr(drawing, "_WORKER", own)
    yield own
    own.end()


def figure(text="b"):
    spec = layers(mark("point", {"x": channel("a:Q", title=text)}), values=[{"a": 1}])
    return Figure("one", "A figure.", [Panel("title", 100, "what it shows", spec)])


def test_a_picture_is_drawn_in_another_process(worker):
    drawn = svg(SPEC)
    assert drawn.startswith("<svg")
    assert png(drawn, scale=2).startswith(b"\x89PNG")
    assert worker._process.pid != os.getpid()


def test_a_process_that_is_killed_costs_one_picture(worker, tmp_path):
    svg(SPEC)
    worker._process.kill()
    ((_, text),) = figure().drawn()
    assert '<p class="hint">This picture is missing: the chart library ended (SIGKILL;' in text
    assert figure().drawn()[0][1].startswith("<svg")
    assert len(figure().save(tmp_path, png=True)) == 2


def test_no_more_processes_are_begun_than_a_few(worker, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "SECONDS", 0.0)
    for _ in range(drawing.DEATHS):
        with pytest.raises(NotDrawn, match="ended"):
            svg(SPEC)
    with pytest.raises(NotDrawn, match="ended several times before"):
        svg(SPEC)
    assert figure().save(tmp_path) == []
    assert worker._process is None


@pytest.mark.parametrize(
    "text", ["a\x00b", "\x1b[31m", "\ud800", "\x07" * 5000, "<script>", "1e999"]
)
def test_no_text_ends_the_command(worker, text):
    ((_, drawn),) = figure(text).drawn()
    assert drawn.startswith(("<svg", '<p class="hint">This picture is missing'))
    assert figure().drawn()[0][1].startswith("<svg")


def test_what_the_library_refuses_is_said(worker):
    with pytest.raises(NotDrawn, match="the chart library refused it: "):
        svg({"mark": 3})
    assert svg(SPEC).startswith("<svg")


@pytest.mark.parametrize("flags", [[], ["-O"], ["-OO"]], ids=["", "-O", "-OO"])
def test_a_page_is_written_under_a_limit_and_without_assertions(tmp_path, flags):
    if os.name != "posix":
        pytest.skip("no such limits here")
    code = (
        "import resource, sys\n"
        "if not sys.argv[1:]:\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "import klayer as kl\n"
        "settings = {'hidden': [4], 'cycles': 1, 'half_cycle': '1 epoch'}\n"
        "study = kl.Study.from_values({'seeds': 1, 'settings': settings})\n"
        f"kl.write_report(kl.run_study(study, out={str(tmp_path / 'run')!r}))\n"
    )
    command = [sys.executable, *flags, "-c", code, *flags]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert ("This picture is missing: the chart library ended" in page) == (not flags)


def test_a_page_whose_script_cannot_be_made_has_none(worker, monkeypatch):
    def end(*_, **__):
        raise NotDrawn("gone")

    monkeypatch.setattr(drawing, "javascript_bundle", end)
    monkeypatch.setattr(vega, "cached", lambda name, make: make())
    assert vega.javascript() == ""
