"""Runs that several work on: the same bits whoever trains, nothing lost, nothing left over."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from klayer.cli.app import app
from klayer.data import load
from klayer.errors import KlayerError
from klayer.files import Claims, Lock, LockHeld, Pulse
from klayer.study import Run, Study
from klayer.study.execute import require_scheduler
from klayer.study.execute.bench import MOST_TRIES, Bench
from klayer.study.execute.hand import Hand
from klayer.study.launch import resume_study, run_search, run_study
from run_files import the_same

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and locks")

SETTINGS = {"hidden": [8], "batch_size": 50, "cycles": 1, "half_cycle": "2 epochs",
            "points_per_cycle": 3}  # fmt: skip
STUDY = {
    "seeds": 5,
    "settings": SETTINGS,
    "grid": {"batch_norm": ["none", "hidden"], "l2": [0.0, 0.01]},
}
LONGER = {**STUDY, "settings": {**SETTINGS, "half_cycle": "20 epochs"}}
SEARCH = {
    "seeds": 1,
    "settings": SETTINGS,
    "search": {
        "stages": [{"l2": "1e-4:1e-1", "batch_norm": ["none", "hidden"]}],
        "settings": {"cycles": 2},
        "trials": 6,
        "prune": True,
        "finalists": {"top": 1, "cycles": 1, "seeds": 2},
    },
}
COMMAND = (
    "import json, sys\n"
    "from klayer.study import Study\n"
    "from klayer.study.launch import run_study\n"
    "run_study(Study.from_values(json.loads(sys.argv[1])), out=sys.argv[2], scheduler=sys.argv[3])\n"
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of a few networks, however fast they are."""
    monkeypatch.setattr("klayer.study.execute.sizing.LEAST_PART", 1e-3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run_study(Study.from_values(STUDY), out=tmp_path_factory.mktemp("alone") / "run")


def run_out_of_memory(monkeypatch, seed):
    """Let hands run out of memory over parts with this seed; return how they work otherwise."""
    real = Hand._opened

    def opened(self):
        local = real(self)
        work = local.work

        def failing(spec, state, keeper):
            if any(one.seed == seed for one in spec.members):
                raise MemoryError("it is too much")
            return work(spec, state, keeper)

        monkeypatch.setattr(local, "work", failing, raising=False)
        return local

    monkeypatch.setattr(Hand, "_opened", opened)
    return real


def started(path, scheduler="join", study=STUDY):
    command = [sys.executable, "-c", COMMAND, json.dumps(study), str(path), scheduler]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def leading(path):
    """Start a process that makes a run of some length; return it when it trains."""
    first = started(path, study=LONGER)
    while not list(path.glob("parts/*.claim-1")):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.02)
    return first


def test_processes_give_the_bits_of_one_process(alone, tmp_path):
    heard = []

    class Ear:
        def __getattr__(self, name):
            return lambda *args: heard.append((name, args))

    study = Study.from_values(STUDY)
    run = run_study(study, out=tmp_path / "run", scheduler="processes:2", reporter=Ear())
    assert the_same(run, alone)
    assert [one["cpu"] for one in run.info["workers"]] == [run.info["machine"]["cpu"]]
    at_work = [who for name, (_, who) in ((n, a) for n, a in heard if n == "at_work")]
    assert all(0 <= one.share <= 1 for who in at_work for one in who)


def test_a_search_with_pruning_gives_the_bits_of_one_process(tmp_path):
    here = run_search(Study.from_values(SEARCH), out=tmp_path / "here")
    there = run_search(Study.from_values(SEARCH), out=tmp_path / "there", scheduler="join:1")
    assert the_same(there, here)
    assert (here.path / "trials.csv").read_bytes() == (there.path / "trials.csv").read_bytes()


def test_processes_that_join_share_a_run_and_outlive_its_leader(alone, tmp_path):
    out = tmp_path / "run"
    first = leading(out)
    second = started(out, study=LONGER)
    time.sleep(1.0)
    first.kill()
    first.communicate()
    _, said = second.communicate(timeout=100)
    assert second.returncode == 0, said
    whole = run_study(Study.from_values(LONGER), out=tmp_path / "whole")
    assert the_same(Run(out), whole)


def test_a_leader_that_is_frozen_is_replaced_and_takes_part_when_it_wakes_up(tmp_path, monkeypatch):
    monkeypatch.setenv("KLAYER_LEASE", "3")
    out = tmp_path / "run"
    first = leading(out)
    lock = (out / "lock").stat().st_ino
    second = started(out, study=LONGER)
    time.sleep(0.5)
    first.send_signal(signal.SIGSTOP)
    try:
        while (out / "lock").exists() and (out / "lock").stat().st_ino == lock:
            assert second.poll() is None, second.stderr.read()
            time.sleep(0.1)
    finally:
        first.send_signal(signal.SIGCONT)
    for child in (second, first):
        _, said = child.communicate(timeout=200)
        assert child.returncode == 0, said
    whole = run_study(Study.from_values(LONGER), out=tmp_path / "whole")
    assert the_same(Run(out), whole)
    assert not list(out.glob("lock*"))
    assert not (out / "parts").exists()


