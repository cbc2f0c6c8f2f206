"""A run's page: sections in the report's order, those that apply, numbered as they come."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import jinja2

from klayer.files import own_folder, write_bytes, write_text
from klayer.report.overview import overview
from klayer.report.pdf import print_pdf
from klayer.report.prose import headline
from klayer.report.run_view import RunView
from klayer.report.sections import SECTIONS
from klayer.report.sections.search import headline as search_headline
from klayer.report.sections.section import Block, Material, Part, block
from klayer.report.table import network_table, result_table
from klayer.report.vega import javascript
from klayer.study.run_dir import Run

__all__ = ["Page", "render", "write_report"]


def write_report(run: Run | str | Path, *, pdf: bool = False) -> list[Path]:
    """Write everything that a run shows, from its results alone, also if it is unfinished.

    Parameters
    ----------
    run : Run or path
    pdf : bool
        Whether to print the page to ``report.pdf`` too, by Chromium.

    Returns
    -------
    written : list of Path
        The page ``report.html`` first; figures and tables lie beside it in ``figures/`` and
        ``tables/``. Then the PDF; of a training also the picture of its curves.

    Raises
    ------
    KlayerError
        If there is no run at the path, or it can't be read.
    """
    run = run if isinstance(run, Run) else Run(run)
    try:
        return _write(run, pdf)
    except KeyboardInterrupt as error:
        error.args = (f"the page isn't written: `klayer report {run.path}` writes it",)
        raise


def _write(run: Run, pdf: bool) -> list[Path]:
    page = Page(RunView(run))
    path = run.path / "report.html"
    write_text(path, page.html())
    files = page.save()
    written = [path]
    if pdf:
        written.append(print_pdf(path))
    if run.info["kind"] == "train":
        written += [file for file in files if file.name == "curves.png"]
    return written


class Page:
    """Everything that a page shows, gathered once: for the HTML and for the files beside it."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.material = Material(view)
        picture = overview(view)
        shown = [self.material.figure(picture, narrow=True)] if picture else []
        self.parts: list[Part] = []
        numbers, letters = count(1), iter(ascii_uppercase)
        for section in SECTIONS:
            for part in section.build(self.material):
                id, title = part.id or section.id, part.title or section.title
                number = str(next(letters if section.appendix else numbers))
                self.parts.append(replace(part, id=id, title=title, number=number))
        self.summary = self._summary(shown)

    def _summary(self, shown: list[Block]) -> list[Block]:
        unfinished = _unfinished(self.view)
        blocks = [block("text", text=unfinished, kind="banner")] if unfinished else []
        lines = headline(self.view) + search_headline(self.view)
        blocks += [block("text", text=line, kind="lead") for line in lines]
        return blocks + shown + ([block("hint")] if self.material.figures else [])

    def html(self) -> str:
        """Return the whole page."""
        info, view = self.view.info, self.view
        data = info["data"]["name"]
        title = info["config"].get("title") or f"{info['kind']} on {data}"
        if info["kind"] == "train" and view.arms:
            title = f"{view.arms[0].label} on {data}"
        elif info["kind"] == "search":
            title = f"A search on {data}"
        kicker = f"{data} · {info['created'][:10]} · {view.path.name}"
        return render(title=title, kicker=kicker, summary=self.summary, parts=self.parts)

    def save(self) -> list[Path]:
        """Write all figures as SVG and PNG, all tables as CSV."""
        figures, tables = (own_folder(self.view.path, name) for name in ("figures", "tables"))
        written = [file for figure in self.material.figures for file in figure.save(figures)]
        every = [
            result_table(self.view.with_results, "arms", "All arms."),
            network_table(self.view),
        ]
        written += [table.save(tables) for table in [*every, *self.material.tables]]
        for name, png in self.material.pictures.items():
            written.append(figures / name)
            write_bytes(written[-1], png)
        return written


def _unfinished(view: RunView) -> str:
    if view.finished:
        return ""
    many = f"{len(view.records)} of {view.planned} networks are finished"
    if view.info["kind"] == "search":
        trials = sum(record.part == "search" for record in view.networks)
        many = f"{trials} networks of the search are finished"
    return (
        f"This run is not finished: {many}, and the page shows those. "
        f"Go on with: klayer {view.info['kind']} --resume {view.path}"
    )


@cache
def _template() -> jinja2.Template:
    """Return the page's template, style sheet and scripts in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("klayer.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    inlined = {"version": metadata.version("klayer"), "bundle": javascript()}
    return environment.get_template("page.html", globals=inlined)


def render(**context: Any) -> str:
    """Fill the page's template: ``title``, ``kicker``, ``summary`` (blocks), ``parts``."""
    return _template().render(**context)
