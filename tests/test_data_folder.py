"""Folders of images: classes from subfolders, one size, clear errors."""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from klayer.data import load
from klayer.data.image_files import read_image
from klayer.errors import KlayerError


def save(path, size=(4, 3), mode="RGB", seed=0, **options):
    """Write an image of random pixels; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], *channels), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def fill(folder, classes=("cat", "dog"), images=4, **options):
    for number, name in enumerate(classes):
        for index in range(images):
            save(folder / name / f"{index}.png", seed=10 * number + index, **options)
    return folder


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def test_subfolders_are_classes_in_sorted_order_and_split_by_seed(tmp_path):
    folder = fill(tmp_path / "pets", ("dog", "cat"), images=10)
    data = load(folder)
    assert (data.name, data.class_names, data.image_shape) == ("pets", ("cat", "dog"), (3, 3, 4))
    assert [len(part) for part in data.splits.values()] == [12, 4, 4]
    assert data.source == "image folder pets"
    test = data.splits["test"].features
    np.testing.assert_array_equal(test, load(str(folder)).splits["test"].features)
    assert not np.array_equal(test, load(folder, seed=1).splits["test"].features)


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Valid", "VAL", "dev"])
def test_folders_of_splits_stay_as_they_are(tmp_path, validation):
    for part in ("train", validation, "test"):
        fill(tmp_path / part, images=2)
    pixels = save(tmp_path / "test" / "dog" / "9.png", seed=99)
    test = load(tmp_path).splits["test"]
    assert test.labels.tolist() == [0, 0, 1, 1, 1]
    # the image is (H, W, C) on disk and (C, H, W) in a row
    np.testing.assert_array_equal(test.features[4].reshape(3, 3, 4), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("parts", [["train"], ["train", "validation"]])
def test_splits_that_are_not_there_are_not_made_up(tmp_path, parts):
    for part in parts:
        fill(tmp_path / part)
    assert {name: len(part) for name, part in load(tmp_path).splits.items()} == dict.fromkeys(
        parts, 8
    )


def test_images_to_validate_are_cut_from_train_where_there_are_images_to_test_alone(tmp_path):
    for part in ("Train", "Test"):
        fill(tmp_path / part)
    data = load(tmp_path)
    sizes = {name: len(part) for name, part in data.splits.items()}
    assert sizes == {"train": 6, "validation": 2, "test": 8}
    assert data.notes[0] == "validation: 2 of the 8 training rows, cut by class with seed 0"


def test_a_folder_around_the_folder_is_looked_through(tmp_path):
    fill(tmp_path / "pets" / "pets")
    assert load(tmp_path).class_names == ("cat", "dog")
    for part in ("train", "valid", "test"):
        fill(tmp_path / "other" / "images" / part)
    assert list(load(tmp_path / "other").splits) == ["train", "validation", "test"]


def test_a_class_called_train_beside_another_is_a_class(tmp_path):
    assert load(fill(tmp_path, ("train", "bus"))).class_names == ("bus", "train")


def test_grey_images_have_one_channel_and_a_coloured_one_makes_all_coloured(tmp_path):
    fill(tmp_path, mode="L")
    assert load(tmp_path).image_shape == (1, 3, 4)
    save(tmp_path / "dog" / "9.png", mode="RGB")
    data = load(tmp_path)
    assert data.image_shape == (3, 3, 4)
    grey = data.splits["train"].features[0].reshape(3, -1)
    np.testing.assert_array_equal(grey[0], grey[1])


def test_images_of_every_size_are_resized_when_asked(tmp_path):
    fill(tmp_path)
    save(tmp_path / "dog" / "9.jpg", size=(40, 30))
    assert load(f"{tmp_path}:size=6x5").image_shape == (3, 6, 5)


def test_hidden_files_and_those_of_file_managers_are_passed_over(tmp_path):
    fill(tmp_path)
    for name in (".DS_Store", "cat/.hidden", "cat/Thumbs.db", "readme.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX" / "cat").mkdir(parents=True)  # from an archive
    assert load(tmp_path).n_classes == 2


def test_a_photograph_is_turned_upright_as_its_camera_noted(tmp_path):
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    pixels = save(path, size=(4, 3), mode="L", exif=exif)
    upright = read_image(path, (1, 4, 3))
    np.testing.assert_array_equal(upright.reshape(4, 3), np.rot90(pixels, -1))
    for name in ("a", "b"):
        for index in range(3):
            save(tmp_path / "set" / name / f"{index}.png", size=(4, 3), exif=exif)
    assert load(tmp_path / "set").image_shape == (3, 4, 3)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1), ("L", 3), ("RGB", 1)])
def test_any_image_is_converted_to_the_channels_asked_for(tmp_path, mode, channels):
    save(tmp_path / "a.png", mode=mode)
    assert read_image(tmp_path / "a.png", (channels, 3, 4)).shape == (channels * 12,)


# mistakes


def test_the_first_image_of_another_size_is_named(tmp_path):
    fill(tmp_path)
    save(tmp_path / "dog" / "2.png", size=(5, 3))
    with refuses(
        f"{tmp_path / 'dog' / '2.png'}: all images must have the same size, 4 x 3 like "
        f"{tmp_path / 'cat' / '0.png'}, but this one has 5 x 3: resize it, or all of "
        "them with FOLDER:size=HEIGHTxWIDTH."
    ):
        load(tmp_path)


def bomb():
    """A PNG that states a billion pixels in a hundred bytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", 40_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable image (no image format known)."),
        (b"GIF89a", "not a readable image ("),
        (b"some text", "not a readable image (no image format known)."),
        (bomb(), "the image has too many pixels to be a sample."),
    ],
)
def test_an_unreadable_image_is_named(tmp_path, content, message):
    path = fill(tmp_path) / "dog" / "1.png"
    path.write_bytes(content)
    with refuses(f"{path}: {message}"):
        load(tmp_path)