def test_a_holder_is_silent_only_if_that_was_looked_at_for_a_whole_lease(tmp_path):
    path, now = tmp_path / "lock", 100.0
    pulse = Pulse(path, lease=30.0)
    assert not pulse.is_silent(now), "nobody holds it"
    path.touch()
    signs = itertools.count(1)

    def lives():
        os.utime(path, ns=(0, next(signs)))

    for _ in range(100):  # it is asked every ten seconds, and gives a sign every twenty
        now += 10
        if now % 20 == 0:
            lives()
        assert not pulse.is_silent(now)
    lives()
    assert not pulse.is_silent(now)
    assert [pulse.is_silent(now + n) for n in (10, 20, 30, 31, 32)] == [False] * 3 + [True] * 2
    # Who was asleep itself doesn't know whether the holder was.
    assert not pulse.is_silent(now + 1000)
    lives()
    assert not pulse.is_silent(now + 1010)


def test_of_many_that_free_a_lock_one_does_and_a_holder_that_lives_keeps_it(tmp_path):
    path = tmp_path / "lock"
    frozen = Lock(path, "it")
    frozen.take()
    frozen._over.set()  # no more signs of life
    frozen._thread.join()
    many = [Pulse(path, lease=30.0) for _ in range(8)]
    for now in (0.0, 12.0, 24.0, 36.0):
        silent = [one.is_silent(now) for one in many]
    assert all(silent)
    frozen.require()
    with ThreadPoolExecutor(8) as pool:
        freed = list(pool.map(lambda one: one.free(), many))
    assert freed.count(True) == 1
    with pytest.raises(LockHeld, match="another process writes it by now"):
        frozen.require()
    following = Lock(path, "it")
    following.take()
    assert not any(one.free() for one in many), "it is another's, and lives"
    frozen.release()
    following.require()
    following.release()
    assert list(tmp_path.iterdir()) == []


def test_who_leads_no_more_writes_nothing(alone, tmp_path):
    shutil.copytree(alone.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with run:
        (run.path / "lock").unlink()  # as whoever takes it over does
        for write in (
            lambda: run.append([]),
            lambda: run.write_result("summary.json", {}),
            run.write_info,
            run.unfinish,
            lambda: run.drop([run.networks[0].key]),
            run.require_held,
        ):
            with pytest.raises(LockHeld):
                write()
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_worker_that_is_killed_or_frozen_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("KLAYER_LEASE", "2")
    study = Study.from_values(LONGER)
    whole = run_study(study, out=tmp_path / "whole")
    out, over, harmed = tmp_path / "run", threading.Event(), []

    def harm():
        signals = [signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL]
        while signals and not over.wait(0.2):
            for path in sorted(out.glob("parts/*.claim-1"), reverse=True):
                try:
                    worker = json.loads(path.read_bytes())["process"]
                    if worker not in harmed and worker != os.getpid():
                        os.kill(worker, signals.pop())
                        harmed.append(worker)
                        break
                except (ValueError, OSError):
                    continue

    thread = threading.Thread(target=harm)
    thread.start()
    monkeypatch.setattr("klayer.study.execute.hands.END_SECONDS", 3.0)
    try:
        run = run_study(study, out=out, scheduler="processes:2")
    finally:
        over.set()
        thread.join()
    assert len(harmed) >= 2
    assert the_same(run, whole)


def test_a_run_of_processes_is_gone_on_with_by_any_other_scheduler(alone, tmp_path):
    whole = run_study(Study.from_values(LONGER), out=tmp_path / "whole")
    for scheduler, next_one in (("processes:2", "local"), ("local", "join:2")):
        out = tmp_path / next_one.partition(":")[0]
        child = started(out, scheduler, LONGER)
        while not list(out.glob("parts/*.safetensors")) and not list(out.glob("checkpoints/*")):
            if child.poll() is not None:
                break
            time.sleep(0.02)
        child.kill()
        child.communicate()
        assert the_same(resume_study(out, scheduler=next_one), whole)


def test_a_part_that_ends_three_workers_is_lost_and_the_rest_is_trained(tmp_path, monkeypatch):
    real = run_out_of_memory(monkeypatch, seed=3)
    monkeypatch.setattr("klayer.study.execute.sizing.PARTS_PER_HAND", 100)
    study = Study.from_values({**STUDY, "grid": {}})
    run = run_study(study, out=tmp_path / "run", scheduler="join:1")
    assert {record.seed for record in run.networks} == {0, 1, 2, 4}
    lost = run.result("summary.json")["lost"]
    assert [(one["seed"], one["reason"]) for one in lost] == [(3, "out of memory (it is too much)")]
    monkeypatch.setattr(Hand, "_opened", real)
    again = resume_study(run.path, scheduler="join:1")
    whole = run_study(study, out=tmp_path / "whole")
    assert {one.seed for one in again.networks} == {0, 1, 2, 3, 4}
    for record in whole.networks:
        ours, theirs = (run.model(run.find(record.key)).params for run in (whole, Run(run.path)))
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_a_run_of_which_nothing_can_be_trained_says_why(tmp_path, monkeypatch):
    def opened(self):
        raise KlayerError("there is no room")

    monkeypatch.setattr(Hand, "_opened", opened)
    with pytest.raises(KlayerError, match="no network could be trained: there is no room"):
        run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler="join:1")


