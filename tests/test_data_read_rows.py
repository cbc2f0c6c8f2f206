"""Files to be labelled by a trained network: images, or rows of numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from klayer.data import read_rows
from klayer.errors import KlayerError

ROWS = np.arange(12.0).reshape(3, 4)


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def grey(path, value=255, size=(2, 2)):
    Image.new("L", size, value).save(path)
    return path


def test_rows_of_every_format_come_in_the_order_of_the_files(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "b.npz", X=ROWS + 1, y=[1])
    (tmp_path / "c.csv").write_text("w,x,y,z\n9,8,7,6\n\n5,4,3,2\n")
    paths = [tmp_path / name for name in ("a.npy", "b.npz", "c.csv")]
    x, names = read_rows(paths, n_features=4)
    np.testing.assert_array_equal(x, np.vstack([ROWS, ROWS + 1, [[9, 8, 7, 6], [5, 4, 3, 2]]]))
    assert names[0] == f"{tmp_path / 'a.npy'}, row 0"
    assert names[-1] == f"{tmp_path / 'c.csv'}, row 1"


def test_images_become_rows_of_the_networks_shape_named_by_their_files(tmp_path):
    paths = [grey(tmp_path / "1.png", 200), grey(tmp_path / "2.png", 7, size=(9, 5))]
    x, names = read_rows(paths, n_features=12, image_shape=(3, 2, 2))
    np.testing.assert_array_equal(x, [[200] * 12, [7] * 12])
    assert names == [str(path) for path in paths]


def test_bytes_are_scaled_to_the_values_of_training(tmp_path):
    paths = [grey(tmp_path / "white.png", 255), grey(tmp_path / "grey.png", 51)]
    x, _ = read_rows(paths, n_features=4, image_shape=(1, 2, 2), value_range=(0, 16))
    np.testing.assert_allclose(x, [[16.0] * 4, [3.2] * 4], rtol=1e-6)


def test_images_and_rows_may_be_mixed(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    paths = [grey(tmp_path / "1.png"), tmp_path / "a.npy"]
    x, names = read_rows(paths, n_features=4, image_shape=(1, 2, 2))
    assert x.shape == (4, 4)
    assert len(names) == 4


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2), (1, 4)])
def test_a_single_row_or_stacked_images_are_taken_as_rows(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.arange(4).reshape(shape))
    x, _ = read_rows([tmp_path / "a.npy"], n_features=4)
    np.testing.assert_array_equal(x, [[0, 1, 2, 3]])


def test_no_files_are_refused():
    with refuses("there must be at least one file to read: name images, tables, .npy or .npz."):
        read_rows([], n_features=4)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with refuses(f"{tmp_path / 'gone.png'}: no such file."):
        read_rows([tmp_path / "gone.png"], n_features=4)
    with refuses(f"{tmp_path}: must be a file, but is a folder: name its files, {tmp_path}/*."):
        read_rows([tmp_path], n_features=4)


def test_an_unknown_ending_is_refused(tmp_path):
    (tmp_path / "a.doc").touch()
    with refuses(f"{tmp_path / 'a.doc'}: must be an image (.png, "):
        read_rows([tmp_path / "a.doc"], n_features=4)


def test_an_image_for_a_network_of_plain_rows_is_refused(tmp_path):
    path = grey(tmp_path / "1.png")
    with refuses(f"{path}: the network was trained on rows of 4 numbers, not on images"):
        read_rows([path], n_features=4)


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no image")
    with refuses(f"{tmp_path / '1.png'}: not a readable image (no image format known)."):
        read_rows([tmp_path / "1.png"], n_features=4, image_shape=(1, 2, 2))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS.T, ": must have shape (N, 4) with at least one row, but got (4, 3): pass samples as"),
        (ROWS[:0], ": must have shape (N, 4) with at least one row, but got (0, 4)"),
        (np.float64(3), ": must have shape (N, 4) with at least one row, but got ()"),
        (np.array([["a"] * 4]), ": must hold real numbers, but got dtype <U1."),
        (
            np.array([[1, 2, 3, 4], [1, np.inf, 3, 4]]),
            ", row 1, column 1: must be finite, but got inf.",
        ),
        (np.array([{}]), ": must hold arrays of numbers or texts, but holds Python objects"),
    ],
)
def test_wrong_rows_are_refused_with_file_row_and_rule(tmp_path, rows, message):
    path = tmp_path / "a.npy"
    np.save(path, rows)
    with refuses(f"{path}{message}"):
        read_rows([path], n_features=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", ": must have 4 columns, but has 3: without names they go by their order"),
        ("a,b,c,d\n1,2,3,4\n1,2,x,4\n", ", column 'c', line 3: must be a number as in training"),
        ("1,b,3,4\n", ", column 'column_2', line 1: must be a number as in training, but got 'b'"),
        ("1,2,3,4\n1,2,nan,4\n", ", column 'column_3', line 2: a value must be there, but 1 of 2"),
        ("1,2,3,4\n1,2,inf,4\n", ", column 'column_3', line 2: must be finite, but got inf: mend"),
        ("a,b,c,d\n", ": must hold rows below its heading, but holds none."),
        ("", ": must hold a table, but is empty."),
    ],
)
def test_a_wrong_csv_file_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with refuses(f"{path}{message}"):
        read_rows([path], n_features=4)


def test_a_csv_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with refuses(f"{tmp_path / 'a.csv'}: begins like UTF-16, but isn't ("):
        read_rows([tmp_path / "a.csv"], n_features=4)


@pytest.mark.parametrize("content", [b"", b"no array"])
def test_a_damaged_npy_file_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with refuses(f"{tmp_path / 'a.npy'}: not a readable .npy file ("):
        read_rows([tmp_path / "a.npy"], n_features=4)


def test_an_npz_file_without_x_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=ROWS)
    with refuses(f"{tmp_path / 'a.npz'}: must hold the rows as `X`, but holds pictures."):
        read_rows([tmp_path / "a.npz"], n_features=4)
