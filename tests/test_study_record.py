import json

import pytest

from klayer.errors import KlayerError
from klayer.study.record import NetworkRecord, Score
from klayer.train import Settings

RECORD = NetworkRecord(
    part="arms",
    arm="wide",
    seed=3,
    state="trained",
    failure=None,
    scores={"train": Score(0.5, 1.0, 1.25), "test": Score(0.25, 2.0, None)},
    settings=Settings(hidden=(7,), l2=0.5),
    population="p",
    lane=2,
    at_once=1,
    seconds=0.5,
    history={
        "update": [0, 10],
        "epoch": [0.0, 1.0],
        "lr": [0.1, 0.2],
        "train_cost": [2.0, None],
    },
    backend="compiled",
)


def test_a_record_is_read_as_it_was_written():
    line = json.dumps(RECORD.to_json()).encode()
    assert NetworkRecord.from_line(line, "here") == RECORD


def test_a_split_that_a_network_never_saw_has_no_score():
    assert RECORD.score("test") == 0.25
    assert RECORD.score("validation") is None
    assert not [key for key in RECORD.to_json() if key.startswith("validation")]


def test_a_record_knows_its_place_in_the_run_and_its_length():
    assert (RECORD.key, RECORD.updates) == (("arms", "wide", 3), 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "x"}, "f, line 2: 'seed' is damaged: got 'x'."),
        ({"seed": True}, "f, line 2: 'seed' is damaged: got True."),
        ({"arm": None}, "f, line 2: 'arm' is damaged: got None."),
        (
            {"part": "warmup"},
            "f, line 2: 'part' must be one of arms, variance, search, finalists, but",
        ),
        ({"state": "asleep"}, "'state' must be one of trained, at chance, pruned, diverged, but"),
        ({"test_accuracy": 2}, "'test_accuracy' must be from 0 to 1, but got 2."),
        ({"test_f1": 0.5}, "has 'test_f1', which this version of klayer doesn't know"),
        ({"history": {}}, "the curves of 'history' must be of one length"),
        ({"history": {"update": [0, 1], "lr": [0.1]}}, "got update (2), lr (1)."),
        ({"settings": {"warmth": 3}}, "f, line 2: unknown setting 'warmth' = 3: a later version"),
        (
            {"history": {"update": [0], "lr": [0.1]}},
            "'update', 'epoch' and 'lr' among them, but got",
        ),
        ({"history": {"update": [0.5]}}, "f, line 2: curve 'update' is damaged: got 0.5."),
        ({"history": {"update": [0], "lr": ["x"]}}, "f, line 2: curve 'lr' is damaged: got 'x'."),
        ({"history": {"epoch": [None]}}, "f, line 2: curve 'epoch' is damaged: got None."),
        ({"history": {"lr": [True]}}, "f, line 2: curve 'lr' is damaged: got True."),
        ({"history": {"lr": 3}}, "f, line 2: curve 'lr' is damaged: got 3."),
        (
            {"settings": {"hidden": 5}},
            "f, line 2: `hidden` must be a list of whole numbers, as in [10, 20], but got hidden=5",
        ),
        ({"lane": -1}, "f, line 2: 'lane' must be >= 0, but got -1."),
        *(
            ({"population": name}, "f, line 2: 'population' must be the name of a file of weights")
            for name in ("../../x", "/x", "a/b", "a\\b", "..", "", ".x", "a\0b", "x\n")
        ),
        ({"settings": {"l2": -1}}, "f, line 2: `l2` must be a number >= 0, but got l2=-1"),
    ],
)
def test_a_damaged_or_unknown_record_is_named_with_its_place(change, message):
    import re

    with pytest.raises(KlayerError, match=re.escape(message)):
        NetworkRecord.from_json({**RECORD.to_json(), **change}, "f, line 2")


def test_a_record_without_a_part_of_it_is_refused():
    values = RECORD.to_json()
    del values["lane"]
    with pytest.raises(KlayerError, match="a network's record must have 'lane', but has none"):
        NetworkRecord.from_json(values)
    with pytest.raises(KlayerError, match="here must be JSON, but: "):
        NetworkRecord.from_line(b'{"part": ', "here")
    with pytest.raises(KlayerError, match="here: a record is damaged: got 3"):
        NetworkRecord.from_line(b"3", "here")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_line_is_utf_8_and_nothing_else(encoding):
    line = json.dumps(RECORD.to_json()).encode(encoding)
    with pytest.raises(KlayerError, match="here must be JSON, but: "):
        NetworkRecord.from_line(line, "here")


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}"])
def test_a_line_that_python_cannot_parse_is_damage(line):
    with pytest.raises(KlayerError, match="here must be JSON, but: "):
        NetworkRecord.from_line(line, "here")
