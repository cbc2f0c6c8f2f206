"""Many submissions checked in one call: a table of who is right, which array is wrong, and why.

Each runs in a process of its own, for a limited time, and only numbers come back from it: an endless
loop, an exit or a print is its own affair.
"""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

from klayer.errors import KlayerError
from klayer.gradcheck.options import validate
from klayer.gradcheck.remote import ModelEnded, ModelFailed, TimeLimit, check_remote
from klayer.gradcheck.result import Check
from klayer.shown import Facts, Part, Shown, ShownColumn, ShownSentence, ShownTable, plain

__all__ = ["VERDICTS", "Grades", "Submission", "find_submissions", "grade"]

VERDICTS = ("right", "wrong", "undecided", "failed")
_LONGEST = 300  # characters of a cause
_COLUMNS = ("submission", "verdict", "arrays", "cause", "seconds", "evaluations", "file")


@dataclass(frozen=True)
class Submission:
    """What was found of one submission.

    Attributes
    ----------
    name, file : str
    verdict : {"right", "wrong", "undecided", "failed"}
        ``failed``: nothing could be checked.
    arrays : tuple of str
        The arrays that are wrong; of an undecided one those that are undecided.
    cause : str
        The likeliest cause, or why nothing could be checked.
    seconds : float
    evaluations : int
    check : dict or None
        The whole check, see :meth:`Check.to_dict`.
    """

    name: str
    file: str
    verdict: str
    arrays: tuple[str, ...] = ()
    cause: str = ""
    seconds: float = 0.0
    evaluations: int = 0
    check: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Grades(Shown):
    """All submissions; ``text()``, ``html()``, ``to_json()`` and ``to_csv()`` show them."""

    heading: ClassVar[str] = "Submissions"

    submissions: tuple[Submission, ...]
    time_limit: float
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each verdict."""
        found = Counter(one.verdict for one in self.submissions)
        return {verdict: found[verdict] for verdict in VERDICTS}

    @property
    def ok(self) -> bool:
        """Whether all are right."""
        return self.counts["right"] == len(self.submissions)

    @property
    def verdict(self) -> str:
        """Wrong if one is wrong or failed, else undecided if one is, else right."""
        counts = self.counts
        if counts["wrong"] or counts["failed"]:
            return "wrong"
        return "undecided" if counts["undecided"] else "right"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "schema": "klayer.grade/1",
            "ok": self.ok,
            "counts": self.counts,
            "time_limit": self.time_limit,
            "seconds": self.seconds,
            "submissions": [plain(asdict(one)) for one in self.submissions],
        }

    def to_csv(self) -> str:
        """Return the table as CSV: a header, and a line for each submission."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for one in self.submissions:
            row = [one.name, one.verdict, " ".join(one.arrays), one.cause]
            row += [f"{one.seconds:.2f}", str(one.evaluations), one.file]
            writer.writerow([_harmless(cell) for cell in row])
        return out.getvalue()

    def parts(self) -> list[Part]:
        """Return what is told: how many of each verdict, and the table."""
        rows = self.submissions
        told = {"failed": "FAILED", "wrong": "WRONG"}
        columns = (
            ShownColumn("submission", [one.name for one in rows], words=True, header=True),
            ShownColumn(
                "verdict", [told.get(one.verdict, one.verdict) for one in rows], words=True
            ),
            ShownColumn("arrays", [", ".join(one.arrays) or "-" for one in rows], words=True),
            ShownColumn("cause", [one.cause or "-" for one in rows], words=True),
            ShownColumn("seconds", [f"{one.seconds:.1f}" for one in rows], rank=1),
        )
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items() if count)
        caption = "Gradient checks, a row for each submission"
        return [
            Facts([], f"{len(rows)} submission{'s' * (len(rows) != 1)}: {counts}."),
            ShownTable(columns, [caption] * len(rows), [one.verdict != "right" for one in rows]),
            ShownSentence(
                f"Each in a process of its own, {self.time_limit:g} s at most; {self.seconds:.0f} s in "
                "all. failed: nothing could be checked.",
                small=True,
            ),
        ]


def _harmless(cell: str) -> str:
    """Keep a spreadsheet from taking a submission's words for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def find_submissions(paths: Sequence[Path], file: str | None = None) -> dict[str, Path]:
    """Return submissions by name: files, and what folders hold.

    Of a folder, each Python file is a submission, named by the file; each sub-folder that has one,
    too, named by the sub-folder: its file of the given name, or its only one. Where that leaves several,
    the sub-folder itself stands for them, and fails. Names that begin with a dot or an underscore are
    left out.

    Raises
    ------
    KlayerError
        For a path that isn't there, and if nothing is found.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            found += _in_folder(path, file)
        elif path.is_file():
            found.append((path.stem, path))
        else:
            raise KlayerError(f"there is no file or folder {str(path)!r}.")
    if not found:
        wanted = f", nor sub-folders with {file!r}" if file else ""
        raise KlayerError(
            f"no submissions: {', '.join(map(str, paths)) or 'nothing'} holds no Python file{wanted}."
        )
    counts = Counter(name for name, _ in found)
    return {name if counts[name] == 1 else str(path): path for name, path in found}


