"""Tables of every format: what is read, which rows are meant, what is refused."""

from __future__ import annotations

import bz2
import datetime
import gzip
import lzma
import re

import numpy as np
import pytest

pl = pytest.importorskip("polars")

from klayer.data import load, read_rows  # noqa: E402
from klayer.data.tables.kinds import as_kind  # noqa: E402
from klayer.data.tables.libsvm import looks_like_libsvm  # noqa: E402
from klayer.data.tables.read_table import is_table, read_table  # noqa: E402
from klayer.errors import KlayerError  # noqa: E402


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def write(folder, content, name="t.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def look(path, **how):
    """Each column as (kind, values or texts, None where missing)."""
    table = read_table(path, **how)
    found = {}
    for name in table.names:
        column = as_kind(table.column(name), None)
        values = [column.levels[v] for v in column.values] if column.levels else column.values
        gone = column.missing if column.missing is not None else np.zeros(len(column), bool)
        found[name] = (
            column.kind,
            [None if m else v for m, v in zip(gone, list(values), strict=True)],
        )
    return found


NUMBERS = {"a": ("number", [1, 3]), "b": ("number", [2.5, 4.5])}

# The same table as people write it.
SPELLINGS = {
    "commas": (b"a,b\n1,2.5\n3,4.5\n", "t.csv"),
    "blanks behind commas": (b"a, b\n1, 2.5\n3, 4.5\n", "t.csv"),
    "no last line end": (b"a,b\n1,2.5\n3,4.5", "t.csv"),
    "Windows line ends": (b"a,b\r\n1,2.5\r\n3,4.5\r\n", "t.csv"),
    "old Macintosh line ends": (b"a,b\r1,2.5\r3,4.5\r", "t.csv"),
    "byte-order mark": (b"\xef\xbb\xbfa,b\n1,2.5\n3,4.5\n", "t.csv"),
    "UTF-16": ("a,b\n1,2.5\n3,4.5\n".encode("utf-16"), "t.csv"),
    "tabs": (b"a\tb\n1\t2.5\n3\t4.5\n", "t.tsv"),
    "tabs in a .csv": (b"a\tb\n1\t2.5\n3\t4.5\n", "t.csv"),
    "bars": (b"a|b\n1|2.5\n3|4.5\n", "t.txt"),
    "semicolons": (b"a;b\n1;2.5\n3;4.5\n", "t.csv"),
    "decimal commas": (b"a;b\n1;2,5\n3;4,5\n", "t.csv"),
    "Excel's first line": (b"sep=;\na;b\n1;2.5\n3;4.5\n", "t.csv"),
    "blanks": (b"  a   b\n 1  2.5 \n 3\t 4.5\n", "t.data"),
    "one tab and two": (b"a\tb\n1\t\t2.5\n3\t4.5\n", "t.txt"),
    "quotes": (b'"a","b"\n"1","2.5"\n"3","4.5"\n', "t.csv"),
    "empty lines": (b"\na,b\n\n1,2.5\n\n3,4.5\n\n\n", "t.csv"),
    "lines of commas": (b"a,b\n1,2.5\n,\n3,4.5\n,\n", "t.csv"),
    "gzip": (gzip.compress(b"a,b\n1,2.5\n3,4.5\n"), "t.csv.gz"),
    "bzip2": (bz2.compress(b"a,b\n1,2.5\n3,4.5\n"), "t.csv.bz2"),
    "xz": (lzma.compress(b"a,b\n1,2.5\n3,4.5\n"), "T.CSV.XZ"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_table_is_the_same_however_it_is_written(tmp_path, case):
    assert look(write(tmp_path, *SPELLINGS[case])) == NUMBERS


HEADINGS = {
    "names": ("x,y\n1,2\n", ["x", "y"]),
    "texts over texts": ("town,land\nUr,Sumer\n", ["town", "land"]),
    "no heading": ("1,2\n3,4\n", ["column_1", "column_2"]),
    "a number among names of texts, none below": ("1,a\n2,b\n", ["column_1", "column_2"]),
    "numbers of rows and columns over numbers": (
        "150,4,setosa\n5.1,3.5,0\n",
        ["150", "4", "setosa"],
    ),
    "texts that come again below": (
        "f,t,won\nt,t,won\nf,t,lost\n",
        ["column_1", "column_2", "column_3"],
    ),
    "the same name twice": ("x,x\n1,2\n", ["x", "x (2)"]),
    "no name": ("x,\n1,2\n", ["x", "column_2"]),
    "a line end in a name": ('"a\nb",c\n1,2\n', ["a\nb", "c"]),
}


@pytest.mark.parametrize("case", HEADINGS)
def test_a_heading_is_told_from_a_row(tmp_path, case):
    text, names = HEADINGS[case]
    assert read_table(write(tmp_path, text)).names == names


NOISE = np.random.default_rng(0).normal(size=(40, 3)).round(3)
DIGITS = np.random.default_rng(1).integers(0, 10, (40, 3))
PIXELS = np.random.default_rng(2).integers(0, 17, (40, 64))


def lines(rows, heading="", index=False, separator=","):
    """Rows as pandas writes them."""
    body = [[*([number] if index else []), *row] for number, row in enumerate(rows.tolist())]
    cells = [separator.join(map(str, row)) for row in body]
    return "\n".join([heading, *cells] if heading else cells) + "\n"


COUNTED = {
    "numbers with a point": (lines(NOISE, "0,1,2"), ["0", "1", "2"]),
    "from 1": (lines(NOISE, "1,2,3"), ["1", "2", "3"]),
    "in quotes": (lines(NOISE, '"0","1","2"'), ["0", "1", "2"]),
    "tabs": (lines(NOISE, "0\t1\t2", separator="\t"), ["0", "1", "2"]),
    "an index beside": (lines(NOISE, ",0,1,2", index=True), ["column_1", "0", "1", "2"]),
    "a name beside": (lines(NOISE, "0,1,label"), ["0", "1", "label"]),
    "a name before": (lines(NOISE, "label,0,1"), ["label", "0", "1"]),
    "whole numbers": (lines(DIGITS, "0,1,2"), ["0", "1", "2"]),
    "pixels": (lines(PIXELS, ",".join(map(str, range(64)))), [str(i) for i in range(64)]),
    "one row": ("0,1\n0.5,0.25\n", ["0", "1"]),
}


@pytest.mark.parametrize("case", COUNTED)
def test_a_heading_that_counts_the_columns_is_told_from_a_row(tmp_path, case):
    content, names = COUNTED[case]
    path = write(tmp_path, content)
    table = read_table(path)
    assert table.names == names
    assert "the first line is the heading: " in "".join(table.notes)
    assert len(read_table(path, heading="no")) == len(table) + 1


ROWS = {
    "numbers in order": ("0,1,2\n3,4,5\n6,7,8\n", 3),
    "two rows in order": ("1,2\n3,4\n", 2),
    "all there is to choose from": ("0,1\n1,1\n1,0\n0,0\n", 4),
    "few rows": ("0,1\n5,3\n8,9\n", 3),
    "numbers with a point": (lines(NOISE), 40),
    "whole numbers": (lines(DIGITS), 40),
    "from 2": (lines(NOISE, "2,3,4"), 41),
    "with a gap": (lines(NOISE, "0,2,3"), 41),
    "downwards": (lines(NOISE, "2,1,0"), 41),
    "one line": ("1,2,3\n", 1),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_row_that_counts_by_chance_is_a_row(tmp_path, case):
    content, count = ROWS[case]
    assert len(read_table(write(tmp_path, content))) == count


def test_a_heading_that_is_known_from_training_is_one(tmp_path):
    data = load(write(tmp_path, lines(DIGITS, "0,1,2"), "train.csv"), target="2")
    new = write(tmp_path, "0,1\n0,0\n1,1\n", "new.csv")  # alone it would be three rows
    assert len(read_table(new)) == 3
    rows, names = read_rows([new], n_features=2, encoder=data.encoder)
    assert rows.tolist() == [[0, 0], [1, 1]]
    assert len(names) == 2


def test_a_heading_can_be_said(tmp_path):
    path = write(tmp_path, "2019,2020\n1,2\n3,4\n")
    assert len(read_table(path)) == 3
    assert read_table(path, heading="yes").names == ["2019", "2020"]
    assert len(read_table(write(tmp_path, "a,b\nc,d\n"), heading="no")) == 2


KINDS = {
    "whole numbers": (["1", "-2", "+3"], "number", [1, -2, 3]),
    "fractions late": (["1"] * 1200 + ["1.5"], "number", [1.0] * 1200 + [1.5]),
    "exponents": (["1e3", "2E-2", ".5"], "number", [1000.0, 0.02, 0.5]),
    "numbers of 30 digits": (["9" * 30, "1"], "number", [1e30, 1.0]),
    "booleans": (["true", "False", "TRUE"], "boolean", [True, False, True]),
    "dates": (["1970-01-02", "1970-01-01"], "date", [1.0, 0.0]),
    "times": (["1970-01-01 12:00", "1970-01-02T00:00:00Z"], "date", [0.5, 1.0]),
    "times of zones": (["1970-01-01T01:00+01:00"], "date", [0.0]),
    "texts": (["b", "a", "b"], "category", ["b", "a", "b"]),
    "slashes are no dates": (
        ["01/02/2020", "13/02/2020"],
        "category",
        ["01/02/2020", "13/02/2020"],
    ),
    "few numbers among texts": (["0", "a", "0"], "category", ["0", "a", "0"]),
    "gaps": (["1", "NA", "n/a", "NaN", "?", "null", " "], "number", [1.0] + [None] * 6),
    "texts with gaps": (["a", "", "  ", "None"], "category", ["a", None, None, None]),
}


@pytest.mark.parametrize("case", KINDS)
def test_cells_tell_a_columns_kind(tmp_path, case):
    cells, kind, values = KINDS[case]
    path = write(tmp_path, "\n".join(["x,y", *(f"{cell},7" for cell in cells)]))
    found = look(path)["x"]
    assert found[0] == kind
    assert found[1] == pytest.approx(values) if kind in ("number", "date") else found[1] == values


def test_columns_kept_as_written_keep_their_noughts(tmp_path):
    path = write(tmp_path, "zip,y\n007,1\n010,2\n")
    table = read_table(path, texts=["zip"])
    assert table.column("zip").levels == ("007", "010")


MISTAKES = {
    "empty": (b"", ": must hold a table, but is empty."),
    "a heading alone": (b"a,b\n", ": must hold rows below its heading, but holds none."),
    "a longer line": (
        b"a,b\n1,2\n3,4,5\n",
        ", line 3: a line must have 2 cells like the first, but",
    ),
    "a shorter line": (
        b"a,b\n1,2\n3\n5,6\n",
        ", line 3: a line must have 2 cells like the first, but",
    ),
    "a cut end": (b"a,b,c\n1,2,3\n4,5", ", line 3: a line must have 3 cells like the first, but"),
    "Latin 1": (b"a,b\n1,2\ncaf\xe9,3\n", ", line 3: texts must be UTF-8: save the file as UTF-8"),
    "an open quote": (
        b'a,b\n"x,2\n3,4\n',
        ", line 2: a line must have 2 cells like the first, but has 1",
    ),
    "bytes of value 0": (b"a,b\n\x00,2\n", ": must be a table in text, but has bytes of value 0"),
    "half of UTF-16": (b"\xff\xfea", ": begins like UTF-16, but isn't ("),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_refused_with_file_line_and_rule(tmp_path, case):
    content, message = MISTAKES[case]
    path = write(tmp_path, content)
    with refuses(f"{path}{message}"):
        read_table(path)


def test_a_cell_that_is_no_number_among_numbers_is_named_with_its_line(tmp_path):
    rows = [f"{i},{i % 2}" for i in range(50)]
    path = write(tmp_path, "\n".join(["age,y", *rows[:30], '"4\n2x",1', *rows[30:]]))
    with refuses(
        f"{path}, column 'age', line 32: must be a number like 98.0% of the column, but got '4\\n2x': "
        "mend the cell, empty it (a gap), or say that the column holds names: --category 'age'."
    ):
        load(path, target="y")
    assert load(path, target="y", category="age").n_features > 20


@pytest.mark.parametrize(
    ("content", "ending"), [(b"\x1f\x8b cut", ".gz"), (b"BZh cut", ".bz2"), (b"cut", ".xz")]
)
def test_a_damaged_packed_file_is_refused(tmp_path, content, ending):
    path = write(tmp_path, content, f"a.csv{ending}")
    with refuses(f"{path}: can't be "):
        read_table(path)


def test_a_file_that_unpacks_to_more_than_half_of_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.data.tables.packed.memory_bound", lambda: 10**6)
    path = write(tmp_path, gzip.compress(b"0" * 10**8), "bomb.csv.gz")
    assert path.stat().st_size < 10**6
    with refuses(f"{path}: a table must fit into half of the memory"):
        read_table(path)


def test_a_file_of_several_blocks_is_the_same_table(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    lines = [
        f'{x:.4f},"{"a,b" if x > 0 else "c"}\n{i}",{i % 3}'
        for i, x in enumerate(rng.normal(size=400))
    ]
    path = write(tmp_path, "\n".join(["x,t,y", *lines]))
    whole = look(path)
    monkeypatch.setattr("klayer.data.tables.text_table._BLOCK", 200)
    assert look(path) == whole
    assert read_table(path).place(100) == "line 202"


def test_a_large_file_is_kept_in_float32_only_where_that_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.data.tables.text_table._BLOCK", 1000)
    monkeypatch.setattr("klayer.data.tables.text_table._LARGE", 5000)
    rows = np.random.default_rng(0).normal(size=(500, 2))

    def kinds(columns, **how):
        path = write(tmp_path, "x,y\n" + "\n".join(f"{x!r},{y!r}" for x, y in columns.tolist()))
        return [str(read_table(path, **how).raw[name].dtype) for name in "xy"]

    assert kinds(rows) == ["Float32", "Float32"]
    assert kinds(rows, exact=["y"]) == ["Float32", "Float64"]
    assert kinds(rows, exact=["-1"]) == ["Float32", "Float64"]
    late = rows.copy()
    late[-1, 0] = 1e39
    assert kinds(late) == ["Float64", "Float64"]
    assert kinds(rows + 1e6) == ["Float64", "Float64"]


# other formats

ARFF = """% iris, shortened
@RELATION iris
@attribute 'sepal length' REAL
@ATTRIBUTE "petal" numeric [0, 10]
@attribute place {'San Juan', Ur}
@attribute when date "yyyy-MM-dd"
@attribute Class {a, b}
@DATA
5.1, 3.5, 'San Juan', 2020-01-01, a
% a comment
?,3.0,Ur,2020-01-02,b
"""


def test_an_arff_file_says_kinds_target_and_gaps(tmp_path):
    path = write(tmp_path, ARFF, "iris.arff")
    table = read_table(path)
    assert table.names == ["sepal length", "petal", "place", "when", "Class"]
    assert table.target == ("Class",)
    found = look(path)
    assert found["sepal length"] == ("number", [5.1, None])
    assert found["place"] == ("category", ["San Juan", "Ur"])
    assert found["when"][0] == "date"
    assert table.place(1) == "line 11"


def test_a_sparse_arff_file_is_filled_up(tmp_path):
    text = "@relation r\n@attribute a real\n@attribute b {x,y}\n@attribute c real\n@data\n"
    text += "{0 5}\n{1 y,2 3}\n"
    found = look(write(tmp_path, text, "s.arff"))
    assert found == {
        "a": ("number", [5, 0]),
        "b": ("category", ["x", "y"]),
        "c": ("number", [0, 3]),
    }


def test_a_keel_file_is_read_by_its_ending_or_content(tmp_path):
    text = "@relation r\n@attribute a real[0,9]\n@attribute out {0,1}\n@inputs a\n@outputs out\n"
    text += "@data\n1, 0\n2, 1\n"
    for name in ("r.dat", "r.arff", "r.txt"):
        table = read_table(write(tmp_path, text, name))
        assert (table.target, table.names) == (("out",), ["a", "out"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "@relation r\n@attribute a real\n1\n",
            ": an ARFF file must have a line @data, but has none.",
        ),
        ("@relation r\n@data\n1\n", ": an ARFF file must have lines @attribute, but has none."),
        (
            "@relation r\n@attribute a relational\n@data\n1\n",
            ", line 2: an attribute must be real,",
        ),
        ("@relation r\n@attribute\n@data\n1\n", ", line 2: must be @attribute NAME KIND, but got"),
        (
            "@relation r\n@attribute a real\n@attribute a real\n@data\n1,2\n",
            ", line 3: attributes must",
        ),
        ("@relation r\n@attribute a real\n@data\n{9 1}\n", ", line 4: a sparse row must be {INDEX"),
        (
            "@relation r\n@attribute a real\n@outputs z\n@data\n1\n",
            ": @outputs names 'z', which is no",
        ),
        ("@relation r\n@attribute a real\n@data\n1,2\n", ", line 4: a line must have 1 cells like"),
    ],
)
def test_a_wrong_arff_file_is_refused(tmp_path, text, message):
    path = write(tmp_path, text, "a.arff")
    with refuses(f"{path}{message}"):
        read_table(path)


def test_a_libsvm_file_keeps_the_files_own_indices(tmp_path):
    path = write(tmp_path, "# made\n+1 2:0.5 4:1\n-1 1:2 # two\n", "a.libsvm")
    table = read_table(path)
    assert table.names == ["feature_1", "feature_2", "feature_3", "feature_4", "label"]
    assert table.raw["feature_2"].tolist() == [0.5, 0]
    assert table.raw["label"].tolist() == [1, -1]
    assert read_table(write(tmp_path, "1 0:3 1:2\n0 1:5\n", "b.svm")).names[0] == "feature_0"


@pytest.mark.parametrize("name", ["a9a", "a9a.t", "a9a.txt", "a9a.dat", "a9a.gz"])
def test_a_libsvm_file_is_known_by_its_content(tmp_path, name):
    text = b"-1 3:1 11:1\n+1 5:1 7:1\n"
    path = write(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    assert is_table(path)
    assert read_table(path).target == ("label",)


def test_a_long_line_of_numbers_is_no_libsvm_and_is_told_at_once():
    line = ",".join(f"-{i}.{i}e-{i}" for i in range(400)).encode()
    assert not looks_like_libsvm(line + b"\n" + line)
    assert looks_like_libsvm(b"-1.5e-3,2 qid:3 1:0.5 # two\n")


def test_several_labels_of_a_libsvm_file_are_columns_of_yes_and_no(tmp_path):
    table = read_table(write(tmp_path, "1,3 1:1\n3 1:2\n1 2:1\n", "m.libsvm"))
    assert table.target == ("label_1", "label_3")
    assert table.raw["label_3"].tolist() == [True, True, False]


@pytest.mark.parametrize("text", ["", "x\n", "1 a:b\n", "1 2:\n", "1 -1:3\n", "1 2:3 1:\n"])
def test_a_damaged_libsvm_file_is_refused(tmp_path, text):
    path = write(tmp_path, text, "a.libsvm")
    with refuses(f"{path}: "):
        read_table(path)


def test_a_libsvm_file_whose_zeros_would_fill_the_memory_is_refused(tmp_path):
    path = write(tmp_path, "1 4000000000:1\n0 1:1\n", "a.libsvm")
    with refuses(f"{path}: features must fit into half of the memory with their zeros"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "save"),
    [("t.parquet", "write_parquet"), ("t.feather", "write_ipc"), ("t.arrow", "write_ipc")],
)
def test_binary_tables_are_read_and_damaged_ones_refused_quietly(tmp_path, name, save, capfd):
    frame = pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None], "ok": [True, False, None]})
    path = tmp_path / name
    getattr(frame, save)(path)
    assert look(path)["a"] == ("number", [1, None, 3])
    assert look(path)["b"] == ("category", ["x", "y", None])
    assert read_table(path).place(2) == "row 2"
    content = path.read_bytes()
    for cut in (0, 4, len(content) // 2, len(content) - 3, len(content) - 9):
        path.write_bytes(content[:cut])
        with refuses(f"{path}: can't be read ("):
            read_table(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("value", [["a"], {"k": 1}, b"x", datetime.time(9, 30)])
def test_columns_of_other_things_are_refused_by_name_and_may_be_dropped(tmp_path, value):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": [value] * 20, "x": range(20), "y": [0, 1] * 10}).write_parquet(path)
    with refuses(f"{path}, column 'a': must hold numbers, yes or no, dates or texts, but holds "):
        load(path, target="y")
    assert load(path, target="y", drop="a").n_features == 1


def test_a_table_of_an_unknown_ending_and_a_folder_are_refused(tmp_path):
    path = write(tmp_path, "1,2\n", "a.xlsx")
    with refuses(f"{path}: a table must be one of .csv, "):
        read_table(path)
    assert not is_table(path)
    with refuses(f"{tmp_path}: must be a file, but is a folder"):
        read_table(tmp_path)
    with refuses(f"{tmp_path / 'gone.csv'}: no such file."):
        read_table(tmp_path / "gone.csv")
    with refuses(f"{tmp_path / 'gone.csv'}: no such file."):
        load(tmp_path / "gone.csv", target="y")


def test_without_polars_a_table_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with refuses(
        "tables are read by polars, which is not installed: `pip install klayer[tables]`."
    ):
        read_table(write(tmp_path, "a,b\n1,2\n"))


def test_an_array_in_a_file_is_a_table_without_names(tmp_path):
    rows = np.column_stack([np.arange(40.0), np.arange(40) % 2])
    np.save(tmp_path / "t.npy", rows)
    data = load(tmp_path / "t.npy", target=-1)
    assert (data.class_names, data.n_features) == (("0", "1"), 1)
    np.save(tmp_path / "t.npy", np.zeros((2, 3, 4)))
    with refuses(f"{tmp_path / 't.npy'}: a table must have shape (N, D) with at least one row"):
        load(tmp_path / "t.npy", target=-1)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("a", "1e39"), ("a", "-1e40"), ("b", "1e300"), ("a", "1e400"), ("b", "inf")],
)
def test_a_number_too_large_to_be_calculated_with_is_named_with_its_line(tmp_path, column, cell):
    rows = [["7", f"{i / 2}", "train" if i < 40 else "test", "pq"[i % 2]] for i in range(60)]
    rows[45]["ab".index(column)] = cell
    path = write(tmp_path, "\n".join(["a,b,part,y", *map(",".join, rows)]))
    with refuses(f"{path}, column '{column}', line 47: must be "):
        load(path, target="y", split="part")


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-40, 1e37, 1e150])
def test_tiny_and_huge_scales_are_the_same_data(tmp_path, scale):
    rows = [f"{scale * (i % 7)!r},{'pq'[i % 2]}" for i in range(40)]
    data = load(write(tmp_path, "\n".join(["a,y", *rows])), target="y")
    wanted = np.array([i % 7 for i in range(40)], float)
    found = np.concatenate([data.standardised(split) for split in data.splits])[:, 0]
    assert len(np.unique(found)) == len(np.unique(wanted))
    assert 1 < np.abs(found).max() < 3


