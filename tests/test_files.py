import contextlib
import errno
import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import klayer as kl
from klayer.data import fetch, read_rows
from klayer.errors import KlayerError
from klayer.files import (
    Damaged,
    Lock,
    NotWritten,
    append_bytes,
    cached,
    is_part,
    own_folder,
    parse_json,
    read_arrays,
    read_bytes,
    read_json,
    remove_parts,
    sealed_line,
    write_arrays,
    write_bytes,
    write_csv,
    write_json,
)

OPEN = Path("/proc/self/fd")  # the files that this process has open, where the system tells
posix = pytest.mark.skipif(os.name != "posix", reason="this system has no such files")


@pytest.fixture
def order(monkeypatch):
    """What is done to files, in order: flushes of files and folders, and renames."""
    done, fsync, replace = [], os.fsync, os.replace

    def flushed(handle):
        done.append(("flush", (OPEN / str(handle)).readlink().name if OPEN.exists() else ""))
        fsync(handle)

    def renamed(source, target, **kwargs):
        done.append(("rename", Path(target).name))
        replace(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    return done


# Writing.


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(tmp_path, order):
    write_json(tmp_path / "a.json", {"x": (1, float("nan"))})
    if OPEN.exists():
        part, renamed, folder = order
        assert part[0] == "flush"
        assert re.fullmatch(r"a\.json\.[0-9a-f]{8}-\d+-\d+\.part", part[1])
        assert (renamed, folder) == (("rename", "a.json"), ("flush", tmp_path.name))
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}


@pytest.mark.parametrize("content", [b"new", None])
def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, content, monkeypatch):
    path = tmp_path / "a"
    write_bytes(path, b"old")
    if content:
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises((NotWritten, TypeError)):
        write_bytes(path, content)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


STEPS = {
    errno.ENOSPC: "No space left on device. Free some space on its disk",
    errno.EDQUOT: "quota exceeded. Free some of your quota",
    errno.EACCES: "Permission denied. Choose a folder that you may write to",
    errno.EROFS: "Read-only file system. Choose a folder that can be written to",
    errno.EIO: "Input/output error. The disk fails: check it, or choose another",
    errno.EMFILE: "Too many open files. Too many files are open: close some",
    errno.ENXIO: "No such device or address. Choose another place",
}


@posix
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", STEPS, ids=errno.errorcode.get)
@pytest.mark.parametrize("write", [write_bytes, append_bytes])
def test_a_refusal_names_path_cause_and_next_step_and_leaves_the_old(
    tmp_path, monkeypatch, call, number, write
):
    path = tmp_path / "a"
    write_bytes(path, b"old")

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    if call == "replace" and write is append_bytes:
        pytest.skip("nothing is renamed")
    with monkeypatch.context() as during:
        during.setattr(os, call, refuse)
        with pytest.raises(NotWritten, match=re.escape(f"{path} can't be written: ")) as raised:
            write(path, b"new")
    assert STEPS[number] in str(raised.value)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_short_write_goes_on_where_it_stopped(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:3])))
    write_bytes(tmp_path / "a", b"0123456789", memoryview(b"abcd"))
    append_bytes(tmp_path / "a", b"ABCDEFG")
    assert (tmp_path / "a").read_bytes() == b"0123456789abcdABCDEFG"


@posix
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda tmp: tmp / "gone" / "a", "Its folder is gone"),
        (lambda tmp: tmp / ("n" * 300), "Choose a shorter name"),
        (lambda tmp: tmp, "A folder of that name is in the way"),
    ],
)
def test_a_place_that_cannot_be_is_named(tmp_path, make, message):
    for write in (write_bytes, append_bytes):
        with pytest.raises(NotWritten, match=message):
            write(make(tmp_path), b"x")


@posix
def test_a_long_name_that_the_system_takes_is_written(tmp_path):
    write_bytes(tmp_path / ("n" * 255), b"x")
    write_bytes(tmp_path / ("ä" * 127), b"x")
    assert len(list(tmp_path.iterdir())) == 2


