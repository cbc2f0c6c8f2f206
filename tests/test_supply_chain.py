"""What is installed is written down: versions, licences, and no upper bound without a reason."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def asked():
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    groups += [PROJECT["dependency-groups"][name] for name in ("test", "lint")]
    # What a group includes is a group of its own, or asked for by another one.
    return [Requirement(text) for group in groups for text in group if isinstance(text, str)]


def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_everything_that_is_asked_for_is_pinned_within_its_bounds():
    versions = pinned()
    for one in asked():
        name = canonicalize_name(one.name)
        assert name in versions, f"{name}: run tools/lock.py"
        assert one.specifier.contains(versions[name], prereleases=True), one


def test_bounds_are_lower_ones():
    for one in asked():
        operators = {spec.operator for spec in one.specifier}
        assert operators == {">="}, one


def test_every_package_has_its_licence_on_the_page():
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    for name, version in pinned().items():
        assert f"| {name} | {version} |" in text, name
    assert "not stated" not in text
