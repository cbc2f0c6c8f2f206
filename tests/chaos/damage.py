"""Damage: flipped bits and lost ends are found by whoever reads, and mended where that can be."""

import random
import shutil

from chaos.outcome import Outcome
from chaos.scenes import begin, go_on, litter, result
from klayer.errors import KlayerError
from klayer.study import Run
from klayer.study.checking import check_run


def _files(path):
    kept = (".json", ".jsonl", ".copy", ".safetensors")
    return [one for one in sorted(path.rglob("*")) if one.suffix in kept and one.is_file()]


def _read_all(path):
    """Do what predict, report and resume read; say whether damage was found."""
    try:
        run = Run(path)
        for name in ("summary.json", "trials.json"):
            run.result(name)
        for record in run.networks:
            run.model(record)
        run.asked  # noqa: B018
    except KlayerError:
        return True
    return any(one.damage for one in check_run(path))


def is_found(folder, size):
    """Flip single bits, and cut files at every length (of the long form) or at some; read everything."""
    outcome, rng = Outcome(), random.Random(17)
    for scene in ("study", "search"):
        path = begin(scene, folder / scene).path
        files = _files(path)
        for _ in range(size):
            file = rng.choice(files)
            whole = file.read_bytes()
            harmed = bytearray(whole)
            harmed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            file.write_bytes(harmed)
            outcome.check(_read_all(path), f"{file.name}: a flipped bit is not found")
            file.write_bytes(whole)
        for file in files:
            whole = file.read_bytes()
            step = max(1, len(files) * len(whole) // (4 * size))
            for length in range(0, len(whole), step):
                file.write_bytes(whole[:length])
                outcome.check(_read_all(path), f"{file.name}: not found that it ends at {length}")
            file.write_bytes(whole)
    return outcome


def is_mended(folder, size):
    """Flip bits in runs that then go on: the end is that of an unharmed one."""
    outcome, rng = Outcome(), random.Random(19)
    for scene in ("study", "search"):
        whole = begin(scene, folder / scene).path
        expected = result(Run(whole))
        for nth in range(size):
            path = shutil.copytree(whole, folder / f"{scene}-{nth}")
            file = rng.choice(_files(path))
            harmed = bytearray(file.read_bytes())
            harmed[rng.randrange(len(harmed))] ^= 1 << rng.randrange(8)
            file.write_bytes(harmed)
            run = go_on(path)
            what = f"{scene}: {file.name}"
            outcome.check(result(run) == expected and not litter(path), what)
            shutil.rmtree(path)
    return outcome
