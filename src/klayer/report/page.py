"""A run's page: sections in the report's order, those that apply, numbered as they come."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase

from klayer.errors import KlayerError
from klayer.report import tables
from klayer.report.best import Best, examine, load_data
from klayer.report.charts import curves
from klayer.report.figures import Figure
from klayer.report.findings import Findings, analyse
from klayer.report.gradients import gradient_part
from klayer.report.grid import grid
from klayer.report.images import data_uri
from klayer.report.made import command, facts, toml
from klayer.report.pictures import confusion, per_class
from klayer.report.search import search_part
from klayer.report.sentences import conclusion, headline, section
from klayer.report.tables import Table
from klayer.report.template import render, with_drawings
from klayer.report.view import Group, RunView
from klayer.study.run_dir import Run
from klayer.study.statistics import percent

__all__ = ["write"]


def write(run: Run, *, pdf: bool = False) -> list[Path]:
    """Write ``report.html``, ``figures/`` and ``tables/`` of a run from its results.

    Parameters
    ----------
    run : Run
    pdf : bool
        Whether to write ``report.pdf`` too.

    Returns
    -------
    written : list of Path
        The page; the PDF, if it was wanted; of a training also the picture of its curves.
    """
    page = Page(RunView(run))
    html = page.html()
    path = run.path / "report.html"
    part = path.with_name(path.name + ".part")
    part.write_text(html, encoding="utf-8")
    part.replace(path)
    files = page.save()
    written = [path]
    if pdf:
        from klayer.report.pdf import print_pdf

        written.append(print_pdf(path))
    if run.info["kind"] == "train":
        written += [file for file in files if file.stem == "curves" and file.suffix == ".png"]
    return written


class Page:
    """Everything that a page shows, gathered once: for the HTML and for the files beside it.

    Parameters
    ----------
    view : RunView
    """

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.found = analyse(view)
        self.figures: list[Figure] = []
        self.tables: list[Table] = []
        self.search_line = ""
        self.grid = self._figure(grid(view))
        self.parts = self._number(self._arms_parts())

    def _figure(self, figure: Figure | None) -> Figure | None:
        """Remember a figure for the files and draw it for the page."""
        if figure is None:
            return None
        self.figures.append(figure)
        return with_drawings(figure)

    def _table(self, table: Table) -> Table:
        self.tables.append(table)
        return table

    # Parts, in the order of the page.

    def _arms_parts(self) -> list[dict]:
        parts = [self._gradcheck(), *self._baseline_parts(), self._search(), self._other_inits()]
        sentences = conclusion(self.view, self.found)
        if sentences:
            parts.append({"id": "conclusion", "title": "Conclusion", "sentences": sentences})
        parts += [self._fidelity(), self._best(), self._comparisons(), self._made()]
        return [part for part in parts if part]

    @staticmethod
    def _number(parts: list[dict]) -> list[dict]:
        """Number the sections, 1, 2, ..., and the appendices, A, B, ..."""
        numbers = {"section": 0, "appendix": 0}
        for part in parts:
            kind = part.setdefault("kind", "section")
            numbers[kind] += 1
            number = numbers[kind]
            part["number"] = (
                str(number) if kind == "section" else ascii_lowercase[number - 1].upper()
            )
            part.setdefault("template", f"part_{part['id']}.html")
        return parts

    def _gradcheck(self) -> dict | None:
        found = gradient_part(self.view)
        if found is None:
            return None
        lines, checked = found
        for table in checked:
            self._table(table)
        return {"id": "gradcheck", "title": "Gradient check", "lines": lines, "tables": checked}

    def _baseline_parts(self) -> list[dict]:
        """One section for each architecture at the baseline initialisation."""
        parts = []
        for group in self.view.groups(baseline=True):
            slug = f"arms-{group.slug}"
            alone = len(self.view.inits) == 1
            title = f"{group.architecture} network"
            if not alone:
                title += f", {group.init} initialisation"
            caption = (
                f"Final accuracies, {group.architecture} network, {group.init}: mean ± standard "
                "deviation over the seeds, with the interval of the mean test accuracy."
            )
            table = self._table(
                tables.result_table(group.arms, f"results-{group.slug}", caption, short="series")
            )
            blocks = [self._block(group) | {"title": ""}]
            parts.append(
                {
                    "id": slug,
                    "title": title,
                    "template": "part_arms.html",
                    "groups": [{"title": "", "table": table, "blocks": blocks}],
                }
            )
        return parts

    def _block(self, group: Group) -> dict:
        drawn = curves(self.view, group)
        if len(self.view.with_results) == 1:
            drawn = [Figure("curves", f.caption, f.panels, f.legend, f.width) for f in drawn]
        return {
            "title": f"{group.init}",
            "sentences": section(self.found, group.architecture, group.init),
            "figures": [self._figure(figure) for figure in drawn],
        }

    def _search(self) -> dict | None:
        found = search_part(self.view)
        if found is None:
            return None
        shown = {**vars(found), "figure": self._figure(found.figure)}
        for stage in found.stages:
            self._table(stage.table)
        for table in (found.finalists, found.published):
            if table:
                self._table(table)
        self.search_line = found.headline
        return {"id": "search", "title": "Search", "search": shown}

    def _other_inits(self) -> dict | None:
        """The section on all other initialisations, a subsection for each architecture."""
        groups = self.view.groups(baseline=False)
        if not groups:
            return None
        names = list(dict.fromkeys(group.architecture for group in groups))
        shown = []
        for letter, name in zip(_letters(len(names)), names, strict=True):
            own = [group for group in groups if group.architecture == name]
            arms = [arm for group in own for arm in group.arms]
            caption = (
                f"Final accuracies, {name} network, by initialisation: mean ± standard deviation "
                "over the seeds."
            )
            slug = "".join(c if c.isalnum() or c == "-" else "-" for c in name)
            table = tables.result_table(arms, f"results-{slug}-other", caption, short="init_series")
            shown.append(
                {
                    "letter": letter if len(names) > 1 else "",
                    "title": f"{name} network",
                    "table": self._table(table),
                    "blocks": [self._block(group) for group in own],
                }
            )
        gaussian = all(group.init.startswith("σ") for group in groups)
        title = "Gaussian initialisation" if gaussian else "Other initialisations"
        return {
            "id": "initialisation",
            "title": title,
            "template": "part_arms.html",
            "groups": shown,
        }

    def _fidelity(self) -> dict | None:
        rows = self.found.fidelity
        if not rows:
            return None
        return {
            "id": "fidelity",
            "title": "Published and measured",
            "kind": "appendix",
            "table": self._table(tables.fidelity_table(rows)),
            "lines": [_fidelity_line(self.found)],
        }

    def _best(self) -> dict | None:
        try:
            record = self.view.run.best()
        except KlayerError:
            return None
        part = {
            "id": "best",
            "title": "The best network",
            "kind": "appendix",
            "text": _best_text(self.view, record),
            "best": None,
            "missing": "",
        }
        try:
            found = examine(self.view.run, load_data(self.view.run))
        except (KlayerError, OSError) as error:
            part["missing"] = f"The data can't be read here, so its mistakes aren't shown: {error}"
            return part
        self._table(tables.confusion_table(found))
        return part | self._examined(found)

    def _examined(self, found: Best) -> dict:
        return {
            "best": found,
            "table": self._table(tables.per_class_table(found)),
            "per_class": self._figure(per_class(found)),
            "confusion": self._figure(confusion(found)),
            "weights": data_uri(found.weights) if found.weights else None,
            "mistakes": [(one, data_uri(one.png)) for one in found.mistakes],
        }

    def _comparisons(self) -> dict | None:
        found = self.found.findings
        if not found:
            return None
        shown = []
        for number, family in enumerate(dict.fromkeys(one.family for one in found), start=1):
            members = [one for one in found if one.family == family]
            caption = _family(family, self.view.baseline, len(members))
            table = tables.comparison_table(members, f"comparisons-{number}", caption)
            shown.append(self._table(table))
        return {
            "id": "comparisons",
            "title": "All comparisons",
            "kind": "appendix",
            "tables": shown,
        }

    def _made(self) -> dict:
        return {
            "id": "made",
            "title": "How it was made",
            "kind": "appendix",
            "facts": facts(self.view),
            "command": command(self.view),
            "config": toml(self.view),
        }

    # Out.

    def html(self) -> str:
        """Return the whole page."""
        view, info = self.view, self.view.info
        title = info["config"].get("title") or f"{info['kind']} on {info['data']['name']}"
        if info["kind"] == "train" and view.arms:
            title = f"{view.arms[0].label} on {info['data']['name']}"
        elif info["kind"] == "search":
            title = f"A search on {info['data']['name']}"
        return render(
            "report.html",
            title=title,
            kicker=f"{info['data']['name']} · {info['created'][:10]} · {view.path.name}",
            headline=[line for line in (*headline(view), self.search_line) if line],
            unfinished=_unfinished(view),
            grid=self.grid,
            zoomable=bool(self.figures),
            parts=self.parts,
        )

    def save(self) -> list[Path]:
        """Write all figures as SVG and PNG, all tables as CSV."""
        written = []
        for figure in self.figures:
            written += figure.save(self.view.path / "figures")
        caption = "All arms."
        every = [tables.result_table(self.view.with_results, "arms", caption)]
        for table in [*every, tables.network_table(self.view), *self.tables]:
            written.append(table.save(self.view.path / "tables"))
        written += _mistake_files(self.parts, self.view.path / "figures")
        return written


def _letters(n: int) -> list[str]:
    return [ascii_lowercase[i] if i < 26 else str(i + 1) for i in range(n)]


def _mistake_files(parts: list[dict], folder: Path) -> list[Path]:
    best = next((part["best"] for part in parts if part.get("best")), None)
    if best is None or best.weights is None:
        return []
    path = folder / "first-layer-weights.png"
    path.write_bytes(best.weights)
    return [path]


def _unfinished(view: RunView) -> str:
    if view.finished:
        return ""
    many = f"{len(view.records)} of {view.planned} networks are finished"
    if view.info["kind"] == "search":
        many = f"{len(view.trials)} networks of the search are finished"
    return (
        f"This run is not finished: {many}, and the page shows those. "
        f"Go on with: klayer {view.info['kind']} --resume {view.path}"
    )


def _fidelity_line(found: Findings) -> str:
    rows = found.fidelity
    cells = {(one.source, one.published): False for one in rows}
    for one in rows:
        cells[one.source, one.published] |= bool(one.agrees)
    agreeing = sum(cells.values())
    return (
        f"{agreeing} of {len(cells)} published accuracies agree with at least one of the networks "
        "that they may stand for. Published values are single runs: a few tenths of a point between "
        f"two of them mean nothing. Sources: {', '.join(dict.fromkeys(one.source for one in rows))}."
    )


def _best_text(view: RunView, record: dict) -> str:
    label = next((arm.label for arm in view.arms if arm.name == record.arm), record.arm)
    if record.part != "arms":
        label = record.arm
    text = (
        f"Chosen by validation accuracy ({percent(record.accuracy('validation'), 2)}) among "
        f"{len(view.run.networks)} networks: {label}, seed {record.seed}."
    )
    if record.accuracy("test") is not None:
        text += (
            f" It labels {percent(record.accuracy('test'), 2)} of the test split rightly, and "
            f"{percent(record.accuracy('train'), 2)} of the training split."
        )
    return text


def _family(family: tuple[str, bool], baseline: str, n: int) -> str:
    factor, primary = family
    names = {
        "batch_norm": "Batch normalisation against none",
        "init": f"Initialisation against {baseline}",
    }
    text = names.get(factor, f"{factor.replace('_', ' ').capitalize()} against its first value")
    if factor == "batch_norm":
        text += f", {baseline} initialisation" if primary else ", other initialisations"
    return f"{text}: {n} comparison{'s' if n > 1 else ''}, corrected together"
