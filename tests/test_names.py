"""Nasty names through every face: data, train, study, search, report, tables, predict, terminal.

Names of classes, arms, folders and files that hold what a terminal, a markup, a chart, a spreadsheet or
an address would act on. Everything is run as a command, in a terminal that knows Latin letters alone.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import klayer as kl
from klayer.data import Dataset, Split
from klayer.printable import printable

NASTY = {
    "tab": "tab\there",
    "line ends": "new\nline\r",
    "bell": "bell\x07",
    "colours and a title": "esc \x1b[31mred\x1b[0m\x1b]0;t\x07",
    "a control character of eight bits": "csi \x9b31m",
    "delete": "del\x7f",
    "markup": "[bold]b[∕bold]",
    "a closing tag": "[∕]",
    "half a tag": "a[b",
    "HTML": "<b>&amp;<i>",
    "a script": "<script>alert(1)<!--",
    "a formula": "=1+1",
    "a formula with a plus": "+cmd|' C'!A0",
    "a formula with an at": "@x",
    "a number below zero": "-1",
    "right to left": "שלום",
    "a turned text": "\u202egnp.exe",
    "a byte-order mark": "\ufeffbom",
    "zero width": "a\u200bb",
    "picture": "🐱",
    "accents by themselves": "e\u0301",
    "very long": "x" * 200,
    "an address": "a%20b?c#d&e=f",
    "quotes": "a'b\"c\\d",
    "a template": "{{ x }}{% y %}",
    "a shell": "${HOME} `ls` $(ls)",
    "line separators": "a\u2028b\x85",
    "a word of JSON": "null",
    "a smiley": ":warning:",
    "home": "~",
    "dots": "a...",
}
BYTES = "\udcff\udcfe"  # a file name that is not UTF-8
ACTS = ["\x1b", "\x07", "\x9b", "\x7f", "\x85", "\u202e", "\ufeff", "\u2028", "\u200b", "\r"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows refuses such file names")


def quoted(text):
    """A text of TOML, everything odd as an escape."""
    plain = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / f"{BYTES} [red]d\x1b[31m #?%41"
    rng = np.random.default_rng(0)
    names = [*NASTY.values(), BYTES]
    try:
        for name in names:
            (folder / "set" / name).mkdir(parents=True)
            for index in range(4):
                pixels = rng.integers(0, 256, (6, 6), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "set" / name / f"{index}.png")
    except OSError:
        pytest.skip("this file system refuses such names")
    arms = "".join(
        f"[[arms]]\nname = {quoted(name)}\nl2 = {index * 1e-4}\n"
        for index, name in enumerate([*NASTY.values(), "[/]", "<a/>"])
    )
    (folder / f"st{BYTES}[b].toml").write_text(
        f"""name = {quoted("n [red] " + chr(27) + "[31m")}
