"""A page printed to PDF by a Chromium that is on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from klayer.errors import KlayerError
from klayer.files import write_bytes

__all__ = ["find_chromium", "print_pdf"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
            "msedge")  # fmt: skip
SECONDS = 120


def find_chromium() -> str | None:
    """Return the path of a browser that can print, or None.

    The environment variable ``KLAYER_CHROMIUM`` goes before those on the search path.
    """
    named = os.environ.get("KLAYER_CHROMIUM")
    if named:
        return shutil.which(named)
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def print_pdf(page: Path) -> Path:
    """Print an HTML page to a PDF file beside it.

    Raises
    ------
    KlayerError
        If there is no Chromium, or it fails.
    """
    browser = find_chromium()
    if browser is None:
        raise KlayerError(
            "`--pdf` needs Chromium or Chrome on the search path, or its path in KLAYER_CHROMIUM, "
            f"but there is none. The page {page} is written: print it from any browser."
        )
    pdf = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        printed = Path(profile) / "page.pdf"
        words = [
            browser,
            "--headless",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            f"--print-to-pdf={printed}",
            page.resolve().as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses its sandbox to root; the page is our own and loads nothing.
            words.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KlayerError(f"{browser} could not print {page}: {error}.") from None
        if done.returncode or not printed.exists():
            told = done.stderr.strip().splitlines()
            why = told[-1] if told else "no reason"
            raise KlayerError(f"{browser} could not print {page}: {why}.")
        write_bytes(pdf, printed.read_bytes())
    return pdf
