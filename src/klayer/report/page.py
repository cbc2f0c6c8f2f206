"""A run's page: sections in the report's order, those that apply, numbered as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import jinja2

from klayer.errors import require_kind
from klayer.files import NotWritten, json_text, own_folder, write_bytes, write_text
from klayer.printable import printable
from klayer.report.overview import overview
from klayer.report.pdf import print_pdf
from klayer.report.prose import answer, overall
from klayer.report.results import results
from klayer.report.run_view import RunView
from klayer.report.sections import SECTIONS
from klayer.report.sections.ladder import picture as stairs
from klayer.report.sections.search import headline as search_headline
from klayer.report.sections.search import picture as search_picture
from klayer.report.sections.section import Block, Material, Part, block
from klayer.report.sections.variance import said as spread_said
from klayer.report.table import network_table
from klayer.report.vega import BLUES, BLUES_DARK, HEAT, HEAT_DARK, javascript
from klayer.study.run_dir import Run

__all__ = ["Page", "render", "write_report"]


def write_report(run: Run | str | Path, *, pdf: bool = False, png: bool = False) -> list[Path]:
    """Write everything that a run shows, from its results alone, also if it is unfinished.

    Parameters
    ----------
    run : Run or path
    pdf : bool
        Whether to print the page to ``report.pdf`` too, by Chromium.
    png : bool
        Whether to draw every figure as PNG too; that takes longer than all the rest. The curves of
        a training always are.

    Returns
    -------
    written : list of Path
        The page ``report.html`` first; figures and tables lie beside it in ``figures/`` (SVG) and
        ``tables/`` (CSV). Then the PDF; of a training also the picture of its curves.

    Raises
    ------
    KlayerError
        If there is no run at the path, or it can't be read.
    """
    hint = "of a population, population.report(out) writes the page"
    require_kind(run, (Run, str, Path), "run", "a run or the path of one", hint)
    run = run if isinstance(run, Run) else Run(run)
    try:
        return _write(run, pdf, png)
    except KeyboardInterrupt as error:
        error.args = (f"the page isn't written: `klayer report {run.path}` writes it",)
        raise
    except NotWritten as error:
        error.args = (
            f"{error} The results are stored: `klayer report {run.path}` writes the page.",
        )
        raise


def _write(run: Run, pdf: bool, png: bool) -> list[Path]:
    page = Page(RunView(run))
    path = run.path / "report.html"
    write_text(path, page.html())
    trained = run.info["kind"] == "train"
    files = page.save(png=lambda name: png or (trained and name == "curves"))
    written = [path]
    if pdf:
        written.append(print_pdf(path))
    if trained:
        written += [file for file in files if file.name == "curves.png"]
    return written


class Page:
    """Everything that a page shows, gathered once: for the HTML and for the files beside it."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.material = Material(view)
        picture = stairs(self.material) or overview(view)
        if picture is None and view.run.kind == "search":
            picture = search_picture(view)
        shown = [self.material.figure(picture, narrow=len(picture.panels) == 1)] if picture else []
        self.parts: list[Part] = []
        numbers, letters = count(1), iter(ascii_uppercase)
        for section in SECTIONS:
            for part in section.build(self.material):
                id, title = part.id or section.id, part.title or section.title
                number = str(next(letters if section.appendix else numbers))
                self.parts.append(replace(part, id=id, title=title, number=number))
        self.summary = self._summary(shown)

    def _summary(self, shown: list[Block]) -> list[Block]:
        """Return the first screen: what is unfinished, the answer in words, the picture."""
        unfinished, view = _unfinished(self.view), self.view
        blocks = [block("text", text=unfinished, kind="banner")] if unfinished else []
        lines = answer(view, self.material.comparisons)
        lines += search_headline(view) + list(filter(None, [spread_said(view)]))
        if lines:
            blocks.append(block("text", text=lines[0], kind="lead"))
        if len(lines) > 1:
            blocks.append(block("points", lines=lines[1:]))
        blocks += shown
        if text := " ".join(filter(None, [overall(view), _rows_note(view)])):
            blocks.append(block("text", text=text, kind="note"))
        return blocks + ([block("hint")] if self.material.figures else [])

    def html(self) -> str:
        """Return the whole page."""
        info, view = self.view.info, self.view
        data = Path(info["data"]["name"]).name
        title = info["config"].get("title") or f"{info['kind']} on {data}"
        if info["kind"] == "train" and view.arms:
            title = f"{view.arms[0].label} on {data}"
        elif info["kind"] == "search":
            title = f"A search on {data}"
        kicker = f"{data} · {info['created'][:10]} · {view.path.resolve().name}"
        return render(
            title=title,
            kicker=kicker,
            summary=self.summary,
            parts=self.parts,
            results=results(view, self.material.comparisons),
        )

    def save(self, *, png: Callable[[str], bool] = lambda _: False) -> list[Path]:
        """Write all figures as SVG, as PNG those whose names are wanted, and all tables as CSV."""
        figures, tables = (own_folder(self.view.path, name) for name in ("figures", "tables"))
        written = [
            file
            for figure in self.material.figures
            for file in figure.save(figures, png(figure.name))
        ]
        named = {table.name: table for table in [network_table(self.view), *self.material.tables]}
        written += [table.save(tables) for table in named.values()]
        for name, picture in self.material.pictures.items():
            written.append(figures / name)
            write_bytes(written[-1], picture)
        return written


def _rows_note(view: RunView) -> str:
    """Say what the rows of the split leave open, beside the seeds."""
    best = max(
        (arm for arm in view.with_results if arm.cell.estimate.n),
        key=lambda arm: arm.cell.estimate.mean or 0.0,
        default=None,
    )
    if best is None or best.rows_interval[0] is None:
        return ""
    return (
        f"The {view.judge} split has {best.rows:,} rows, the same for every seed: by these alone the "
        f"accuracy of one network like the best is known to "
        f"{best.measure.interval(*best.rows_interval)} (Wilson). That is beside the spread over "
        "seeds, not in it."
    )


def _unfinished(view: RunView) -> str:
    if view.finished:
        return ""
    many = f"{view.trained} of {view.planned} networks are finished"
    if view.info["kind"] == "search":
        trials = sum(record.part == "search" for record in view.networks)
        many = f"{trials} networks of the search are finished"
    return (
        f"This run is not finished: {many}, and the page shows those. "
        f"Go on with: klayer {view.info['kind']} --resume {view.path}"
    )


def _fit_for_markup(value: Any) -> Any:
    """Escape what a page can't hold, or would hide, in a text; what is markup already stays."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value, keep="\n\t")
    return value


@cache
def _template() -> jinja2.Template:
    """Return the page's template, style sheet and scripts in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("klayer.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_fit_for_markup,
    )
    environment.policies["json.dumps_function"] = json_text
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    inlined = {
        "version": metadata.version("klayer"),
        "bundle": javascript(),
        "heat": [*zip(HEAT, HEAT_DARK, strict=True), *zip(BLUES, BLUES_DARK, strict=True)],
    }
    return environment.get_template("page.html", globals=inlined)


def render(**context: Any) -> str:
    """Fill the page's template: ``title``, ``kicker``, ``summary`` (blocks), ``parts``, ``results``."""
    return _template().render(**context)
