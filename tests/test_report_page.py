"""The page of a run: complete, self-contained, honest about what is missing."""

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from klayer.cli.output import print_summary
from klayer.errors import KlayerError
from klayer.report import page as page_module
from klayer.report import table as table_module
from klayer.report import write_report
from klayer.report.comparisons import Comparisons
from klayer.report.conclusion import conclusion
from klayer.report.examination import Examination, examine
from klayer.report.page import Page
from klayer.report.run_view import RunView
from klayer.report.sections import SECTIONS
from klayer.report.sections.how_made import toml
from klayer.report.sections.section import Part, Section, block
from klayer.study import Run, Study
from klayer.study.launch import run_study
from report_runs import BRIEF, make_study, without_split
from run_files import store, store_lines


@pytest.fixture(scope="module")
def study(small_study):
    return small_study


@pytest.fixture(scope="module")
def html(study):
    return (study.path / "report.html").read_text(encoding="utf-8")


def page_of(path):
    """Return the page of a run as text, without writing figures and tables."""
    return Page(RunView(Run(path))).html()


class Outline(HTMLParser):
    """Collect headings, ids, addresses, images and tables of a page."""

    def __init__(self, text):
        super().__init__()
        self.levels, self.ids, self.addresses, self.images = [], [], [], []
        self.tables, self.scopes = 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag == "img":
            self.images.append(attrs)
        if tag == "table":
            self.tables += 1
        if tag == "th":
            self.scopes.append(attrs.get("scope"))


def test_importing_the_package_imports_no_heavy_package():
    code = (
        "import sys, klayer.report, klayer.cli.report; "
        "print([m for m in ('jinja2', 'scipy', 'vl_convert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_page_has_the_sections_in_the_reports_order(html):
    titles = re.findall(r'<h2 id="[^"]*"><span class="number">(\w+)</span>([^<]*)</h2>', html)
    assert titles == [
        ("1", "Conclusion"),
        ("2", "All arms"),
        ("3", "2-layer, He"),
        ("4", "5-layer, He"),
        ("5", "Gaussian initialisation"),
        ("A", "Published and measured"),
        ("B", "The best network"),
        ("C", "How sure it is"),
        ("D", "All comparisons"),
        ("E", "How it was made"),
    ]


def test_page_asks_nothing_of_any_other_file_or_site(html):
    outline = Outline(html)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    without_scripts = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search(r"""(src|href)=["']https?:""", without_scripts)


def test_page_is_sound_for_keyboard_and_screen_reader(html):
    outline = Outline(html)
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    # No level is skipped on the way down.
    assert all(b - a <= 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False))
    assert len(outline.ids) == len(set(outline.ids))
    assert all(image.get("alt") for image in outline.images)
    assert set(outline.scopes) <= {"row", "col"}
    assert html.count("<caption>") == outline.tables
    charts = re.findall(r'<div class="chart" role="group" [^>]*aria-label="([^"]*)"', html)
    assert charts
    assert all(len(label) > 30 for label in charts)
    assert '<html lang="en">' in html


def test_every_chart_has_a_specification_and_a_static_picture(html):
    specs = re.findall(r'<script type="application/json" id="(spec-[^"]+)">(.*?)</script>', html)
    names = re.findall(r'data-spec="([^"]+)"', html)
    assert [name for name, _ in specs] == names
    for _, text in specs:
        spec = json.loads(text)
        assert '"url"' not in json.dumps(spec)
        assert spec["width"] == "container"
    assert html.count('<div class="static" aria-hidden="true"><svg') == len(names)


def test_page_with_all_arms_is_small(study):
    assert (study.path / "report.html").stat().st_size < 4e6


def test_figures_are_written_as_svg_and_tables_as_csv(study):
    figures = {path.name for path in (study.path / "figures").iterdir()}
    for stem in ("overview", "curves-2-layer-he", "curves-5-layer-sigma-0.0001", "confusion"):
        assert f"{stem}.svg" in figures
        assert f"{stem}.png" not in figures  # drawn on request: it takes longer than all the rest
    with (study.path / "tables" / "networks.csv").open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 24
    stored = {(r.arm, str(r.seed)): r.score("test") for r in study.networks}
    assert all(float(r["test_accuracy"]) == stored[r["arm"], r["seed"]] for r in rows)
    with (study.path / "tables" / "fidelity.csv").open(encoding="utf-8") as f:
        assert {row["published"] for row in csv.DictReader(f)} == {"0.2"}


