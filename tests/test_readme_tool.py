"""tools/readme.py asks before it overwrites."""

import importlib.util
import io
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "readme.py"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def tool(tmp_path, monkeypatch, small_study):
    """The tool, with a README of its own and without a browser."""
    spec = importlib.util.spec_from_file_location("readme_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "picture", lambda run, target: target.write_bytes(b"new"))
    (tmp_path / "docs" / "images").mkdir(parents=True)
    (tmp_path / "docs" / "images" / "page.png").write_bytes(b"old")
    (tmp_path / "README.md").write_text(f"a\n{module.START}\nold table\n{module.END}\nb\n")
    module.run = small_study.path
    return module


def files(tool):
    image = (tool.ROOT / "docs" / "images" / "page.png").read_bytes()
    return image, (tool.ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (io.StringIO("y\n"), "README.md would be overwritten, and nobody can be asked here"),
        (Terminal("\n"), "nothing was written"),
        (Terminal("no\n"), "nothing was written"),
    ],
)
def test_without_a_yes_nothing_is_written(tool, monkeypatch, stdin, message):
    before = files(tool)
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(SystemExit, match=message):
        tool.main(tool.run)
    assert files(tool) == before


@pytest.mark.parametrize("asked", [True, False])
def test_with_a_yes_both_are_written(tool, monkeypatch, asked):
    monkeypatch.setattr(sys, "stdin", Terminal("y\n") if asked else io.StringIO())
    tool.main(tool.run, yes=not asked)
    image, text = files(tool)
    assert image == b"new"
    assert text.startswith(f"a\n{tool.START}\n| network |")
    assert text.endswith(f"{tool.END}\nb\n")
    assert "old table" not in text


def test_a_readme_without_the_markers_is_left_alone(tool):
    (tool.ROOT / "README.md").write_text("nothing here\n")
    with pytest.raises(SystemExit, match="must hold the lines"):
        tool.main(tool.run, yes=True)
    assert files(tool) == (b"old", "nothing here\n")
