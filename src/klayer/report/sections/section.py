"""What a section is: a row of the table, the parts that it becomes, the blocks that they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from klayer.data import Dataset
from klayer.report.comparisons import Comparisons
from klayer.report.layout import Arrangement
from klayer.report.run_view import RunView
from klayer.report.table import Table
from klayer.report.vega import Figure

__all__ = ["Block", "Material", "Part", "Section", "block"]


Block = tuple[str, dict[str, Any]]


def block(macro: str, **shown: Any) -> Block:
    """Return something that a page shows: a macro of ``macros.html`` and its arguments."""
    return macro, shown


@dataclass(frozen=True)
class Part:
    """A heading with what stands under it; id and title are those of its section, if empty."""

    blocks: list[Block]
    id: str = ""
    title: str = ""
    number: str = ""  # or letter, as the page counts it


@dataclass
class Material:
    """What the sections of a page are made of, and what they have shown, for the files beside it."""

    view: RunView
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)  # other PNG files by name

    @cached_property
    def comparisons(self) -> Comparisons:
        """What can be compared with what."""
        return Comparisons(self.view)

    @cached_property
    def dataset(self) -> Dataset:
        """The data, if they can be read here; whatever :meth:`Run.load_data` raises, if not."""
        return self.view.run.load_data(may_download=False)

    @cached_property
    def layout(self) -> Arrangement:
        """Which factor gives the colours, which figures there are."""
        return Arrangement(self.view)

    def figure(self, figure: Figure, *, narrow: bool = False) -> Block:
        """Show a figure, and keep it for the files."""
        self.figures.append(figure)
        return block("figure", one=figure, narrow=narrow)

    def table(self, table: Table) -> Table:
        """Keep a table for the files."""
        self.tables.append(table)
        return table


@dataclass(frozen=True)
class Section:
    """A row of the table of sections."""

    id: str
    title: str
    build: Callable[[Material], Iterable[Part]]  # its parts: as many as the run asks for, or none
    appendix: bool = False  # lettered, A, B, ..., not numbered
