"""The restricted unpickler builds arrays of bytes and runs nothing."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pytest

from klayer.data.unpickle import read_byte_pickle
from klayer.errors import KlayerError

DAMAGED = "batch: not a readable CIFAR-10 Python batch"


class Calls:
    """Pickles into a call of `function`, which a normal unpickler would run."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def python2_batch(images, labels):
    """The bytes that Python 2's cPickle wrote with protocol 2, opcode by opcode."""

    def short(text):
        return b"U" + bytes([len(text)]) + text  # SHORT_BINSTRING

    raw = images.tobytes()
    rows, columns = images.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + short(b"b")
        + b"\x87R(K\x01"  # TUPLE3, REDUCE; MARK and the state: version,
        + b"M"
        + rows.to_bytes(2, "little")
        + b"M"
        + columns.to_bytes(2, "little")
        + b"\x86"  # shape,
        + b"cnumpy\ndtype\n"
        + short(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + short(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"  # dtype,
        + b"\x89"  # not Fortran,
        + b"T"
        + len(raw).to_bytes(4, "little")
        + raw
        + b"tb"  # content; BUILD
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return (
        b"\x80\x02}("
        + short(b"batch_label")
        + short(b"training batch 1 of 5")
        + short(b"labels")
        + numbers
        + short(b"data")
        + array
        + b"u."
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)


def test_a_batch_as_python_2_wrote_it_is_read(images):
    labels = [row % 10 for row in range(20)]
    content = python2_batch(images, labels)
    batch = read_byte_pickle(content, "batch")
    np.testing.assert_array_equal(batch["data"], images)
    assert batch["labels"] == labels
    # and the bytes above are what Python itself takes for such a batch
    np.testing.assert_array_equal(pickle.loads(content, encoding="bytes")[b"data"], images)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_a_batch_written_anew_by_python_3_is_read(images, protocol):
    content = pickle.dumps({"data": images, b"labels": [1, 2]}, protocol)
    batch = read_byte_pickle(content, "batch")
    np.testing.assert_array_equal(batch["data"], images)
    assert batch["labels"] == [1, 2]


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_malicious_pickle_runs_nothing_and_its_global_is_named(tmp_path, protocol):
    target = tmp_path / "created"
    content = pickle.dumps({"data": Calls(open, str(target), "w")}, protocol)
    with pytest.raises(
        KlayerError,
        match=r"^batch: a CIFAR batch must hold arrays of bytes alone, but this file asks for "
        r"\w*io\.open, which was not run. Don't trust it: get the official archive\.$",
    ):
        read_byte_pickle(content, "batch")
    assert not target.exists()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
    ],
)
def test_any_other_global_is_refused(function, name):
    content = pickle.dumps(Calls(function, "raise SystemExit"))
    with pytest.raises(KlayerError, match=f"asks for {re.escape(name)}, "):
        read_byte_pickle(content, "batch")


FORBIDDEN = {
    "an array of objects": pickle.dumps({"data": np.array([1, "a"], object)}, 2),
    "an array of floats": pickle.dumps({"data": np.zeros(3)}, 2),
    "a dtype with fields": pickle.dumps({"data": np.zeros(3, [("a", "u1")])}, 2),
    "an array made by calling the class": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "another codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "an altered function": b"\x80\x02c_codecs\nencode\n}U\x04nameK\x01sb.",
    "an altered class": b"\x80\x02cnumpy\nndarray\n}U\x04nameK\x01sb.",
    "bytes too few for the shape": python2_batch(np.zeros((2, 3), np.uint8), [0]).replace(
        b"M\x02\x00", b"M\x03\x00"
    ),
    "a stub without content": b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n"
    b"cnumpy\nndarray\nK\x00\x85U\x01b\x87Rs.",
    "a persistent id": b"\x80\x02K\x01Q.",
    "an array of terabytes": b"\x80\x05\x96\x00\x00\x00\x00\x00\x10\x00\x00.",
    "a list": pickle.dumps([1, 2]),
    "no pickle at all": b"GIF89a",
    "nothing": b"",
    "a cut pickle": python2_batch(np.zeros((2, 3), np.uint8), [0])[:-20],
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_anything_but_a_dict_with_arrays_of_bytes_is_refused(case):
    with pytest.raises(KlayerError, match=f"^{DAMAGED} \\(.*\\). Get the file anew.$"):
        read_byte_pickle(FORBIDDEN[case], "batch")


def test_a_pickle_of_bytes_that_would_reserve_gigabytes_is_refused_unread():
    content = b"\x80\x02}r" + (2**30).to_bytes(4, "little") + b"."
    assert isinstance(pickle.loads(content.replace(b"\x40.", b"\x00.")), dict)
    with pytest.raises(KlayerError, match=rf"^{DAMAGED} \(memo index 1073741824\)\."):
        read_byte_pickle(content, "batch")


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_deeply_nested_key_does_not_end_the_process(depth):
    key = b"K\x01" + b"\x85" * depth  # a tuple around a tuple around 1
    with pytest.raises(KlayerError, match=DAMAGED):
        read_byte_pickle(b"\x80\x02}" + key + b"K\x02s.", "batch")


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_deeply_nested_list_does_not_end_the_process(depth):
    value = b"]" * depth + b"a" * (depth - 1)
    found = read_byte_pickle(b"\x80\x02}K\x01" + value + b"s.", "batch")
    assert list(found) == ["1"]
    with pytest.raises(KlayerError, match=DAMAGED):
        read_byte_pickle(b"\x80\x02}" + value + b"K\x02s.", "batch")


@pytest.mark.parametrize("content", [{frozenset([1]): 1}, {b"a": {1, 2}}, {b"a": bytearray(3)}])
def test_objects_of_other_kinds_are_refused_before_they_are_built(content):
    for protocol in range(2, 6):
        with pytest.raises(KlayerError):
            read_byte_pickle(pickle.dumps(content, protocol), "batch")
