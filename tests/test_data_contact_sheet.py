"""The contact sheet: a row per class."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klayer.data import Dataset, Split, contact_sheet, load
from klayer.errors import KlayerError


def make(channels=1, image_shape=True, class_names=("left", "right")):
    """Black 20 x 20 images with a white left half (class 0) or right half (class 1)."""
    images = np.zeros((6, channels, 20, 20), np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1])
    images[labels == 0, :, :, :10] = 100
    images[labels == 1, :, :, 10:] = 100
    rows = Split(images.reshape(6, -1), labels)
    splits = {"train": rows, "validation": rows, "test": rows}
    return Dataset("halves", splits, class_names, (channels, 20, 20) if image_shape else None)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_class_has_its_row_enlarged_and_stretched_from_black_to_white(channels):
    sheet = contact_sheet(make(channels), columns=3)
    assert sheet.mode == "RGB"
    assert sheet.height == 4 + 2 * 44
    cell = np.asarray(sheet)[4:44, sheet.width - 44 : sheet.width - 4]  # third image of class 0
    assert (cell[:, :20] == 255).all()
    assert (cell[:, 20:] == 0).all()
    below = np.asarray(sheet)[48:88, sheet.width - 44 : sheet.width - 4]
    assert (below[:, :20] == 0).all()
    assert (below[:, 20:] == 255).all()


def test_the_names_are_drawn_to_the_left_of_the_images():
    sheet = contact_sheet(make(), columns=1)
    margin = np.asarray(sheet)[:, : sheet.width - 44]
    assert (margin[:44] < 128).any()
    assert (margin[48:] < 128).any()


def test_a_class_may_have_several_rows_and_too_few_images_leave_them_blank():
    sheet = contact_sheet(make(), rows_per_class=2, columns=2)
    assert sheet.height == 4 + 4 * 44
    third = np.asarray(sheet)[48:88, sheet.width - 88 : sheet.width - 48]  # of class 0
    assert (third[:, 20:] == 0).all()
    last = np.asarray(sheet)[48:88, sheet.width - 44 : sheet.width - 4]  # the fourth of class 0
    assert (last == 255).all()


def test_a_long_class_name_is_cut():
    wide = contact_sheet(make(class_names=("x" * 500, "y")), columns=1).width
    assert wide < 400


def test_negative_features_are_stretched_too():
    data = load("synthetic:features=3072,classes=2,samples=4")
    assert np.asarray(contact_sheet(data)).min() == 0


def test_a_data_set_without_images_is_refused():
    message = "data set 'halves': a contact sheet needs images, but its rows have no `image_shape`."
    with pytest.raises(KlayerError, match=re.escape(message)):
        contact_sheet(make(image_shape=False))


def test_images_of_two_channels_are_refused():
    message = "data set 'halves': a contact sheet needs images of 1 or 3 channels, but got 2."
    with pytest.raises(KlayerError, match=re.escape(message)):
        contact_sheet(make(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": 0}, "`columns` must be at least 1, but got 0."),
        ({"rows_per_class": 0}, "`rows_per_class` must be at least 1, but got 0."),
        ({"split": "dev"}, "unknown split 'dev': Known: train, validation, test."),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(KlayerError, match=f"^{re.escape(message)}"):
        contact_sheet(make(), **options)
