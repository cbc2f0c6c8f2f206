"""Mutation fuzzing of all that reads what others wrote: only named mistakes, no dead process.

    python tests/fuzz_readers.py --seconds 3600          # all readers, about so long in all
    python tests/fuzz_readers.py --only npz toml -s 60   # some of them

Each reader gets files of its own kind with a few bytes, words or lengths changed. It must read them or
raise `KlayerError`. Inputs are tried in child processes, so that one that dies is counted and named;
what failed is written to ``--out`` to be tried again. `tests/test_fuzz_readers.py` is the short form;
`tests/fuzz_tables.py` has the readers of tables.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import pickle
import random
import re
import resource
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from klayer.errors import KlayerError

SLOW = 10.0  # seconds: an input that takes longer is a failure
ROUND = 200  # inputs a child process


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: samples of a format, and the function that reads a file of it."""

    name: str
    samples: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    file: str  # the name that the input gets
    words: tuple[bytes, ...] = ()


def _npz() -> list[bytes]:
    found = []
    for save in (np.savez, np.savez_compressed):
        for arrays in (
            {"X": np.arange(24.0).reshape(6, 4), "y": np.arange(6) % 2},
            {"x_train": np.ones((6, 2, 2, 3)), "y_train": np.array(["a", "b"] * 3)},
        ):
            file = io.BytesIO()
            save(file, **arrays)
            found.append(file.getvalue())
    return found


def _npy() -> list[bytes]:
    found = []
    for array in (np.arange(12.0).reshape(3, 4), np.ones((3, 4), ">i2", order="F")):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue())
    return found


def _idx() -> list[bytes]:
    return [struct.pack(">4I", 0x803, 3, 2, 2) + bytes(range(12))]


def _tar() -> list[bytes]:
    found = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
            for name in ("data_batch_1.bin", "x" * 90, "test_batch.bin"):
                member = tarfile.TarInfo(f"folder/{name}")
                member.size, member.pax_headers = 600, {"comment": "ü"}
                archive.addfile(member, io.BytesIO(bytes(600)))
        found.append(file.getvalue())
    return [*found, *map(gzip.compress, found)]


def _pickle() -> list[bytes]:
    batch = {
        b"data": np.zeros((4, 3072), np.uint8),
        b"labels": [1, 2, 3, 4],
        b"filenames": [b"a.png"],
    }
    return [pickle.dumps(batch, protocol) for protocol in (2, 4)]


def _matlab() -> list[bytes]:
    from scipy.io import savemat

    found = []
    for packed in (False, True):
        file = io.BytesIO()
        values = {"data": np.zeros((4, 30), np.uint8), "labels": np.array([[1.0], [2], [3], [4]])}
        savemat(file, {**values, "text": "abc"}, do_compression=packed)
        found.append(file.getvalue())
    return found


def _image(format: str, *modes: str) -> Callable[[], list[bytes]]:
    def samples() -> list[bytes]:
        from PIL import Image

        found = []
        for mode in modes:
            image = Image.linear_gradient("L").resize((24, 20)).convert(mode)
            file = io.BytesIO()
            try:
                image.save(file, format)
            except (KeyError, OSError, ValueError):  # this Pillow doesn't write it
                continue
            found.append(file.getvalue())
        return found

    return samples


def _toml() -> list[bytes]:
    return [
        b"""name = "mine"
data = "digits"
seeds = [1, 2, 3]
[settings]
hidden = [20, 10]
half_cycle = "2 epochs"
l2 = 1e-3
[grid]
init = ["he", "gaussian:0.1"]
batch_norm = ["none", "all"]
[[arms]]
name = "wide"
hidden = [50]
[search]
trials = 5
stages = [{ l2 = "1e-5:1e-1", lr_max = "10^-3:10^-1:log" }]
finalists = { top = 1, cycles = 2, seeds = 2 }
[[published]]
where = { hidden = [50], batch_norm = "none" }
source = "a paper"
test = 0.5
"""
    ]


