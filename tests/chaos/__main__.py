"""``python -m chaos [NAME ...] [--short]``: try promises, print a line each; 1 if one is broken."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from chaos.promises import PROMISES


def main():
    """Try the promises that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(one.name for one in PROMISES)])
    parser.add_argument("--short", action="store_true", help="as the tests do")
    parser.add_argument("--size", type=int, help="how often, instead")
    asked, broken = parser.parse_args(), 0
    for one in PROMISES:
        if asked.names and one.name not in asked.names:
            continue
        started = time.monotonic()
        size = asked.size or (one.short if asked.short else one.long)
        with tempfile.TemporaryDirectory(prefix="klayer-chaos-") as folder:
            outcome = one.attempt(Path(folder), size)
        seconds = time.monotonic() - started
        print(f"{one.name:12} {one.says}: {outcome.figure} ({seconds:.0f} s)", flush=True)
        for what in outcome.broken[:20]:
            print(f"    {what}", flush=True)
        broken += len(outcome.broken)
    sys.exit(min(broken, 1))


if __name__ == "__main__":
    main()
