"""Each promise of `make chaos`, tried in short."""

import os

import pytest

from chaos.promises import PROMISES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and locks")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one.name)
def test_a_promise_is_kept(promise, tmp_path):
    if not promise.short:
        pytest.skip("it takes a minute: make chaos")
    outcome = promise.attempt(tmp_path, promise.short)
    if outcome.measured.get("strace is not there"):
        pytest.skip("strace is not there")
    assert outcome.tried
    assert outcome.broken == []
