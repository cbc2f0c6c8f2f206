"""`klayer grade`: thirty submissions in one table; none of them can hold it up or speak for it."""

import csv
import json

import pytest
from typer.testing import CliRunner

import submissions
from klayer.cli.app import app
from klayer.errors import KlayerError
from klayer.gradcheck import find_submissions, grade


def run(*arguments):
    result = CliRunner().invoke(app, ["grade", *map(str, arguments)])
    if isinstance(result.exception, KlayerError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The output of the command over all thirty."""
    folder = tmp_path_factory.mktemp("handed-in")
    submissions.write(folder)
    out = folder.parent / "grades.csv"
    result = run(
        folder, "--time-limit", 12, "--json", "--csv", out, "--html", out.with_suffix(".html")
    )
    return result, json.loads(result.stdout), out


def test_thirty_submissions_get_the_verdicts_that_they_deserve(graded):
    result, data, _ = graded
    assert result.exit_code == 1
    assert data["counts"] == {"right": 8, "wrong": 9, "undecided": 0, "failed": 13}
    for one in data["submissions"]:
        assert one["name"].split("-")[0] == one["verdict"], one
        assert one["seconds"] < 20


def test_the_table_says_which_array_is_wrong_and_why(graded):
    by_name = {one["name"]: one for one in graded[1]["submissions"]}
    for name, (*_, arrays) in submissions.MISTAKES.items():
        assert set(by_name[f"wrong-{name}"]["arrays"]) == arrays, name
        assert by_name[f"wrong-{name}"]["cause"]
    assert "half of what it should be" in by_name["wrong-half"]["cause"]
    # At the submission's own parameters, biases of 0, this one can't be seen.
    assert "L2 term" in by_name["wrong-penalty-of-b"]["cause"]
    for name, (_, text) in submissions.FAILING.items():
        assert text in by_name[f"failed-{name}"]["cause"], by_name[f"failed-{name}"]
        assert by_name[f"failed-{name}"]["check"] is None


def test_the_table_as_csv_has_a_line_for_each(graded):
    _, data, out = graded
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["submission"] for row in rows] == [one["name"] for one in data["submissions"]]
    assert next(row for row in rows if row["submission"] == "wrong-sign")["arrays"] == "b1"
    assert out.with_suffix(".html").read_text(encoding="utf-8").count("<tr>") == 31


def test_words_of_a_submission_are_no_formula_of_a_spreadsheet(tmp_path):
    (tmp_path / "=cmd.py").write_text("def model():\n    raise ValueError('x')\n")
    table = grade(find_submissions([tmp_path]), jobs=1).to_csv()
    assert table.splitlines()[1].startswith("'=cmd,failed")


def test_a_harness_turns_what_was_handed_in_into_a_model(tmp_path):
    (tmp_path / "handed").mkdir()
    for name, factor in (("anna", 2), ("bert", 3)):
        text = f"def gradient(a):\n    return {factor} * a\ndef helper():\n    pass\n"
        folder = tmp_path / "handed" / name
        folder.mkdir()
        (folder / "hand_in.py").write_text(text)
        (folder / "other.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "course.py").write_text(
        "import numpy as np\n"
        "def model(student):\n"
        "    def f(p):\n"
        "        return (p['a'] ** 2).sum(), {'a': student.gradient(p['a'].real)}\n"
        "    return f, {'a': np.arange(1.0, 5.0)}\n"
    )
    result = run(
        tmp_path / "handed", "--file", "hand_in.py", "--harness", f"{tmp_path / 'course.py'}:model"
    )
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "2 submissions: 1 right, 1 wrong."
    assert any(line.startswith("anna") and " right " in line for line in lines)
    assert any(line.startswith("bert") and "1.5 times what it should be" in line for line in lines)


def test_gradients_of_zero_of_a_loss_of_nothing_are_not_right(tmp_path):
    (tmp_path / "lazy.py").write_text(
        "import numpy as np\ndef model():\n"
        "    return (lambda p: (0.0, {'W': np.zeros(3)})), {'W': np.ones(3)}\n"
    )
    result = run(tmp_path)
    assert result.exit_code == 3
    assert "proves nothing" in " ".join(result.stdout.split())


def test_a_sub_folder_with_several_files_is_no_submission_less(tmp_path):
    (tmp_path / "bert").mkdir()
    for name in ("a.py", "b.py"):
        (tmp_path / "bert" / name).write_text("")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "1 submission: 1 failed." in result.stdout
    assert "several Python files (a.py, b.py)" in " ".join(result.stdout.split())


def test_what_a_submission_says_does_not_fill_the_table(tmp_path):
    (tmp_path / "loud.py").write_text("def model(): raise ValueError('x\\n' * 100_000)\n")
    result = run(tmp_path)
    assert "x x x x" in " ".join(result.stdout.split())
    assert len(result.stdout) < 2000


def test_all_right_is_exit_status_0(tmp_path):
    (tmp_path / "one.py").write_text(submissions.RIGHT)
    assert run(tmp_path / "one.py").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no file or folder 'nowhere'"),
        (["."], r"no submissions: \. holds no Python file"),
        ([".", "--jobs", "0"], "`jobs` must be a whole number >= 1, but got 0"),
        ([".", "--time-limit", "0"], "`time_limit` must be a number of seconds > 0"),
        ([".", "--csv", "one", "--html", "./one"], "must be two files, but both are one"),
        ([".", "--csv", "no/where.csv"], "can't be written: no is no folder"),
        (["a.py", "--harness", "b.py:f"], "the harness must be FILE.py:FUNCTION, with a file"),
    ],
)
def test_wrong_use_is_told(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "a.py":
        (tmp_path / "a.py").write_text("x = 1")
    with pytest.raises(KlayerError, match=message):
        run(*arguments)


def test_submissions_are_found_in_files_folders_and_sub_folders(tmp_path):
    for name in ("one.py", "_hidden.py", "notes.txt", "anna/net.py", "bert/a.py", "bert/b.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert list(find_submissions([tmp_path])) == ["anna", "bert", "one"]
    assert list(find_submissions([tmp_path], "b.py")) == ["anna", "bert"]
    # Of two that have one name each is named by its path.
    (tmp_path / "bert" / "one.py").write_text("")
    both = find_submissions([tmp_path / "one.py", tmp_path / "bert" / "one.py"])
    assert list(both) == [str(tmp_path / "one.py"), str(tmp_path / "bert" / "one.py")]
