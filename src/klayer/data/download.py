"""Download one file: all of it, with the right size and SHA-256, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from klayer.errors import KlayerError
from klayer.files import require_name

__all__ = ["Progress", "download"]

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes expected."""

# A server that sends less than this in each stall interval will not finish: 170 MB would take days.
_LEAST_BYTES = 4096


class _Failed(Exception):
    """Why a transfer ended too early, in words."""


def download(
    url: str,
    target: Path,
    *,
    size: int,
    sha256: str,
    title: str,
    remedy: str,
    progress: Progress | None = None,
    stall_seconds: float = 30.0,
) -> Path:
    """Fetch `url` into the file `target`, put in place only once size and SHA-256 are right.

    The bytes go to a temporary file in the target's folder. It is renamed to `target` at the end,
    or removed on any failure, interruption included.

    Parameters
    ----------
    url : str
    target : Path
        Its folder is made if needed.
    size : int
        Bytes expected.
    sha256 : str
        Hash expected, 64 hexadecimal digits.
    title : str
        What is fetched, for messages: ``"CIFAR-10"``.
    remedy : str
        What to do instead, the end of every message.
    progress : callable, optional
        Called as ``progress(bytes_so_far, bytes_expected)``.
    stall_seconds : float
        The transfer counts as stalled if it can't connect, or brings less than 4 kB, in this time.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    KlayerError
        If the server can't be reached, refuses, stalls, stops early, or sends other bytes than
        expected; if the folder can't be written to.
    """
    import pooch
    import requests
    import urllib3

    def transfer(url: str, output: str, _: object) -> None:
        _transfer(url, output, size=size, progress=progress, stall_seconds=stall_seconds)

    require_name(target)
    made = not target.parent.exists()
    pooch.get_logger().setLevel("WARNING")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url, f"sha256:{sha256}", fname=target.name, path=target.parent, downloader=transfer
        )
        target.chmod(0o644)  # the temporary file was for the user alone
        return target
    except _Failed as error:
        reason = str(error)
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        reason = f"the transfer stalled: nothing came for {stall_seconds:g} s"
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reason = f"the connection failed ({_root_cause(error)})"
    except ValueError as error:
        if "hash" not in str(error):
            raise
        reason = f"the bytes are not those published (their SHA-256 is not {sha256[:12]}…)"
    except OSError as error:
        reason = f"{target.parent} can't be written to ({error.strerror or error})"
    finally:
        if made and not target.exists():
            with suppress(OSError):
                target.parent.rmdir()
    raise KlayerError(f"{title} could not be downloaded from {url}: {reason}. {remedy}")


def _transfer(
    url: str, output: str, *, size: int, progress: Progress | None, stall_seconds: float
) -> None:
    """Stream `url` into the file `output`, counting bytes and time."""
    import requests
    import urllib3

    # "identity": the archive's own bytes are hashed, so nothing may pack or unpack them on the way.
    with requests.get(
        url, stream=True, timeout=stall_seconds, headers={"Accept-Encoding": "identity"}
    ) as response:
        if response.status_code != 200:
            raise _Failed(f"the server answered {response.status_code} {response.reason}")
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) != size:
            raise _Failed(f"the file must have {size:,} bytes, but this one has {int(announced):,}")
        # read1 returns what has arrived, so that a trickle is seen; older urllib3 lacks it.
        read = getattr(response.raw, "read1", response.raw.read)
        done = mark = 0
        since = time.monotonic()
        with Path(output).open("wb") as file:
            while done <= size:
                try:
                    chunk = read(1 << 16)
                except urllib3.exceptions.ProtocolError:
                    break  # the server hung up: what is missing is counted below
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(min(done, size), size)
                if time.monotonic() - since > stall_seconds:
                    if done - mark < _LEAST_BYTES:
                        raise _Failed(
                            f"the transfer stalled: {done - mark:,} bytes in {stall_seconds:g} s"
                        )
                    since, mark = time.monotonic(), done
    if done < size:
        raise _Failed(f"the transfer stopped after {done:,} of {size:,} bytes")
    if done > size:
        raise _Failed(f"the file must have {size:,} bytes, but the server sent more")


def _root_cause(error: BaseException) -> str:
    """The innermost reason in one short line: requests wraps urllib3, which wraps the system's."""
    while True:
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error = inner
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