def test_numbers_on_the_page_are_the_runs_numbers(study, html):
    arm = RunView(study).arms[0]
    values = [record.score("test") for record in arm.records]
    shown = f"{100 * np.mean(values):.1f}\u202f% ± {100 * np.std(values, ddof=1):.1f}"
    assert shown in html


def test_networks_at_chance_are_counted_on_the_page(study, html):
    stuck = [r for r in study.networks if r.state == "at chance"]
    assert stuck, "the small study has arms that never train"
    assert f"{len(stuck)} never left chance." in html
    assert "never left chance, 3 of 3 seeds" in html


def test_confusion_matrix_counts_the_stored_accuracy(study):
    view = RunView(study)
    best = examine(view, view.best, study.load_data())
    assert best.confusion.sum() == study.info["data"]["samples"]["test"]
    assert best.accuracy == pytest.approx(best.record.score("test"), abs=1e-9)
    assert all(one.label != one.predicted for one in best.mistakes)
    probs = [one.prob for one in best.mistakes]
    assert probs == sorted(probs, reverse=True)


def test_render_needs_the_results_alone(one, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.json", "networks.jsonl"):
        shutil.copy(one[0].path / name, copy)
    page = write_report(copy)[0].read_text(encoding="utf-8")
    assert "not finished" in page
    assert "so its mistakes aren&#39;t shown" in page


def test_unfinished_run_shows_what_is_there(study, tmp_path):
    copy = tmp_path / "half"
    shutil.copytree(study.path, copy)
    (copy / "summary.json").unlink()
    lines = (copy / "networks.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (copy / "networks.jsonl").write_text("".join(lines[:6]), encoding="utf-8")
    page = page_of(copy)
    assert "6 of 24 networks are finished" in page
    assert "klayer study --resume" in page
    assert "5-layer, He</h2>" not in page


def test_run_without_any_network_still_has_a_page(study, tmp_path):
    copy = tmp_path / "empty"
    copy.mkdir()
    for name in ("run.json", "inputs.safetensors"):
        shutil.copy(study.path / name, copy)
    page = page_of(copy)
    assert "0 of 24 networks are finished" in page
    assert "How it was made" in page


def test_changed_data_are_said_not_shown(study, tmp_path):
    copy = tmp_path / "moved"
    shutil.copytree(study.path, copy)
    info = json.loads((copy / "run.json").read_text())
    info["config"]["data"] = "no-such-file.npz"
    store(copy / "run.json", info)
    with pytest.raises(KlayerError):
        Run(copy).load_data(may_download=False)
    page = page_of(copy)
    assert "The data can&#39;t be read here" in page
    assert 'id="confusion"' not in page


def test_names_from_data_and_configuration_are_escaped(tmp_path):
    evil = "</script><script>alert(1)</script>"
    arms = [{**BRIEF, "hidden": [8], "name": evil}, {**BRIEF, "hidden": [9], "name": "b & b"}]
    run = make_study(
        tmp_path / "evil", grid={}, arms=arms, seeds=2, published=[], settings={}, title=evil
    )
    page = page_of(run.path)
    assert "<script>alert(1)" not in page
    assert "b &amp; b" in page


def test_unknown_data_leave_out_the_image_parts(study_of_vectors):
    run = study_of_vectors
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "12 features, 3 classes" in page
    assert 'id="confusion"' in page
    assert 'id="weights"' not in page
    assert 'id="mistakes"' not in page
    assert "Published and measured" not in page
    assert "Conclusion" in page
    assert not (run.path / "figures" / "first-layer-weights.png").exists()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A training of one arm with one seed, and what was written of it."""
    config = Study.from_values({"data": "digits", "seeds": 1, "arms": [{**BRIEF, "hidden": [8]}]})
    run = run_study(config, out=tmp_path_factory.mktemp("one") / "one", kind="train", workers=1)
    return run, write_report(run)


def test_training_of_one_arm_leaves_its_curves_as_a_picture(one):
    run, written = one
    assert [path.name for path in written] == ["report.html", "curves.png"]
    assert written[1].read_bytes().startswith(b"\x89PNG")
    assert (run.path / "figures" / "curves.svg").exists()
    assert not (run.path / "figures" / "confusion.png").exists()
    write_report(run, png=True)
    assert (run.path / "figures" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    page = written[0].read_text(encoding="utf-8")
    assert "one seed, so nothing is known about its spread" in page
    assert "All comparisons" not in page


@pytest.fixture(scope="module")
def checked():
    from klayer.gradcheck.section import report_section

    return report_section(layers=(2,)).to_dict()


def test_gradient_check_is_an_appendix_of_a_study_about_something_else(one, tmp_path, checked):
    copy = tmp_path / "checked"
    shutil.copytree(one[0].path, copy)
    store(copy / "gradcheck.json", checked)
    page = page_of(copy)
    assert '<span class="number">C</span>Gradient check</h2>' in page
    assert "All of them are right." in page
    assert "Published" not in page


def test_gradient_check_comes_first_where_a_publication_is_repeated(study, tmp_path, checked):
    copy = tmp_path / "checked"
    shutil.copytree(study.path, copy)
    store(copy / "gradcheck.json", checked)
    page = page_of(copy)
    assert '<span class="number">1</span>Gradient check</h2>' in page
    assert "as published and as repeated here" in page


def test_wrong_gradient_is_named_on_the_page(one, tmp_path, checked):
    copy = tmp_path / "wrong"
    shutil.copytree(one[0].path, copy)
    stored = json.loads(json.dumps(checked))
    stored["rows"][0]["verdict"] = "wrong"
    store(copy / "gradcheck.json", stored)
    page = page_of(copy)
    assert "Wrong: 2 layers, no batch normalisation, W1." in page
    assert "All of them are right." not in page


def test_configuration_on_the_page_is_toml_that_makes_the_same_study(study):
    import tomllib

    view = RunView(study)
    again = Study.from_values(tomllib.loads(toml(view)))
    assert [(arm.name, arm.settings) for arm in again.arms] == [
        (arm.name, arm.settings) for arm in view.arms
    ]
    assert again.seeds == (0, 1, 2)


def edited(study, tmp_path, accuracies):
    """Copy a run with other test accuracies: ``accuracies(record)`` gives state and value."""
    copy = tmp_path / "edited"
    shutil.copytree(study.path, copy)
    lines = []
    for record in study.networks:
        state, value = accuracies(record)
        values = {**record.to_json(), "state": state, "test_accuracy": value}
        lines.append(values)
    store_lines(copy / "networks.jsonl", lines)
    return RunView(Run(copy))


def noise(record):
    digits = [0.001, -0.002, 0.0015]
    return digits[record.seed] * (1 + len(record.arm) % 3)


def test_conclusion_claims_an_effect_that_the_seeds_carry(study, tmp_path):
    def accuracies(record):
        gain = 0.1 * (record.settings.batch_norm == "hidden")
        return "trained", 0.5 + gain + noise(record)

    view = edited(study, tmp_path, accuracies)
    claims = [one.text for one in conclusion(view, Comparisons(view)) if one.carried]
    assert sum("BN raises test accuracy by" in text for text in claims) == 2


def test_conclusion_holds_back_where_the_seeds_do_not_carry_it(study, tmp_path):
    def accuracies(record):
        return "trained", 0.5 + noise(record)

    view = edited(study, tmp_path, accuracies)
    found = conclusion(view, Comparisons(view))
    assert not any("raises" in one.text or "robust to" in one.text for one in found)
    assert all(not one.carried for one in found if "no effect of BN is shown" in one.text)
    assert any("no effect of BN is shown" in one.text for one in found)


def test_conclusion_claims_counts_only_where_the_tables_show_them(study, tmp_path):
    def accuracies(record):
        bare = record.settings.batch_norm == "none"
        if bare and record.settings.init != "he":
            return "at chance", 0.1
        return "trained", 0.5 + noise(record)

    view = edited(study, tmp_path, accuracies)
    comparisons = Comparisons(view)
    counts = [one for one in conclusion(view, comparisons) if "that left chance" in one.text]
    # 3 of 3 against 0 of 3: 1 of C(6, 3) = 20 tables, twice; p = .1 carries no claim.
    assert sum("(Fisher's exact test, p\u00a0=\u00a00.20)" in one.text for one in counts) == 2
    assert not any(one.carried for one in counts)
    assert not any("robust" in one.text for one in conclusion(view, comparisons))
    tables = [one.result.p_holm for one in comparisons.arms if one.result.test == "Fisher"]
    assert tables[:2] == pytest.approx([0.2, 0.2])


def test_mixed_arm_is_named_as_such_in_the_conclusion(study, tmp_path):
    def accuracies(record):
        return ("at chance", 0.1) if record.seed == 1 else ("trained", 0.5 + noise(record))

    view = edited(study, tmp_path, accuracies)
    texts = [one.text for one in conclusion(view, Comparisons(view))]
    assert any("a single run says little" in text for text in texts)
    assert all(arm.cell.kind == "mixed" for arm in view.with_results)


def test_accuracy_of_a_class_has_wilsons_interval():
    best = Examination(None, "test", ("eight of ten", "nothing"), np.array([[8, 2], [0, 0]]))
    some, none = best.classes()
    z, share, n = 1.959963984540054, 0.8, 10
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert (some.low, some.high) == pytest.approx((centre - half, centre + half))
    assert (none.accuracy, none.low, none.high) == (None, 0.0, 1.0)


def test_ids_of_sections_differ():
    ids = [section.id for section in SECTIONS]
    assert len(set(ids)) == len(ids)


def test_new_section_is_one_row_of_the_table(one, monkeypatch):
    row = Section("more", "One more", lambda _: [Part([block("text", text="Hm.")])])
    monkeypatch.setattr(page_module, "SECTIONS", (row, *SECTIONS))
    text = page_of(one[0].path)
    assert '<span class="number">1</span>One more</h2>' in text
    assert '<span class="number">2</span>2-layer, no BN, He</h2>' in text
    assert "<p>Hm.</p>" in text


def test_new_column_is_one_row_of_the_table(study, monkeypatch, capsys):
    column = table_module.Column(
        "Widths",
        lambda arm: str(list(arm.settings.hidden)),
        lambda arm: {"widths": len(arm.settings.hidden)},
        word="widths",
    )
    monkeypatch.setattr(table_module, "COLUMNS", (*table_module.COLUMNS, column))
    view = RunView(study)
    found = table_module.result_table(view.arms, "results", "All of them.")
    assert (found.head[-1], found.body[0][-1]) == ("Widths", "[16]")
    assert (found.raw_head[-1], found.raw[0][-1]) == ("widths", 1)
    monkeypatch.setenv("COLUMNS", "200")
    print_summary(study)
    assert "widths" in capsys.readouterr().out


def test_panels_of_a_saved_figure_show_their_own_curves(study):
    svg = (study.path / "figures" / "curves-5-layer-he.svg").read_text(encoding="utf-8")
    lines = re.findall(r'<path d="([^"]+)"[^>]* stroke-width="1.8"', svg)
    # 3 panels with 2 arms on 2 splits: were two panels to share a name, they would share their lines.
    assert len(lines) == 12
    assert len(set(lines)) == 12


@pytest.mark.parametrize("change", [{"warmth": 0.9}, {"schedule": "spiral"}])
def test_run_with_settings_of_a_later_version_is_refused(one, tmp_path, change):
    copy = tmp_path / "later"
    shutil.copytree(one[0].path, copy)
    record = json.loads((copy / "networks.jsonl").read_text(encoding="utf-8"))
    record["settings"] |= change
    store_lines(copy / "networks.jsonl", [record])
    name = next(iter(change.items()))["schedule" in change]
    with pytest.raises(KlayerError, match=f"later.*'{name}'.*later version"):
        write_report(copy)


def test_network_with_an_unknown_piece_is_said_not_shown(one, monkeypatch):
    def refuse(run, record):
        raise KlayerError("unknown piece 'attention': made by a later version?")

    monkeypatch.setattr(Run, "model", refuse)
    page = page_of(one[0].path)
    assert "The network can&#39;t be read here" in page
    assert "unknown piece &#39;attention&#39;" in page
    assert 'id="confusion"' not in page


def test_without_a_test_split_networks_are_judged_by_validation(study, tmp_path):
    run = without_split(study, tmp_path / "copy", "test")
    page = Page(RunView(run))
    text = page.html()
    assert "The highest mean validation accuracy has" in text
    assert "test accuracy" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    for table in page.material.tables:
        if table.name.startswith("results"):
            assert "Test" not in table.head
            assert not any(key.startswith("test_") for key in table.raw_head)


def test_without_validation_its_columns_and_curves_are_left_out(study, tmp_path):
    run = without_split(study, tmp_path / "copy", "validation")
    page = Page(RunView(run))
    assert "validation" not in "".join(
        label.lower() for label in re.findall(r'aria-label="([^"]*)"', page.html())
    )
    results = next(one for one in page.material.tables if one.name.startswith("results"))
    assert results.head[:4] == ["Network", "Seeds", "Train", "Test"]
    legends = {key.label for figure in page.material.figures for key in figure.legend}
    assert "validation" not in legends


def test_with_a_training_split_alone_there_is_a_page(one, tmp_path):
    run = without_split(one[0], tmp_path / "copy", "validation", "test")
    page = Page(RunView(run)).html()
    assert "Train accuracy: " in page
