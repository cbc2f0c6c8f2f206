"""Write the tables of settings into the documentation: python tools/settings_table.py"""

from __future__ import annotations

from pathlib import Path

from klayer.train.settings import SEARCHABLE, SETTINGS

ROOT = Path(__file__).parent.parent
START, END = "<!-- settings: tools/settings_table.py -->", "<!-- end of settings -->"


def training() -> str:
    """Return a row for each setting."""
    lines = [
        "| setting | default | values | one for | searched by | meaning |",
        "|---|---|---|---|---|---|",
    ]
    searched = {"": "", "choices": "choices", "log": "range, log", "linear": "range, linear"}
    for name, row in SETTINGS.items():
        values = f"{row.allowed}, in {row.unit}" if row.unit else row.allowed
        scope = "network" if row.scope == "network" else "population"
        lines.append(
            f"| `{name}` | `{row.shown_default}` | {values} | {scope} | {searched[row.search]} "
            f"| {row.sentence} |"
        )
    return "\n".join(lines)


def search() -> str:
    """Return a row for each kind of parameter that a search can vary."""
    kinds = {
        "a range, `LOW:HIGH`, `LOW:HIGH:log` or `LOW:HIGH:linear`": ("log", "linear"),
        "a list of choices": ("choices",),
    }
    lines = ["| parameter | given as | population |", "|---|---|---|"]
    for given, searched in kinds.items():
        for scope, population in (("network", "one for all"), ("shared", "one each")):
            names = [
                f"`{name}`"
                for name, row in SEARCHABLE.items()
                if row.search in searched and row.scope == scope
            ]
            if names:
                lines.append(f"| {', '.join(names)} | {given} | {population} |")
    return "\n".join(lines)


PAGES = {
    ROOT / "docs" / "training.md": training,
    ROOT / "docs" / "search.md": search,
}


def page(path: Path) -> str:
    """Return a page with its table made anew."""
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{PAGES[path]()}\n{END}{after}"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path), encoding="utf-8")
