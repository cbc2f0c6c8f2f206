"""Fashion-MNIST: IDX files, plain or gzipped, wherever they are; strict headers."""

from __future__ import annotations

import gzip
import re
import struct

import numpy as np
import pytest

from klayer.data import load
from klayer.data.sources import fashion_mnist
from klayer.errors import KlayerError

TRAIN, VALIDATION, TEST = 40, 10, 20
DEBIAN = fashion_mnist.DEBIAN_FOLDER


def idx(values):
    """An IDX file of bytes, written from the format's description."""
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return header + values.astype(np.uint8).tobytes()


def images(rows):
    return np.random.default_rng(rows).integers(0, 256, (rows, 28, 28), dtype=np.uint8)


def files():
    return {
        "train-images-idx3-ubyte": idx(images(TRAIN)),
        "train-labels-idx1-ubyte": idx(np.arange(TRAIN) % 10),
        "t10k-images-idx3-ubyte": idx(images(TEST)),
        "t10k-labels-idx1-ubyte": idx(np.arange(TEST) % 10),
    }


def write(folder, content=None, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (files() if content is None else content).items():
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No copy of this machine is seen, and the data set has 40 + 20 images."""
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    for name, rows in (("TRAIN", TRAIN), ("VALIDATION", VALIDATION), ("TEST", TEST)):
        monkeypatch.setattr(fashion_mnist, f"{name}_ROWS", rows)


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("place", [".", "fashion-mnist", "fashion_mnist", "FashionMNIST/raw"])
def test_the_files_are_found_and_the_last_training_images_validate(tmp_path, place, packed):
    write(tmp_path / place, packed=packed)
    data = load("fashion_mnist", data_dir=tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 30,
        "validation": 10,
        "test": 20,
    }
    assert data.image_shape == (1, 28, 28)
    assert data.class_names[9] == "ankle boot"
    np.testing.assert_array_equal(
        data.splits["validation"].features, images(TRAIN)[30:].reshape(10, 784)
    )
    np.testing.assert_array_equal(data.splits["test"].features, images(TEST).reshape(20, 784))
    np.testing.assert_array_equal(data.splits["validation"].labels, np.arange(10))


def test_the_folder_of_the_debian_package_is_looked_into_last(tmp_path, monkeypatch):
    debian = write(tmp_path / "debian", packed=True)
    assert fashion_mnist.find() == debian
    assert "Debian package" in load("fashion_mnist").source
    monkeypatch.setenv("KLAYER_DATA", str(tmp_path / "named"))
    assert fashion_mnist.find() == debian
    named = write(tmp_path / "named")
    assert fashion_mnist.find() == named


def test_missing_data_name_the_package_and_the_places(tmp_path):
    write(tmp_path / "debian")
    (tmp_path / "empty").mkdir()
    with refuses(
        f"Fashion-MNIST was not found. Looked in {tmp_path / 'empty'} (--data-dir) for: "
    ) as e:
        load("fashion_mnist", data_dir=tmp_path / "empty")
    assert "`apt install dataset-fashion-mnist`" in str(e.value)
    assert "train-images-idx3-ubyte[.gz]" in str(e.value)


def test_a_missing_file_is_named(tmp_path):
    content = files()
    del content["t10k-labels-idx1-ubyte"]
    write(tmp_path, content)
    with refuses(
        f"{tmp_path}: all four IDX files must be there, but t10k-labels-idx1-ubyte[.gz] is missing."
    ):
        load("fashion_mnist", data_dir=tmp_path)


DAMAGE = {
    "nothing": (b"", "an IDX header must have 16 bytes, but the file has 0."),
    "labels instead of images": (
        idx(np.arange(TRAIN)),
        "the IDX magic number must be 0x00000803, but got 0x00000801.",
    ),
    "another count": (
        idx(images(TEST)),
        "the IDX header must state the shape (40, 28, 28), but got (20, 28, 28).",
    ),
    "cut": (idx(images(TRAIN))[:-1], "must have 31,376 bytes, but got 31,375."),
    "too long": (idx(images(TRAIN)) + b"12", "must have 31,376 bytes, but got more than 31,376."),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_file_is_refused_with_its_rule(tmp_path, case, packed):
    content, message = DAMAGE[case]
    write(tmp_path, files() | {"train-images-idx3-ubyte": content}, packed)
    name = "train-images-idx3-ubyte" + ".gz" * packed
    with refuses(f"{tmp_path / name}: {message} The file is damaged or another one: get it anew"):
        load("fashion_mnist", data_dir=tmp_path)


@pytest.mark.parametrize("change", [lambda data: data[:-30], lambda data: b"no gzip" + data])
def test_a_damaged_gzip_file_is_refused(tmp_path, change):
    path = write(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with refuses(f"{path}: can't be read ("):
        load("fashion_mnist", data_dir=tmp_path)


def test_a_label_out_of_range_is_refused_with_its_row(tmp_path):
    labels = np.arange(TEST) % 10
    labels[4] = 11
    write(tmp_path, files() | {"t10k-labels-idx1-ubyte": idx(labels)})
    with refuses(f"{tmp_path}, t10k-labels-idx1-ubyte, row 4: a label must be 0 to 9, but got 11."):
        load("fashion_mnist", data_dir=tmp_path)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_files_have_their_published_shape(monkeypatch):
    monkeypatch.undo()
    data = load("fashion_mnist", data_dir=DEBIAN)
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    labels = np.concatenate([split.labels for split in data.splits.values()])
    assert np.bincount(labels).tolist() == [7_000] * 10
    # the mean and deviation of the 60,000, as published with many a model: .2860, .3530
    pixels = np.concatenate([data.splits[name].features for name in ("train", "validation")])
    assert pixels.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert (pixels / np.float32(255)).std() == pytest.approx(0.3530, abs=1e-4)
