"""Settings of the gateway: one order of precedence, all errors at once (G6, G12, X12)."""

from pathlib import Path

import pytest

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.signin.clients import configured_clients
from edge_sdk.flags import FlagError, read_flags
from edge_sdk.settings import SettingsError


def read(text: str = "", tmp: Path | None = None, **environ: str) -> GatewaySettings:
    file = None
    if tmp is not None:
        file = tmp / "edge.yaml"
        file.write_text(text)
    return read_settings(file=file, environ=environ, flags={})


def test_without_settings_both_documented_ports_are_served() -> None:
    assert [port for _, port in read().binds] == [9090, 8080]


def test_bind_address_comes_first_and_the_documented_ports_stay() -> None:
    assert read(BIND_ADDRESS="127.0.0.1:7000").binds[0] == ("127.0.0.1", 7000)
    assert [port for _, port in read(BIND_ADDRESS="0.0.0.0:8080").binds] == [8080, 9090]
    assert [port for _, port in read(PORT="8080").binds] == [8080, 9090]


def test_the_printed_file_is_accepted(tmp_path: Path) -> None:
    settings = read(
        "server: {port: 8080, readTimeout: 30s, writeTimeout: 30s}\n"
        "authentication: {tokenExpiration: 24h}\n"
        "authorization: {cacheEnabled: true, cacheTTL: 5m}\n",
        tmp_path,
    )
    assert settings.authentication.jwt.expire.s == 24 * 3600
    assert settings.authorization.cache_ttl.s == 300


def test_without_the_cache_one_caller_is_remembered_and_else_so_many(tmp_path: Path) -> None:
    assert read().authorization.remembered == 10_000
    assert read("authorization: {cacheSize: 500}", tmp_path).authorization.remembered == 500
    without = read("authorization: {cacheEnabled: false, cacheSize: 500}", tmp_path)
    assert without.authorization.remembered == 1


def test_environment_beats_the_file_and_a_flag_beats_both(tmp_path: Path) -> None:
    assert (
        read("authentication: {jwt: {expire: 1h}}", tmp_path, JWT_EXPIRE="2h").authentication.jwt.expire.s
        == 7200
    )
    flags = read_flags(["--log-level=error", "--authentication.jwt.expire", "3h"])
    settings = read_settings(file=None, environ={"JWT_EXPIRE": "2h", "LOG_LEVEL": "debug"}, flags=flags)
    assert settings.authentication.jwt.expire.s == 3 * 3600
    assert settings.log.level == "error"


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read("server: {port: many}\nrateLimit: {qps: -1}\nnonsense: 1\n", tmp_path, LOG_LEVEL="loud")
    for key in ("server.port", "rateLimit.qps", "nonsense", "LOG_LEVEL"):
        assert key in str(refused.value)


def test_what_does_not_fit_hides_no_contradiction(tmp_path: Path) -> None:
    text = (
        "rateLimit: {qps: 100, burst: 10}\n"
        "nonsense: 1\n"
        "authentication: {jwt: {expire: soon}, oidc: {enabled: true}, session: {perUser: 0}}\n"
    )
    with pytest.raises(SettingsError) as refused:
        read(text, tmp_path, LOG_LEVEL="loud")
    for key in (
        "rateLimit.burst",
        "nonsense",
        "jwt.expire",
        "oidc.issuerURL",
        "session.perUser",
        "LOG_LEVEL",
    ):
        assert key in str(refused.value)


def test_a_default_in_the_place_of_a_bad_value_is_held_against_nobody(tmp_path: Path) -> None:
    text = (
        "rateLimit: {qps: many, burst: 10}\n"
        "server: {bindAddress: nowhere, tls: {port: 8080}}\n"
        "authentication: {jwt: {expire: soon}, session: {idle: 1h}}\n"
    )
    with pytest.raises(SettingsError) as refused:
        read(text, tmp_path)
    told = [one.field.partition(" ")[0] for one in refused.value.violations]
    assert told == [
        "server.bindAddress", "authentication.jwt.expire", "rateLimit.qps", "server.tls.port",
    ]  # fmt: skip


