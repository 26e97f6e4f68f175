"""The public installer's file and environment are taken; what is not used is told (contract 9.1, 9.2; G6)."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.installer import CLIENTS, ENVIRONMENT, installers_file

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.configuration.settings import GatewaySettings
from edge_sdk.settings import SettingsError


class Reader:
    def __init__(self, folder: Path) -> None:
        self._file = folder / "apiserver.yaml"

    def __call__(
        self,
        tree: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
        **flags: str,
    ) -> GatewaySettings:
        self._file.write_text(yaml.safe_dump(tree or {}))
        named = {key.replace("__", "."): value for key, value in flags.items()}
        return read_settings(file=self._file, environ=environ or {}, flags=named)

    def refused(self, *given: Any, **flags: str) -> dict[str, str]:
        with pytest.raises(SettingsError) as caught:
            self(*given, **flags)
        return {one.field: str(one) for one in caught.value.violations}


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_the_whole_file_takes_effect(read: Reader) -> None:
    tree = installers_file()
    tree["server"] = {
        "port": 7000,
        "host": "127.0.0.1",
        "timeout": {"read": "50s", "write": "40s", "idle": "120s"},
        "tls": {"enabled": True, "certFile": "/tls/a.crt", "keyFile": "/tls/a.key"},
    }
    tree["auth"]["mode"] = "AlwaysAllow"
    settings = read(tree)
    assert settings.binds[0] == ("127.0.0.1", 7000)
    assert (settings.request_timeout_s, settings.server.idle_timeout.s) == (40, 120)
    tls = settings.server.tls
    assert (tls.enabled, tls.cert_file, tls.key_file) == (True, "/tls/a.crt", "/tls/a.key")
    assert settings.authorization.mode == "AlwaysAllow"
    authentication = settings.authentication
    assert authentication.jwt.issuer == "http://localhost:30080"
    assert (authentication.jwt.expire.s, authentication.session.idle.s) == (24 * 3600, 168 * 3600)
    clients = {name: secret.reveal() for name, secret in authentication.oauth.by_id().items()}
    assert clients == {one["id"]: one["secret"] for one in CLIENTS}


def test_the_whole_environment_beats_the_file(read: Reader) -> None:
    tree = installers_file()
    tree["server"]["port"] = 7000
    settings = read(tree, ENVIRONMENT)
    assert settings.binds[0][1] == 8080
    assert settings.authentication.jwt.issuer == "http://192.0.2.7:30080"


def test_what_is_for_parts_that_are_not_there_is_told_by_key(read: Reader) -> None:
    told = set(read(installers_file(), ENVIRONMENT).not_used)
    assert {"metrics.prometheus.endpoint", "metrics.cache.ttl", "terminal.node.timeout"} <= told
    assert {"terminal.kubectl.image", "terminal.uploadFileLimit", "MONITORING_SERVICE_ENDPOINT"} <= told
    assert not [key for key in told if key.startswith(("server", "auth"))]
    assert read(environ={"ETCD_ENDPOINTS": "https://etcd-0.etcd:2379"}).not_used == ("ETCD_ENDPOINTS",)
    assert read().not_used == ()


def test_sections_in_which_nothing_is_said_are_accepted(read: Reader) -> None:
    tree = {"server": {"timeout": None}, "auth": {"jwt": {}}, "metrics": None, "terminal": {"node": None}}
    assert read(tree).not_used == ()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("metrics.prometheus.endpont", "metrics.prometheus.endpoint"),
        ("terminal.node.memoryLimits", "terminal.node.memoryLimit"),
        ("server.timeout.raed", "server.timeout.read"),
        ("auth.jwt.refreshTtl", "auth.jwt.refreshTTL"),
        ("auth.oauth.issuerUrl", "auth.oauth.issuer"),
    ],
)
def test_what_nobody_knows_is_still_refused_with_the_nearest_name(
    read: Reader, key: str, nearest: str
) -> None:
    tree: Any = "1"
    for part in reversed(key.split(".")):
        tree = {part: tree}
    assert nearest in read.refused(tree)[key]


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (
            {"server": {"readTimeout": "10s", "timeout": {"read": "20s"}}},
            "server.readTimeout and server.timeout.read",
        ),
        (
            {"auth": {"jwt": {"issuerUrl": "https://a"}, "oauth": {"issuer": "https://b"}}},
            "auth.jwt.issuerUrl and auth.oauth.issuer",
        ),
        (
            {"auth": {"mode": "RBAC"}, "authorization": {"mode": "AlwaysAllow"}},
            "authorization.mode and auth.mode",
        ),
        (
            {"server": {"bindAddress": "0.0.0.0:9090", "port": 8080}},
            "server.port and server.bindAddress",
        ),
        (
            {"server": {"bindAddress": "0.0.0.0:9090", "host": "127.0.0.1"}},
            "server.host and server.bindAddress",
        ),
    ],
)
def test_two_names_in_the_file_that_disagree_are_refused_and_both_named(
    read: Reader, tree: dict[str, Any], names: str
) -> None:
    assert "differ" in read.refused(tree)[names]


def test_two_variables_that_disagree_are_refused_and_both_named(read: Reader) -> None:
    assert "PORT and BIND_ADDRESS" in read.refused({}, {"PORT": "8080", "BIND_ADDRESS": "0.0.0.0:9090"})
    assert read({}, {"PORT": "9090", "BIND_ADDRESS": "0.0.0.0:9090"}).binds[0][1] == 9090


def test_names_that_agree_in_other_words_are_accepted(read: Reader) -> None:
    tree = {
        "authentication": {
            "tokenExpiration": "1440m",
            "oauth": {"clients": ["a:b"]},
        },
        "auth": {"jwt": {"expiry": "24h"}, "oauth": {"clients": [{"id": "a", "secret": "b"}]}},
    }
    assert read(tree).authentication.jwt.expire.s == 24 * 3600


def test_the_place_decides_between_the_two_names_of_the_first_listener(read: Reader) -> None:
    bind, port = {"BIND_ADDRESS": "127.0.0.1:7001"}, {"PORT": "7002"}
    file = {"server": {"bindAddress": "127.0.0.1:7003"}}
    assert read({"server": {"host": "0.0.0.0", "port": 8080}}, bind).binds[0] == ("127.0.0.1", 7001)  # noqa: S104
    assert read(file, port).binds[0] == ("127.0.0.1", 7002)
    assert read(file, {**bind}, server__port="7004").binds[0] == ("127.0.0.1", 7004)
    assert read({"server": {"host": "127.0.0.1"}}).binds == (("127.0.0.1", 9090), ("0.0.0.0", 8080))  # noqa: S104
    assert read({"server": {"bindAddress": "[::1]:7003"}}, port).binds[0] == ("::1", 7002)


def test_a_limit_that_is_not_given_does_not_undercut_those_that_are(read: Reader) -> None:
    assert read({"server": {"timeout": {"read": "60s", "write": "90s"}}}).request_timeout_s == 60
    assert read({"server": {"timeout": {"read": "10s"}}}).request_timeout_s == 10
    assert read({"server": {"readTimeout": "60s"}}, {"REQUEST_TIMEOUT": "20s"}).request_timeout_s == 20


def test_second_names_are_flags_too(read: Reader) -> None:
    assert read(auth__jwt__expiry="1h").authentication.jwt.expire.s == 3600


@pytest.mark.parametrize(
    ("tree", "key", "why"),
    [
        ({"server": {"tls": {"certFile": "/a.crt"}}}, "server.tls.keyFile", "certFile is nothing without it"),
        ({"server": {"tls": {"keyFile": "/a.key"}}}, "server.tls.certFile", "keyFile is nothing without it"),
        ({"server": {"timeout": {"idle": "0s"}}}, "server.idleTimeout", "no connection would be kept"),
        ({"server": {"shellIdleTimeout": "0s"}}, "server.shellIdleTimeout", "no shell would be kept"),
        ({"auth": {"oauth": {"enabled": False}}}, "authentication.oauth.enabled", "nobody could sign in"),
    ],
)
def test_what_cannot_work_is_refused(read: Reader, tree: dict[str, Any], key: str, why: str) -> None:
    assert why in read.refused(tree)[key]


@pytest.mark.parametrize(
    "client",
    [
        {"id": "edge-console", "secrets": "s3cr3t"},
        {"id": "edge-console", "secret": "s3cr3t", "redirect": "x"},
        {"id": "edge:console", "secret": "s3cr3t"},
        {"id": "", "secret": "s3cr3t"},
        {"id": "edge-console", "secret": ""},
        ["s3cr3t"],
    ],
)
def test_a_client_that_cannot_be_is_refused_and_no_part_of_it_repeated(read: Reader, client: Any) -> None:
    """S5."""
    said = read.refused({"auth": {"oauth": {"clients": [client]}}})
    assert "s3cr3t" not in str(said)
    assert any(key.startswith("authentication.oauth.clients") for key in said)
