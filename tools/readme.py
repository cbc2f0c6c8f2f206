"""Write the README's picture and table from a finished study.

    python tools/readme.py RUN [--yes]

It says what it would overwrite and asks first; --yes answers. The picture is the top of
RUN/report.html in Chromium, docs/images/page.png; the table stands in README.md between the two
markers. Needs Playwright for Python and Chromium.
"""

from __future__ import annotations

import datetime
import shutil
import sys
from pathlib import Path

from klayer.report.run_view import RunView
from klayer.report.table import COLUMNS
from klayer.study import Run

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: tools/readme.py -->", "<!-- end of results -->"
NAMES = {"none": "", "hidden": " + BN (hidden)", "all": " + BN (all)"}


def picture(run: Run, target: Path) -> None:
    """Photograph the top of the page."""
    from playwright.sync_api import sync_playwright

    target.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto((run.path / "report.html").resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=target)
        browser.close()


def table(run: Run) -> str:
    """Test accuracy of depth x batch normalisation x initialisation, as Markdown."""
    view, study, summary = RunView(run), run.study, run.result("summary.json")
    test = next(column for column in COLUMNS if column.split == "test")
    inits = list(dict.fromkeys(arm.settings.init for arm in view.arms))
    lines = [
        "| network | " + " | ".join(init.replace("gaussian:", "sigma ") for init in inits) + " |",
        "|---" * (len(inits) + 1) + "|",
    ]
    rows: dict[tuple[int, str], dict[str, str]] = {}
    for arm in view.arms:
        settings = arm.settings
        published = next((p.test for p in study.published if p.matches(settings)), None)
        text = test.digits(arm) + ("" if published is None else f"; *{published:.4f}*")
        rows.setdefault((len(settings.hidden) + 1, settings.batch_norm), {})[settings.init] = text
    for (depth, norm), cells in rows.items():
        shown = " | ".join(cells.get(init, "") for init in inits)
        lines.append(f"| {depth}-layer{NAMES[norm]} | {shown} |")
    machine, date = run.info["machine"], datetime.date.fromisoformat(run.info["created"][:10])
    n = len(study.seeds)
    lines += [
        "",
        f"Test accuracy on {study.data}, mean ± standard deviation over n = {n} seeds (the range "
        "where the seeds disagree), with the *published single run* in italics. "
        f"`klayer study --preset {study.name} --data {study.data}`, {date:%d %B %Y}, "
        f"{machine['cpu']}, {machine['cores']} cores: {summary['seconds'] / 60:.0f} minutes in all, "
        f"{summary['peak_memory_bytes'] / 2**30:.1f} GB.",
    ]
    return "\n".join(lines)


def changed(readme: str, run: Run) -> str:
    """Return README with the table of a run between the markers."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        sys.exit(f"README.md must hold the lines {START} and {END}, but doesn't.")
    return f"{before}{START}\n{table(run)}\n{END}{after}"


def agreed(files: list[Path]) -> bool:
    """Ask whether files may be overwritten; without a terminal nobody can be asked."""
    names = " and ".join(str(file.relative_to(ROOT)) for file in files)
    if not sys.stdin.isatty():
        sys.exit(f"{names} would be overwritten, and nobody can be asked here: say --yes.")
    return input(f"Overwrite {names}? [y/N] ").strip().lower() in ("y", "yes")


def main(path: str, yes: bool = False) -> None:
    """Write both, if they may be overwritten."""
    run = Run(path)
    image, readme = ROOT / "docs" / "images" / "page.png", ROOT / "README.md"
    text = changed(readme.read_text(encoding="utf-8"), run)
    if not yes and not agreed([image, readme]):
        sys.exit("nothing was written.")
    picture(run, image)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--yes"]
    if len(given) != 1:
        sys.exit(__doc__)
    main(given[0], yes="--yes" in sys.argv)