def _in_folder(folder: Path, file: str | None) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            own = [one for one in sorted(path.glob("*.py")) if not one.name.startswith((".", "_"))]
            named = [one for one in own if one.name == file]
            if own:  # several, and none of the name: the folder itself, of which grade says so
                yield path.name, (named or (own if len(own) == 1 else [path]))[0]
        elif path.suffix == ".py" and file in (None, path.name):
            yield path.stem, path


def grade(
    submissions: dict[str, Path],
    *,
    function: str | None = None,
    harness: str | None = None,
    time_limit: float = 20.0,
    jobs: int = 2,
    progress: Callable[[Submission], None] | None = None,
    **options: Any,
) -> Grades:
    """Check submissions, each in a process of its own.

    Parameters
    ----------
    submissions : mapping of name -> file
        See :func:`find_submissions`.
    function : str, optional
        What is called in each file, without arguments, and returns the model: see the command
        ``klayer gradcheck``. By default ``model``, or the only one that takes no arguments.
    harness : str, optional
        ``FILE.py:FUNCTION``, the teacher's: called with the submission's module, it returns the model.
    time_limit : float, > 0
        Seconds for each submission, from the start of its process on.
    jobs : int, >= 1
        How many are checked at once.
    progress : callable, optional
        Called with each :class:`Submission` when it is done.
    **options
        Of :func:`klayer.gradcheck.check_gradients`.

    Returns
    -------
    grades : Grades

    Raises
    ------
    KlayerError
        For options out of range, or a harness that isn't there.
    """
    validate(time_limit=time_limit, jobs=jobs)
    if harness is not None:
        place, colon, _ = harness.rpartition(":")
        if not colon or not Path(place).is_file():
            raise KlayerError(
                f"the harness must be FILE.py:FUNCTION, with a file that is there, got {harness!r}."
            )
        harness = f"{Path(place).resolve()}:{harness.rpartition(':')[2]}"
    start = time.monotonic()
    found: dict[str, Submission] = {}
    # Workers, and not threads: each has its own warnings, and BLAS at one thread.
    with ProcessPoolExecutor(min(jobs, len(submissions)), get_context("spawn")) as pool:
        waiting: dict[Future[Submission], str] = {
            pool.submit(
                _grade_one, name, path, function or "*", harness, float(time_limit), options
            ): name
            for name, path in submissions.items()
        }
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    one = future.result()
                    found[waiting.pop(future)] = one
                    if progress is not None:
                        progress(one)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ordered = tuple(found[name] for name in submissions)
    return Grades(ordered, float(time_limit), time.monotonic() - start)


def _grade_one(
    name: str,
    path: Path,
    function: str,
    harness: str | None,
    time_limit: float,
    options: dict[str, Any],
) -> Submission:
    start, file, path = time.monotonic(), str(path), path.resolve()

    def failed(cause: str) -> Submission:
        return Submission(name, file, "failed", (), _cut(cause), time.monotonic() - start)

    if path.is_dir():
        files = ", ".join(sorted(one.name for one in path.glob("*.py")))
        return failed(f"holds several Python files ({files}): name the one to be checked (--file).")
    try:
        check = check_remote(
            f"{path.name}:{function}",
            harness=harness,
            time_limit=time_limit,
            folder=path.parent,
            quiet=True,
            **options,
        )
    except TimeLimit:
        return failed(f"took longer than {time_limit:g} s")
    except (ModelEnded, ModelFailed, KlayerError) as error:
        return failed(str(error).strip())
    except Exception as error:  # what a submission says may break anything: its own affair, too
        return failed(f"{type(error).__name__}: {error}")
    return Submission(
        name,
        file,
        check.verdict,
        _arrays(check),
        _cause(check),
        time.monotonic() - start,
        check.evaluations,
        check.to_dict(),
    )


def _cut(text: str) -> str:
    """Shorten what a submission says: one that says a lot would fill the table."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def _arrays(check: Check) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(row.name for row in check.rows if row.verdict == check.verdict != "right")
    )


def _cause(check: Check) -> str:
    if check.verdict == "undecided":
        return next((note for note in check.notes if "undecided" in note), check.notes[-1])
    return check.causes[0].text if check.causes else ""