def test_appended_lines_are_flushed(tmp_path, order):
    path = tmp_path / "lines"
    append_bytes(path, b"1\n")
    append_bytes(path, b"2\n")
    assert path.read_bytes() == b"1\n2\n"
    assert [kind for kind, _ in order] == ["flush", "flush", "flush"]  # the new name, too


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, check=True)  # fmt: skip
    gone = int(child.stdout)
    for name in (f"a.{gone}-0.part", f"a.{os.getpid()}-99999.part", "run.json.part", "a", "b.json"):
        (tmp_path / name).touch()
    alive = tmp_path / f"a.{os.getppid()}-0.part"
    alive.touch()
    remove_parts(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([alive.name, "a", "b.json"])
    assert not is_part(alive)


# Links, pipes.


@posix
def test_a_symbolic_link_is_replaced_or_refused_never_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(NotWritten, match="symbolic link, which is not followed"):
        append_bytes(tmp_path / "link", b"x")
    with pytest.raises(NotWritten, match="symbolic link, which is not followed"):
        Lock(tmp_path / "link", "it").take()
    write_bytes(tmp_path / "link", b"mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotWritten, match="symbolic link, which is not followed"):
        own_folder(tmp_path, "figures")
    assert target.read_bytes() == b"precious"
    assert (tmp_path / "link").read_bytes() == b"mine"
    assert not list((tmp_path / "elsewhere").iterdir())


@posix
@pytest.mark.timeout(20)
def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_bytes, read_json, read_arrays):
        with pytest.raises(KlayerError, match="must be a file, but is none"):
            read(tmp_path / "pipe")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(KlayerError, match="must have 4 bytes at the most, but has 5"):
        read_bytes(tmp_path / "a", 4)


# Digests.

VALUES = {"text": 'a "digest": "00"}', "numbers": [1, None, -0.5], "more": {"digest": "x" * 32}}
ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array([True])}


def as_file(path):
    write_json(path, VALUES)
    return lambda: read_json(path, sealed=True)


def as_line(path):
    path.write_bytes(sealed_line(VALUES))
    return lambda: parse_json(path.read_bytes(), "a line", sealed=True)


def as_arrays(path):
    write_arrays(path, ARRAYS, VALUES)
    return lambda: read_arrays(path, sealed=True)


@pytest.mark.parametrize("write", [as_file, as_line, as_arrays])
def test_every_bit_and_every_length_is_told_from_what_was_written(tmp_path, write):
    read = write(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    read()
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(Damaged):
            read()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a").write_bytes(flipped)
        with pytest.raises(Damaged):
            read()


@pytest.mark.parametrize("write", [as_file, as_line])
def test_what_was_sealed_comes_back_without_its_digest(tmp_path, write):
    assert write(tmp_path / "a")() == VALUES


def test_an_empty_table_has_a_digest_too(tmp_path):
    write_json(tmp_path / "a", {})
    assert read_json(tmp_path / "a", sealed=True) == {}
    assert parse_json(sealed_line({}), "a", sealed=True) == {}


def test_a_file_of_an_older_version_is_taken_as_it_is(tmp_path):
    (tmp_path / "a").write_text(json.dumps(VALUES))
    assert read_json(tmp_path / "a") == VALUES
    with pytest.raises(Damaged, match="its end is not as klayer wrote it"):
        read_json(tmp_path / "a", sealed=True)


def test_arrays_and_plain_values_come_back(tmp_path):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3)[:, ::2], "c": np.array([True])}
    write_arrays(tmp_path / "x", arrays, {"n": [1, None]})
    found, values = read_arrays(tmp_path / "x")
    assert values == {"n": [1, None]}
    for key, value in arrays.items():
        assert np.array_equal(found[key], value)


def test_the_same_arrays_make_the_same_bytes(tmp_path):
    for name in "ab":
        write_arrays(tmp_path / name, ARRAYS, VALUES)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numbers_that_are_not_finite_never_reach_a_file(tmp_path):
    write_json(tmp_path / "a", {"x": np.float32("nan"), "y": float("-inf")})
    assert "NaN" not in (tmp_path / "a").read_text()
    write_arrays(tmp_path / "b", {}, {"x": float("nan")})
    assert b"NaN" not in (tmp_path / "b").read_bytes()


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(KlayerError, match="no stored networks at .*x: is this a finished run"):
        read_arrays(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"{")
    with pytest.raises(KlayerError, match="must be a whole file that klayer wrote"):
        read_arrays(tmp_path / "x")
    with pytest.raises(KlayerError, match="x must be JSON, but"):
        read_json(tmp_path / "x")


# The lock.


def _enter(path, times, seconds, inside, overlaps):
    for _ in range(times):
        lock = Lock(path, "it")
        with contextlib.suppress(KlayerError):
            lock.take()
            try:
                with inside.get_lock():
                    inside.value += 1
                    overlaps.value += inside.value > 1
                with inside.get_lock():
                    inside.value -= 1
                seconds.value += 1
            finally:
                lock.release()