def test_processes_that_join_must_name_one_directory_and_the_same_study(alone, tmp_path):
    with pytest.raises(KlayerError, match="name it by --out"):
        run_study(Study.from_values(STUDY), scheduler="join")
    with pytest.raises(KlayerError, match="holds another run"):
        run_study(Study.from_values({**STUDY, "seeds": 2}), out=alone.path, scheduler="join")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("procesess:2", "unknown scheduler 'procesess:2'"),
        ("processes", "must have a whole number N"),
        ("processes:0", "must have a whole number N"),
        ("processes:two", "must have a whole number N"),
        ("join:-1", "must have a whole number N"),
        ("local:4", "`local` takes no number"),
        ("tcp:8786", "named by its address, tcp://HOST:PORT"),
        ("tcp://somewhere", "named by its address"),
        ("10.0.0.1:8786", "unknown scheduler"),
    ],
)
def test_a_scheduler_that_cannot_be_is_refused(name, message):
    with pytest.raises(KlayerError, match=message):
        require_scheduler(name)


# Claims.


def test_a_claim_is_one_process_alone_s_until_it_is_silent(tmp_path):
    claims = Claims(tmp_path, lease=0.3)
    first = claims.take("part")
    with first:
        assert claims.take("part") is None
        time.sleep(0.5)
        assert claims.take("part") is None, "it says that it lives"
        assert not first.lost
    time.sleep(0.5)  # from here on it is silent
    second = claims.take("part")
    assert second is not None
    assert first.lost
    assert not second.lost
    with second:
        second.release()
    assert claims.numbers() == {"part": 1}


def test_a_claim_of_a_process_that_is_over_is_free_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from klayer.files import Claims\n"
        "Claims(Path(sys.argv[1]), 1000.0).take('part')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert Claims(tmp_path, lease=1000.0).take("part") is not None


def test_of_many_that_claim_one_gets_it(tmp_path):
    claims, got = Claims(tmp_path, lease=30.0), []
    threads = [threading.Thread(target=lambda: got.append(claims.take("part"))) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(one is not None for one in got) == 1


def test_a_part_is_given_up_only_if_nobody_got_further(tmp_path):
    bench = Bench(tmp_path)
    bench.made()
    kept = [(0, 0), (0, 0), (0, 7), (7, 7), (7, 7)]
    for number, (begun, end) in enumerate(kept, start=1):
        with bench.claims.take("part") as claim:
            claim.say(begun=begun, kept=end)
            claim.fail("killed")
        assert not bench.given_up("part", {"part": number}), number
    with bench.claims.take("part") as claim:
        claim.fail("killed again")
    numbers = {"part": len(kept) + 1}
    assert bench.given_up("part", numbers) == "killed; killed again"
    assert not bench.given_up("part", {**numbers, "other": 2}), "others are lost as well"
    assert MOST_TRIES == 3


def test_a_damaged_result_is_made_again(alone, tmp_path, monkeypatch):
    real, damaged = Bench.keep, []

    def keep(self, name, result):
        real(self, name, result)
        if not damaged:
            path = self.folder / f"{name}.safetensors"
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            damaged.append(name)

    monkeypatch.setattr(Bench, "keep", keep)
    run = run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler="join:2")
    assert damaged
    assert the_same(run, alone)


def test_a_bad_lease_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KLAYER_LEASE", "soon")
    with pytest.raises(KlayerError, match="KLAYER_LEASE must be a number of seconds > 0"):
        run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler="processes:1")
    assert not Path(tmp_path / "run").exists()


# The command.


