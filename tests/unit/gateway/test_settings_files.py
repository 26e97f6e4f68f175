"""Files that the settings name are looked at before the start, and told by key (G6, G8)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.main import main
from edge_kube.certs import renewed
from edge_sdk.settings import SettingsError


def told(flags: Mapping[str, str]) -> dict[str, str]:
    """Key → why."""
    with pytest.raises(SettingsError) as refused:
        read_settings(file=None, environ={}, flags=flags, with_files=True)
    return {one.field: one.why for one in refused.value.violations}


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """cert, key: a pair. other: a key of another pair. ca: an authority. junk: no PEM."""
    now = datetime.now(UTC)
    one, two = renewed(None, ("a.example",), now), renewed(None, ("b.example",), now)
    assert one is not None
    assert two is not None
    found: dict[str, str] = {}
    for name, content in (
        ("cert", one.cert), ("key", one.key), ("other", two.key), ("ca", one.ca), ("junk", b"no PEM\n"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.pem"
        path.write_bytes(content)
        found[name] = str(path)
    return found


def test_files_that_are_as_they_should_be_start_the_gateway(pem: dict[str, str]) -> None:
    flags = {
        "server.tls.certFile": pem["cert"],
        "server.tls.keyFile": pem["key"],
        "server.tls.clientCAFile": pem["ca"],
    }
    settings = read_settings(file=None, environ={}, flags=dict(flags), with_files=True)
    assert settings.server.tls.cert_file == pem["cert"]


def test_each_file_that_cannot_be_read_is_named_with_its_key(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    found = told(
        {
            "server.tls.certFile": nowhere,
            "server.tls.keyFile": str(tmp_path),
            "server.tls.clientCAFile": nowhere,
            "authorization.webhook.enabled": "true",
            "authorization.webhook.certFile": nowhere,
            "authorization.webhook.keyFile": nowhere,
            "authorization.webhook.clientCAFile": nowhere,
            "audit.sinks": "https://edge-audit-0:9443",
            "audit.sinkTokenFile": nowhere,
        }
    )
    assert found.keys() == {
        *(f"server.tls.{name}" for name in ("certFile", "keyFile", "clientCAFile")),
        *(f"authorization.webhook.{name}" for name in ("certFile", "keyFile", "clientCAFile")),
        "audit.sinkTokenFile",
    }
    assert all(why.startswith("it cannot be read: ") for why in found.values())


def test_what_is_switched_off_needs_no_files() -> None:
    flags = {"server.tls.enabled": "false", "server.tls.certFile": "/no", "server.tls.keyFile": "/no"}
    assert not read_settings(file=None, environ={}, flags=flags, with_files=True).server.tls.enabled


@pytest.mark.parametrize(
    ("cert", "key", "authority", "wrong"),
    [
        ("cert", "other", "ca", "server.tls.certFile"),
        ("junk", "key", "ca", "server.tls.certFile"),
        ("cert", "key", "junk", "server.tls.clientCAFile"),
    ],
)
def test_what_is_in_a_file_counts_too(
    pem: dict[str, str], cert: str, key: str, authority: str, wrong: str
) -> None:
    found = told(
        {
            "server.tls.certFile": pem[cert],
            "server.tls.keyFile": pem[key],
            "server.tls.clientCAFile": pem[authority],
        }
    )
    assert list(found) == [wrong]


def test_the_process_tells_all_of_it_at_once_and_does_not_start(tmp_path: Path) -> None:
    words = [
        "--rateLimit.qps=many",
        "--authorization.cacheTTL=1ms",
        f"--server.tls.certFile={tmp_path / 'cert.pem'}",
        f"--server.tls.keyFile={tmp_path / 'key.pem'}",
    ]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = str(stopped.value)
    assert said.startswith("edge-apiserver was not started: ")
    for key in ("rateLimit.qps", "authorization.cacheTTL", "server.tls.certFile", "server.tls.keyFile"):
        assert key in said
