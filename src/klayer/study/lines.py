"""The lines of ``networks.jsonl``: one for each finished network, each with its digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from klayer.files import Damaged, append_bytes, cut, read_bytes, sealed_line, write_bytes
from klayer.study.record import Key, NetworkRecord

__all__ = ["RecordLines"]


class RecordLines:
    """The file of a run's records.

    Parameters
    ----------
    path : Path
    sealed : bool
        Whether each line must have a digest; those of older schemas have none.

    Attributes
    ----------
    faults : list of str
        What the last :meth:`read` found to be damaged.
    """

    def __init__(self, path: Path, *, sealed: bool) -> None:
        self.path, self.sealed = path, sealed
        self.faults: list[str] = []
        self._end = self._size = 0

    def read(self) -> dict[Key, NetworkRecord]:
        """Return the records by their keys, without those whose line is damaged.

        A last line that a kill cut short is no damage: its population is not finished.

        Raises
        ------
        KlayerError
            For a whole line that this version doesn't understand.
        """
        found: dict[Key, NetworkRecord] = {}
        self.faults = []
        try:
            content = read_bytes(self.path)
        except FileNotFoundError:
            content = b""
        *lines, torn = content.split(b"\n")
        self._size, self._end = len(content), len(content) - len(torn)
        for number, line in enumerate(lines, start=1):
            where = f"{self.path}, line {number}"
            try:
                record = NetworkRecord.from_line(line + b"\n", where, sealed=self.sealed)
            except Damaged as error:
                self.faults.append(str(error))
                continue
            if record.key in found:
                self.faults.append(
                    f"{where}: a run holds a network once, but {record.arm!r} with seed {record.seed} "
                    "is there a second time."
                )
            found.setdefault(record.key, record)
        return found

    def mend(self, records: Sequence[NetworkRecord]) -> None:
        """Leave whole lines alone, those of these records."""
        if self.faults:
            self.write(records)
        elif self._end < self._size:
            cut(self.path, self._end)
            self._size = self._end

    def append(self, records: Sequence[NetworkRecord]) -> None:
        """Append records; they are on the disk when this returns."""
        append_bytes(self.path, _content(records))

    def write(self, records: Sequence[NetworkRecord]) -> None:
        """Write the file anew with these records."""
        content = _content(records)
        write_bytes(self.path, content)
        self._end = self._size = len(content)


def _content(records: Sequence[NetworkRecord]) -> bytes:
    return b"".join(sealed_line(record.to_json()) for record in records)
