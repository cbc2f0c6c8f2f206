"""A run with a thousand workers that only sleep and write: what the folder of a run can bear.

    python benchmarks/simulate_scheduler.py --workers 10 100 1000 --seconds 10 --parts-each 4

Workers are threads of a few processes. They claim parts by the very code that hands claim them by
(klayer.study.execute.hand), give signs of life, sleep instead of training, and lay down a result of some
kilobytes; a leader lays parts out and takes results in. `ideal` is the sleep alone; `lost` is what the
rest took, for each part and worker; `looks` are seconds that a worker takes to find an open part.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from klayer.files import Claim, write_bytes, write_json
from klayer.study.execute.bench import Bench
from klayer.study.execute.hand import Hand, idle_seconds
from klayer.study.execute.shared import WINDOW

RESULT_BYTES = 20_000  # a small network's weights, curves and scores
PROCESSES = 8


class Sleeper(Hand):
    """A hand that sleeps where another trains."""

    def __init__(self, run: Path, stop: threading.Event, seconds: float) -> None:
        super().__init__(run, 1, stop)
        self.seconds, self.looks, self.began = seconds, [], time.monotonic()

    def _work(self, name: str, claim: Claim, before: int) -> None:  # noqa: ARG002
        self.looks.append(time.monotonic() - self.began)
        if not self.bench.is_laid_out(name):
            claim.release()
            return
        claim.say(begun=0, kept=0)
        self.stop.wait(self.seconds)
        if not claim.lost:
            write_bytes(self.bench.folder / f"{name}.safetensors", b"x" * RESULT_BYTES)
        self.began = time.monotonic()


def sleep_and_write(run: Path, workers: int, seconds: float) -> None:
    """Be some workers, until the parent closes this process's input."""
    stop = threading.Event()
    sleepers = [Sleeper(run, stop, seconds) for _ in range(workers)]
    threads = [threading.Thread(target=one.work, args=(lambda: False,)) for one in sleepers]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    looks = sorted(one for sleeper in sleepers for one in sleeper.looks)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"looks": looks, "cpu": used.ru_utime + used.ru_stime}))


def lead(bench: Bench, parts: int) -> tuple[float, float]:
    """Lay parts out and take results in; return the longest look, and the seconds spent on looks."""
    ahead, out, done = [f"part-{number:06d}" for number in range(parts)][::-1], set(), 0
    longest = spent = 0.0
    while done < parts:
        started = time.monotonic()
        while ahead and len(out) < WINDOW:
            name = ahead.pop()
            write_json(bench.made() / f"{name}.json", {"members": [], "name": name})
            out.add(name)
        for name in bench.finished() & out:
            (bench.folder / f"{name}.safetensors").read_bytes()
            bench.forget(name)
            out.remove(name)
            done += 1
        took = time.monotonic() - started
        longest, spent = max(longest, took), spent + took
        time.sleep(idle_seconds(took))
    return longest, spent


def simulate(workers: int, seconds: float, each: int, folder: Path | None) -> None:
    """Run a study of `workers x each` parts, and print what it cost."""
    run = Path(tempfile.mkdtemp(prefix="simulate-", dir=folder))
    processes, parts = min(PROCESSES, workers), workers * each
    command = [
        sys.executable,
        __file__,
        "--sleep",
        str(run),
        "--seconds",
        str(seconds),
        "--workers",
    ]
    shares = [workers * (i + 1) // processes - workers * i // processes for i in range(processes)]
    bench = Bench(run)
    bench.made()
    helpers = [
        subprocess.Popen(
            [*command, str(share)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    for one in helpers:
        assert one.stdout
        one.stdout.readline()  # it is ready before anything is laid out
    started = time.monotonic()
    longest, spent = lead(bench, parts)
    wall = time.monotonic() - started
    found = [json.loads(one.communicate()[0]) for one in helpers]
    looks = sorted(look for one in found for look in one["looks"])
    cpu = sum(one["cpu"] for one in found)
    ideal = each * seconds
    shutil.rmtree(run)
    print(
        f"{workers:6,} workers {parts:7,} parts: {wall:7.1f} s, ideal {ideal:.0f}, lost "
        f"{(wall - ideal) / each:6.3f} s a part; look {looks[len(looks) // 2]:.3f} s (most "
        f"{looks[-1]:.3f}); CPU {1000 * cpu / parts:.1f} ms a part; leader {spent / wall:.0%} busy, "
        f"longest look {longest:.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=10.0, help="that a part takes")
    parser.add_argument("--parts-each", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the run lies, as /dev/shm")
    parser.add_argument("--sleep", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sleep:
        sleep_and_write(given.sleep, given.workers[0], given.seconds)
        return
    for workers in given.workers:
        simulate(workers, given.seconds, given.parts_each, given.folder)


if __name__ == "__main__":
    main()