def _texts() -> list[bytes]:
    return [
        b"synthetic:features=5,classes=3,samples=30,seed=1",
        b"5 epochs",
        b"gaussian:0.01",
        b"1e-5:1e-1:log",
        b"3,7,9",
        b"emnist:letters",
        b"50,30,20",
    ]


def _run_json() -> list[bytes]:
    return [json.dumps(one).encode() for one in [_RUN]]


_RUN: dict[str, Any] = {
    "schema": 2,
    "kind": "train",
    "created": "2026-01-01T00:00:00",
    "command": ["klayer", "train"],
    "config": {
        "name": "train",
        "data": "digits",
        "seeds": [0],
        "arms": [{"hidden": [20], "l2": 0.1, "half_cycle": "2 epochs"}],
    },
    "data": {
        "name": "digits",
        "data_dir": None,
        "n_features": 64,
        "class_names": list("0123456789"),
        "image_shape": [1, 8, 8],
        "value_range": [0.0, 16.0],
        "samples": {"train": 1259, "validation": 269, "test": 269},
        "fingerprint": {},
    },
    "versions": {"klayer": "0.1.0"},
    "machine": {"system": "Linux", "cpu": "x", "cores": 2, "memory_bytes": None, "blas": []},
}


def _record() -> list[bytes]:
    from klayer.study.record import NetworkRecord, Score
    from klayer.train import Settings

    history = {"update": [0, 1], "epoch": [0.0, 1.0], "lr": [0.1, 0.1], "train_cost": [2.0, None]}
    scores = {"train": Score(0.5, 1.0, 1.25)}
    one = NetworkRecord(
        "arms", "a", 3, "trained", None, scores, Settings(), "p", 0, 1, 0.5, history
    )
    return [json.dumps(one.to_json()).encode()]


def _weights() -> list[bytes]:
    from klayer.files import write_arrays

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_arrays(path, {"W1": np.ones((2, 3, 4), np.float32)}, {"seeds": [0, 1]})
        return [path.read_bytes()]


def _read_tar(path: Path) -> None:
    from klayer.data.tar_files import tar_files

    list(tar_files(path, lambda name: name.endswith(".bin"), 10_000, "Get it anew."))


def _read_text(path: Path) -> None:
    from klayer.data import load
    from klayer.study.search.space import Range
    from klayer.train import Settings
    from klayer.train.seeds import parse_seeds, seeds_of
    from klayer.train.settings import SETTINGS

    text = path.read_text("utf-8", "replace").replace("\x00", "")
    refused: KlayerError | None = None
    many = re.search(r"\d{5,}", text)  # asked for and made: not what is tried here
    for ask in (
        lambda: (
            None if many or not text.startswith("synthetic") else load(text, may_download=False)
        ),
        lambda: Settings(half_cycle=text),
        lambda: Settings(init=text),
        lambda: Range.parse(text),
        lambda: seeds_of(parse_seeds(text)),
        lambda: SETTINGS["hidden"].parse(text),
    ):
        try:
            ask()
        except KlayerError as error:
            refused = error
            if len(str(error)) > 5_000:
                raise ValueError("a message of more than 5,000 characters") from error
    if refused:
        raise refused