def test_contradictions_are_refused_all_at_once(tmp_path: Path) -> None:
    text = (
        "rateLimit: {qps: 100, burst: 10}\n"
        "authentication: {oidc: {enabled: true}, ldap: {enabled: true}, jwt: {expire: 90d}}\n"
    )
    with pytest.raises(SettingsError) as refused:
        read(text, tmp_path)
    for key in ("rateLimit.burst", "oidc.issuerURL", "oidc.clientSecret", "ldap.baseDN", "jwt.expire"):
        assert key in str(refused.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ldap: {host: d, baseDN: dc=x, bindDN: cn=a, bindPassword: '***'}", "ldap.bindPassword"),
        ("ldap: {host: d, baseDN: dc=x, insecure: true, port: 636}", "ldap.insecure"),
        ("ldap: {host: d, baseDN: dc=x, insecure: true, certificateAuthority: x}", "ldap.insecure"),
        ("ldap: {host: d, baseDN: dc=x, userFilter: '(uid=a'}", "ldap.userFilter"),
        ("ldap: {host: d, baseDN: dc=x, certificateAuthority: junk}", "ldap.certificateAuthority"),
        ("ldap: {host: d, baseDN: dc=x, checkEvery: 500ms}", "ldap.checkEvery"),
        ("ldap: {host: d, baseDN: dc=x, grace: 800h}", "ldap.grace"),
        ("ldap: {host: d, baseDN: dc=x, groupsPrefix: ''}", "ldap.groupsPrefix"),
        ("ldap: {host: d, baseDN: dc=x, groupsPrefix: 'system:'}", "ldap.groupsPrefix"),
        ("oidc: {issuerURL: 'http://idp.example.com'}", "oidc.issuerURL"),
        ("oidc: {issuerURL: 'https://idp.example.com', redirectURL: 'https://e/'}", "oidc.redirectURL"),
    ],
)
def test_a_directory_that_could_not_be_used_safely_is_refused_with_its_key(
    tmp_path: Path, text: str, key: str
) -> None:
    """I13, S13."""
    name, _, rest = text.partition(": {")
    with pytest.raises(SettingsError) as refused:
        read(f"authentication: {{{name}: {{enabled: true, {rest}}}\n", tmp_path)
    assert key in str(refused.value)


def test_sessions_that_end_before_their_tokens_or_know_no_origin_are_refused() -> None:
    flags = {
        "authentication.session.idle": "1h",
        "authentication.session.longest": "10m",
        "authentication.session.origins": "console.example.com,https://c.example/path",
    }
    with pytest.raises(SettingsError) as error:
        read_settings(file=None, environ={}, flags=flags)
    for key in ("idle", "longest", "origins"):
        assert f"authentication.session.{key}" in str(error.value)
    assert "https://c.example/path" in str(error.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("window: 0s", "window"),
        ("lock: 0s", "lock"),
        ("lock: 2h, longest: 1h", "longest"),
        ("longest: 60d", "longest"),
        ("perUser: 1001", "perUser"),
        ("perAddress: 100000", "perAddress"),
    ],
)
def test_a_lockout_that_would_lock_nobody_is_refused(tmp_path: Path, text: str, key: str) -> None:
    """I14."""
    with pytest.raises(SettingsError) as refused:
        read(f"authentication: {{lockout: {{{text}}}}}\n", tmp_path)
    assert f"authentication.lockout.{key}" in str(refused.value)


@pytest.mark.parametrize(
    "issuer",
    ["https://", "https://h/?a=b", "https://h/#a", "ftp://h", "https://u@h", "https://h h", "http://h:x"],
)
def test_an_issuer_that_programs_cannot_use_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(OAUTH_ISSUER_URL=issuer)
    assert "authentication.jwt.issuer" in str(refused.value)


