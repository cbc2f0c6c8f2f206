"""The folders looked into, and their order."""

from __future__ import annotations

from pathlib import Path

from klayer.data.locations import cache_folder, existing, locations


def test_the_cache_folder_is_klayers_own():
    assert "klayer" in cache_folder().parts


def test_klayer_data_goes_before_the_cache_folder(monkeypatch):
    monkeypatch.setenv("KLAYER_DATA", "~/data")
    assert [location.origin for location in locations(None)] == ["KLAYER_DATA", "cache folder"]
    assert locations(None)[0].path == Path.home() / "data"


def test_an_empty_klayer_data_counts_as_unset(monkeypatch):
    monkeypatch.setenv("KLAYER_DATA", "")
    assert [location.origin for location in locations(None)] == ["cache folder"]


def test_a_data_dir_is_the_only_place(monkeypatch, tmp_path):
    monkeypatch.setenv("KLAYER_DATA", "elsewhere")
    assert [str(location) for location in locations(tmp_path)] == [f"{tmp_path} (--data-dir)"]


def test_a_name_that_no_file_system_takes_is_not_there():
    assert not existing(Path("x" * 5000))