@posix
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_lock_never_lets_two_in(tmp_path):
    context = multiprocessing.get_context("fork")
    inside, overlaps, entries = (context.Value("i", 0) for _ in range(3))
    children = [
        context.Process(target=_enter, args=(tmp_path / "lock", 500, entries, inside, overlaps))
        for _ in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert entries.value > 100  # of 2,000 tries: enough to meet each other, on a busy machine too
    assert overlaps.value == 0
    assert not list(tmp_path.iterdir())


@posix
def test_a_file_system_without_locks_is_said_and_can_be_allowed(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        KlayerError, match=r"has no locks \(No locks available\).*KLAYER_UNLOCKED=1"
    ):
        Lock(tmp_path / "lock", "runs/a").take()
    monkeypatch.setenv("KLAYER_UNLOCKED", "1")
    lock = Lock(tmp_path / "lock", "runs/a")
    lock.take()
    lock.release()


# Tables.


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    cells = ["=1+1", "+x", "-x", "@x", "\t=1", "\r=1", "\n=1", " =1", "-0.5", "+3e2", "a=b", None]
    write_csv(tmp_path / "a.csv", ["=head", "n"], [[cell, -1.5] for cell in cells])
    import csv

    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=head", "n"]
    found = ["'" + cell.replace("\r", "\n") for cell in cells[:8]] + ["-0.5", "+3e2", "a=b", ""]
    assert [row[0] for row in rows] == found
    assert {row[1] for row in rows} == {"-1.5"}


# The cache.


def test_a_cached_text_is_made_once_and_again_if_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr("klayer.files.cache.cache_folder", lambda: tmp_path / "cache")
    made = []

    def make():
        made.append(1)
        return "long ago\nand far away"

    assert cached("a.txt", make) == cached("a.txt", make) == make()
    assert len(made) == 2  # once by the cache, once here
    path = tmp_path / "cache" / "a.txt"
    path.write_text(path.read_text()[:-1])
    assert cached("a.txt", make) == "long ago\nand far away"
    assert len(made) == 3


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("klayer.files.cache.cache_folder", lambda: tmp_path / "file" / "cache")
    assert cached("a.txt", lambda: "text") == "text"


# What users name.


@pytest.mark.parametrize("name", ["a\0b", "\0", "folder/a\0"])
def test_a_path_with_a_byte_0_is_refused_at_every_door(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    population = kl.fit("digits", hidden=(4,), cycles=1, half_cycle="1 epoch", batch_size=400)
    run = kl.run_of(population, tmp_path / "run").path
    doors = {
        "load": lambda: kl.load(name),
        "data_dir": lambda: kl.load("cifar10", data_dir=name),
        "fetch": lambda: fetch("cifar10", data_dir=name),
        "test_data": lambda: kl.load("t.csv", target="y", test_data=f"{name}.csv"),
        "read_rows": lambda: read_rows([name], n_features=2),
        "Run": lambda: kl.Run(name),
        "load_model": lambda: kl.load_model(name),
        "load_population": lambda: kl.load_population(name),
        "save": lambda: population.save(name),
        "export_model": lambda: kl.export_model(population, f"{name}.safetensors"),
        "run_of": lambda: kl.run_of(population, name),
        "run_study": lambda: kl.run_study(name),
        "compare_runs": lambda: kl.compare_runs(run, run, f"{name}.html"),
    }
    (tmp_path / "t.csv").write_text("a,y\n" + "1,0\n2,1\n" * 9)
    for door in doors.values():
        with pytest.raises(KlayerError):
            door()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run", "t.csv"]


FOREIGN = {
    "an empty file": b"",
    "a zip archive": b"PK\x03\x04" + b"0" * 90,
    "a .npy file": b"\x93NUMPY\x01\x00" + b"0" * 90,
    "a pickle": b"\x80\x04\x95" + b"0" * 90,
    "a .safetensors file of another program": (2).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("read", [kl.load_model, kl.load_population])
def test_a_file_of_another_program_is_named_as_what_it_is(tmp_path, kind, read):
    path = tmp_path / "a.safetensors"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(
        KlayerError, match=f"wrote, but is {kind}.*: (name a run|kl.load_model reads)"
    ):
        read(path)


@pytest.mark.parametrize("size", [4, 12, 60, -1])
def test_a_part_of_our_own_file_is_damaged_not_foreign(tmp_path, size):
    population = kl.fit("digits", hidden=(4,), cycles=1, half_cycle="1 epoch", batch_size=400)
    path = population.save(tmp_path / "mine")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(Damaged, match="must be a whole file that klayer wrote"):
        kl.load_population(path)
