"""A system that refuses: a full disk, a failing one, half a write; the order that a power cut needs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from chaos.calls import AtCall, count
from chaos.kills import _some
from chaos.outcome import Outcome
from chaos.scenes import VALUES, compare, context, expected, run_child

HARMS = ("ENOSPC", "EIO", "short", "EACCES")


def at_every_call(folder, size):
    """Refuse calls that change the disk, evenly among all; size is how many a scene."""
    scenes = list(VALUES) if size > 3 else ["study", "pruned"]
    outcome, processes, wanted = Outcome(), context(), expected(folder, scenes)
    for scene in scenes:
        calls = count(processes, run_child, scene, folder / f"counted-{scene}")
        for i, nth in enumerate(_some(len(calls), size)):
            harm, path = HARMS[i % len(HARMS)], folder / f"{scene}-{nth}"
            what = f"{scene}, {harm} at call {nth} ({calls[nth]})"
            code, told = run_child(processes, scene, path, AtCall(nth, harm))
            kind, message = told or ("nothing", f"status {code}")
            if kind == "NotWritten":
                said = re.search(r"\S+ can't be written: .+\. [A-Z].+", message)
                if not said or "[Errno" in message:
                    outcome.check(False, f"{what}: {message}")
            elif kind != "ended":
                outcome.check(False, f"{what}: {kind}: {message}")
            compare(outcome, what, scene, path, wanted)
    return outcome


CODE = "import sys; from chaos.scenes import begin; begin(sys.argv[1], sys.argv[2])"


def in_order(folder, _size):
    """Read from a trace of the system's calls: written, flushed, renamed, the folder flushed."""
    outcome = Outcome()
    if not shutil.which("strace"):
        outcome.measured["strace is not there"] = 1
        return outcome
    for scene in VALUES:
        trace, path = folder / f"{scene}.trace", folder / scene
        command = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e",
                   "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2",
                   sys.executable, "-c", CODE, scene, str(path)]  # fmt: skip
        tests = str(Path(__file__).parent.parent)
        path_to = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path_to})
        _read(trace.read_text(errors="replace"), path, outcome)
    return outcome


def _read(trace, run, outcome):
    dirty, renamed, saves = set(), {}, 0
    for line in trace.splitlines():
        for file in re.findall(r"p?write(?:64)?\(\d+<([^>]+)>", line):
            dirty.add(file)
        for file in re.findall(r"f(?:data)?sync\(\d+<([^>]+)>", line):
            dirty.discard(file)
            renamed = {name: where for name, where in renamed.items() if where != file}
        found = re.search(r'rename\w*\((?:[^"]*)"([^"]+)",(?:[^"]*)"([^"]+)"', line)
        if found and str(run) in found[2]:
            saves += 1
            source, target = found[1], found[2]
            outcome.check(source not in dirty, f"{target} is renamed before it is flushed")
            if source.endswith(".part"):
                renamed[target] = target.rpartition("/")[0]
    outcome.check(saves > 0, "nothing was saved")
    outcome.check(not renamed, f"folders were not flushed after {sorted(renamed)}")
