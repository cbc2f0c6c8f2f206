"""IDX files under their many names: MNIST, EMNIST, folders of one's own."""

from __future__ import annotations

import gzip
import re
import struct
from dataclasses import replace

import numpy as np
import pytest

from klayer.data import load
from klayer.data.idx_files import IMAGES, LABELS, read_idx
from klayer.data.sources import fashion_mnist, mnist
from klayer.errors import KlayerError
from test_data_fashion_mnist import TEST, TRAIN, VALIDATION, files, idx, images, write


def make_small(monkeypatch):
    small = replace(mnist.MNIST, train_rows=TRAIN, test_rows=TEST, validation_rows=VALIDATION)
    monkeypatch.setattr(mnist, "MNIST", small)


def emnist(part, classes, first=0):
    train, test = 4 * classes, classes
    return {
        f"emnist-{part}-train-images-idx3-ubyte": idx(images(train)),
        f"emnist-{part}-train-labels-idx1-ubyte": idx(np.arange(train) % classes + first),
        f"emnist-{part}-test-images-idx3-ubyte": idx(images(test)),
        f"emnist-{part}-test-labels-idx1-ubyte": idx(np.arange(test) % classes + first),
    }


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    make_small(monkeypatch)


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def hyphened(folder):
    write(folder)


def gzipped(folder):
    write(folder, packed=True)


def dotted(folder):
    write(folder, {name.replace("-idx", ".idx"): data for name, data in files().items()})


def nested(folder):
    for name, data in files().items():
        write(folder / name, {name: data})


def nested_and_dotted(folder):
    """As one well-known site's unpacker leaves them: a folder with a dot, a file with a hyphen."""
    for name, data in files().items():
        write(folder / name.replace("-idx", ".idx"), {name: data})


def called_test(folder):
    write(folder, {name.replace("t10k", "test"): data for name, data in files().items()})


NAMES = [hyphened, gzipped, dotted, nested, nested_and_dotted, called_test]


@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("lay", NAMES)
def test_mnist_is_found_under_every_name(tmp_path, lay, place):
    lay(tmp_path / "data" / place)
    data = load("mnist", data_dir=tmp_path / "data")
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sizes == {"train": 30, "validation": 10, "test": 20}
    assert data.class_names == tuple("0123456789")
    np.testing.assert_array_equal(data.splits["test"].features, images(TEST).reshape(20, 784))


@pytest.mark.parametrize("lay", NAMES)
def test_a_folder_of_idx_files_is_a_data_set_by_its_path(tmp_path, lay):
    lay(tmp_path / "mine")
    data = load(tmp_path / "mine")
    assert (data.name, data.image_shape, data.n_classes) == ("mine", (1, 28, 28), 10)
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sizes == {"train": 34, "validation": 6, "test": 20}
    assert data.notes[0] == "validation: the last 6 of the 40 training images"


def test_images_of_any_size_are_read_from_a_folder(tmp_path):
    labels = idx(np.arange(30) % 3)
    write(
        tmp_path,
        {
            "train-images-idx3-ubyte": idx(np.zeros((30, 5, 7))),
            "train-labels-idx1-ubyte": labels,
            "t10k-images-idx3-ubyte": idx(np.zeros((30, 5, 7))),
            "t10k-labels-idx1-ubyte": labels,
        },
    )
    data = load(tmp_path)
    assert (data.image_shape, data.n_classes) == ((1, 5, 7), 3)


@pytest.mark.parametrize(
    ("part", "classes", "first"),
    [("letters", 26, 1), ("balanced", 47, 0), ("byclass", 62, 0), ("digits", 10, 0)],
)
def test_emnist_is_upright_and_its_letters_are_named(tmp_path, part, classes, first):
    write(tmp_path / "EMNIST" / "raw", emnist(part, classes, first), packed=True)
    data = load(f"emnist:{part}", data_dir=tmp_path)
    assert data.n_classes == classes
    assert len(set(data.class_names)) == classes
    test = data.splits["test"]
    np.testing.assert_array_equal(test.labels, np.arange(classes))
    # the files hold columns where others hold rows
    upright = images(classes).transpose(0, 2, 1)
    np.testing.assert_array_equal(test.features.reshape(-1, 28, 28), upright)


def test_emnist_is_balanced_by_default_and_other_parts_are_named(tmp_path):
    write(tmp_path, emnist("balanced", 47))
    assert load("emnist", data_dir=tmp_path).class_names[10] == "A"
    with refuses("unknown part of emnist 'leters': did you mean 'letters'?"):
        load("emnist:leters", data_dir=tmp_path)


def labelled(beginning):
    labels = np.array([*beginning, *(np.arange(TRAIN - 10) % 10)])
    return files() | {"train-labels-idx1-ubyte": idx(labels)}


def test_fashion_mnist_is_not_taken_for_mnist_nor_the_other_way_round(tmp_path, monkeypatch):
    for name, rows in (("TRAIN", TRAIN), ("VALIDATION", VALIDATION), ("TEST", TEST)):
        monkeypatch.setattr(fashion_mnist, f"{name}_ROWS", rows)
    clothes = write(tmp_path / "clothes", labelled((9, 0, 0, 3, 0, 2, 7, 2, 5, 5)))
    digits = write(tmp_path / "digits", labelled((5, 0, 4, 1, 9, 2, 1, 3, 1, 4)))
    assert load("fashion_mnist", data_dir=clothes).name == "fashion_mnist"
    assert load("mnist", data_dir=digits).name == "mnist"
    with refuses(f"{clothes}: holds fashion_mnist, not mnist, under the same file names"):
        load("mnist", data_dir=clothes)
    with refuses(f"{digits}: holds mnist, not fashion_mnist, under the same file names"):
        load("fashion_mnist", data_dir=digits)


HEADERS = {
    "a huge number of images": (struct.pack(">4I", IMAGES, 2**31, 28, 28), "must hold 1 to"),
    "no images": (struct.pack(">4I", IMAGES, 0, 28, 28), "must hold 1 to"),
    "images of no size": (struct.pack(">4I", IMAGES, 40, 0, 0), "must hold 1 to"),
    "labels": (struct.pack(">4I", LABELS, 40, 28, 28), "the IDX magic number must be"),
    "half a header": (struct.pack(">2I", IMAGES, 40), "an IDX header must have 16 bytes"),
    "nothing behind it": (
        struct.pack(">4I", IMAGES, 40, 28, 28),
        "must have 31,376 bytes, but got 16",
    ),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HEADERS)
def test_a_header_is_not_believed(tmp_path, case, packed):
    content, message = HEADERS[case]
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(content) if packed else content)
    with refuses(f"{path}: ") as caught:
        read_idx(path, IMAGES, (None, None, None))
    assert message in str(caught.value)


def test_images_and_labels_must_be_as_many(tmp_path):
    write(tmp_path, files() | {"train-labels-idx1-ubyte": idx(np.arange(TRAIN - 1) % 10)})
    with refuses(f"{tmp_path}: there must be one label per image, but train has 40 images and 39"):
        load(tmp_path)
