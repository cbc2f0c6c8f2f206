"""The house: no room imports a later one, and no modules import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src"
# From the ground up; `gradcheck` checks what `train` trains, and a study may begin with it.
ROOMS = (
    *("errors", "printable", "files", "shown", "progress", "data", "nn"),
    *("calibration", "model", "train"),
    *("gradcheck", "study", "export", "estimator", "report", "cli", "__main__"),
)


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.glob("klayer/**/*.py"))}


def imported(module, *, lazily):
    """Modules of the house that one imports: at once, and inside functions if ``lazily``."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree) if lazily else tree.body:
        if isinstance(node, ast.ImportFrom) and node not in typing:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in MODULES else node.module)
    return found & MODULES.keys()


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: imported(module, lazily=False) for module in MODULES}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


@pytest.mark.parametrize("module", [name for name in MODULES if name.count(".")])
def test_no_room_imports_a_later_one(module):
    def floor(name):
        return ROOMS.index(name.split(".")[1])

    later = [
        one for one in imported(module, lazily=True) if "." in one and floor(one) > floor(module)
    ]
    assert later == []


def test_no_two_classes_of_the_house_have_one_name():
    names = [
        node.name
        for path in MODULES.values()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(names) == sorted(set(names))