def _readers() -> list[Reader]:
    from klayer.data import load
    from klayer.data.array_files import read_npy
    from klayer.data.idx_files import IMAGES, read_idx
    from klayer.data.image_files import probe, read_image
    from klayer.data.matlab_files import read_matrices
    from klayer.data.unpickle import read_byte_pickle
    from klayer.files import read_arrays
    from klayer.study.record import NetworkRecord
    from klayer.study.run_dir import Run
    from klayer.study.study import read_study

    def image(path: Path) -> None:
        probe(path)
        for channels in (1, 3, 4):
            read_image(path, (channels, 6, 5))

    def run(path: Path) -> None:
        found = Run(path.parent)
        found.study  # noqa: B018

    rgb = ("L", "RGB")
    return [
        Reader("npz", _npz, load, "a.npz", (b"X_train.npy", b"'descr': '|O'", b"arr_0")),
        Reader(
            "npy", _npy, read_npy, "a.npy", (b"'<f8'", b"(3, 4)", b"True", b"(((((", b"|O8", b"V9")
        ),
        Reader("idx", _idx, lambda p: read_idx(p, IMAGES, (None,) * 3), "a"),
        Reader(
            "idx.gz",
            lambda: [gzip.compress(one) for one in _idx()],
            lambda p: read_idx(p, IMAGES, (None,) * 3),
            "a.gz",
        ),
        Reader("tar", _tar, _read_tar, "a.tar", (b"77777777777", b"ustar", b"x", b"L", b"\x80")),
        Reader(
            "pickle",
            _pickle,
            lambda p: read_byte_pickle(p.read_bytes(), "a"),
            "a",
            (b"cos\nsystem\n", b"\x85" * 50, b"]" * 50, b"\x8c\x04eval\x93", b"R", b"b", b"("),
        ),
        Reader(
            "matlab",
            _matlab,
            lambda p: read_matrices(p.read_bytes(), ["data", "labels"], "a", 10**6),
            "a.mat",
        ),
        *(
            Reader(name.lower(), _image(name, *modes), image, f"a.{ending}")
            for name, ending, modes in (
                ("PNG", "png", (*rgb, "RGBA", "LA", "P", "I;16", "1")),
                ("JPEG", "jpg", rgb),
                ("GIF", "gif", ("P", "L")),
                ("TIFF", "tif", (*rgb, "RGBA", "F", "I;16", "1")),
                ("BMP", "bmp", (*rgb, "P", "1")),
                ("WEBP", "webp", ("RGB", "RGBA")),
                ("PPM", "ppm", (*rgb, "1")),
                ("TGA", "tga", (*rgb, "RGBA")),
                ("PCX", "pcx", (*rgb, "P")),
                ("ICO", "ico", ("RGBA",)),
                ("JPEG2000", "jp2", (*rgb, "RGBA")),
                ("AVIF", "avif", ("RGB",)),
                ("QOI", "qoi", ("RGB", "RGBA")),
                ("SGI", "sgi", rgb),
                ("XBM", "xbm", ("1",)),
            )
        ),
        Reader(
            "toml",
            _toml,
            read_study,
            "a.toml",
            (b"a." * 500, b"1" * 60, b"true", b"[[", b"10**400", b"1e400", b"nan", b'"""', b"-1"),
        ),
        Reader(
            "texts", _texts, _read_text, "a.txt", (b"9" * 100, b"1e400", b"^", b":", b"-", b"nan")
        ),
        Reader(
            "run.json",
            _run_json,
            run,
            "run.json",
            (b"null", b"true", b"1" + b"0" * 400, b"NaN", b"[" * 2000, b"-1", b'"x"', b"{}"),
        ),
        Reader(
            "record",
            _record,
            lambda p: NetworkRecord.from_line(p.read_bytes(), "a"),
            "a.json",
            (b"null", b"true", b"1" + b"0" * 400, b"NaN", b"[" * 2000, b"-1", b'"x"', b"{}"),
        ),
        Reader("weights", _weights, read_arrays, "a.safetensors", (b"F64", b"4294967296", b"null")),
    ]


