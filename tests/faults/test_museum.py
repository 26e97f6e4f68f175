"""The museum killed, full and restarted (K7, K11; bad input: disk full in the museum)."""

import ctypes
import http.client
import json
import os
import random
import resource
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.charts import chart
from tests.support.museum import museum

pytestmark = pytest.mark.timeout(600)


def _call(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _index(url: str) -> dict[str, list[dict[str, Any]]]:
    return yaml.safe_load(_call(f"{url}/index.yaml")[1])["entries"]


def test_a_kill_in_the_middle_of_uploads_leaves_the_index_intact(tmp_path: Path) -> None:
    """Six rounds: every chart that was answered with 201 is there whole, and none is there in part."""
    root, saved, number = tmp_path / "charts", dict[str, bytes](), 0
    random.seed(7)
    for _ in range(6):
        with museum(root) as running:
            killer = threading.Timer(random.uniform(0.02, 0.25), running.process.kill)
            try:
                while True:
                    number += 1
                    body = chart(f"web-{number}", files={"noise": random.randbytes(200_000)})
                    if _call(f"{running.url}/api/charts", body)[0] == 201:
                        saved[f"web-{number}"] = body
                        if killer.ident is None:  # from the first answer on, or a slow start would be killed
                            killer.start()
            except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
                killer.join()
    with museum(root) as running:
        entries = _index(running.url)
        assert saved
        assert saved.keys() <= entries.keys()
        for name in entries:
            code, body = _call(f"{running.url}/charts/{name}-1.0.0.tgz")
            assert code == 200
            assert name not in saved or body == saved[name]
        assert _call(f"{running.url}/api/charts", chart("after"))[0] == 201
    assert [path.name for path in root.iterdir() if path.name.startswith(".upload-")] == []


def test_a_full_volume_answers_507_and_loses_nothing(tmp_path: Path) -> None:
    """The limit on file size stands for the full volume: the write fails half way, after some of it."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with museum(tmp_path / "charts", before=limit) as running:
        small = chart("small")
        assert _call(f"{running.url}/api/charts", small)[0] == 201
        code, body = _call(f"{running.url}/api/charts", chart("big", files={"noise": os.urandom(300_000)}))
        refusal = json.loads(body)
        assert (code, refusal["code"], refusal["reason"]) == (507, 507, "InsufficientStorage")
        assert "big-1.0.0.tgz" in refusal["error"]
        assert "enlarge the claim chartmuseum-data" in refusal["error"]
        assert list(_index(running.url)) == ["small"]
        assert _call(f"{running.url}/charts/small-1.0.0.tgz") == (200, small)
        assert _call(f"{running.url}/readyz")[0] == 200
        assert _call(f"{running.url}/api/charts", chart("other"))[0] == 201
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == [
        "other-1.0.0.tgz",
        "small-1.0.0.tgz",
    ]


def test_a_full_disk_answers_507_and_loses_nothing(tmp_path: Path) -> None:
    """A real file system of 1 MiB, in a mount namespace of the museum's own."""
    root = tmp_path / "charts"
    root.mkdir()

    def mount() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], check=True)

    with museum(root, before=mount) as running:
        sizes = [300_000, 300_000, 300_000, 300_000]
        codes = [
            _call(f"{running.url}/api/charts", chart(f"web-{n}", files={"noise": os.urandom(size)}))[0]
            for n, size in enumerate(sizes)
        ]
        assert codes == [201, 201, 201, 507]
        assert len(_index(running.url)) == 3
        request = urllib.request.Request(f"{running.url}/api/charts/web-0/1.0.0", method="DELETE")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200
        again = chart("web-3", files={"noise": os.urandom(300_000)})
        assert _call(f"{running.url}/api/charts", again)[0] == 201


def test_it_stops_in_order_when_asked_to(tmp_path: Path) -> None:
    with museum(tmp_path / "charts") as running:
        running.process.terminate()
        assert running.process.wait(timeout=60) == 0