def test_a_line_longer_than_the_head_of_a_file_is_read_whole(tmp_path):
    names = [f"a_long_name_of_a_column_{i}" for i in range(6000)]
    lines = [",".join(names), *(",".join(str((i * j) % 7) for j in range(6000)) for i in range(3))]
    table = read_table(write(tmp_path, "\n".join(lines)))
    assert table.names == names
    assert len(table) == 3


def test_a_form_feed_in_a_cell_ends_no_line(tmp_path):
    for name, text in (
        ("a.csv", "a,b\x0c\n1,x\x0cy\n2,\u2028z\n"),
        (
            "a.arff",
            "@relation r\n@attribute a real\n@attribute b string\n@data\n1,x\x0cy\n2,\u2028z\n",
        ),
    ):
        table = read_table(write(tmp_path, text, name))
        assert len(table) == 2
        assert table.column(table.names[1]).levels == ("x\x0cy", "z")


@pytest.mark.parametrize("name", ["größe", "naïve", "°C", "Ø", "prix en £"])
def test_a_heading_that_is_not_utf8_is_refused_like_a_row(tmp_path, name):
    path = write(tmp_path, f"{name},y\n1,2\n3,4\n".encode("latin-1"))
    with refuses(f"{path}, line 1: texts must be UTF-8"):
        read_table(path)
    assert next(iter(look(write(tmp_path, f"{name},y\n1,2\n3,4\n")))) == name
    assert "a\ufffd" in look(write(tmp_path, "a\ufffd,y\n1,2\n3,4\n"))  # its own