title = {quoted("t <b> " + chr(7) + " [/]")}
data = "set"
seeds = 2
[settings]
hidden = [5]
cycles = 1
half_cycle = "1 epoch"
batch_size = 20
{arms}
[[published]]
where = {{ l2 = 0.0 }}
source = {quoted("s " + chr(27) + "[0m <i> =1")}
test = 0.3
""",
        encoding="utf-8",
    )
    return folder


BRIEF = ("--hidden", "5", "--cycles", "1", "--half-cycle", "1 epoch", "--batch-size", "20")
COMMANDS = {
    "data info": ("data", "info", "set"),
    "data info as JSON": ("data", "info", "set", "--json"),
    "data show": ("data", "show", "set"),
    "train": ("train", "--data", "set", *BRIEF, "--out", f"train{BYTES}[b]"),
    "train as JSON": ("train", "--data", "set", *BRIEF, "--json", "--out", "=1+1"),
    "study": ("study", f"st{BYTES}[b].toml", "--out", f"study{BYTES}<x>"),
    "report": ("report", f"study{BYTES}<x>"),
    "predict": ("predict", f"train{BYTES}[b]", "set/a[b/0.png", f"set/{BYTES}/0.png"),
    "predict as a table": ("predict", f"train{BYTES}[b]", "set/=1+1/0.png", "--out", "p.csv"),
    "search": (*("search", "--data", "set", *BRIEF, "--l2", "1e-5:1e-1", "--trials", "2"),
               *("--finalists", "1", "--final-cycles", "1", "--final-seeds", "1"),
               *("--out", "search\x1b[31m")),
    "runs": ("runs", "list"),
    "compare": ("runs", "compare", f"train{BYTES}[b]", "=1+1"),
    "a mistake": ("data", "info", f"gone{BYTES}\x1b[31m[/]"),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(place):
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "latin-1",
        "PYTHONPATH": str(Path(kl.__file__).parents[1]),
    }
    return {
        name: subprocess.run(
            [sys.executable, "-m", "klayer", *words],
            cwd=place,
            env=environment,
            capture_output=True,
            timeout=300,
        )
        for name, words in COMMANDS.items()
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_acts_in_the_terminal_or_stops_a_command(answers, command):
    answer = answers[command]
    said = answer.stdout + answer.stderr
    mistaken = command in ("a mistake", "an arm that isn't")
    assert answer.returncode == (2 if mistaken else 0), said[-2000:]
    assert b"Traceback" not in said
    told = said.decode("latin-1").replace("\r\n", "\n")
    assert not [one for one in ACTS if one in told]


def test_names_are_told_as_they_are_or_escaped(answers):
    said = answers["data info"].stdout.decode("latin-1")
    for part in ("[bold]b[", "a[b", "<b>&amp;<i>", "bell\\x07", "=1+1", "\\xff\\xfe"):
        assert part in said
    classes = json.loads(answers["data info as JSON"].stdout)["class_names"]
    assert set(classes) == {printable(name) for name in [*NASTY.values(), BYTES]}


def test_every_file_of_a_run_is_whole_text_without_anything_that_acts(place, answers):
    found = 0
    for run in place.iterdir():
        if not (run / "run.json").exists():
            continue
        for path in run.rglob("*"):
            if path.suffix not in (".html", ".csv", ".svg", ".md", ".json", ".jsonl", ".toml"):
                continue
            found += 1
            text = path.read_text("utf-8")
            # the page inlines a library whose own texts hold odd characters
            text = text if path.suffix != ".html" else text.partition("<main")[2]
            seen = [one for one in ACTS if one in text]
            assert not seen, path
            if path.suffix in (".html", ".svg"):
                assert "<script>alert(1)" not in text, path
    assert found > 10


def test_no_cell_of_a_table_is_a_formula(place, answers):
    tables = [*place.rglob("*.csv")]
    assert tables
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    if cell[:1] in ("=", "+", "-", "@"):
                        float(cell)  # a number below zero is one


@pytest.mark.parametrize("name", [*NASTY.values(), BYTES])
def test_a_name_passes_through_python(name):
    rows = Split(np.arange(40.0)[:, None], np.arange(40) % 2)
    data = Dataset(name, {"train": rows, "validation": rows}, (name, "other"), source=name)
    json.dumps([data.name, data.source, *data.class_names]).encode("utf-8")
    assert not [one for one in ACTS if one in data.class_names[0]]
    assert printable(data.class_names[0]) == data.class_names[0]


def test_names_that_are_shown_alike_are_refused():
    rows = Split(np.arange(4.0)[:, None], np.arange(4) % 2)
    with pytest.raises(kl.KlayerError, match="at least two classes with different names"):
        Dataset("d", {"train": rows}, ("a\x07", "a\\x07"))


def test_ordinary_names_stay_as_they_are():
    for name in ("cat", "Zürich", "猫", "naïve café", "שלום", "👩‍🔬", "x²", "a b", "5 %", "C:\\x"):
        assert printable(name) == name
