"""What users read is true: names are documented, examples and commands exist, no stray paths."""

import inspect
import re
from pathlib import Path

import pytest
import typer

import klayer
from klayer.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", [name for name in klayer.__all__ if name != "__version__"])
def test_every_public_name_has_a_docstring(name):
    assert len(inspect.getdoc(getattr(klayer, name)) or "") > 40


@pytest.mark.parametrize(
    "module", ["data", "export", "gradcheck", "nn", "report", "study", "train"]
)
def test_every_public_name_of_a_room_exists_and_has_a_docstring(module):
    room = getattr(__import__(f"klayer.{module}"), module)
    assert room.__doc__
    for name in room.__all__:
        value = getattr(room, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_the_page_of_the_api_lists_the_public_names_and_no_others():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(set(klayer.__all__) - {"__version__"})


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        klayer.trian  # noqa: B018


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert f"klayer {command}" in text
    assert COMMANDS[command].help


def every_command(command=None, path=()):
    """All commands and groups, with the words that call them."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


EVERY = {" ".join(("klayer", *path)): (path, command) for path, command in every_command()}


@pytest.mark.parametrize("called", list(EVERY))
def test_the_help_of_every_command_ends_with_examples_that_can_be_read(called):
    path, command = EVERY[called]
    text = " ".join(command.help.split())
    examples = re.findall(r"Example[^:]*: klayer (.*?)(?= Example|$)", text)
    assert examples
    for example in examples:
        words = example.split()
        assert tuple(words[: len(path)]) == path
        context, inner = None, typer.main.get_command(app)
        while hasattr(inner, "commands") and words:
            context = typer.Context(inner, info_name="klayer", parent=context)
            inner = inner.commands[words.pop(0)]
        if words or not hasattr(inner, "commands"):
            inner.make_context("klayer", words)  # raises for what it doesn't know


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("called", list(EVERY))
def test_help_cuts_no_word_in_a_narrow_terminal(called, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    command = EVERY[called][1]
    text = command.get_help(command.make_context(called, [], resilient_parsing=True))
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\\[" not in text
    for flag in ("--half-cycle", "--batch-norm, --bn") if called == "klayer train" else ():
        assert flag in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_only_commands_and_files_that_exist(page):
    text = page.read_text(encoding="utf-8")
    # Commands stand on an indented line or in backticks; prose may say "klayer trains".
    for command in re.findall(r"(?:^    |`)klayer ([a-z]+)\b", text, flags=re.MULTILINE):
        assert command in COMMANDS, command
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), target
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_hold_no_path_of_a_machine(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(/home/|/root/|/tmp/|\.\./shared)", text)


def test_no_public_name_is_that_of_a_sub_package():
    rooms = {path.parent.name for path in (ROOT / "src" / "klayer").glob("*/__init__.py")}
    assert not rooms & set(klayer.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_the_marks_of_two_versions(page):
    assert not re.findall(r"^(?:<{7}|>{7}|={7}$).*", page.read_text(encoding="utf-8"), re.M)