@pytest.mark.parametrize("level", ["oldest", "newest"])
def test_what_polars_writes_is_read_categories_too(tmp_path, level):
    texts = ["é", "b", None, "é"]
    frame = pl.DataFrame(
        {
            "c": pl.Series(texts, dtype=pl.Categorical),
            "e": pl.Series(texts, dtype=pl.Enum(["b", "é"])),
            "s": texts,
        }
    )
    frame.write_ipc(tmp_path / "t.feather", compat_level=getattr(pl.CompatLevel, level)())
    for name, (kind, values) in look(tmp_path / "t.feather").items():
        assert (name in frame.columns, kind, values) == (True, "category", texts)


@pytest.mark.parametrize("cell", ['5" disk', '"so-called" disk', '3.5"'])
def test_a_quotation_mark_within_a_cell_is_refused_with_its_line(tmp_path, cell):
    lines = [f"{i}\tdisk {i % 3}\t{i % 2}" for i in range(40)]
    lines[20] = f"20\t{cell} or so\t0"
    path = write(tmp_path, "\n".join(["a\tb\ty", *lines]) + "\n", "t.tsv")
    with pytest.raises(
        KlayerError, match=r"can't be read \(.*; line 22 has '\"' within a cell: such"
    ):
        load(path, target="y")
