"""What is kept of OAuth clients (I12), and PKCE (RFC 7636)."""

from dataclasses import replace

import msgspec
import pytest

from edge.iam.oauthclients import (
    CODE,
    CREDENTIALS,
    PASSWORD,
    REFRESH,
    OAuthClient,
    command_line_client,
    hash_secret,
    new_secret,
    patch_of,
    read_client,
    record_of,
    secret_matches,
    violations,
)
from edge.iam.oauthrequests import verifier_matches
from edge_kube.core import Secret

SECRET = new_secret()
WIKI = OAuthClient(
    id="wiki",
    grants=frozenset({CODE, CREDENTIALS}),
    secret_hash=hash_secret(SECRET),
    previous_hash=hash_secret("old"),
    previous_until_s=1000.0,
    redirect_uris=("https://a.example.com/", "https://b.example.com/?x=y"),
    post_logout_uris=("https://a.example.com/bye",),
    life_s=900.0,
    user="svc-wiki",
)


def kept(client: OAuthClient, **data: str | None) -> Secret:
    manifest = record_of(client, "edge-system")
    content = {**manifest["data"], **data}
    manifest["data"] = {key: value for key, value in content.items() if value is not None}
    return msgspec.convert(manifest, Secret)


@pytest.mark.parametrize(
    "client",
    [
        WIKI,
        replace(WIKI, life_s=30 * 86_400.0),
        OAuthClient(id="phone", public=True, redirect_uris=("com.example.phone:/in",)),
    ],
    ids=["confidential", "thirty days", "public"],
)
def test_a_client_comes_back_as_it_was_kept(client: OAuthClient) -> None:
    assert violations(client) == []
    assert read_client(kept(client)) == client


def test_what_was_said_before_is_gone_after_the_patch() -> None:
    """RFC 7396: null removes a key."""
    plain = replace(
        WIKI, previous_hash="", post_logout_uris=(), life_s=0.0, grants=frozenset({CODE}), user=""
    )
    before = record_of(WIKI, "edge-system")
    patched = {**before["data"], **patch_of(plain)["data"]}
    assert read_client(kept(WIKI, **patched)) == replace(plain, previous_until_s=0.0)


def test_the_client_of_the_command_line_has_nothing_to_steal_and_may_little() -> None:
    client = command_line_client()
    assert violations(client) == []
    assert (client.public, client.secret_hash, client.configured) == (True, "", True)
    assert client.grants == {CODE, REFRESH}
    assert client.may_return_to("http://127.0.0.1:4000/callback")
    assert not client.may_return_to("http://localhost:4000/callback")


def test_a_public_client_is_vouched_for_by_tls_alone() -> None:
    """RFC 8252 §8.6."""
    phone = OAuthClient(id="phone", public=True)
    for uri, vouched in (
        ("https://app.example.com/cb", True),
        ("http://127.0.0.1:4000/cb", False),
        ("http://localhost:3000/cb", False),
        ("com.example.phone:/in", False),
    ):
        assert phone.is_vouched_for_at(uri) is vouched
        assert WIKI.is_vouched_for_at(uri)


def test_a_session_goes_on_while_the_client_could_get_it_again() -> None:
    assert WIKI.gives(CREDENTIALS, "svc-wiki")
    assert not WIKI.gives(CREDENTIALS, "svc-other")
    assert WIKI.gives("local", "ann")
    assert replace(WIKI, grants=frozenset({PASSWORD})).gives("local", "ann")
    only = replace(WIKI, grants=frozenset({CREDENTIALS, REFRESH}))
    assert not only.gives("local", "ann")
    assert not only.gives("oidc", "ann")
    assert not replace(WIKI, grants=frozenset({CODE})).gives(CREDENTIALS, "svc-wiki")


def test_the_secret_itself_is_kept_nowhere() -> None:
    assert SECRET not in str(record_of(WIKI, "edge-system"))
    assert "hmac" not in str(WIKI.shown())
    assert hash_secret(SECRET) != hash_secret(SECRET)


def test_the_previous_secret_counts_for_its_time() -> None:
    assert secret_matches(WIKI, SECRET, 5000.0)
    assert secret_matches(WIKI, "old", 999.0)
    assert not secret_matches(WIKI, "old", 1000.0)
    assert not secret_matches(WIKI, "", 0.0)
    assert not secret_matches(OAuthClient(id="none"), "", 0.0)
    for broken in ("", "plain", "hmac-sha256:00:00", f"hmac-sha256:{'0' * 32}:{'0' * 64}"):
        assert not secret_matches(replace(WIKI, secret_hash=broken, previous_hash=""), broken, 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("secretHash", None),
        ("secretHash", "cGxhaW4="),
        ("grants", "bWFnaWM="),
        ("public", "eWVz"),
        ("redirectURIs", "aHR0cDovL2V2aWwuZXhhbXBsZQ=="),
        ("accessTokenLife", "c29vbg=="),
        ("previousSecretUntil", "c29vbg=="),
        ("user", None),
        ("user", "////"),
    ],
)
def test_a_client_that_is_half_understood_is_none(key: str, value: str | None) -> None:
    with pytest.raises(ValueError):
        read_client(kept(WIKI, **{key: value}))


def test_a_secret_of_another_type_or_name_is_no_client() -> None:
    for change in ({"type": "Opaque"}, {"metadata": {"name": "wiki", "namespace": "edge-system"}}):
        with pytest.raises(ValueError, match="it is no Secret of type"):
            read_client(msgspec.convert({**record_of(WIKI, "edge-system"), **change}, Secret))


def test_the_example_of_the_pkce_standard() -> None:
    """RFC 7636 appendix B."""
    verifier, challenge = (
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    )
    assert verifier_matches(verifier, challenge)
    for wrong in ("", verifier[:-1], challenge, verifier + "!", "é" * 43, verifier[:-1] + "l"):
        assert not verifier_matches(wrong, challenge)
