import os
from pathlib import Path

import numpy as np
import pytest

from klayer.errors import KlayerError
from klayer.files import (
    append_bytes,
    cached,
    read_arrays,
    read_json,
    write_arrays,
    write_bytes,
    write_json,
)

OPEN = Path("/proc/self/fd")  # the files that this process has open, where the system tells


@pytest.fixture
def order(monkeypatch):
    """What is done to files, in order: flushes of files and folders, and renames."""
    done, fsync, replace = [], os.fsync, os.replace

    def flushed(handle):
        done.append(("flush", (OPEN / str(handle)).readlink().name if OPEN.exists() else ""))
        fsync(handle)

    def renamed(source, target, **kwargs):
        done.append(("rename", Path(target).name))
        replace(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    return done


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(tmp_path, order):
    write_json(tmp_path / "a.json", {"x": (1, float("nan"))})
    if OPEN.exists():
        assert order == [("flush", "a.json.part"), ("rename", "a.json"), ("flush", tmp_path.name)]
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}


@pytest.mark.parametrize("content", [b"new", None])
def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, content, monkeypatch):
    path = tmp_path / "a"
    write_bytes(path, b"old")
    if content:
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises((OSError, TypeError)):
        write_bytes(path, content)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_appended_lines_are_flushed(tmp_path, order):
    path = tmp_path / "lines"
    append_bytes(path, b"1\n")
    append_bytes(path, b"2\n")
    assert path.read_bytes() == b"1\n2\n"
    assert [kind for kind, _ in order] == ["flush", "flush", "flush"]  # the new name, too


def test_arrays_and_plain_values_come_back(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3)[:, ::2], "c": np.array([True])}
    write_arrays(tmp_path / "x", arrays, {"n": [1, None]})
    found, values = read_arrays(tmp_path / "x")
    assert values == {"n": [1, None]}
    for key, value in arrays.items():
        assert np.array_equal(found[key], value)


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(KlayerError, match="no stored networks at .*x: is this a finished run"):
        read_arrays(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"{")
    with pytest.raises(KlayerError, match="must be a whole file that klayer wrote"):
        read_arrays(tmp_path / "x")
    with pytest.raises(KlayerError, match="x must be JSON, but"):
        read_json(tmp_path / "x")


def test_a_cached_text_is_made_once_and_again_if_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.files.cache_folder", lambda: tmp_path / "cache")
    made = []

    def make():
        made.append(1)
        return "long ago\nand far away"

    assert cached("a.txt", make) == cached("a.txt", make) == make()
    assert len(made) == 2  # once by the cache, once here
    path = tmp_path / "cache" / "a.txt"
    path.write_text(path.read_text()[:-1])
    assert cached("a.txt", make) == "long ago\nand far away"
    assert len(made) == 3


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("klayer.files.cache_folder", lambda: tmp_path / "file" / "cache")
    assert cached("a.txt", lambda: "text") == "text"
