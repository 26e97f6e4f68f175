"""Kubeconfigs: what is read, and what a stranger's may not do (M4)."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_kube.config import ConfigError, Connection, in_cluster, load_kubeconfig
from edge_kube.harness.pki import TestAuthority


def config(user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "press"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user or {"token": "abc"}}],
    }


def test_a_mapping_bytes_and_a_file_give_the_same_connection(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config()))
    expected = Connection(server="https://10.0.0.1:6443", token="abc", namespace="press")
    assert (
        load_kubeconfig(config()) == load_kubeconfig(file.read_bytes()) == load_kubeconfig(file) == expected
    )


def test_a_repr_shows_no_credential() -> None:
    shown = repr(
        load_kubeconfig(config({"token": "hunter2", "client-key-data": base64.b64encode(b"k3y").decode()}))
    )
    assert "hunter2" not in shown
    assert "k3y" not in shown


def test_files_are_found_beside_the_kubeconfig_that_names_them(tmp_path: Path) -> None:
    authority = TestAuthority()
    (tmp_path / "ca.crt").write_bytes(authority.cert)
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config(None, **{"certificate-authority": "ca.crt"})))
    connection = load_kubeconfig(file)
    assert connection.ca_file == str(tmp_path / "ca.crt")
    assert connection.ssl_context() is not None


@pytest.mark.parametrize(
    "user",
    [
        {"tokenFile": "/etc/shadow"},
        {"client-certificate": "/root/.ssh/id_ed25519"},
        {"client-key": "key.pem"},
    ],
)
def test_a_kubeconfig_by_content_may_not_name_files(user: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="names the file"):
        load_kubeconfig(config(user))


@pytest.mark.parametrize("plugin", ["exec", "auth-provider"])
def test_programs_are_refused_in_every_kubeconfig(plugin: str, tmp_path: Path) -> None:
    content = config({plugin: {"command": "curl"}})
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(content))
    for source in (content, file):
        with pytest.raises(ConfigError, match="runs a program"):
            load_kubeconfig(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"a: [", "no valid YAML at line 1"),
        (b"just text", "not a mapping"),
        (b"\x80abc", "no valid YAML"),
        ({}, "no current-context"),
        ({"current-context": "x"}, '"x" in contexts; it has none'),
        (config(server="tcp://10.0.0.1"), "must be a URL"),
        (config(server="https://10.0.0.1:99999"), "must be a URL"),
        (config(server="https://[::1"), "must be a URL"),
        (config(server="https://10.0.0.1?x=1"), "must be a URL"),
        (config(server="https://ada:hunter2@10.0.0.1"), "user name or password"),
        (config({"client-certificate-data": "???"}), "no base64"),
        (config({"token": 7}), "not a string"),
        (config(None, **{"proxy-url": "http://x"}), "proxy-url"),
    ],
)
def test_an_unusable_kubeconfig_says_what_is_wrong_with_it(source: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_kubeconfig(source)
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_broken_yaml_is_never_quoted() -> None:
    with pytest.raises(ConfigError) as refused:
        load_kubeconfig(b"token: hunter2\n  broken: [")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_certificate_that_is_none_is_named() -> None:
    connection = Connection(server="https://x", ca=b"nonsense")
    with pytest.raises(ConfigError, match="no PEM certificate"):
        connection.ssl_context()
    one, other = TestAuthority().issue("a"), TestAuthority().issue("b")
    mixed = Connection(server="https://x", insecure=True, cert=one.cert, key=other.key)
    with pytest.raises(ConfigError, match="belong together"):
        mixed.ssl_context()


def test_outside_a_pod_there_is_no_connection_of_a_pod(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="give a kubeconfig"):
        in_cluster(tmp_path)


def test_inside_a_pod_the_service_account_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, content in {"token": "abc\n", "namespace": "edge-system\n"}.items():
        (tmp_path / name).write_text(content)
    connection = in_cluster(tmp_path)
    assert connection.server == "https://[fd00::1]:443"
    assert (connection.bearer_token(), connection.namespace) == ("abc", "edge-system")