def test_a_cut_image_is_named(tmp_path):
    path = fill(tmp_path, size=(40, 40)) / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:2000])
    with refuses(f"{path}: not a readable image ("):
        load(tmp_path)


def test_any_other_file_in_a_class_folder_is_refused(tmp_path):
    (fill(tmp_path) / "dog" / "notes.txt").touch()
    with refuses(f"{tmp_path / 'dog' / 'notes.txt'}: a class folder must hold images only (.png, "):
        load(tmp_path)


def test_an_empty_class_is_refused(tmp_path):
    (fill(tmp_path) / "eel").mkdir()
    with refuses(f"{tmp_path / 'eel'}: a class must have images, but the folder is empty."):
        load(tmp_path)


def test_a_folder_without_subfolders_is_refused_with_a_hint(tmp_path):
    save(tmp_path / "1.png")
    with refuses(
        f"{tmp_path}: an image folder must have one subfolder per class, but has no "
    ) as e:
        load(tmp_path)
    assert "give its name and this folder as --data-dir: `cifar10 --data-dir DIR`" in str(e.value)


def test_a_single_class_is_refused(tmp_path):
    with refuses("data set 'one' (image folder one): there must be at least two classes"):
        load(fill(tmp_path / "one", ["cat"]))


def test_images_to_validate_in_two_folders_are_refused(tmp_path):
    for part in ("train", "val", "validation"):
        fill(tmp_path / part)
    with refuses(
        f"{tmp_path}: each split must be in one folder, but validation is in val/ and validation/"
    ):
        load(tmp_path)


def test_a_class_that_training_lacks_is_named(tmp_path):
    for part in ("train", "validation", "test"):
        fill(tmp_path / part)
    save(tmp_path / "test" / "eel" / "0.png")
    message = "every split must have the classes of train/, cat, dog."
    with refuses(f"{tmp_path / 'test' / 'eel'}: {message}"):
        load(tmp_path)


def test_an_image_size_below_one_pixel_is_refused(tmp_path):
    with refuses("size=HEIGHTxWIDTH must be at least 1x1, but got 0x4."):
        load(f"{fill(tmp_path)}:size=0x4")


def test_five_channels_are_refused(tmp_path):
    save(tmp_path / "a.png")
    with refuses(f"{tmp_path / 'a.png'}: images can be read into 1, 2, 3 or 4 channels, not 5."):
        read_image(tmp_path / "a.png", (5, 3, 4))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("size=8", "size must be HEIGHTxWIDTH in pixels, as in size=32x32, but got '8'."),
        ("size=8x8,size=9x9", "`size` must be given once, but is given twice."),
        (
            "colour=red",
            "an image folder has the options size=HEIGHTxWIDTH and background=white|black",
        ),
    ],
)
def test_wrong_options_are_refused(tmp_path, option, message):
    with refuses(f"{fill(tmp_path)}: {message}"):
        load(f"{tmp_path}:{option}")


@pytest.mark.parametrize("size", ["5000x8", "99999999999x8"])
def test_sizes_beyond_a_bound_are_refused_before_memory_is_taken(tmp_path, size):
    with pytest.raises(KlayerError, match="size"):
        load(f"{fill(tmp_path)}:size={size}")


def test_an_unknown_background_is_refused(tmp_path):
    with pytest.raises(KlayerError, match="did you mean 'white'"):
        load(f"{fill(tmp_path)}:background=whte")
