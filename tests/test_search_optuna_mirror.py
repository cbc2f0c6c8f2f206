import contextlib
import json
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from klayer.data import load
from klayer.errors import KlayerError
from klayer.study import Run, Study
from klayer.study.launch import resume_search, run_search
from klayer.study.search.optuna_mirror import OptunaMirror
from klayer.study.search.optuna_space import whole_space
from klayer.study.search.space import Range, Space
from klayer.study.search.tables import trial_table
from klayer.study.secrets import without_passwords
from run_files import store


def parsed(**values):
    return Study.from_values(values)


def small(storage=None, **values):
    return parsed(
        search={
            "stages": [{"l2": "1e-4:1e-1"}, {"l2": "1e-3:1e-2:linear"}],
            "trials": 3,
            "settings": {"hidden": [5], "batch_size": 50, "cycles": 1, "half_cycle": "1 epoch"},
            "finalists": {"top": 1, "cycles": 1, "seeds": 1},
            **({"storage": storage} if storage else {}),
            **values,
        }
    )


def stored_trials(run, url):
    import optuna

    name = json.loads((run.path / "search.json").read_text())["study"]
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    return trials


def postgres_tools():
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a database with a password, on a server of the test's own."""
    tools = postgres_tools()
    if not tools:
        pytest.skip("PostgreSQL isn't installed (no initdb): apt-get install postgresql")
    pytest.importorskip("psycopg", reason="the driver psycopg isn't installed")
    folder = tmp_path_factory.mktemp("postgres")
    user = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        import pwd

        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL won't run as root, and there is no user postgres")
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        for one in (folder, *folder.parents):
            if one.owner() == "root" and one.name.startswith(("pytest", "postgres")):
                one.chmod(0o755)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    secret = folder / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o644)

    def run(*command):
        subprocess.run(
            [tools / command[0], *command[1:]],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            **user,
        )

    run(
        *("initdb", "-D", folder / "data", "-U", "klayer", "-A", "scram-sha-256"),
        *("--pwfile", secret, "-E", "UTF8", "--no-sync"),
    )
    options = f"-h 127.0.0.1 -p {port} -c fsync=off -c unix_socket_directories="
    run("pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://klayer:s3cret@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")


def test_a_search_in_postgresql_is_the_search_in_sqlite(postgres, tmp_path):
    here = run_search(small(), out=tmp_path / "here")
    there = run_search(small(postgres), out=tmp_path / "there")
    assert trial_table(there) == trial_table(here)
    assert not (there.path / "search.db").exists()
    ours = stored_trials(here, f"sqlite:///{here.path}/search.db")
    theirs = stored_trials(there, postgres)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.number, one.state, one.params, one.value) == (
            other.number,
            other.state,
            other.params,
            other.value,
        )
        assert one.intermediate_values == other.intermediate_values
    assert {one.state.name for one in theirs} == {"COMPLETE"}


def test_two_runs_of_one_name_share_a_database(postgres, tmp_path):
    first = run_search(small(postgres), out=tmp_path / "a" / "run")
    second = run_search(small(postgres, seed=1), out=tmp_path / "b" / "run")
    for run in (first, second):
        stored = stored_trials(run, postgres)
        assert [one.params["l2"] for one in stored] == [row["l2"] for row in trial_table(run)]


def test_a_password_is_not_written_down_and_asked_for_again(postgres, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["klayer", "search", "--storage", postgres])
    run = run_search(small(postgres), out=tmp_path / "run")
    for path in run.path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
    assert "klayer:***@" in run.info["command"][3]
    with pytest.raises(KlayerError, match=r"needs its password.*give --storage URL again"):
        resume_search(run.path)
    assert trial_table(resume_search(run.path, storage=postgres)) == trial_table(run)


def test_a_wrong_password_is_an_error_without_the_password(postgres, tmp_path):
    wrong = postgres.replace("s3cret", "gue55")
    with pytest.raises(KlayerError, match=r"klayer:\*\*\*@.* can't be opened: ") as caught:
        run_search(small(wrong), out=tmp_path / "run")
    assert "gue55" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mine.db", "`--storage` must be a URL like postgresql.* but got 'mine.db'"),
        ("sqlite:////no/such/folder/x.db", "the storage sqlite.* can't be opened: .*Check the URL"),
        ("oracle9://x", "the storage oracle9://x can't be opened: "),
    ],
)
def test_a_storage_that_cannot_be_opened_is_named(tmp_path, url, message):
    with pytest.raises(KlayerError, match=message):
        run_search(small(url), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_storage_that_stops_answering_costs_nothing(tmp_path, monkeypatch):
    import optuna

    def gone(*_args):
        raise optuna.exceptions.StorageInternalError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(OptunaMirror, "_tell", gone)
        with pytest.raises(
            KlayerError, match=r"must answer, but: connection lost\. Nothing is lost"
        ):
            run_search(small(), out=tmp_path / "run")
    run = resume_search(tmp_path / "run")
    assert [row["trial"] for row in trial_table(run)] == list(range(6))


def test_a_storage_of_another_search_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    first = run_search(small(url), out=tmp_path / "first")
    second = run_search(small(url, seed=1), out=tmp_path / "second")
    plan = json.loads((second.path / "search.json").read_text())
    plan["study"] = json.loads((first.path / "search.json").read_text())["study"]
    store(second.path / "search.json", plan)
    with pytest.raises(
        KlayerError, match="the storage must hold this run's search, but its trial 0"
    ):
        resume_search(second.path)


def test_stages_of_different_scales_share_one_study(tmp_path):
    run = run_search(small(), out=tmp_path / "run")
    stored = stored_trials(run, f"sqlite:///{run.path}/search.db")
    assert all(one.distributions["l2"].log for one in stored)
    assert stored[5].distributions["l2"].high == 1e-2


def test_the_whole_space_joins_ranges_and_choices():
    spaces = [
        Space({"l2": Range(0.0, 1.0, "linear")}, {"init": ["he"]}),
        Space({"l2": Range(0.5, 2.0)}, {"init": ["xavier", "he"]}),
    ]
    found = whole_space(spaces)
    assert (found["l2"].low, found["l2"].high, found["l2"].log) == (0.0, 2.0, False)
    assert found["init"].choices == ("he", "xavier")


def test_a_password_is_hidden_and_a_url_without_one_is_not_changed():
    assert without_passwords("mysql://a:b@c/d") == "mysql://a:***@c/d"
    assert without_passwords("sqlite:///x.db") == "sqlite:///x.db"


def test_a_run_that_is_not_made_yet_leaves_the_storage_alone(tmp_path):
    one = small(f"sqlite:///{tmp_path}/x.db")
    with contextlib.suppress(KlayerError):
        run_search(replace(one, data="digit"), out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert isinstance(Run.create(tmp_path / "run", "search", {}, load("digits")), Run)
