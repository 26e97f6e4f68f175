"""Values of the public installer's chart do what they say; the documents' values win (contract 9.1, 9.2)."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.installed import Installed, installed
from tests.support.installer import CLIENTS, installers_values

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.configuration.settings import GatewaySettings

CHART = Path(__file__).parents[3] / "charts" / "edge-apiserver"


def of_gateway(folder: Path, *trees: dict[str, Any]) -> Installed:
    return installed(folder, CHART, *trees, release="apiserver")


def settings_of(made: Installed, folder: Path) -> GatewaySettings:
    file = folder / "edge.yaml"
    file.write_text(made.objects["ConfigMap", "edge-apiserver"]["data"]["edge.yaml"])
    clients = made.objects["Secret", "edge-apiserver-auth"]["stringData"]["clients"]
    return read_settings(file=file, environ={"OAUTH_CLIENTS": clients}, flags={})


def test_the_installers_values_take_effect(tmp_path: Path) -> None:
    values = installers_values()
    values["edge"]["apiserver"] |= {"port": 7000, "timeout": {"read": "40s", "write": "50s", "idle": "120s"}}
    made = of_gateway(tmp_path, values)
    settings = settings_of(made, tmp_path)
    assert settings.log.level == "debug"
    assert settings.binds[0] == ("0.0.0.0", 7000)  # noqa: S104
    assert (settings.request_timeout_s, settings.server.idle_timeout.s) == (40, 120)
    assert settings.server.tls.enabled is False
    service = made.objects["Service", "edge-apiserver"]["spec"]
    assert "https" not in [port["name"] for port in service["ports"]]
    authentication = settings.authentication
    assert authentication.jwt.issuer == "http://localhost:30080"
    assert (authentication.jwt.expire.s, authentication.session.idle.s) == (12 * 3600, 168 * 3600)
    assert list(authentication.oauth.by_id()) == [one["id"] for one in CLIENTS]
    pod = made.objects["Deployment", "edge-apiserver"]["spec"]["template"]["spec"]
    assert "JWT_SECRET" not in json.dumps(pod)  # a published value is none


def test_files_of_a_certificate_reach_the_gateway(tmp_path: Path) -> None:
    given = {"enabled": True, "certFile": "/tls/tls.crt", "keyFile": "/tls/tls.key"}
    tls = settings_of(of_gateway(tmp_path, {"edge": {"apiserver": {"tls": given}}}), tmp_path).server.tls
    assert (tls.enabled, tls.cert_file, tls.key_file) == (True, "/tls/tls.crt", "/tls/tls.key")


def test_the_documents_values_win_where_both_are_set(tmp_path: Path) -> None:
    documents = {
        "logLevel": "warn",
        "tls": {"enabled": True},
        "authentication": {
            # The default itself, said by the user, wins as well.
            "jwt": {"issuer": "https://edge.example.com", "expire": "24h", "secret": "a-secret-of-ones-own"},
            "session": {"idle": "30d"},
            "oauth": {"clients": [{"id": "one", "secret": "two"}]},
        },
        "authorization": {"mode": "RBAC"},
    }
    values = installers_values()
    values["edge"]["auth"]["mode"] = "AlwaysAllow"
    assert settings_of(of_gateway(tmp_path, values), tmp_path).authorization.mode == "AlwaysAllow"
    made = of_gateway(tmp_path, values, documents)
    settings = settings_of(made, tmp_path)
    assert (settings.log.level, settings.server.tls.enabled) == ("warn", True)
    authentication = settings.authentication
    assert authentication.jwt.issuer == "https://edge.example.com"
    assert (authentication.jwt.expire.s, authentication.session.idle.s) == (24 * 3600, 30 * 86400)
    assert list(authentication.oauth.by_id()) == ["one"]
    assert settings.authorization.mode == "RBAC"
    kept = made.objects["Secret", "edge-apiserver-auth"]["stringData"]
    assert kept["jwt-secret"] == "a-secret-of-ones-own"
    assert "the other values win" in made.notes


def test_the_installers_own_address_of_tokens_wins_over_that_of_sign_in(tmp_path: Path) -> None:
    auth = {"jwt": {"issuerUrl": "http://192.0.2.7:30080"}, "oauth": {"issuerUrl": "localhost:30080"}}
    settings = settings_of(of_gateway(tmp_path, {"edge": {"auth": auth}}), tmp_path)
    assert settings.authentication.jwt.issuer == "http://192.0.2.7:30080"


def test_the_notes_name_what_is_not_used_and_nothing_else(tmp_path: Path) -> None:
    values = installers_values()
    values["edge"]["auth"]["jwt"]["refreshTtl"] = "1h"  # misspelt
    notes = of_gateway(tmp_path, values).notes
    named = [line.strip() for line in notes.splitlines() if line.startswith("  edge.")]
    for key in ("rbac.clusterAdmin", "monitoring.serviceEndpoint", "terminal.uploadFileLimit"):
        assert f"edge.{key}" in named
    assert "edge.auth.jwt.refreshTtl" in named
    assert not [
        key for key in named if key.startswith(("edge.apiserver", "edge.auth.oauth", "edge.auth.mode"))
    ]
    assert "Not used" not in of_gateway(tmp_path).notes


@pytest.mark.parametrize(
    "tree", [{"edge": None}, {"edge": {"auth": None}}, {"authentication": {"session": None}}]
)
def test_a_tree_in_which_nothing_is_said_leaves_the_defaults(tmp_path: Path, tree: dict[str, Any]) -> None:
    settings = settings_of(of_gateway(tmp_path, tree), tmp_path)
    assert settings.authentication.session.idle.s == 30 * 86400
    assert (settings.authorization.mode, settings.server.tls.enabled) == ("RBAC", True)
