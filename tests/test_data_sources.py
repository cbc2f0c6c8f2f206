"""`load`, `available` and `fetch`: the one door to every source."""

from __future__ import annotations

import doctest
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import klayer.data
import test_data_cifar10
import test_data_cifar100
import test_data_fashion_mnist
import test_data_idx
from klayer.data import Dataset, Split, available, can_download, catalogue, fetch, load
from klayer.data.catalogue import SOURCES
from klayer.data.source import Source, always
from klayer.data.sources import cifar10, cifar10_formats, fashion_mnist
from klayer.errors import KlayerError


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(cifar10, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")


PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_every_public_name_exists():
    for name in klayer.data.__all__:
        assert getattr(klayer.data, name).__doc__


@pytest.mark.parametrize("name", ["digits", "Digits", "DIGITS"])
def test_a_name_is_known_in_any_case(name):
    assert load(name).name == "digits"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("CIFAR-10", "CIFAR-10"),
        ("cifar_10", "CIFAR-10"),
        ("fashion-mnist", "Fashion-MNIST"),
        ("FashionMNIST", "Fashion-MNIST"),
    ],
)
def test_a_name_is_known_with_and_without_dashes(name, title, tmp_path):
    with refuses(f"{title} was not found. Looked in "):
        load(name, data_dir=tmp_path)


def test_an_unknown_name_gets_did_you_mean():
    with refuses(
        "unknown data set 'cifar': did you mean 'cifar10'? Known: cifar10, cifar100, mnist, emnist, "
        "fashion_mnist, digits, synthetic, or the path of a .npz file, a folder of .npy files, a table "
        "such as .csv, a folder of IDX files or an image folder."
    ):
        load("cifar")


def test_a_name_goes_before_a_folder_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("digits").n_features == 64
    with refuses("digits: an image folder must have one subfolder per class"):
        load("./digits")


def test_a_path_that_leads_nowhere_is_refused():
    with refuses("no/such/place: no such file or folder."):
        load("no/such/place")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.mp3").touch()
    with refuses(
        f"{tmp_path / 'a.mp3'}: a data set must be a .npz file, a folder of .npy files, a table such "
        "as .csv, a folder of IDX files or an image folder: convert it, for example with `numpy.savez`."
    ):
        load(tmp_path / "a.mp3")


def test_options_of_a_source_without_options_are_refused():
    with refuses("digits has no options, but got 'digits:classes=3': write digits."):
        load("digits:classes=3")


def test_an_unknown_option_of_a_folder_is_refused(tmp_path):
    with refuses(
        f"{tmp_path}: an image folder has the options size=HEIGHTxWIDTH and background=white|black, "
        f"but got 'side=32': write for example {tmp_path}:size=32x32,background=black."
    ):
        load(f"{tmp_path}:side=32")


def test_what_is_available_says_what_is_found_and_what_not(tmp_path):
    sources = {source.name: source for source in available()}
    assert sources["cifar10"].found is None
    assert sources["digits"].found == "bundled with scikit-learn"
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    found = next(one.found for one in available(tmp_path) if one.name == "cifar10")
    assert found == str(tmp_path / "cifar-10-binary.tar.gz")


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_what_is_available_says_is_what_load_gives(name):
    source = next(source for source in available() if source.name == name)
    data = load(name)
    assert source.n_classes == data.n_classes
    assert source.sizes == tuple(len(part) for part in data.splits.values())
    assert source.shape == " x ".join(map(str, data.image_shape))


def test_fetch_says_where_the_data_are_or_how_to_get_them(tmp_path):
    assert fetch("digits") == "bundled with scikit-learn"
    assert fetch("synthetic") == "made when asked for"
    with refuses("Fashion-MNIST was not found. Looked in "):
        fetch("fashion_mnist", data_dir=tmp_path)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").touch()
    assert fetch("cifar10", data_dir=tmp_path) == str(tmp_path / "cifar-10-batches-bin")
    with refuses("unknown data set 'digit': did you mean 'digits'?"):
        fetch("digit")


