"""`klayer gradcheck`: the report's gradient tables, or a check of anyone's model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.complete import choices
from klayer.cli.echo import echo
from klayer.cli.output import terminal_width
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.gradcheck import Check, ReportSection
    from klayer.shown import Shown

__all__ = ["STATUS", "gradcheck", "require_writable", "write_file", "write_page"]


def gradcheck(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE.py:FUNCTION",
            help="A function without arguments that returns (loss_and_grads, params), or an object "
            "with both. Left out: klayer's own networks, as in the report's section 1.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="auto, complex, central, forward or direction.",
            autocompletion=choices(("auto", "complex", "central", "forward", "direction")),
        ),
    ] = "auto",
    arrays: Annotated[
        list[str] | None,
        typer.Option("--array", metavar="NAME", help="Check this array or pattern; repeatable."),
    ] = None,
    entries: Annotated[
        int | None,
        typer.Option(metavar="N", help="Entries of each array to check; all of a small model."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="E", help="Largest scaled error of a right gradient, 0 < E < 1."),
    ] = None,
    seed: Annotated[int, typer.Option(help="For whatever is drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the result as a web page, too.")
    ] = None,
    one_point: Annotated[
        bool,
        typer.Option(
            "--one-point", help="Check at the model's own parameters alone, not at perturbed ones."
        ),
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For the model, from its start on.")
    ] = None,
) -> None:
    """Check gradients: analytic against numeric.

    Exit status 0: right; 1: wrong; 3: undecided, rounding hides too much; 2: nothing was checked, for
    whatever reason. The model runs in a process of its own, and what it prints goes to stderr.

    Without a model, the networks of the report's section 1 are checked, and the table shows
    measured errors beside published ones.

    Example: klayer gradcheck my_model.py:build --tolerance 1e-6
    """
    from klayer.gradcheck.options import validate

    validate(method=method, entries=entries, tolerance=tolerance, seed=seed, time_limit=time_limit)
    result: Check | ReportSection
    require_writable(html)
    if model is None:
        left = arrays or entries is not None or tolerance is not None or method != "auto"
        if left or one_point or time_limit is not None:
            raise KlayerError(
                "--method, --array, --entries, --tolerance, --one-point and --time-limit need a "
                "model, FILE.py:FUNCTION: without one, the report's section 1 is repeated as it is."
            )
        result, title = _section(seed), "Gradient check: the report's section 1"
    else:
        result = _check(
            model,
            method=method,
            arrays=arrays,
            entries=entries,
            tolerance=tolerance,
            seed=seed,
            second_point=not one_point,
            time_limit=time_limit,
        )
        title = f"Gradient check: {model}"
    echo(result.to_json() if as_json else result.text(terminal_width()))
    write_page(html, result, title)
    raise typer.Exit(STATUS[result.verdict])


# Of a command that CI may trust: 0 says that a check was made, and that it came out right.
STATUS = {"right": 0, "wrong": 1, "undecided": 3}


def require_writable(path: Path | None) -> None:
    """Refuse a file that can't be written, before the work is done."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if path.is_dir() else f"{folder} is no folder that can be written to"
        raise KlayerError(f"{path} can't be written: {what}.")
    if path.exists() and not os.access(path, os.W_OK):
        raise KlayerError(f"{path} can't be written: it is write-protected.")


def write_page(path: Path | None, result: Shown, title: str) -> None:
    """Write a result as a page, if a file is named."""
    from klayer.shown import page

    if path is not None:
        write_file(path, page(result.html(title, level=1), title))


def write_file(path: Path, text: str) -> None:
    """Write a file; that it can't be written is wrong use, and no verdict."""
    from klayer.files import write_text

    try:
        if path.exists() and not path.is_file():  # /dev/stderr, say
            path.write_text(text, encoding="utf-8")
        else:
            write_text(path, text)
    except OSError as error:
        raise KlayerError(f"{path} can't be written: {error.strerror or error}.") from error
    echo(f"written: {path}", err=True)


def _section(seed: int) -> ReportSection:
    from klayer.gradcheck import report_section
    from klayer.progress import Meter, unasked_way

    with Meter(unasked_way()) as meter:
        return report_section(seed=seed, progress=meter.phase)


def _check(model: str, **options: Any) -> Check:
    from klayer.gradcheck import check_remote
    from klayer.progress import Meter

    begun: list[int] = []
    with Meter() as meter:

        def progress(done: int, planned: int) -> None:
            if begun != [planned]:
                begun[:] = [planned]
                meter.begin(f"checking {model}", planned)
            meter.move(done)

        try:
            return check_remote(model, progress=progress, **options)
        except (KlayerError, KeyboardInterrupt):
            raise
        except Exception as error:  # whatever it is, it is not the verdict "wrong"
            raise KlayerError(
                f"{model} could not be checked: {type(error).__name__}: {error}"
            ) from error
