"""Images of every kind: transparency, depth, formats, and files that only claim to be images."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from klayer.data import load, read_rows
from klayer.data.image_files import probe, read_image
from klayer.errors import KlayerError

INK = np.zeros((4, 4), bool)
INK[1:3, 1:3] = True  # black, on transparent paper


def refuses(message):
    return pytest.raises(KlayerError, match=f"^{re.escape(message)}")


def rgba(path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[INK, 3] = 255
    Image.fromarray(pixels).save(path)


def grey_and_alpha(path):
    pixels = np.zeros((4, 4, 2), np.uint8)
    pixels[INK, 1] = 255
    Image.fromarray(pixels).save(path)


def palette(path):
    image = Image.fromarray(INK.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putdata(INK.ravel().astype(int).tolist())
    image.save(path, transparency=0)


def palette_of_alphas(path):
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putdata(INK.ravel().astype(int).tolist())
    image.save(path, transparency=bytes([0, 255]))


def one_colour_is_clear(path):
    pixels = np.full((4, 4, 3), 9, np.uint8)
    pixels[INK] = 0
    Image.fromarray(pixels).save(path, transparency=(9, 9, 9))


def one_grey_is_clear(path):
    Image.fromarray(np.where(INK, 0, 9).astype(np.uint8)).save(path, transparency=9)


def one_of_16_bits_is_clear(path):
    Image.fromarray(np.where(INK, 0, 900).astype(np.uint16)).save(path, transparency=900)


TRANSPARENT = [
    rgba,
    grey_and_alpha,
    palette,
    palette_of_alphas,
    one_colour_is_clear,
    one_grey_is_clear,
    one_of_16_bits_is_clear,
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("draw", TRANSPARENT)
def test_transparent_pixels_are_put_on_the_background(tmp_path, draw, channels):
    draw(tmp_path / "a.png")
    on_white = read_image(tmp_path / "a.png", (channels, 4, 4))
    on_black = read_image(tmp_path / "a.png", (channels, 4, 4), "black")
    np.testing.assert_array_equal(on_white, np.tile(np.where(INK, 0, 255).ravel(), channels))
    assert not on_black.any()


def test_half_transparent_pixels_are_mixed_with_the_background(tmp_path):
    Image.fromarray(np.full((1, 1, 4), [100, 0, 0, 51], np.uint8)).save(tmp_path / "a.png")
    # 51 / 255 = 0.2 of the colour, 0.8 of the paper
    assert read_image(tmp_path / "a.png", (3, 1, 1)).tolist() == [224, 204, 204]
    assert read_image(tmp_path / "a.png", (3, 1, 1), "black").tolist() == [20, 0, 0]


def test_transparency_is_kept_where_the_channels_have_a_place_for_it(tmp_path):
    rgba(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png", (4, 4, 4))[-16:], np.where(INK, 255, 0).ravel()
    )


def folder_of(tmp_path, draw, ending="png"):
    for name in ("a", "b"):
        (tmp_path / name).mkdir(parents=True)
        for index in range(4):
            draw(tmp_path / name / f"{index}.{ending}")
    return tmp_path


def test_the_background_is_said_recorded_and_used_again_by_predict(tmp_path):
    folder = folder_of(tmp_path / "ink", rgba)
    data = load(f"{folder}:background=black")
    assert data.background == "black"
    assert data.notes[0] == (
        "8 of 8 images have transparency: they are put on black (background=black)"
    )
    assert load(folder).background == "white"
    for background, ink in (("white", 0), ("black", 255)):
        rows, _ = read_rows(
            [folder / "a" / "0.png"], n_features=48, image_shape=(3, 4, 4), background=background
        )
        assert (rows[0].reshape(3, 4, 4)[:, 0] == 255 - ink).all()


def test_values_of_16_bits_are_scaled_to_8(tmp_path):
    values = np.array([[0, 257, 65535], [128, 129, 25700]], np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        row = read_image(tmp_path / name, (1, 2, 3))
        assert row.tolist() == [0, 1, 255, 0, 1, 100]
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([0, 65535], ">u2").tobytes())
    assert read_image(tmp_path / "a.pgm", (1, 1, 2)).tolist() == [0, 255]


def test_the_scaling_is_said(tmp_path):
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 257
    folder = folder_of(tmp_path / "deep", lambda path: Image.fromarray(values).save(path))
    assert (
        load(folder).notes[0]
        == "8 of 8 images have more than 8 bits a channel: they are scaled to 8"
    )
    assert load(folder).image_shape == (1, 4, 4)


def test_floats_run_from_0_to_1(tmp_path):
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", (1, 1, 3)).tolist() == [0, 128, 255]


@pytest.mark.parametrize("value", [-0.5, 1.5, 255, np.nan, np.inf])
def test_other_floats_are_refused(tmp_path, value):
    Image.fromarray(np.array([[0, 1], [0, value]], np.float32)).save(tmp_path / "a.tif")
    with refuses(
        f"{tmp_path / 'a.tif'}, row 1, column 1: an image of more than 8 bits must hold floats from 0 "
        f"to 1, but got {np.float32(value)}"
    ):
        read_image(tmp_path / "a.tif", (1, 2, 2))


def test_whole_numbers_beyond_16_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 70_000]], np.int32)).save(tmp_path / "a.tif")
    with refuses(f"{tmp_path / 'a.tif'}, row 0, column 1: an image of more than 8 bits must hold"):
        read_image(tmp_path / "a.tif", (1, 1, 2))


def test_an_image_of_1_bit_is_black_and_white(tmp_path):
    Image.fromarray(INK).save(tmp_path / "a.png")
    assert set(read_image(tmp_path / "a.png", (1, 4, 4)).tolist()) == {0, 255}
    assert probe(tmp_path / "a.png").grey


@pytest.mark.parametrize(
    "ending", ["png", "bmp", "gif", "tif", "tga", "pcx", "ppm", "qoi", "webp", "ico"]
)
def test_lossless_formats_give_the_pixels(tmp_path, ending):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :, 0], pixels[:, 8:, 1] = 255, 255
    options = {"lossless": True} if ending == "webp" else {}
    try:
        Image.fromarray(pixels).save(tmp_path / f"a.{ending}", **options)
    except (ValueError, KeyError, OSError):
        pytest.skip(f"this Pillow doesn't write {ending}")
    row = read_image(tmp_path / f"a.{ending}", (3, 16, 16))
    np.testing.assert_array_equal(row.reshape(3, 16, 16), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "jfif", "jp2", "avif"])
def test_lossy_formats_give_about_the_pixels(tmp_path, ending):
    pixels = np.full((16, 16, 3), [200, 100, 50], np.uint8)
    try:
        Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    except (ValueError, KeyError, OSError):
        pytest.skip(f"this Pillow doesn't write {ending}")
    row = read_image(tmp_path / f"a.{ending}", (3, 16, 16)).astype(int)
    assert np.abs(row.reshape(3, -1).T - [200, 100, 50]).max() < 12


def test_of_several_pictures_the_first_is_taken_and_it_is_said(tmp_path):
    def draw(path):
        first, *rest = (Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200, 90))
        first.save(path, save_all=True, append_images=rest)

    data = load(folder_of(tmp_path / "films", draw, "gif"))
    assert data.notes[0] == "8 of 8 images hold several pictures: the first is taken"
    assert (data.splits["train"].features == 10).all()


CLAIMS = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n",
    "a document": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "a metafile": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "a program": b"#!/bin/sh\ntouch ran\n",
    "a page": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a film": b"\x00\x00\x01\xb3" + bytes(60),
}


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_what_only_claims_to_be_an_image_starts_no_other_program(
    tmp_path, monkeypatch, claim, ending
):
    def started(*args, **kwargs):
        raise AssertionError("a program was started")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, started)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(CLAIMS[claim])
    with refuses(f"{path}: not a readable image (no image format known)."):
        read_image(path, (3, 4, 4))


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz", "a.csv"])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with refuses(f"{tmp_path / name}: must be a file, but is a named pipe"):
        read_rows([tmp_path / name], n_features=3, image_shape=(3, 1, 1))


def test_a_named_pipe_among_images_is_refused(tmp_path):
    folder = folder_of(tmp_path / "set", rgba)
    os.mkfifo(folder / "a" / "9.png")
    with refuses(f"{folder / 'a' / '9.png'}: must be a file, but is a named pipe"):
        load(folder)
