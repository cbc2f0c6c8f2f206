"""CIFAR-10: found in every layout, read the same from each, refused when damaged."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from klayer.data import load
from klayer.data.sources import cifar10, cifar10_formats
from klayer.errors import KlayerError

BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
ROWS = 20
SHARED = os.environ.get("KLAYER_DATA")
KINDS = {
    "binary": ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin"),
    "Python": ("cifar-10-batches-py", "cifar-10-python.tar.gz", ""),
    "Matlab": ("cifar-10-batches-mat", "cifar-10-matlab.tar.gz", ".mat"),
}


def tiny_images(batch):
    """The 20 made-up images of batch 0 to 5, of which label 3 is row 3 and 13."""
    return np.random.default_rng(batch).integers(0, 256, (ROWS, 3072), dtype=np.uint8)


def tiny_files(kind="binary"):
    """The content of the six batch files, each of 20 rows instead of 10,000."""
    files = {}
    labels = np.arange(ROWS) % 10
    for index, name in enumerate(BATCHES):
        images = tiny_images(index)
        if kind == "binary":
            content = np.column_stack([labels.astype(np.uint8), images]).tobytes()
        elif kind == "Python":
            content = pickle.dumps({b"data": images, b"labels": labels.tolist()}, protocol=2)
        else:
            from scipy.io import savemat

            file = io.BytesIO()
            savemat(file, {"data": images, "labels": labels[:, np.newaxis].astype(np.uint8)})
            content = file.getvalue()
        files[name + KINDS[kind][2]] = content
    return files


def tiny_archive(files=None, folder="cifar-10-batches-bin"):
    """The bytes of a .tar.gz of these files, like the published one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in (tiny_files() if files is None else files).items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_files(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No copy of this machine is seen, and a batch has 20 rows."""
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setenv("KLAYER_CIFAR10_URL", "http://127.0.0.1:9/never")
    monkeypatch.setattr(cifar10, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", ROWS)


@pytest.fixture(scope="module")
def archives():
    return {kind: tiny_archive(tiny_files(kind), folder) for kind, (folder, _, _) in KINDS.items()}


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(str(message))}")


def check_tiny(data):
    """The rows are where the split puts them: half of batch 5 validates."""
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 90,
        "validation": 10,
        "test": 20,
    }
    assert data.image_shape == (3, 32, 32)
    assert data.class_names[3] == "cat"
    np.testing.assert_array_equal(data.splits["train"].features[20:40], tiny_images(1))
    np.testing.assert_array_equal(data.splits["train"].features[80:], tiny_images(4)[:10])
    np.testing.assert_array_equal(data.splits["validation"].features, tiny_images(4)[10:])
    np.testing.assert_array_equal(data.splits["test"].features, tiny_images(5))
    np.testing.assert_array_equal(data.splits["test"].labels, np.arange(20) % 10)
    assert data.splits["train"].features.dtype == np.uint8


# layouts


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_folder_is_read(tmp_path, kind):
    folder = write_files(tmp_path / KINDS[kind][0], tiny_files(kind))
    data = load("cifar10", data_dir=tmp_path)
    check_tiny(data)
    assert data.source == f"CIFAR-10, {kind} batches, folder {folder.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_named_may_be_the_batch_folder_itself(tmp_path, kind):
    check_tiny(load("cifar10", data_dir=write_files(tmp_path / "my-copy", tiny_files(kind))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_archive_is_read_without_unpacking_it(tmp_path, archives, kind):
    archive = tmp_path / KINDS[kind][1]
    archive.write_bytes(archives[kind])
    data = load("cifar10", data_dir=tmp_path)
    check_tiny(data)
    assert data.source == f"CIFAR-10, {kind} batches, archive {archive.name}"
    assert list(tmp_path.iterdir()) == [archive]


def test_the_order_of_files_in_an_archive_does_not_matter(tmp_path):
    files = dict(reversed(tiny_files().items()))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(tiny_archive(files))
    check_tiny(load("cifar10", data_dir=tmp_path))


# look-up order


def test_klayer_data_goes_before_the_cache_folder(tmp_path, monkeypatch):
    write_files(tmp_path / "cache" / "cifar-10-batches-bin", tiny_files())
    assert cifar10.find().origin == "cache folder"
    named = write_files(tmp_path / "named" / "cifar-10-batches-py", tiny_files("Python"))
    monkeypatch.setenv("KLAYER_DATA", str(named.parent))
    found = cifar10.find()
    assert (found.path, found.origin) == (named, "KLAYER_DATA")


def test_a_data_dir_is_the_only_place_looked_into(tmp_path, monkeypatch):
    write_files(tmp_path / "named" / "cifar-10-batches-bin", tiny_files())
    monkeypatch.setenv("KLAYER_DATA", str(tmp_path / "named"))
    (tmp_path / "empty").mkdir()
    with refuses(f"CIFAR-10 was not found. Looked in {tmp_path / 'empty'} (--data-dir) for: "):
        load("cifar10", data_dir=tmp_path / "empty")


def test_a_klayer_data_that_does_not_exist_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("KLAYER_DATA", str(tmp_path / "gone"))
    write_files(tmp_path / "cache" / "cifar-10-batches-bin", tiny_files())
    assert cifar10.find().origin == "cache folder"


def test_a_folder_goes_before_an_archive_and_binary_before_python(tmp_path, archives):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archives["binary"])
    assert cifar10.find(tmp_path).path.name == "cifar-10-binary.tar.gz"
    write_files(tmp_path / "cifar-10-batches-py", tiny_files("Python"))
    assert cifar10.find(tmp_path).path.name == "cifar-10-batches-py"
    write_files(tmp_path / "cifar-10-batches-bin", tiny_files())
    assert cifar10.find(tmp_path).path.name == "cifar-10-batches-bin"


def test_missing_data_name_what_was_looked_for_and_the_ways_out(tmp_path):
    with pytest.raises(KlayerError) as caught:
        load("cifar10", data_dir=tmp_path)
    for words in (
        "cifar-10-batches-bin/, cifar-10-batches-py/, cifar-10-batches-mat/",
        "cifar-10-binary.tar.gz, cifar-10-python.tar.gz, cifar-10-matlab.tar.gz",
        "`klayer data fetch cifar10`",
        "`digits`",
    ):
        assert words in str(caught.value)


def test_without_leave_nothing_is_downloaded(tmp_path):
    with refuses(f"CIFAR-10 was not found. Looked in {tmp_path / 'cache'} (cache folder) for: "):
        load("cifar10", may_download=False)
    assert not (tmp_path / "cache").exists()


def test_a_data_dir_that_is_no_folder_is_refused(tmp_path):
    with refuses(f"--data-dir must be an existing folder, but got {tmp_path / 'gone'}."):
        load("cifar10", data_dir=tmp_path / "gone")
    file = tmp_path / "file"
    file.touch()
    with refuses(
        f"--data-dir must be an existing folder, but got {file}: name the folder that holds it."
    ):
        load("cifar10", data_dir=file)


# damage


def test_a_cut_binary_batch_is_refused_with_its_file_and_row(tmp_path):
    files = tiny_files()
    files["data_batch_3.bin"] = files["data_batch_3.bin"][:-100]
    folder = write_files(tmp_path / "cifar-10-batches-bin", files)
    with refuses(
        f"{folder}, data_batch_3.bin: the size must be a multiple of 3,073 bytes (a label and 3 x "
        "32 x 32 pixels), but got 61,360: row 19 is cut. The file is damaged or not CIFAR-10"
    ):
        load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_another_length_is_refused(tmp_path, monkeypatch, kind):
    folder = write_files(tmp_path / KINDS[kind][0], tiny_files(kind))
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", 10_000)
    name = f"data_batch_1{KINDS[kind][2]}"
    with refuses(f"{folder}, {name}: a batch must have exactly 10,000 rows, but got 20."):
        load("cifar10", data_dir=tmp_path)


def test_a_label_out_of_range_is_refused_with_its_file_and_row(tmp_path):
    files = tiny_files()
    content = bytearray(files["test_batch.bin"])
    content[7 * 3073] = 10
    files["test_batch.bin"] = bytes(content)
    folder = write_files(tmp_path / "cifar-10-batches-bin", files)
    with refuses(f"{folder}, test_batch.bin, row 7: a label must be 0 to 9, but got 10."):
        load("cifar10", data_dir=tmp_path)


def test_missing_batches_are_named(tmp_path):
    files = tiny_files()
    del files["data_batch_2.bin"], files["test_batch.bin"]
    folder = write_files(tmp_path / "cifar-10-batches-bin", files)
    with refuses(
        f"{folder}: all six batches must be there, but data_batch_2.bin, test_batch.bin are "
        "missing."
    ):
        load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"data": tiny_images(0)},
            "a batch must hold 'data' and 'labels', but 'labels' is missing.",
        ),
        ({"data": [1, 2], "labels": [1, 2]}, "'data' must be a matrix of bytes."),
        (
            {"data": tiny_images(0)[:, :100].copy(), "labels": [1] * 20},
            "'data' must have rows of 3,072 bytes, but got 100.",
        ),
        (
            {"data": tiny_images(0), "labels": ["a"] * 20},
            "'labels' must be a list of whole numbers.",
        ),
        (
            {"data": tiny_images(0), "labels": [[1], [1, 2]]},
            "'labels' must be a list of whole numbers.",
        ),
        (
            {"data": tiny_images(0), "labels": [1] * 19},
            "a batch must have exactly 20 labels, but got 19.",
        ),
        ({"data": tiny_images(0), "labels": [-1] * 20}, "a label must be 0 to 9, but got -1."),
    ],
)
def test_a_python_batch_with_another_content_is_refused(tmp_path, content, message):
    files = tiny_files("Python") | {"data_batch_1": pickle.dumps(content, protocol=2)}
    folder = write_files(tmp_path / "cifar-10-batches-py", files)
    with pytest.raises(KlayerError, match=re.escape(message)) as caught:
        load("cifar10", data_dir=tmp_path)
    assert str(caught.value).startswith(f"{folder}, data_batch_1")


@pytest.mark.parametrize("place", ["folder", "archive"])
def test_a_malicious_python_batch_is_not_run_wherever_it_lies(tmp_path, place):
    class Touch:
        def __reduce__(self):
            return Path.touch, (tmp_path / "created",)

    files = tiny_files("Python") | {"data_batch_1": pickle.dumps({"data": Touch()}, 2)}
    if place == "folder":
        write_files(tmp_path / "cifar-10-batches-py", files)
    else:
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(tiny_archive(files))
    with pytest.raises(KlayerError, match=r"data_batch_1: .* asks for \S+, which was not run"):
        load("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"\x00" * 4000])
def test_a_damaged_matlab_batch_is_refused(tmp_path, content):
    files = tiny_files("Matlab") | {"data_batch_1.mat": content}
    folder = write_files(tmp_path / "cifar-10-batches-mat", files)
    with refuses(f"{folder}, data_batch_1.mat: "):
        load("cifar10", data_dir=tmp_path)


def damaged(archive):
    """Every way in which an archive can be cut or damaged."""
    flipped = bytearray(archive)
    flipped[len(flipped) // 2] ^= 0xFF
    checksum = bytearray(archive)
    checksum[-6] ^= 0xFF
    return {
        "cut in the middle": archive[: len(archive) // 2],
        "cut at the end": archive[:-4],
        "a flipped byte": bytes(flipped),
        "a wrong checksum": bytes(checksum),
        "no gzip": b"<html>not found</html>",
        "no tar": gzip.compress(b"<html>not found</html>" * 100),
    }


@pytest.mark.parametrize("case", damaged(b"-" * 100))
def test_a_damaged_archive_is_refused(tmp_path, archives, case):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(damaged(archives["binary"])[case])
    with refuses(f"{path}"):
        load("cifar10", data_dir=tmp_path)


def test_a_cut_archive_says_so_and_what_to_do(tmp_path, archives):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(archives["binary"][:-4])
    with refuses(f"{path}: the archive is cut or damaged (") as caught:
        load("cifar10", data_dir=tmp_path)
    assert "`klayer data fetch cifar10 --data-dir DIR` downloads into DIR" in str(caught.value)


def test_an_archive_with_a_batch_missing_is_refused(tmp_path):
    files = tiny_files()
    del files["data_batch_5.bin"]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(tiny_archive(files))
    with refuses(f"{path}: all six batches must be there, but data_batch_5.bin is missing."):
        load("cifar10", data_dir=tmp_path)


def test_a_member_that_would_fill_the_memory_is_refused_unread(tmp_path):
    files = tiny_files() | {"data_batch_1.bin": bytes(200_000)}
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(tiny_archive(files))
    with refuses(f"{path}: data_batch_1.bin must have less than 122,920 bytes, but has 200,000."):
        load("cifar10", data_dir=tmp_path)


# the real one


@pytest.mark.skipif(SHARED is None, reason="KLAYER_DATA names no folder with the real CIFAR-10")
def test_the_real_data_set_has_its_published_shape(monkeypatch):
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", 10_000)
    data = load("cifar10", data_dir=SHARED)
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}
    assert data.splits["train"].features.shape == (45_000, 3072)
    labels = np.concatenate([split.labels for split in data.splits.values()])
    assert np.bincount(labels).tolist() == [6_000] * 10
    assert np.bincount(data.splits["test"].labels).tolist() == [1_000] * 10
    # the channel means of the 50,000, as published with many a model: .4914, .4822, .4465
    pixels = [data.splits[name].features for name in ("train", "validation")]
    sums = sum(part.reshape(-1, 3, 1024).sum(axis=(0, 2), dtype=np.int64) for part in pixels)
    np.testing.assert_allclose(sums / (50_000 * 1024 * 255), [0.4914, 0.4822, 0.4465], atol=2e-3)