def test_only_data_sets_that_can_be_are_downloaded_before_a_run(tmp_path):
    can = {source.name: can_download(source.name) for source in SOURCES}
    assert [name for name in can if can[name]] == ["cifar10"]
    assert can_download("CIFAR-10")
    assert not can_download(str(tmp_path))


# every row of the table


def test_a_row_is_all_that_a_new_source_needs(monkeypatch, tmp_path):
    def read(request):
        table = np.loadtxt(request.path, delimiter=",")
        rows = Split(table[:, :-1], table[:, -1].astype(int))
        return Dataset(request.path.stem, {"train": rows}, ("a", "b"), source=request.path.name)

    new = Source(
        name="FILE.moons",
        description="numbers, the label last",
        load=read,
        find=always("a path"),
        recognises=lambda path: path.suffix == ".moons",
        kind="a .moons file",
    )
    named = replace(new, name="two_moons", recognises=None, fetch=lambda *_: "on the moon")
    monkeypatch.setattr(catalogue, "SOURCES", (*SOURCES, new, named))
    (tmp_path / "mine.moons").write_text("1,2,0\n3,4,1\n")
    assert load(tmp_path / "mine.moons").splits["train"].labels.tolist() == [0, 1]
    assert [source.name for source in available()][-2:] == ["FILE.moons", "two_moons"]
    assert fetch("Two-Moons") == "on the moon"
    assert can_download("two moons")
    with refuses(
        "unknown data set 'moon': Known: cifar10, cifar100, mnist, emnist, fashion_mnist, digits, "
        "synthetic, two_moons, or the path of a .npz file, a folder of .npy files, a table such as "
        ".csv, a folder of IDX files, an image folder or a .moons file."
    ):
        load("moon")


def small_cifar10(folder, monkeypatch):
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", test_data_cifar10.ROWS)
    test_data_cifar10.write_files(folder, test_data_cifar10.tiny_files())
    return "cifar10"


def small_fashion_mnist(folder, monkeypatch):
    for split in ("TRAIN", "VALIDATION", "TEST"):
        rows = getattr(test_data_fashion_mnist, split)
        monkeypatch.setattr(fashion_mnist, f"{split}_ROWS", rows)
    test_data_fashion_mnist.write(folder)
    return "fashion_mnist"


def small_cifar100(folder, monkeypatch):
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", test_data_cifar100.ROWS)
    test_data_cifar10.write_files(folder, test_data_cifar100.tiny_files())
    return "cifar100"


def small_mnist(folder, monkeypatch):
    test_data_idx.make_small(monkeypatch)
    test_data_fashion_mnist.write(folder)
    return "mnist"


def small_emnist(folder, monkeypatch):
    test_data_fashion_mnist.write(folder, test_data_idx.emnist("letters", 26, first=1))
    return "emnist:letters"


def idx_folder(folder, monkeypatch):
    return test_data_fashion_mnist.write(folder / "clothes")


def npz_file(folder, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(folder / "mine.npz", X=rows, y=np.arange(40) % 4)
    return folder / "mine.npz"


def table_file(folder, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    lines = [",".join([*map(str, row), "ab"[i % 2]]) for i, row in enumerate(rows.tolist())]
    (folder / "mine.csv").write_text("\n".join(["p,q,r,class", *lines]))
    return folder / "mine.csv"


def image_folder(folder, monkeypatch):
    for index in range(20):
        path = folder / "pets" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), 10 * index).save(path)
    return folder / "pets"


