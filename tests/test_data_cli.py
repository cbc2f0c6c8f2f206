"""`klayer data`: list, info, fetch, show."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image
from typer.testing import CliRunner

from klayer.cli.data import app
from klayer.errors import KlayerError


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("klayer.data.sources.fashion_mnist.DEBIAN_FOLDER", tmp_path / "debian")


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_list_shows_every_source_and_where_it_is():
    lines = run("list").splitlines()
    for name in ("cifar10", "fashion_mnist", "digits", "synthetic", "FILE.npz", "FOLDER"):
        assert any(line.startswith(name) for line in lines)
    assert any("not found" in line for line in lines)
    assert any("bundled with scikit-learn" in line for line in lines)


def test_list_as_json_can_be_read_by_a_program(tmp_path):
    sources = json.loads(run("list", "--json", "--data-dir", tmp_path))
    assert sources[0] == {
        "name": "cifar10",
        "shape": "3 x 32 x 32",
        "classes": 10,
        "sizes": [45000, 5000, 10000],
        "found": None,
        "description": "small photographs of animals and vehicles",
    }


def test_info_shows_sizes_and_classes():
    text = run("info", "digits")
    assert "digits: UCI handwritten digits, bundled with scikit-learn\n" in text
    assert "64 features = 1 x 8 x 8 of uint8 from 0 to 16, 3 of them constant in training" in text
    assert re.search(r"all +1,259 +269 +269", text)


def test_info_as_json_can_be_read_by_a_program():
    info = json.loads(run("info", "synthetic:features=3,classes=2,samples=10", "--json"))
    assert info["features"] == 3
    assert info["image_shape"] is None
    assert info["splits"] == {"train": 10, "validation": 2, "test": 2}
    assert info["samples_per_class"]["train"] == [5, 5]
    assert info["class_names"] == ["class 0", "class 1"]


def test_info_downloads_nothing(tmp_path):
    with refuses(f"CIFAR-10 was not found. Looked in {tmp_path / 'cache'} (cache folder) for: "):
        run("info", "cifar10")


def test_fetch_says_where_the_data_are():
    assert run("fetch", "digits") == "digits: bundled with scikit-learn\n"


def test_fetch_shows_progress_and_then_the_place(monkeypatch):
    def fetch(name, *, data_dir, progress):
        for done in (0, 50, 100):
            progress(done, 100)
        return f"{data_dir}/{name}"

    monkeypatch.setattr("klayer.data.fetch", fetch)
    assert run("fetch", "cifar10", "--data-dir", "here") == "cifar10: here/cifar10\n"


def test_show_writes_a_picture(tmp_path):
    out = tmp_path / "sheet.PNG"
    assert run("show", "digits", "--out", out) == f"{out}: 10 classes of digits\n"
    with Image.open(out) as image:
        assert image.format == "PNG"


def test_show_names_its_picture_after_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("show", "digits")
    assert (tmp_path / "digits.png").exists()


def test_show_refuses_another_format_and_a_place_that_cannot_be_written(tmp_path):
    with refuses(f"--out must end in .png, but got {tmp_path / 'a.jpg'}."):
        run("show", "digits", "--out", tmp_path / "a.jpg")
    with refuses(f"{tmp_path / 'no' / 'a.png'} can't be written: No such file or directory."):
        run("show", "digits", "--out", tmp_path / "no" / "a.png")


def test_names_in_brackets_are_shown_as_they_are(tmp_path):
    for name in ("[bold]", ":smile:"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("L", (2, 2)).save(tmp_path / name / f"{index}.png")
    text = run("info", tmp_path)
    assert "[bold]" in text
    assert ":smile:" in text