def test_lost_networks_are_named_and_the_status_is_1(tmp_path, monkeypatch):
    real = run_out_of_memory(monkeypatch, seed=1)
    out = tmp_path / "run"
    words = ["train", "--seeds", "3", "--half-cycle", "1 epoch", "--cycles", "1", "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--scheduler", "join:8"])
    assert done.exit_code == 1
    assert "1 network could not be trained: " in done.stderr
    assert "(seeds 1)" in done.stderr
    assert "out of memory (it is too much)" in done.stderr
    assert f"klayer train --resume {out}` tries again" in done.stderr
    assert "Not trained" in (out / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(Hand, "_opened", real)
    done = CliRunner().invoke(app, ["train", "--resume", str(out), "--scheduler", "join", "-q"])
    assert done.exit_code == 0
    assert len(Run(out).networks) == 3


def test_a_plan_says_parts_bytes_and_times(tmp_path):
    words = ["study", "quick", "--no-search", "--dry-run", "--scheduler", "processes:4", "--json"]
    done = CliRunner().invoke(app, [*words, "--seeds", "2"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)["scheduler"]
    assert plan["parts"] >= 6
    assert plan["networks"] >= 1
    rows = sum(load("digits").splits[name].features.nbytes for name in load("digits").splits)
    assert rows < plan["data_bytes"] < 2 * rows
    assert {"1", "2", "4"} <= plan["seconds"].keys()
    assert plan["seconds"]["4"] < plan["seconds"]["1"]


def test_what_a_cluster_needs_is_printed(tmp_path):
    words = ["cluster", "--host", "10.0.0.1", "--workers", "3", "--threads", "2"]
    said = CliRunner().invoke(app, words).stdout
    assert "export OMP_NUM_THREADS=1\n" in said
    assert "dask scheduler --protocol tcp --host 10.0.0.1 --port 8786\n" in said
    assert "dask worker tcp://10.0.0.1:8786 --nworkers 3 --nthreads 2\n" in said
    assert "--scheduler tcp://10.0.0.1:8786\n" in said


def test_a_cluster_listens_where_it_is_reached():
    for host, address in (
        ("node-1.lab", "node-1.lab"),
        ("::1", "[::1]"),
        ("[fe80::1]", "[fe80::1]"),
    ):
        said = CliRunner().invoke(app, ["cluster", "--host", host]).stdout
        assert f"dask scheduler --protocol tcp --host {host.strip('[]')} --port 8786\n" in said
        assert f"--scheduler tcp://{address}:8786\n" in said
    said = CliRunner().invoke(app, ["cluster"]).stdout
    assert "dask scheduler --protocol tcp --host HOST --port 8786\n" in said
    assert "dask worker tcp://HOST:8786 " in said


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "letters, digits"),
        (" ", "letters, digits"),
        ("a b", "letters, digits"),
        ("10.0.0.1\n", "letters, digits"),
        ("$(id)", "letters, digits"),
        ("10.0.0.256", "letters, digits"),
        ("node;rm", "letters, digits"),
        ("tcp://10.0.0.1", "leave the protocol away, and give the port by --port"),
        ("10.0.0.1:8786", "leave the protocol away, and give the port by --port"),
        ("0.0.0.0", "by which nobody reaches it"),
        ("::", "by which nobody reaches it"),
    ],
)
def test_a_host_that_cannot_be_is_refused(host, message):
    for start in ([], ["--start"]):
        done = CliRunner().invoke(app, ["cluster", "--host", host, *start])
        assert (
            f"`--host` must be a machine's name or address, as in 10.0.0.1, but got {host!r}"
            in str(done.exception)
        )
        assert message in str(done.exception)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_key_for_a_cluster_is_made_once_and_is_nobody_else_s(tmp_path):
    folder = tmp_path / "keys"
    said = [CliRunner().invoke(app, ["cluster", "--tls", str(folder)]).stdout for _ in range(2)]
    assert said[0] == said[1]
    assert f"export DASK_DISTRIBUTED__COMM__TLS__CA_FILE={folder}/certificate.pem\n" in said[0]
    assert "tls://HOST:8786" in said[0]
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0
    (folder / "key.pem").unlink()
    done = CliRunner().invoke(app, ["cluster", "--tls", str(folder)])
    assert "key.pem is missing" in str(done.exception)


def test_processes_end_with_their_leader_even_if_it_is_killed_while_they_start(tmp_path):
    child = started(tmp_path / "run", "processes:2")
    mine = str(tmp_path / "run").encode()

    def running():
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if mine in words and b"execute.hand" in b"".join(words):
                    found.append(path)
        return found

    while not running():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.002)
    child.kill()
    child.communicate()
    latest = time.monotonic() + 30
    while running():
        assert time.monotonic() < latest, "they are still there"
        time.sleep(0.1)
