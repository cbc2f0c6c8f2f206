"""The folder of a run: taken by one command, cleared of leftovers, free of links and of passwords."""

import os
import shutil

import pytest

from klayer.errors import KlayerError
from klayer.files import Lock
from klayer.report import write_report
from klayer.study import Run, Study
from klayer.study.launch import resume_search, resume_study, run_search, run_study

BRIEF = {"hidden": [4], "batch_size": 100, "cycles": 1, "half_cycle": "1 epoch"}
STUDY = Study.from_values({"seeds": 1, "settings": BRIEF})
SECRET = "s3cr3t"

posix = pytest.mark.skipif(os.name != "posix", reason="this system has no such files")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = run_study(STUDY, out=tmp_path_factory.mktemp("runs") / "run")
    write_report(run)
    return run.path


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize(
    "left",
    [
        [],
        ["lock"],
        ["inputs.safetensors"],
        ["run.json.copy", "inputs.safetensors", "run.json.12-0.part"],
        ["search.json", "gradcheck.json", "inputs.safetensors.part"],
    ],
    ids=lambda left: ", ".join(left) or "empty",
)
def test_what_a_kill_left_before_it_was_a_run_is_not_in_the_way(tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_bytes(b"x")
    run = run_study(STUDY, out=tmp_path / "run")
    assert len(run.networks) == 1
    names = {one.name for one in run.path.iterdir()}
    assert not {name for name in names if name.endswith(".part") or name == "lock"}


@pytest.mark.parametrize("name", ["notes.txt", "weights", "networks.jsonl", "run.json"])
def test_a_folder_that_holds_anything_else_is_left_as_it_is(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "inputs.safetensors").write_bytes(b"x")
    (folder / name).mkdir() if name == "weights" else (folder / name).write_bytes(b"mine")
    with pytest.raises(KlayerError, match="must be new or empty"):
        run_study(STUDY, out=folder)
    assert sorted(one.name for one in folder.iterdir()) == sorted(["inputs.safetensors", name])


@posix
@pytest.mark.parametrize("nth", range(12))
def test_a_run_that_could_not_be_begun_leaves_no_folder(tmp_path, monkeypatch, nth):
    real, count = os.fsync, iter(range(100))

    def refuse(handle):
        if next(count) == nth:
            raise OSError(28, os.strerror(28))
        real(handle)

    out, said = tmp_path / "run", "No space left on device. Free some space --resume"
    with monkeypatch.context() as during:
        during.setattr(os, "fsync", refuse)
        try:
            run_study(STUDY, out=out)
        except KlayerError as error:
            said = str(error)
    assert "No space left on device. Free some space" in said
    assert out.exists() == ("--resume" in said)
    run = resume_study(out) if out.exists() else run_study(STUDY, out=out)
    assert len(run.networks) == 1


def test_runs_of_one_second_have_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = {run_study(STUDY).path for _ in range(3)}
    assert len(paths) == 3
    assert all(len(Run(path).networks) == 1 for path in paths)


def test_a_folder_that_another_command_is_taking_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    lock = Lock(tmp_path / "run" / "lock", "it")
    lock.take()
    with pytest.raises(KlayerError, match="another one is writing"):
        run_study(STUDY, out=tmp_path / "run")
    lock.release()
    assert len(run_study(STUDY, out=tmp_path / "run").networks) == 1


def test_a_run_that_was_opened_before_another_finished_it_trains_nothing(copy):
    early = Run(copy)
    for name in ("networks.jsonl", "summary.json"):
        (copy / name).unlink()
    early = Run(copy)
    assert early.networks == []
    resume_study(copy)
    with early:
        assert len(early.networks) == 1
        assert early.result("summary.json")["networks"]


# Links.


@posix
@pytest.mark.parametrize("name", ["networks.jsonl", "run.json", "weights", "figures", "search.db"])
def test_a_run_with_links_is_not_gone_on_with(copy, tmp_path, name):
    target = tmp_path / "elsewhere"
    if (copy / name).exists():
        (copy / name).rename(target)
    else:
        target.write_bytes(b"precious")
    before = {one: one.read_bytes() for one in [target, *target.rglob("*")] if one.is_file()}
    (copy / name).symlink_to(target)
    with pytest.raises(KlayerError, match=rf"{name} is a symbolic link: put in its place"):
        resume_study(copy)
    assert before == {
        one: one.read_bytes() for one in [target, *target.rglob("*")] if one.is_file()
    }


@posix
@pytest.mark.parametrize("name", ["report.html", "figures", "tables", "report.html.part"])
def test_a_report_writes_nothing_through_a_link(copy, tmp_path, name):
    target = tmp_path / "elsewhere"
    folder = name in ("figures", "tables")
    target.mkdir() if folder else target.write_bytes(b"precious")
    if folder:
        shutil.rmtree(copy / name)
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to(target)
    if folder:
        with pytest.raises(KlayerError, match="symbolic link, which is not followed"):
            write_report(copy)
        assert not list(target.iterdir())
    else:
        write_report(copy)
        assert target.read_bytes() == b"precious"


@posix
def test_a_link_to_a_run_is_a_run(copy, tmp_path):
    (tmp_path / "latest").symlink_to(copy)
    assert len(resume_study(tmp_path / "latest").networks) == 1


# Passwords.


@pytest.mark.parametrize("part", ["password={}", "sslpassword={}&x=1", "Token={}", "api_key={}"])
@pytest.mark.parametrize("kind", ["search", "study"])
def test_a_password_among_the_parameters_is_not_written_down(tmp_path, monkeypatch, part, kind):
    opened = []
    monkeypatch.setattr("klayer.study.launch.reach", opened.append)
    url = f"sqlite:///{tmp_path}/studies.db?{part.format(SECRET)}"
    real = f"sqlite:///{tmp_path}/studies.db"
    storage = __import__("optuna").storages.RDBStorage
    connect = storage.__init__
    monkeypatch.setattr(storage, "__init__", lambda self, _url: connect(self, real))
    asked = {"stages": [{"l2": "1e-4:1e-1"}], "trials": 1, "storage": url, "settings": BRIEF,
             "finalists": {"top": 0}}  # fmt: skip
    study = Study.from_values({"seeds": 1, "settings": BRIEF, "search": asked})
    monkeypatch.setattr("sys.argv", ["klayer", "search", "--storage", url, f"--storage={url}"])
    begin, go_on = (run_search, resume_search) if kind == "search" else (run_study, resume_study)
    run = begin(study, out=tmp_path / "run")
    write_report(run)
    assert opened == [url]
    for path in run.path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    with pytest.raises(KlayerError, match=r"needs its password.*give --storage URL again") as error:
        go_on(run.path)
    assert SECRET not in str(error.value)
    assert len(go_on(run.path, storage=url).networks) == len(run.networks)


def test_a_url_that_is_none_is_named_without_its_password(tmp_path):
    asked = {
        "stages": [{"l2": "1e-4:1e-1"}],
        "storage": f"post gres://ann:{SECRET}@db",
        "settings": BRIEF,
    }
    study = Study.from_values({"settings": BRIEF, "search": asked})
    with pytest.raises(KlayerError) as error:
        run_search(study, out=tmp_path / "run")
    assert SECRET not in str(error.value)
    assert not (tmp_path / "run").exists()
