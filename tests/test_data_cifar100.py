"""CIFAR-100, and CIFAR copies as people have them: one folder deeper, plain tar, damaged."""

from __future__ import annotations

import io
import pickle
import re
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest

import test_data_cifar10 as ten
from klayer.data import load
from klayer.data.matlab_files import read_matrices
from klayer.data.sources import cifar10, cifar10_formats
from klayer.data.tar_files import tar_files
from klayer.errors import KlayerError

ROWS = 40
KINDS = {"binary": ".bin", "python": "", "matlab": ".mat"}


def tiny_images(rows):
    return np.random.default_rng(rows).integers(0, 256, (rows, 3072), dtype=np.uint8)


def tiny_files(kind="binary"):
    """A training file of 200 rows and a test file of 40."""
    files = {}
    for name, rows in (("train", 5 * ROWS), ("test", ROWS)):
        fine, coarse, images = np.arange(rows) * 7 % 100, np.arange(rows) % 20, tiny_images(rows)
        if name == "train":
            fine = np.arange(rows) % 100
        if kind == "binary":
            table = np.column_stack([coarse.astype(np.uint8), fine.astype(np.uint8), images])
            content = table.tobytes()
        elif kind == "python":
            values = {
                b"data": images,
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
            }
            content = pickle.dumps(values, protocol=2)
        else:
            from scipy.io import savemat

            file = io.BytesIO()
            labels = {
                f"{n}_labels": v[:, None].astype(np.uint8)
                for n, v in (("fine", fine), ("coarse", coarse))
            }
            savemat(file, {"data": images} | {k: v.astype(np.uint8) for k, v in labels.items()})
            content = file.getvalue()
        files[name + KINDS[kind]] = content
    return files


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr(cifar10, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", ROWS)


@pytest.fixture
def smaller(monkeypatch):
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", ten.ROWS)


def check(data):
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 180,
        "validation": 20,
        "test": 40,
    }
    assert (data.n_classes, data.image_shape) == (100, (3, 32, 32))
    assert (data.class_names[0], data.class_names[99]) == ("apple", "worm")
    np.testing.assert_array_equal(data.splits["validation"].features, tiny_images(200)[180:])
    np.testing.assert_array_equal(data.splits["test"].labels, np.arange(40) * 7 % 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_folder_is_read(tmp_path, kind):
    ten.write_files(tmp_path / f"cifar-100-{kind}", tiny_files(kind))
    check(load("cifar100", data_dir=tmp_path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner", [".", "deeper"])
def test_the_files_may_lie_in_the_folder_itself_or_one_deeper(tmp_path, kind, inner):
    ten.write_files(tmp_path / "mine" / inner, tiny_files(kind))
    check(load("cifar100", data_dir=tmp_path / "mine"))


def pack(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"some/folder/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


ENDINGS = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar": "w"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_read_packed_or_not(tmp_path, ending, kind):
    pack(tmp_path / f"cifar-100-{kind}{ending}", tiny_files(kind), ENDINGS[ending])
    check(load("cifar100", data_dir=tmp_path))


@pytest.mark.parametrize("ending", ENDINGS)
def test_cifar10_is_read_packed_or_not(tmp_path, smaller, ending):
    pack(tmp_path / f"cifar-10-binary{ending}", ten.tiny_files(), ENDINGS[ending])
    ten.check_tiny(load("cifar10", data_dir=tmp_path))


@pytest.mark.parametrize("kind", ten.KINDS)
@pytest.mark.parametrize("outer", ["", "unpacked", None])
def test_cifar10_is_found_one_folder_deeper(tmp_path, smaller, kind, outer):
    name = ten.KINDS[kind][0]
    ten.write_files(tmp_path / (name if outer is None else outer) / name, ten.tiny_files(kind))
    ten.check_tiny(load("cifar10", data_dir=tmp_path))


def test_an_archive_is_found_one_folder_deeper(tmp_path, smaller):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "cifar-10-binary.tar.gz").write_bytes(ten.tiny_archive())
    ten.check_tiny(load("cifar10", data_dir=tmp_path))


def test_a_folder_with_train_and_test_folders_is_no_copy_of_cifar100(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    with pytest.raises(KlayerError, match=r"^CIFAR-100 was not found\."):
        load("cifar100", data_dir=tmp_path)


def test_a_missing_half_is_named(tmp_path):
    files = tiny_files()
    del files["test.bin"]
    folder = ten.write_files(tmp_path / "cifar-100-binary", files)
    with pytest.raises(KlayerError, match=re.escape(f"{folder}: both batches must be there, but")):
        load("cifar100", data_dir=tmp_path)


# archives that mean harm


def header(name, size, kind=b"0"):
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_of_any_size_takes_no_memory(tmp_path, kind):
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(header(b"long", 300_000_000, kind))
        file.seek(-(-300_000_000 // 512) * 512, 1)
        file.write(header(b"x.bin", 3) + b"abc" + bytes(509) + bytes(1024))
    tracemalloc.start()
    found = list(tar_files(path, lambda name: name == "x.bin", 1000, "Get it anew."))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [("x.bin", b"abc")]
    assert peak < 20_000_000


HARM = {
    "a size beyond the bound": header(b"x", 8**11 - 1),
    "a binary size": header(b"x", 0)[:124] + b"\x80" + b"\xff" * 11 + header(b"x", 0)[136:],
    "no digits": header(b"x", 0)[:124] + b"what is it? " + header(b"x", 0)[136:],
    "a wrong sum": header(b"x", 0)[:148] + b"0000000\0" + header(b"x", 0)[156:],
    "no end": header(b"x", 0),
    "nothing": b"",
    "cut": header(b"x.bin", 600) + b"abc",
}


@pytest.mark.parametrize("case", HARM)
def test_a_header_that_cannot_be_is_refused(tmp_path, case):
    path = tmp_path / "a.tar"
    path.write_bytes(HARM[case])
    with pytest.raises(KlayerError, match=re.escape(f"{path}: the archive is cut or damaged (")):
        list(tar_files(path, lambda name: name == "x.bin", 1000, "Get it anew."))


def test_links_in_an_archive_are_not_followed(tmp_path):
    path = tmp_path / "a.tar"
    for kind in b"123456":
        path.write_bytes(header(b"x.bin", 0, bytes([kind])) + bytes(1024))
        assert list(tar_files(path, lambda name: name == "x.bin", 1000, "")) == []


# Matlab's format


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8", "i8"])
@pytest.mark.parametrize("packed", [False, True])
def test_matrices_are_read_as_the_usual_reader_reads_them(dtype, packed):
    from scipy.io import loadmat, savemat

    values = np.arange(12).reshape(3, 4).astype(dtype)
    cube = np.arange(24).reshape(2, 3, 4).astype(dtype)
    file = io.BytesIO()
    savemat(
        file,
        {
            "a": values,
            "text": "abc",
            "b": cube,
            "cell": np.array([1, "x"], object),
            "z": values * 1j,
        },
        do_compression=packed,
    )
    names = ["a", "b", "text", "cell", "z"]
    found = read_matrices(file.getvalue(), names, "file", largest=1000)
    wanted = loadmat(io.BytesIO(file.getvalue()))
    assert list(found) == ["a", "b"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name])
        assert array.dtype == wanted[name].dtype


def test_every_changed_byte_of_a_matlab_file_is_read_or_refused():
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(
        file, {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": np.array([[1], [2]])}
    )
    whole = file.getvalue()
    for place in range(len(whole)):
        for value in (0, 0x7F, 0xFF, whole[place] ^ 1):
            changed = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                read_matrices(changed, ["data", "labels"], "file", largest=1000)
            except KlayerError as error:
                assert str(error).startswith("file: not a readable Matlab file (")  # noqa: PT017


def test_a_packed_matrix_that_would_fill_the_memory_is_refused():
    import zlib

    content = zlib.compress(struct.pack("<2I", 14, 10**8) + bytes(10**8))
    data = bytes(124) + b"\x00\x01IM" + struct.pack("<2I", 15, len(content)) + content
    with pytest.raises(KlayerError, match="not a readable Matlab file"):
        read_matrices(data, ["data"], "file", largest=10**6)
