"""Every command and every TOML block on the pages that users read is run, with short trainings."""

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.data import Dataset, Split, catalogue, load
from klayer.data.source import always
from klayer.study import Study
from klayer.study.launch import run_search, run_study
from klayer.train import Settings
from klayer.train.schedules import Course
from report_runs import BRIEF

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What only an installation, a network or a database has.
ELSEWHERE = ("--storage", "data fetch")


def blocks(page, kind):
    """Return the fenced blocks of a kind on a page."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(page):
    """Return the lines that begin with the command, indented or in a fenced block."""
    text = page.read_text(encoding="utf-8")
    indented = re.findall(r"^    (klayer .*)$", text, flags=re.MULTILINE)
    fenced = [line for kind in ("", "console", "bash", "sh") for block in blocks(page, kind)
              for line in block.splitlines()]  # fmt: skip
    found = indented + [line.removeprefix("$ ") for line in fenced]
    return [line.split("#")[0].strip() for line in found if line.startswith("klayer ")]


# Each once; the page is where its files are described.
FOUND = {line: page for page in reversed(PAGES) for line in commands(page)}
COMMANDS = [pytest.param(page, line, id=f"{page.stem}: {line}") for line, page in FOUND.items()]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Let every training be of a few updates, on data sets that need no download."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 10
    rows = (rng.integers(0, 120, (160, 3072)) + 10 * labels[:, None]).astype(np.uint8)
    splits = {"train": slice(120), "validation": slice(120, 140), "test": slice(140, 160)}
    small = {name: Split(rows[part], labels[part]) for name, part in splits.items()}

    def stand_in(one):
        if one.name not in ("cifar10", "fashion_mnist", "mnist"):
            return one
        dataset = Dataset(one.name, small, tuple("abcdefghij"), (3, 32, 32))
        return replace(one, load=lambda _: dataset, find=always("here"), fetch=lambda *_: "here")

    monkeypatch.setattr(catalogue, "SOURCES", tuple(map(stand_in, catalogue.SOURCES)))
    monkeypatch.setattr(Settings, "course", lambda *_: Course(half_cycle=3))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each kind that a page may name."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {**BRIEF, "hidden": [8], "half_cycle": "1 epoch"}
    grid = {"batch_norm": ["none", "hidden"]}
    values = {"data": "digits", "seeds": 2, "settings": settings, "grid": grid}
    for name in ("study", "other"):
        run_study(Study.from_values(values), out=folder / name, workers=1)
    single = {"data": "digits", "seeds": 1, "arms": [settings]}
    run_study(Study.from_values(single), out=folder / "train", kind="train", workers=1)
    search = {"stages": [{"l2": "1e-4:1e-2"}], "trials": 2, "finalists": {"top": 1, "cycles": 1}}
    values = {"data": "digits", "settings": settings, "search": search}
    run_search(Study.from_values(values), out=folder / "search", workers=1)
    table = ["rooms,town,price", *(f"{i % 5},{'Ur' if i % 3 else 'Kish'},{i}.5" for i in range(60))]
    (folder / "houses.csv").write_text("\n".join(table), encoding="utf-8")
    return folder


@pytest.fixture
def place(runs, tmp_path, monkeypatch):
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    shutil.copy(runs / "houses.csv", tmp_path)
    rows = (runs / "houses.csv").read_text(encoding="utf-8").splitlines()
    new = [",".join(row.split(",")[:2]) for row in rows[:6]]
    (tmp_path / "new.csv").write_text("\n".join(new), encoding="utf-8")
    for name in ("cat.png", "dog.png"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / name)
    shutil.copy(ROOT / "examples" / "gradcheck_numpy.py", tmp_path / "my_model.py")
    (tmp_path / "handed_in").mkdir()
    handed_in = (tmp_path / "my_model.py").read_text(encoding="utf-8")
    handed_in += "\n\ndef model():\n    return correct()\n"
    (tmp_path / "handed_in" / "ada.py").write_text(handed_in, encoding="utf-8")
    return tmp_path


def prepared(page, line, runs, place):
    """Return the words of a command, with the placeholders filled in."""
    kind = "study"
    if "predict" in line:
        kind = "train"
    if page.stem == "search":
        kind = "search"
    if "new.csv" in line:
        words = ["train", "--data", "houses.csv", "--target", "price", "--out", "tabled", "-q"]
        assert CliRunner().invoke(app, words).exit_code == 0
        shutil.move(place / "tabled", place / "RUN")
    else:
        shutil.copytree(runs / kind, place / "RUN")
    shutil.copytree(runs / "other", place / "OTHER")
    words = shlex.split(line)[1:]
    words += ["--yes"] * ("remove" in words)  # nobody can be asked here
    for i, word in enumerate(words):
        if word.endswith(".toml"):
            (place / word).write_text(blocks(page, "toml")[0], encoding="utf-8")
        if word.startswith("RUN/export/"):
            exporting = ["export", "RUN", "--to", word.rpartition("/")[2]]
            assert CliRunner().invoke(app, exporting).exit_code == 0
        if word.startswith("my_model.py:"):
            words[i] = "my_model.py:correct"
        if word.startswith("runs/") and not (place / word).exists():
            made_by = "search" if "search" in word else "study"
            shutil.copytree(runs / made_by, place / word)
    return words


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_on_a_page_runs(page, line, runs, place):
    if any(word in line for word in ELSEWHERE):
        pytest.skip("needs what is not on this machine")
    if "--pdf" in line and shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed")
    words = prepared(page, line, runs, place)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)


def test_the_pages_have_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, text, id=f"{page.stem} {i}")
        for page in PAGES
        for i, text in enumerate(blocks(page, "toml"))
    ],
)
def test_toml_on_a_page_is_a_study_that_can_be(page, text):
    study = Study.from_values(tomllib.loads(text), str(page))
    assert study.arms
    assert json.dumps(study.document)
    assert load("digits").name == "digits"


PYTHON = [
    page for page in PAGES if any(not one.startswith(">>>") for one in blocks(page, "python"))
]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_python_on_a_page_runs_from_top_to_bottom(page, runs, place):
    text = "".join(one for one in blocks(page, "python") if not one.startswith(">>>"))
    made = re.findall(r'(?:out=|run_of\(\w+, )"(runs/\w+)"', text)
    for name in dict.fromkeys(re.findall(r'"(runs/\w+)"', text)):
        if name not in made:
            shutil.copytree(runs / "study", place / name)
    exec(text, {"__name__": "page"})
