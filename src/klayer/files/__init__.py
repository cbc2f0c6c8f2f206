"""The one room that writes: files that are whole or not there, and whose damage is found.

:mod:`~klayer.files.writing` puts bytes on the disk, :mod:`~klayer.files.sealed` gives them a digest and
checks it, :mod:`~klayer.files.lock` keeps others out meanwhile, :mod:`~klayer.files.claims` parts work
among several.
"""

from klayer.files.cache import cache_folder, cached
from klayer.files.claims import Claim, Claims, Holder, lease_seconds
from klayer.files.foreign import foreign_kind
from klayer.files.lock import Lock, LockHeld
from klayer.files.sealed import (
    BLANK,
    Damaged,
    json_text,
    packed_arrays,
    parse_json,
    plain,
    read_arrays,
    read_json,
    require_seal,
    sealed_at,
    sealed_line,
    unpacked_arrays,
    write_arrays,
    write_json,
)
from klayer.files.tables import csv_text, write_csv
from klayer.files.writing import (
    NotWritten,
    append_bytes,
    cut,
    flush_folder,
    is_part,
    make_folder,
    move,
    own_folder,
    read_bytes,
    remove,
    remove_parts,
    require_name,
    write_bytes,
    write_text,
)

__all__ = [
    "BLANK",
    "Claim",
    "Claims",
    "Damaged",
    "Holder",
    "Lock",
    "LockHeld",
    "NotWritten",
    "append_bytes",
    "cache_folder",
    "cached",
    "csv_text",
    "cut",
    "flush_folder",
    "foreign_kind",
    "is_part",
    "json_text",
    "lease_seconds",
    "make_folder",
    "move",
    "own_folder",
    "packed_arrays",
    "parse_json",
    "plain",
    "read_arrays",
    "read_bytes",
    "read_json",
    "remove",
    "remove_parts",
    "require_name",
    "require_seal",
    "sealed_at",
    "sealed_line",
    "unpacked_arrays",
    "write_arrays",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_text",
]
