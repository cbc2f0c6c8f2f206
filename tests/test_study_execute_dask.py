"""Runs on a real Dask cluster of this machine: the same bits, workers lost, a scheduler lost."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("distributed", reason="needs Dask: pip install klayer[dask]")

from klayer.errors import KlayerError
from klayer.study import Study
from klayer.study.execute import dask
from klayer.study.launch import resume_study, run_study
from run_files import the_same

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and locks"),
    # Of the client: what its event loop leaves open when its scheduler was killed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STUDY = {
    "seeds": 6,
    "settings": {"hidden": [8], "batch_size": 20, "cycles": 1, "half_cycle": "20 epochs",
                 "points_per_cycle": 3},
    "grid": {"batch_norm": ["none", "hidden"], "l2": [0.0, 0.01]},
}  # fmt: skip


class Cluster:
    """A scheduler and workers, each a process that can be killed."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self.started("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        self.workers = []

    def started(self, *command):
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command, "--dashboard-address", "127.0.0.1:0"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def add_worker(self):
        self.workers.append(self.started("worker", self.address, "--nthreads", "1", "--no-nanny"))

    def wait(self):
        """Wait until the scheduler listens."""
        while self.scheduler.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def close(self):
        for one in (*self.workers, self.scheduler):
            one.kill()
            one.wait()


@pytest.fixture
def cluster():
    found = Cluster()
    try:
        found.wait()
        found.add_worker()
        found.add_worker()
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run_study(Study.from_values(STUDY), out=tmp_path_factory.mktemp("alone") / "run")


def test_a_worker_is_killed_then_the_scheduler_and_the_run_goes_on(
    cluster, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr("klayer.study.execute.sizing.LEAST_PART", 1e-3)
    monkeypatch.setattr(dask, "SILENT_SECONDS", 0.5)
    out = tmp_path / "run"

    def harm():
        while len(list(out.glob("parts/*.claim-1"))) < 2:
            time.sleep(0.02)
        for path in out.glob("parts/*.claim-1"):
            process = json.loads(path.read_bytes())["process"]
            for worker in cluster.workers:
                if worker.pid == process:
                    worker.kill()
                    worker.wait()
                    break
        cluster.scheduler.kill()

    thread = threading.Thread(target=harm)
    thread.start()
    with pytest.raises(KlayerError, match="is lost; what is finished is kept"):
        run_study(Study.from_values(STUDY), out=out, scheduler=cluster.address)
    thread.join()
    assert not (out / "summary.json").exists()
    assert the_same(resume_study(out, scheduler="processes:2"), alone)


def test_a_cluster_gives_the_bits_of_one_process(cluster, alone, tmp_path):
    run = run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler=cluster.address)
    assert the_same(run, alone)
    assert run.info["workers"]


def test_where_no_scheduler_or_no_worker_is_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1.0)
    with pytest.raises(KlayerError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler="tcp://127.0.0.1:9")
    for name in list(os.environ):
        if "TLS" in name:
            monkeypatch.delenv(name)
    found = Cluster()
    try:
        found.wait()
        address = found.address.replace("tcp", "tls")
        with pytest.raises(KlayerError, match="without a certificate"):
            run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler=address)
        monkeypatch.setattr(dask, "CONNECT_SECONDS", 3.0)
        with pytest.raises(KlayerError, match="has no worker"):
            run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler=found.address)
    finally:
        found.close()
    assert not (tmp_path / "run").exists()


def test_without_dask_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(KlayerError, match=r"pip install klayer\[dask\]"):
        run_study(Study.from_values(STUDY), out=tmp_path / "run", scheduler="tcp://127.0.0.1:9")