def test_the_installers_issuer_has_no_scheme_and_is_served_over_plain_http() -> None:
    assert read(OAUTH_ISSUER_URL="localhost:30080").authentication.jwt.issuer == "http://localhost:30080"
    assert read(OAUTH_ISSUER_URL="").authentication.jwt.issuer == "https://edge.example.com"


def test_the_command_lines_client_is_there_unless_it_is_switched_off(tmp_path: Path) -> None:
    issuer = "https://edge.example.com"
    there = configured_clients(read().authentication.oauth, issuer)
    assert {id_: one.public for id_, one in there.items()} == {"edge-console": False, "edge-cli": True}
    off = read("authentication: {oauth: {commandLine: false, clients: ['edge-cli:own']}}", tmp_path)
    assert not configured_clients(off.authentication.oauth, issuer)["edge-cli"].public
    with pytest.raises(SettingsError, match="command line's own"):
        read("authentication: {oauth: {clients: ['edge-cli:own']}}", tmp_path)


def test_clients_are_read_as_id_and_secret_and_never_shown() -> None:
    settings = read(OAUTH_CLIENTS="edge-console:s3cr:et,kubectl:other")
    assert settings.authentication.oauth.by_id()["edge-console"].reveal() == "s3cr:et"
    assert "s3cr" not in repr(settings)


@pytest.mark.parametrize(
    "clients",
    [
        "s3cr3t",
        "edge-console:s3cr3t,s3cr3t-with,comma",
        "edge-console:s3cr3t,edge-console:other",
        "edge console:s3cr3t",
        "edge-console:",
        ":s3cr3t",
    ],
)
def test_clients_that_cannot_be_are_refused_and_no_part_of_a_secret_is_repeated(clients: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(OAUTH_CLIENTS=clients)
    assert "authentication.oauth.clients" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_a_secret_below_a_misspelt_key_is_not_shown(tmp_path: Path) -> None:
    """S5."""
    text = (
        "authentication: {ldap: {bindPasswort: s3cr3t}, oidc: {clientSecrets: s3cr3t}, jwt: {sekret: 12}}\n"
    )
    with pytest.raises(SettingsError) as refused:
        read(text, tmp_path)
    for key in ("ldap.bindPasswort", "oidc.clientSecrets", "jwt.sekret"):
        assert key in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "key", "why"),
    [
        ({"server.bindAddress": "0.0.0.0:99999"}, "server.bindAddress", "no such port"),
        ({"server.tls.port": "9090"}, "server.tls.port", "server.port has it"),
        ({"server.tls.port": "8080"}, "server.tls.port", "documented ports"),
        ({"server.port": "8443"}, "server.tls.port", "server.port has it"),
        (
            {"authorization.webhook.enabled": "true", "authorization.webhook.bindAddress": "0.0.0.0:70000"},
            "authorization.webhook.bindAddress",
            "no such port",
        ),
        ({"server.readTimeout": "0s"}, "server.readTimeout", "no request could be served"),
        ({"authorization.cacheTTL": "0s"}, "authorization.cacheTTL", "listed again and again"),
    ],
)
def test_what_could_not_be_listened_on_or_would_never_end_is_refused_with_its_key(
    flags: dict[str, str], key: str, why: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(file=None, environ={}, flags=flags)
    found = {one.field: str(one) for one in refused.value.violations}
    assert why in found[key]


def test_ports_that_the_system_chooses_are_in_nobodys_way() -> None:
    flags = {"server.bindAddress": "127.0.0.1:0", "server.onlyFirst": "true", "server.tls.port": "0"}
    assert read_settings(file=None, environ={}, flags=flags).binds == (("127.0.0.1", 0),)


def test_a_word_that_is_no_flag_is_named() -> None:
    with pytest.raises(FlagError, match="serve"):
        read_flags(["serve"])
