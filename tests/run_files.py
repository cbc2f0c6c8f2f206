"""Files of a run: changed as klayer would have written them, with their digests; two runs compared."""

import json
from dataclasses import replace

import numpy as np

from klayer.files import plain, sealed_line, write_json
from klayer.study import Run


def store(path, values):
    """Write a JSON file of a run."""
    if isinstance(values, dict):
        write_json(path, {key: value for key, value in values.items() if key != "digest"})
    else:
        path.write_text(json.dumps(values), encoding="utf-8")


def store_lines(path, records):
    """Write the lines of a run, from plain values or whole records."""
    lines = [one if isinstance(one, dict) else one.to_json() for one in records]
    lines = [{key: value for key, value in one.items() if key != "digest"} for one in lines]
    path.write_bytes(b"".join(sealed_line(plain(one)) for one in lines))


def unsealed(run):
    """Take the digests out of a run, as in those of older versions."""
    for path in [*run.glob("*.json"), *run.glob("*.copy")]:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("digest", None)
        path.write_text(json.dumps(values), encoding="utf-8")
    path = run / "networks.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for one in lines:
        one.pop("digest", None)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")


def the_same(run, other):
    """Whether two runs hold the same networks, to the bit, in the same order and places."""
    one, another = Run(run.path), Run(other.path)
    assert [replace(x, seconds=0) for x in one.networks] == [
        replace(x, seconds=0) for x in another.networks
    ]
    for record in one.networks:
        ours, theirs = one.model(record).params, another.model(record).params
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert not (run.path / "parts").exists()
    assert not list((run.path / "checkpoints").glob("*"))
    return True
