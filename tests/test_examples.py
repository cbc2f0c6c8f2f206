"""The examples run as they stand, and say what the documentation says of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SOURCE = {"PYTHONPATH": str(ROOT / "src")}


def run(name, folder):
    """What an example prints; run in a folder of its own, where it leaves nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        cwd=folder,
        env=os.environ | SOURCE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout


def numbers(pattern, text):
    return [float(one) for one in re.findall(pattern, text)]


def test_a_table_in_a_pipeline(tmp_path):
    pytest.importorskip("pandas")
    said = run("tables_pipeline.py", tmp_path)
    linear, networks = numbers(r"accuracy (\S+) \+-", said)
    assert networks > linear + 0.05
    lost = dict(re.findall(r"^  (\S.*?) +(-?\d\.\d+) \+-", said.split("shuffled")[1], re.MULTILINE))
    assert max(lost, key=lambda column: float(lost[column])) == "age"
    assert abs(float(lost["shoe size"])) < 0.02


def test_calibration_of_one_network_and_of_an_ensemble(tmp_path):
    pattern = r"^(.{24}) +\S+ +(\S+) \(.*?\) +(\S+) \(.*?\) +(\S+)$"
    rows = re.findall(pattern, run("calibration.py", tmp_path), re.MULTILINE)
    loss, error, heat = ({row[0].strip(): float(row[k]) for row in rows} for k in (1, 2, 3))
    for who in ("one network", "8 networks"):
        assert loss[f"{who}, calibrated"] < loss[who]
        assert error[f"{who}, calibrated"] < error[who]
        assert heat[f"{who}, calibrated"] > heat[who] == 1
    assert loss["8 networks, calibrated"] < loss["one network, calibrated"]


def test_a_training_loop_of_ones_own(tmp_path):
    said = run("own_training_loop.py", tmp_path)
    assert len(numbers(r"best (\S+),", said)) == 3
    assert numbers(r"together (\S+)", said)[0] > 0.95
    assert len(re.search(r"alone \[(.*?)\]", said)[1].split(",")) == 2


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    book = nbformat.read(EXAMPLES / "klayer.ipynb", as_version=4)
    nbformat.validate(book)
    assert not any(cell.get("outputs") for cell in book.cells)  # what it shows is made anew
    env = os.environ | SOURCE | {"IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    client = nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": tmp_path}})
    client.execute(env=env)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    shown = [
        "".join(
            output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            for output in cell.outputs
        )
        for cell in code
    ]
    said = "\n".join(shown)
    assert "test accuracy 0.9" in said
    assert "calibration error" in said
    assert "True" in shown[-2]
    assert "report.html" in shown[-1]
    outputs = [output for cell in code for output in cell.outputs]
    # Data, population, gradient check, importance; and the curves: as a notebook shows them.
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("text/html") >= 4
    assert "image/svg+xml" in kinds
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert "klayer" not in "".join(warned)
