"""`klayer gradcheck`: the report's gradient tables, or a check of anyone's model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from klayer.cli.output import terminal_width
from klayer.errors import KlayerError

if TYPE_CHECKING:
    from klayer.gradcheck import Check, ReportSection

__all__ = ["gradcheck"]


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
        str, typer.Option(help="auto, complex, central, forward or direction.")
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
) -> None:
    """Check gradients: analytic against numeric. Exit status 0 if right, 1 if not, 2 for wrong use.

    Without a model, the networks of the report's section 1 are checked, and the table shows
    measured errors beside published ones.
    """
    result: Check | ReportSection
    if model is None:
        if arrays or entries is not None or tolerance is not None or method != "auto":
            raise KlayerError(
                "--method, --array, --entries and --tolerance need a model, FILE.py:FUNCTION: "
                "without one, the report's section 1 is repeated as it is."
            )
        result, title = _section(seed), "Gradient check: the report's section 1"
    else:
        result = _check(
            model, method=method, arrays=arrays, entries=entries, tolerance=tolerance, seed=seed
        )
        title = f"Gradient check: {model}"
    if html is not None:
        from klayer.files import write_text
        from klayer.shown import page

        write_text(html, page(result.html(title, level=1), title))
        print(f"written: {html}", file=sys.stderr)
    print(result.to_json() if as_json else result.text(terminal_width()))
    raise typer.Exit(0 if result.ok else 1)


def _section(seed: int) -> ReportSection:
    from klayer.gradcheck import report_section

    show = sys.stderr.isatty()
    section = report_section(
        seed=seed,
        progress=lambda line: (
            print(f"\r\033[K{line} ...", end="", file=sys.stderr) if show else None
        ),
    )
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    return section


def _check(model: str, **options: Any) -> Check:
    from klayer.gradcheck import check_gradients
    from klayer.gradcheck.load import load_model

    arguments = load_model(model)
    try:
        return check_gradients(**arguments, **options)
    except KlayerError:
        raise
    except Exception as error:  # the user's code: its message, and its traceback with --debug
        raise KlayerError(
            f"{model} failed while it was checked: {type(error).__name__}: {error}"
        ) from error