_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(data: bytes, words: tuple[bytes, ...], rng: random.Random) -> bytes:
    """Change a few bytes, numbers or words of a file, cut it, or repeat a part of it."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randrange(len(found) + 1)
        kind = rng.randrange(8)
        if kind == 0 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(found):
            found[place] = rng.choice((0, 0x20, 0x2E, 0x30, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            order = rng.choice("<>") + rng.choice("BHI")
            size = struct.calcsize(order)
            found[place : place + size] = struct.pack(order, rng.choice(_NUMBERS) % (1 << 8 * size))
        elif kind == 3:
            del found[place:]
        elif kind == 4:
            del found[place : place + rng.randrange(1, 40)]
        elif kind == 5:
            found[place:place] = found[place : place + rng.randrange(1, 200)]
        elif kind == 6 and words:
            word = rng.choice(words)
            found[place : place + (len(word) if rng.random() < 0.5 else 0)] = word
        else:
            found[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    return bytes(found)


@dataclass
class Outcome:
    """What came of the inputs of one reader."""

    tried: int = 0
    refused: int = 0
    seconds: float = 0.0
    memory: int = 0  # bytes, the most that a child had
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, bytes] = field(default_factory=dict)

    def failed(self, what: str, data: bytes) -> None:
        self.failures[what] += 1
        self.examples.setdefault(what, data)


def _child(reader: Reader, inputs: list[bytes], connection: Any) -> None:
    sys.stderr = io.StringIO()  # what a damaged file makes a library say
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / reader.file
        for data in inputs:
            path.write_bytes(data)
            started, what = time.monotonic(), ""
            try:
                reader.read(path)
            except KlayerError:
                what = "refused"
            except BaseException as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{Path(last.filename).name}:{last.lineno}"
                what = f"{type(error).__name__} in {where}: {error!s:.80}"
            took = time.monotonic() - started
            if took > SLOW:
                what = f"slow: {took:.0f} s"
            connection.send(what)
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    connection.close()


def fuzz(reader: Reader, seed: int, count: int | None, seconds: float | None) -> Outcome:
    """Try a number of inputs, or for a time."""
    samples, outcome = reader.samples(), Outcome()
    if not samples:
        return outcome
    started, number = time.monotonic(), 0
    context = multiprocessing.get_context("fork")
    while (count is None or outcome.tried < count) and (
        seconds is None or time.monotonic() - started < seconds
    ):
        rng = random.Random(f"{reader.name} {seed} {number}")
        number += 1
        size = ROUND if count is None else min(ROUND, count - outcome.tried)
        inputs = [mutated(rng.choice(samples), reader.words, rng) for _ in range(size)]
        for data, what in _round(context, reader, inputs, outcome):
            outcome.tried += 1
            outcome.refused += what == "refused"
            if what not in ("", "refused"):
                outcome.failed(what, data)
    outcome.seconds = time.monotonic() - started
    return outcome


def _round(
    context: Any, reader: Reader, inputs: list[bytes], outcome: Outcome
) -> Iterator[tuple[bytes, str]]:
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(reader, inputs, theirs))
    child.start()
    theirs.close()
    try:
        for data in inputs:
            if not ours.poll(6 * SLOW):
                child.kill()
                yield data, "no end"
                return
            yield data, ours.recv()
        outcome.memory = max(outcome.memory, ours.recv())
    except EOFError:
        child.join()
        yield data, f"the process died, status {child.exitcode}"
    finally:
        ours.close()
        child.join()


def main() -> None:
    """Fuzz, and print a line for each reader."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-s", "--seconds", type=float, default=600, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="readers, by name")
    parser.add_argument("--out", type=Path, help="a folder for inputs that failed")
    args = parser.parse_args()
    readers = [one for one in _readers() if not args.only or one.name in args.only]
    bad = 0
    print(f"{'reader':10} {'inputs':>9} {'refused':>8} {'1/s':>7} {'MB':>6}  failures", flush=True)
    for reader in readers:
        found = fuzz(reader, args.seed, None, args.seconds / len(readers))
        bad += sum(found.failures.values())
        share = found.refused / max(1, found.tried)
        speed = found.tried / max(1e-9, found.seconds)
        print(
            f"{reader.name:10} {found.tried:9,} {share:8.0%} {speed:7.0f} {found.memory / 1e6:6.0f}  "
            + ("; ".join(f"{n} x {what}" for what, n in found.failures.items()) or "none"),
            flush=True,
        )
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            for number, data in enumerate(found.examples.values()):
                (args.out / f"{reader.name}-{number}-{reader.file}").write_bytes(data)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