def npy_folder(folder, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(2):
        np.save(folder / f"X-{number}.npy", rng.integers(0, 256, (30, 4), dtype=np.uint8))
        np.save(folder / f"y-{number}.npy", np.arange(30) % 3)
    return folder


# How to put a small example into a folder, and what to load then.
EXAMPLES = {
    "cifar10": small_cifar10,
    "cifar100": small_cifar100,
    "mnist": small_mnist,
    "emnist": small_emnist,
    "fashion_mnist": small_fashion_mnist,
    "digits": lambda folder, monkeypatch: "digits",
    "synthetic": lambda folder, monkeypatch: "synthetic:features=12,classes=3,samples=60",
    "FILE.npz": npz_file,
    "X.npy": npy_folder,
    "FILE.csv": table_file,
    "IDX_FOLDER": idx_folder,
    "FOLDER": image_folder,
}
MAY_BE_MISSING = ("cifar10", "cifar100", "mnist", "emnist", "fashion_mnist")
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


@pytest.fixture
def example(source, tmp_path, monkeypatch):
    folder = tmp_path / "example"
    folder.mkdir()
    return EXAMPLES[source.name](folder, monkeypatch), folder


def test_every_source_has_a_name_of_its_own_and_an_example():
    assert list(EXAMPLES) == [source.name for source in SOURCES]
    assert [source.name for source in available()] == list(EXAMPLES)


@every_source
def test_a_source_gives_a_data_set_that_is_the_same_each_time(source, example):
    name, folder = example
    data, again = (load(name, data_dir=folder) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint
    assert data.source
    assert "train" in data.splits
    standardised = data.standardised("train", np.float64)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(standardised.std(axis=0)[data.standardiser.scale != 1], 1)


@every_source
def test_a_source_is_found_where_its_data_are_and_nothing_is_read(source, example, tmp_path):
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert source.find(example[1])
    assert sorted(tmp_path.rglob("*")) == before
    missing = source.find(tmp_path / "empty") is None
    assert missing == (source.name in MAY_BE_MISSING)


@pytest.mark.parametrize("source", [source for source in SOURCES if source.name in MAY_BE_MISSING])
def test_a_source_that_is_missing_says_where_it_was_looked_for_and_what_to_do(source, tmp_path):
    assert source.find(tmp_path) is None
    with pytest.raises(KlayerError, match=r"was not found\. Looked in .+ for: .+ `digits`\.$"):
        load(source.name, data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@every_source
def test_a_source_is_fetched_by_name_alone(source, example):
    name, folder = example
    if source.recognises is None:
        assert fetch(str(name), data_dir=folder) == source.find(folder)
    else:
        with refuses("unknown data set"):
            fetch(str(name), data_dir=folder)


@every_source
def test_a_source_refuses_options_that_it_does_not_know(source, example):
    name, folder = example
    name = str(name).partition(":")[0]
    with pytest.raises(KlayerError) as caught:
        load(f"{name}:colour=red", data_dir=folder)
    message = f"{name} has no options, but got '{name}:colour=red': write {name}."
    assert source.has_options == (str(caught.value) != message)
    assert "colour" in str(caught.value)


@every_source
def test_a_source_refuses_a_wrong_seed(source, example):
    with refuses("`seed` must be a whole number from 0, but got -3."):
        load(example[0], data_dir=example[1], seed=-3)


@every_source
def test_a_source_is_on_the_page_with_its_sizes(source):
    line = next(
        line for line in PAGE.read_text("utf-8").splitlines() if f"| `{source.name}`" in line
    )
    if source.sizes:
        assert " / ".join(f"{size:,}" for size in source.sizes) in line
        assert source.shape in line


# the page


def test_the_page_names_every_source_command_and_setting():
    text = PAGE.read_text(encoding="utf-8")
    for name in (
        *(source.name for source in available()),
        *(f"klayer data {command}" for command in ("list", "info", "fetch", "show")),
        *("--data-dir", "KLAYER_DATA", "KLAYER_CIFAR10_URL", "--json", "--out"),
        *(f"`{name}`" for name in klayer.data.__all__),
    ):
        assert name in text, name


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert failures == 0
    assert tried > 5
