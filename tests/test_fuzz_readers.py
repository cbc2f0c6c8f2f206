"""The short form of `tests/fuzz_readers.py`: every reader reads changed files or names the mistake."""

from __future__ import annotations

import pytest

import fuzz_readers

# The child reads files and nothing else: other tests' threads are no danger to it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork")

READERS = {reader.name: reader for reader in fuzz_readers._readers()}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused(name):
    found = fuzz_readers.fuzz(READERS[name], seed=1, count=60, seconds=None)
    assert not found.failures
    if found.tried:
        assert found.refused  # the mutations do reach what they should


def test_a_process_that_dies_is_counted():
    import os

    reader = fuzz_readers.Reader("dies", lambda: [b"abc"], lambda path: os._exit(77), "a")
    found = fuzz_readers.fuzz(reader, seed=0, count=3, seconds=None)
    assert list(found.failures) == ["the process died, status 77"]


def test_any_other_exception_is_counted():
    reader = fuzz_readers.Reader("raises", lambda: [b"abc"], lambda path: {}["x"], "a")
    found = fuzz_readers.fuzz(reader, seed=0, count=5, seconds=None)
    assert sum(found.failures.values()) == 5
