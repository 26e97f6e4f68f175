"""Settings are read in one order of precedence, and refused with everything that is wrong (G6)."""

from pathlib import Path
from typing import Annotated

import pytest

from edge_sdk.secret import Secret
from edge_sdk.settings import Duration, Section, SettingsError, Size, load, setting


class Tls(Section):
    cert_file: Annotated[str, setting()] = ""


class Server(Section):
    port: Annotated[int, setting(env="PORT", ge=1, le=65535)] = 8080
    read_timeout: Annotated[Duration, setting(env="REQUEST_TIMEOUT", also=("timeouts.read",))] = Duration.of(
        "30s"
    )
    body_max: Size = Size.of("3Mi")
    names: Annotated[tuple[str, ...], setting(env="NAMES")] = ()
    tls: Tls = Tls()


class Auth(Section):
    jwt_secret: Annotated[Secret, setting(env="JWT_SECRET")]
    enabled: Annotated[bool, setting(env="AUTH_ENABLED")] = True


def test_flag_beats_environment_beats_file_beats_default() -> None:
    file = {"server": {"port": 1}}
    sections = {"server": Server}
    assert load(sections, environ={})[Server].port == 8080
    assert load(sections, file=file, environ={})[Server].port == 1
    assert load(sections, file=file, environ={"PORT": "2"})[Server].port == 2
    assert load(sections, file=file, environ={"PORT": "2"}, flags={"server.port": "3"})[Server].port == 3


def test_values_are_read_in_the_spelling_of_their_kind() -> None:
    environ = {"NAMES": "a, b,", "REQUEST_TIMEOUT": "1m30s", "AUTH_ENABLED": "false", "JWT_SECRET": "s3cr3t"}
    file = {"server": {"bodyMax": "512Ki", "tls": {"certFile": "/etc/tls.crt"}}}
    settings = load({"server": Server, "auth": Auth}, file=file, environ=environ)
    server, auth = settings[Server], settings[Auth]
    assert (server.names, server.read_timeout.s, server.body_max.bytes) == (("a", "b"), 90.0, 512 * 1024)
    assert server.tls.cert_file == "/etc/tls.crt"
    assert auth.enabled is False
    assert auth.jwt_secret.reveal() == "s3cr3t"


def test_all_that_is_wrong_is_listed_at_once() -> None:
    file = {"server": {"port": 70000, "reedTimeout": "1s", "tls": "yes"}, "sever": {"port": 1}}
    with pytest.raises(SettingsError) as caught:
        load({"server": Server, "auth": Auth}, file=file, environ={"REQUEST_TIMEOUT": "soon"})
    said = {violation.field: violation for violation in caught.value.violations}
    assert said["server.port (edge.yaml)"].value == 70000
    assert "soon" in str(said["server.readTimeout (environment REQUEST_TIMEOUT)"])
    assert "30s" in said["server.readTimeout (environment REQUEST_TIMEOUT)"].accepted
    assert "server.readTimeout" in said["server.reedTimeout"].accepted
    assert "server.port" in said["sever.port"].accepted
    assert "JWT_SECRET" in said["auth.jwtSecret"].accepted
    assert "server.tls" in said


def test_two_spellings_of_one_setting_must_agree() -> None:
    same = {"server": {"readTimeout": "5s"}, "timeouts": {"read": "5s"}}
    assert load({"server": Server}, file=same, environ={})[Server].read_timeout.s == 5
    assert load({"server": Server}, file={"timeouts": {"read": "7s"}}, environ={})[Server].read_timeout.s == 7
    with pytest.raises(SettingsError, match="mean the same and differ"):
        load({"server": Server}, file={**same, "timeouts": {"read": "6s"}}, environ={})


def test_a_misspelt_key_is_refused_however_deep_it_is() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"server": Server}, file={"server": {"tls": {"certfile": "x", "deep": {"er": 1}}}}, environ={})
    said = {violation.field: violation for violation in caught.value.violations}
    assert said.keys() == {"server.tls.certfile", "server.tls.deep.er"}
    assert "server.tls.certFile" in said["server.tls.certfile"].accepted


def test_a_section_in_which_nothing_is_said_has_its_defaults() -> None:
    for file in ({"server": None}, {"server": {}}, {"server": {"tls": None}}, {"server": {"tls": {}}}):
        assert load({"server": Server}, file=file, environ={})[Server].port == 8080


def test_another_spelling_in_the_file_gives_way_to_environment_and_flag() -> None:
    file = {"timeouts": {"read": "7s"}}
    environ = {"REQUEST_TIMEOUT": "8s"}
    assert load({"server": Server}, file=file, environ=environ)[Server].read_timeout.s == 8
    flags = {"server.readTimeout": "9s"}
    assert load({"server": Server}, file=file, environ=environ, flags=flags)[Server].read_timeout.s == 9


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "edge.yaml"
    broken.write_text("server: [unclosed")
    with pytest.raises(SettingsError, match=r"edge\.yaml"):
        load({"server": Server}, file=broken, environ={})
    with pytest.raises(SettingsError, match="missing"):
        load({"server": Server}, file=tmp_path / "missing", environ={})


def test_a_secret_is_never_shown() -> None:
    secret = Secret("s3cr3t")
    assert "s3cr3t" not in f"{secret} {secret!r} {secret:>10}"
    with pytest.raises(SettingsError) as caught:
        load({"auth": Auth}, environ={}, file={"auth": {"jwtSecret": "s3cr3t", "enabled": "perhaps"}})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("24h", 86400), (5, 5)]
)
def test_durations_are_written_as_in_go(text: str | int, seconds: float) -> None:
    assert Duration.of(text).s == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "-3s", "s", "1x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration.of(text)


@pytest.mark.parametrize("seconds", [0.25, 90.0, 2_592_000.0, 31_536_000.0])
def test_a_duration_is_shown_as_it_can_be_written(seconds: float) -> None:
    assert Duration.of(repr(Duration(seconds))).s == seconds
