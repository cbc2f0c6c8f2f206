"""A download arrives whole and verified, or leaves nothing behind but a clear error."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from klayer.data import load
from klayer.data.download import download
from klayer.data.sources import cifar10, cifar10_formats
from klayer.errors import KlayerError
from test_data_cifar10 import ROWS, check_tiny, tiny_archive

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the server's content, well or in the way that the path names."""

    def do_GET(self):
        content, way = self.server.content, self.path.strip("/")
        self.server.asked.append(way)
        if way == "refused":
            self.send_error(404, "Not Found")
            return
        self.send_response(200)
        if way not in ("cut-unannounced", "long"):
            self.send_header(
                "Content-Length", str(len(content) + (1 if way == "other-size" else 0))
            )
        if way == "gzip-labelled":
            self.send_header("Content-Encoding", "x-gzip")
        self.end_headers()
        half = content[: len(content) // 2]
        if way in ("cut", "cut-unannounced"):
            self.wfile.write(half)
        elif way == "stalled":
            self.wfile.write(half)
            self.wfile.flush()
            self.server.finish.wait(20)
        elif way == "trickle":
            for byte in half[:200]:
                if self.server.finish.wait(0.02):
                    break
                self.wfile.write(bytes([byte]))
        elif way == "corrupt":
            self.wfile.write(bytes([content[0] ^ 1]) + content[1:])
        elif way == "long":
            self.wfile.write(content * 2)
        else:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        """Clients that hang up in the middle are what is tested here."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.content, server.asked, server.finish = CONTENT, [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.finish.set()
        server.shutdown()
        thread.join()


def fetch(url, folder, **changes):
    settings = {"size": len(CONTENT), "sha256": SHA256, "title": "Tiny", "remedy": "Use `digits`."}
    return download(url, folder / "tiny.bin", **(settings | changes))


@pytest.mark.parametrize("way", ["good", "gzip-labelled"])
def test_a_whole_file_is_put_in_place_and_progress_counts_its_bytes(tmp_path, server, way):
    seen = []
    path = fetch(f"{server.url}/{way}", tmp_path / "new", progress=lambda *both: seen.append(both))
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["tiny.bin"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


FAILURES = {
    "cut": r"the transfer stopped after 51,200 of 102,400 bytes",
    "cut-unannounced": r"the transfer stopped after 51,200 of 102,400 bytes",
    "stalled": r"the transfer stalled: nothing came for 0\.3 s",
    "trickle": r"the transfer stalled: \d+ bytes in 0\.3 s",
    "corrupt": rf"the bytes are not those published \(their SHA-256 is not {SHA256[:12]}…\)",
    "other-size": r"the file must have 102,400 bytes, but this one has 102,401",
    "long": r"the file must have 102,400 bytes, but the server sent more",
    "refused": r"the server answered 404 Not Found",
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_failed_download_leaves_nothing_behind_and_says_why(tmp_path, server, way):
    url, folder = f"{server.url}/{way}", tmp_path / "cache"
    message = (
        rf"^Tiny could not be downloaded from {re.escape(url)}: {FAILURES[way]}\. Use `digits`\.$"
    )
    with pytest.raises(KlayerError, match=message):
        fetch(url, folder, stall_seconds=0.3)
    assert not folder.exists()


def test_a_failed_download_leaves_an_existing_folder_as_it_was(tmp_path, server):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(KlayerError, match="the bytes are not those published"):
        fetch(f"{server.url}/corrupt", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, server):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server.url}/good", tmp_path / "cache", progress=interrupt)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/nobody-listens", r"the connection failed \(.*refused\)"),
        ("http://no-such-host.invalid/", r"the connection failed \(.+\)"),
        ("no-scheme", r"the connection failed \(.+\)"),
    ],
)
def test_a_server_that_cannot_be_reached_is_an_error_with_the_cause(tmp_path, url, reason):
    with pytest.raises(
        KlayerError, match=rf"^Tiny could not .* from {re.escape(url)}: {reason}\. Use"
    ):
        fetch(url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path, server):
    (tmp_path / "file").touch()
    with pytest.raises(KlayerError, match=r"file can't be written to \(.+\)\. Use `digits`\.$"):
        fetch(f"{server.url}/good", tmp_path / "file")
    assert server.asked == []


# CIFAR-10 through the same door


@pytest.fixture
def mirror(tmp_path, monkeypatch, server):
    """A mirror with a tiny archive, and an empty cache folder."""
    server.content = tiny_archive()
    monkeypatch.delenv("KLAYER_DATA", raising=False)
    monkeypatch.setenv("KLAYER_CIFAR10_URL", f"{server.url}/good")
    monkeypatch.setattr(cifar10, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("klayer.data.locations.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(cifar10_formats, "ROWS_PER_BATCH", ROWS)
    server.expected = {
        "size": len(server.content),
        "sha256": hashlib.sha256(server.content).hexdigest(),
    }
    return server


def test_cifar10_is_downloaded_once_from_the_mirror_and_then_read_from_the_cache(tmp_path, mirror):
    path = cifar10.fetch(**mirror.expected)
    assert path == tmp_path / "cache" / "cifar-10-binary.tar.gz"
    assert cifar10.fetch(**mirror.expected) == path
    check_tiny(load("cifar10"))
    assert mirror.asked == ["good"]


def test_fetching_into_a_new_folder_makes_a_data_dir(tmp_path, mirror):
    path = cifar10.fetch(tmp_path / "mine", **mirror.expected)
    assert path == tmp_path / "mine" / "cifar-10-binary.tar.gz"
    check_tiny(load("cifar10", data_dir=tmp_path / "mine"))


@pytest.mark.usefixtures("mirror")
def test_a_mirror_with_another_file_is_refused_by_its_size(tmp_path):
    with pytest.raises(
        KlayerError,
        match=r"^CIFAR-10 could not be downloaded from http://127.0.0.1:\d+/good: the file "
        r"must have 170,052,171 bytes, but this one has [\d,]+\. Nothing was left behind\. Try "
        r"again later or set KLAYER_CIFAR10_URL to a mirror of the same file; .* --data-dir or "
        r"KLAYER_DATA; or use the bundled data set `digits`\.$",
    ):
        load("cifar10")
    assert not (tmp_path / "cache").exists()


def test_a_stalled_mirror_leaves_nothing_behind(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("KLAYER_CIFAR10_URL", f"{mirror.url}/stalled")
    with pytest.raises(KlayerError, match=r"the transfer stalled: nothing came for 0\.2 s"):
        cifar10.fetch(**mirror.expected, stall_seconds=0.2)
    assert not (tmp_path / "cache").exists()
