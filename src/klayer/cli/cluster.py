"""`klayer cluster`: what a Dask cluster needs to train for klayer, said, or started on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from klayer.cli.echo import echo
from klayer.errors import KlayerError

__all__ = ["cluster", "require_host", "thread_settings"]

# Which variable holds a library's own threads at one: klayer trains on threads of its own.
_THREADS = {
    "openblas": "OPENBLAS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
    "flexiblas": "FLEXIBLAS_NUM_THREADS",
    "openmp": "OMP_NUM_THREADS",
}
# How Dask deals with lost workers. klayer itself counts which part ended whom, so that a task may be
# tried often; a worker that is silent is replaced after a minute instead of five.
_DASK = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
}
_TLS = "DASK_DISTRIBUTED__COMM__TLS__"
_NAME = re.compile(r"(?!-)[\w-]{1,63}(\.(?!-)[\w-]{1,63})*\.?", re.ASCII)
# Seconds that a scheduler has for its first answer.
START_SECONDS = 30.0


def cluster(
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes of each machine. \\[default: its cores]"),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of each process: parts that it trains at once.")
    ] = 1,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ADDRESS",
            help="Where the scheduler listens, and others reach it. \\[default: 127.0.0.1 with --start; "
            "HOST]",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 8786,
    tls: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Encrypt, and let nobody in without the key in this folder; made if it isn't there.",
        ),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Start both on this machine, until Ctrl-C.")
    ] = False,
) -> None:
    """Say how to start a Dask scheduler and its workers, or start them here.

    Without --tls whoever reaches the port can run programs there: use it in a closed network alone.

    Example, on this machine: klayer cluster --start

    Example, the commands for several machines: klayer cluster --host 10.0.0.1 --tls certificates
    """
    from klayer.train import available_cores

    where = ("127.0.0.1" if start else "HOST") if host is None else require_host(host)
    if start:
        _require_dask()
    settings = {**thread_settings(), **_DASK, **(_certificates(tls) if tls else {})}
    protocol = "tls" if tls else "tcp"
    address = f"{protocol}://{f'[{where}]' if ':' in where else where}:{port}"
    scheduler = ["scheduler", "--protocol", protocol, "--host", where, "--port", str(port)]
    worker = ["worker", address, "--nworkers", str(workers or available_cores())]
    worker += ["--nthreads", str(threads)]
    if start:
        return _run(scheduler, worker, settings, address)
    echo("# everywhere, before anything else:")
    for name, value in settings.items():
        echo(f"export {name}={shlex.quote(value)}")
    echo(f"# on {where}, the scheduler:")
    echo(f"dask {shlex.join(scheduler)}")
    echo("# on every machine that trains, as many processes as it has cores:")
    echo(f"dask {shlex.join(worker)}")
    echo("# where you are, with a run directory that all of them see under this path:")
    echo(f"klayer study STUDY --out /SHARED/RUN --scheduler {address}")
    return None


def require_host(host: str) -> str:
    """Return a host's name or address, an IPv6 one without brackets.

    Raises
    ------
    KlayerError
        If it is neither, or one that is everywhere, or it says more: a protocol, a port.

    Examples
    --------
    >>> require_host("node-1.cluster"), require_host("10.0.0.1"), require_host("[fe80::1]")
    ('node-1.cluster', '10.0.0.1', 'fe80::1')
    """
    rule = f"`--host` must be a machine's name or address, as in 10.0.0.1, but got {host!r}"
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    name, _, port = host.rpartition(":")
    address = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(bare)
    if address and not address.is_unspecified:
        return bare
    if address:
        raise KlayerError(
            f"{rule}, by which nobody reaches it: name the address that others use; where the scheduler "
            "shall listen everywhere, change the printed command."
        )
    if "://" in host or (port.isdecimal() and _NAME.fullmatch(name)):
        raise KlayerError(f"{rule}: leave the protocol away, and give the port by --port.")
    is_number = host.replace(".", "").isdecimal()  # an address that there can't be
    if is_number or not _NAME.fullmatch(host):
        raise KlayerError(f"{rule}: letters, digits, dots and hyphens alone.")
    return host


def thread_settings() -> dict[str, str]:
    """Return the environment that holds the libraries of this machine at one thread each.

    Examples
    --------
    >>> thread_settings()["OMP_NUM_THREADS"]
    '1'
    """
    from threadpoolctl import threadpool_info

    import klayer.nn  # noqa: F401  NumPy's BLAS is loaded

    used = {pool["internal_api"] for pool in threadpool_info()} | {"openmp"}
    return {variable: "1" for library, variable in _THREADS.items() if library in used}


def _certificates(folder: Path) -> dict[str, str]:
    """Return the environment that makes Dask use a key and a certificate, made if need be."""
    from klayer.files import make_folder, write_bytes

    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if key.exists() != certificate.exists():
        there, missing = (key, certificate) if key.exists() else (certificate, key)
        raise KlayerError(
            f"a folder for --tls holds key.pem and certificate.pem, but {missing} is missing beside "
            f"{there.name}: put it there, or name an empty folder."
        )
    if not key.exists():
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=klayer"
        try:
            made = subprocess.run(
                [*command.split(), "-keyout", "/dev/stdout", "-out", "/dev/stdout"],
                capture_output=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise KlayerError(
                f"a certificate is made by openssl, but that failed ({error}): install it, or put "
                f"key.pem and certificate.pem into {folder} yourself."
            ) from None
        make_folder(folder)
        before = os.umask(0o077)  # nobody else reads the key
        try:
            at = made.index(b"-----BEGIN CERTIFICATE")
            write_bytes(key, made[:at])
            write_bytes(certificate, made[at:])
        finally:
            os.umask(before)
    found = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    found[f"{_TLS}CA_FILE"] = str(certificate.resolve())
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        found[f"{_TLS}{who}__CERT"] = str(certificate.resolve())
        found[f"{_TLS}{who}__KEY"] = str(key.resolve())
    return found


def _require_dask() -> None:
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise KlayerError("a cluster needs Dask: pip install klayer[dask].")


def _run(scheduler: list[str], worker: list[str], settings: dict[str, str], address: str) -> None:
    """Run a scheduler and workers until one of them ends, or the user ends it."""
    environment = {**os.environ, **settings}
    dask = [sys.executable, "-m", "dask"]
    quiet = ["--dashboard-address", "127.0.0.1:0"]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in (scheduler, worker):
            running.append(
                subprocess.Popen(
                    [*dask, *command, *quiet],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            if command is scheduler:
                _wait_for(running[0], address)
        encrypted = {k: v for k, v in settings.items() if "TLS" in k or "ENCRYPTION" in k}
        for name, value in encrypted.items():
            echo(f"export {name}={shlex.quote(value)}")
        echo(f"{address} is there, until Ctrl-C: klayer study STUDY --scheduler {address}")
        while all(one.poll() is None for one in running):
            time.sleep(0.2)
        ended = "scheduler" if running[0].poll() is not None else "workers"
        raise KlayerError(f"the {ended} of {address} ended by themselves: start them again.")
    finally:
        for one in running[::-1]:
            one.terminate()
        for one in running:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def _wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    """Wait until a scheduler listens."""
    import socket

    host, _, port = address.partition("://")[2].rpartition(":")
    latest = time.monotonic() + START_SECONDS
    while time.monotonic() < latest and process.poll() is None:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            time.sleep(0.2)
            if process.poll() is None:
                return
    raise KlayerError(
        f"no scheduler could be started at {address}: is the port taken? Choose another with --port."
    )
