"""Two runs on one page, and the command that makes pages."""

import json
import re
import shutil

import pytest
import typer
from typer.testing import CliRunner

from klayer.cli.report import report
from klayer.errors import KlayerError
from klayer.report import compare_runs, pdf
from klayer.report.run_view import RunView
from klayer.report.two_runs import pairs
from klayer.study import Study
from klayer.study.launch import run_study
from report_runs import without_split
from run_files import store_lines

ARM = {"hidden": [10], "batch_size": 50, "cycles": 1, "half_cycle": "1 epoch", "l2": 1e-3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for name, seeds, batch_norm in (("a", 3, "none"), ("b", [1, 2, 3], "none"), ("c", 2, "hidden")):
        arms = [{**ARM, "batch_norm": batch_norm}]
        config = Study.from_values({"data": "digits", "seeds": seeds, "arms": arms})
        found.append(run_study(config, out=folder / name, kind="train", workers=1))
    return found


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(report)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_runs_are_paired_over_common_seeds(runs):
    found = pairs(RunView(runs[0]), RunView(runs[1]))
    assert [pair.result.n for pair in found] == [2]
    # The same network, settings and seed: the same bits.
    assert found[0].result.difference.least == found[0].result.difference.greatest == 0


def test_page_says_that_nothing_differs_where_nothing_does(runs, tmp_path):
    text = compare_runs(runs[0], runs[1], tmp_path / "both.html").read_text(encoding="utf-8")
    assert "have the same accuracies, seed by seed" in text
    assert "no arm shows a difference" in text


def test_two_single_arms_are_compared_although_their_settings_differ(runs, tmp_path):
    out = compare_runs(runs[0].path, runs[2].path, tmp_path / "new" / "both.html")
    text = out.read_text(encoding="utf-8")
    assert "The runs differ in seeds (3 / 2), batch_norm (none / hidden)." in text
    assert re.search(r"<h1>a and c compared</h1>", text)
    assert not re.search(r"""(src|href)=["']https?:""", text.split("<script>")[0])


def test_runs_without_a_common_arm_are_refused(runs, tmp_path):
    copy = tmp_path / "other"
    shutil.copytree(runs[2].path, copy)
    lines = (copy / "networks.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for i, record in enumerate(records):
        record["arm"] = f"arm {i}"
    store_lines(copy / "networks.jsonl", records)
    (copy / "summary.json").unlink(missing_ok=True)
    with pytest.raises(KlayerError, match="no arm with the same settings or the same name"):
        compare_runs(runs[0].path, copy, tmp_path / "both.html")


def test_runs_are_compared_on_a_split_that_both_have(runs, tmp_path):
    other = without_split(runs[1], tmp_path / "other", "test")
    for first, second in ((runs[0], other), (other, runs[0])):
        text = compare_runs(first, second, tmp_path / "both.html").read_text(encoding="utf-8")
        assert "Validation accuracy: " in text
        assert "Test accuracy" not in text
        assert "have the same accuracies, seed by seed" in text


def test_run_without_results_is_refused(runs, tmp_path):
    copy = tmp_path / "empty"
    copy.mkdir()
    shutil.copy(runs[0].path / "run.json", copy)
    with pytest.raises(KlayerError, match="nothing to compare"):
        compare_runs(runs[0].path, copy, tmp_path / "both.html")


def test_command_renders_one_run_and_prints_the_page(runs, command):
    result = command(runs[0].path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == str(runs[0].path / "report.html")


def test_command_compares_two_runs(runs, command, tmp_path):
    result = command(runs[0].path, runs[1].path, "--out", tmp_path / "x.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "x.html").exists()


def test_command_draws_pngs_on_request(runs, command, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(runs[0].path, copy)
    assert command(copy, "--png").exit_code == 0
    pictures = {path.stem for path in (copy / "figures").glob("*.png")}
    assert {"curves", "confusion"} <= pictures
    with pytest.raises(KlayerError, match="`--png` draws the figures of one run"):
        raise command(copy, copy, "--png").exception


def test_command_refuses_three_runs_and_out_for_one(runs, command, tmp_path):
    paths = [run.path for run in runs]
    with pytest.raises(KlayerError, match="one run or compares two, but got 3"):
        raise command(*paths).exception
    with pytest.raises(KlayerError, match="`--out` is for comparing two runs"):
        raise command(paths[0], "--out", tmp_path / "x.html").exception


def test_pdf_without_a_browser_says_what_is_missing(runs, monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    monkeypatch.delenv("KLAYER_CHROMIUM", raising=False)
    with pytest.raises(KlayerError, match="needs Chromium or Chrome on the search path"):
        pdf.print_pdf(runs[0].path / "report.html")


@pytest.mark.skipif(pdf.find_chromium() is None, reason="Chromium is not installed")
def test_pdf_is_printed_by_chromium(runs, tmp_path):
    page = compare_runs(runs[0], runs[1], tmp_path / "both.html")
    assert pdf.print_pdf(page).read_bytes().startswith(b"%PDF")
