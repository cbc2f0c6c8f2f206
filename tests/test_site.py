"""The documentation site builds without a broken link, and what its pages tell to type, works."""

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / "index.md"]
PAGES += [
    page for room in ("tutorials", "assignment") for page in (ROOT / "docs" / room).glob("*.md")
]
every_page = pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: page.stem)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place to try pages in, with the repository's examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@every_page
def test_what_a_page_tells_to_type_works(page, folder):
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "page"}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(block, names)
        elif language == "toml":
            name = re.search(r"`(\w+\.toml)`", text).group(1)
            (folder / name).write_text(block, encoding="utf-8")
        elif language == "console":
            for command in re.findall(r"^\$ (.+)$", block, flags=re.MULTILINE):
                run(command, folder)


def run(command, folder):
    """Run a line of a page; `|| true` stands where a failure is shown."""
    command, or_else, _ = command.partition(" || true")
    program, *arguments = shlex.split(command)
    first = {"klayer": [sys.executable, "-m", "klayer"], "python": [sys.executable]}[program]
    if program == "python":
        arguments = shorter(arguments)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*first, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == (1 if or_else else 0), (command, done.stdout, done.stderr)


def shorter(arguments):
    """The assignment's programs take seconds each: here they do a tenth of their updates."""
    script = Path(arguments[0])
    code = (
        f"import sys; sys.path.insert(0, {str(script.parent)!r})\n"
        "import network\nwhole = network.train\n"
        "def train(*given, **options): return whole(*given, **options | {'half_cycle': 30})\n"
        f"network.train = train\nimport {script.stem}; {script.stem}.main(*{arguments[1:]!r})"
    )
    return ["-c", code]


class Links(HTMLParser):
    """Collects what a page refers to, and the places in it that others may refer to."""

    def __init__(self):
        super().__init__()
        self.targets, self.places = [], set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag in ("a", "link", "script", "img"):
            self.targets += [found[key] for key in ("href", "src") if found.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_no_broken_link_and_loads_nothing_from_elsewhere(site):
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    assert len(pages) > 25
    broken = []
    for path, links in pages.items():
        if path.name == "404.html":  # shown at any address
            continue
        for target in links.targets:
            parts = urlsplit(target)
            assert not parts.netloc or target in Path(path).read_text(), target
            if parts.scheme or parts.netloc:
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not aim.exists() or (
                parts.fragment and aim in pages and parts.fragment not in pages[aim].places
            ):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert not broken
    scripts = [t for one in pages.values() for t in one.targets if urlsplit(t).path.endswith(".js")]
    assert scripts
    assert not any(urlsplit(target).netloc for target in scripts)


def test_the_reference_holds_every_public_name(site):
    import klayer

    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    for name in klayer.__all__:
        if not name.startswith("_"):
            assert re.search(rf'id="klayer\.[\w.]*\b{name}"', text), name


def test_the_walk_of_the_site_is_a_real_one(site):
    for name in ("walk.html", "walk-bn.html"):
        text = (site / "tutorials" / name).read_text(encoding="utf-8")
        assert "Back through affine map 1" in text
        assert "The gradient is right" in text


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_assignments_network_trains_as_klayer_does(batch_norm, monkeypatch):
    """The student's network and klayer's, from the same weights: the same loss and gradients."""
    import numpy as np

    from klayer.nn import Network

    monkeypatch.syspath_prepend(str(ROOT / "examples" / "assignment"))
    import network as student

    params = student.initialise([7, 5, 4, 3], batch_norm=batch_norm)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((9, 7)), rng.integers(3, size=9)
    loss, grads = student.loss_and_grads(params, x, labels, 0.1)
    ours = Network(7, (5, 4), 3, "hidden" if batch_norm else "none")
    population = {key: value[None] for key, value in params.items()}
    data_term, _, expected = ours.loss_and_grads(population, x, labels, 0.1)
    assert grads.keys() == expected.keys()
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, expected[key][0], rtol=1e-10, atol=1e-12)
    whole = data_term + ours.penalty(population, np.array([0.1]))
    assert loss == pytest.approx(whole[0])
