"""`load`, `available` and `fetch`: the one door to every source."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import klayer.data
from klayer.data import available, fetch, load
from klayer.errors import KlayerError


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr("klayer.data.places.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("klayer.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "debian")


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
        "unknown data set 'cifar': did you mean 'cifar10'? Known: cifar10, fashion_mnist, digits, "
        "synthetic, or the path of a .npz file or an image folder."
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
    (tmp_path / "a.csv").touch()
    with refuses(f"{tmp_path / 'a.csv'}: a data set must be a .npz file or a folder of images"):
        load(tmp_path / "a.csv")


def test_options_of_a_source_without_options_are_refused():
    with refuses("digits has no options, but got 'digits:classes=3': write digits."):
        load("digits:classes=3")


def test_an_unknown_option_of_a_folder_is_refused(tmp_path):
    with refuses(
        f"{tmp_path}: an image folder has the one option size=HEIGHTxWIDTH, but got 'size=32': "
        f"write for example {tmp_path}:size=32x32."
    ):
        load(f"{tmp_path}:size=32")


def test_a_wrong_seed_is_refused_by_every_source():
    with refuses("`seed` must be a whole number from 0, but got -3."):
        load("digits", seed=-3)


def test_what_is_available_says_what_is_found_and_what_not(tmp_path):
    sources = {source.name: source for source in available()}
    assert sources["cifar10"].found is None
    assert sources["digits"].found == "bundled with scikit-learn"
    (tmp_path / "cifar-10-binary.tar.gz").touch()
    found = available(tmp_path)[0].found
    assert found == str(tmp_path / "cifar-10-binary.tar.gz")


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_what_is_available_says_is_what_load_gives(name):
    source = next(source for source in available() if source.name == name)
    data = load(name)
    assert source.classes == data.n_classes
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


# the page

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


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
