"""The short form of `tests/fuzz_tables.py`: damaged tables are read or refused, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")


def test_a_damaged_table_is_read_or_refused():
    script = Path(__file__).parent / "fuzz_tables.py"
    command = [sys.executable, str(script), "--cases", "400", "--minutes", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "400 damaged files: {'" in done.stdout
    assert "refused" in done.stdout
    assert "read" in done.stdout
