"""Tokens: only ours, only with our key, only for as long as they say (I12, S12)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.keyring import MARK_FIELD, Keyring, new_key, new_mark, read_ring, ring_of_secret
from edge.iam.tokens import AUDIENCE, KUBECONFIG_AUDIENCE, TYPE, Claims, TokenRefused, Tokens
from edge_sdk.secret import Secret

NOW = 1_800_000_000.0
ISSUER = "https://edge.example.com"
DAY_S = 86_400.0


def fresh_ring(mark: str = "") -> Keyring:
    return read_ring({MARK_FIELD: mark or new_mark(), **dict([new_key(0)])})


RINGS = {"EdDSA": fresh_ring(), "HS256": ring_of_secret(Secret("k" * 64))}
RING = RINGS["EdDSA"]
BOTH = pytest.mark.parametrize("alg", RINGS)


def tokens(ring: Keyring = RING, issuer: str = ISSUER) -> Tokens:
    return Tokens(ring, issuer=issuer, lifetime_s=DAY_S)


def issue(ring: Keyring = RING, sid: str = "s1") -> str:
    return tokens(ring).issue(user="ada", uid="u1", sid=sid, now_s=NOW, ends_s=NOW + 30 * DAY_S)[0]


def forged(alg: str, header: dict[str, str] | None = None, claims: dict[str, object] | None = None) -> str:
    """Signed with the right key, but for what is given otherwise."""
    ring = RINGS[alg]
    good = jwt.decode(issue(ring), options={"verify_signature": False})
    headers = {"kid": ring.keys[0].kid, "typ": TYPE, **(header or {})}
    content = {name: value for name, value in {**good, **(claims or {})}.items() if value is not None}
    return jwt.encode(content, ring.keys[0].signs, algorithm=headers.pop("alg", alg), headers=headers)


def refused(token: str, ring: Keyring, at_s: float = NOW + 1) -> str:
    with pytest.raises(TokenRefused) as error:
        tokens(ring).check(token, at_s)
    return error.value.code


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@BOTH
def test_a_token_says_who_in_which_session_and_until_when(alg: str) -> None:
    claims = tokens(RINGS[alg]).check(issue(RINGS[alg]), NOW + 60)
    assert (claims.user, claims.uid, claims.sid, claims.expires_s) == ("ada", "u1", "s1", NOW + DAY_S)
    header = jwt.get_unverified_header(issue(RINGS[alg]))
    assert header == {"alg": alg, "kid": RINGS[alg].keys[0].kid, "typ": "at+jwt"}


def test_a_token_holds_no_right_and_no_group() -> None:
    claims = jwt.decode(issue(), options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "uid", "sid", "jti", "iat", "exp"}


def test_a_token_ends_with_its_session_at_the_latest() -> None:
    _, expires_s = tokens().issue(user="a", uid="u", sid="s", now_s=NOW, ends_s=NOW + 60)
    assert expires_s == NOW + 60
    with pytest.raises(ValueError, match="session"):
        issue(sid="")


@BOTH
def test_clocks_may_differ_by_thirty_seconds_and_no_more(alg: str) -> None:
    ring, token = RINGS[alg], issue(RINGS[alg])
    assert tokens(ring).check(token, NOW + DAY_S + 29).user == "ada"
    assert refused(token, ring, NOW + DAY_S + 31) == "token-expired"
    assert tokens(ring).check(token, NOW - 29).user == "ada"
    assert refused(token, ring, NOW - 31) == "token-invalid"


WRONG: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "wrong key id": ({"kid": "other"}, {}),
    "empty key id": ({"kid": ""}, {}),
    "path as key id": ({"kid": "../../dev/null"}, {}),
    "type of an ID token": ({"typ": "JWT"}, {}),
    "wrong audience": ({}, {"aud": "other"}),
    "no audience": ({}, {"aud": None}),
    "list of audiences": ({}, {"aud": [AUDIENCE, "other"]}),
    "audience in a list": ({}, {"aud": [AUDIENCE]}),
    "longer audience": ({}, {"aud": f"{AUDIENCE}/"}),
    "wrong issuer": ({}, {"iss": "https://evil"}),
    "longer issuer": ({}, {"iss": f"{ISSUER}/"}),
    "no issuer": ({}, {"iss": None}),
    "subject that is no text": ({}, {"sub": 7}),
    "expiry that is no whole number": ({}, {"exp": 1e99}),
    "expiry that is text": ({}, {"exp": str(int(NOW + 600))}),
    "no expiry": ({}, {"exp": None}),
    "expired": ({}, {"exp": int(NOW - 60)}),
    "issued in the future": ({}, {"iat": int(NOW + 3600)}),
    "no time of issue": ({}, {"iat": None}),
    "no uid": ({}, {"uid": None}),
    "no session": ({}, {"sid": None}),
    "empty session": ({}, {"sid": ""}),
    "session that is no text": ({}, {"sid": ["s1"]}),
    "no token id": ({}, {"jti": None}),
    "a kubeconfig's audience": ({}, {"aud": KUBECONFIG_AUDIENCE}),
    "a cluster too": ({}, {"cluster": "east"}),
    "a mark too": ({}, {"pwm": "0" * 16}),
    "a kubeconfig with a session": ({}, {"aud": KUBECONFIG_AUDIENCE, "cluster": "east", "pwm": "0"}),
    "a kubeconfig for all clusters": ({}, {"aud": KUBECONFIG_AUDIENCE, "sid": None, "pwm": "0"}),
    "a kubeconfig for two": (
        {},
        {"aud": KUBECONFIG_AUDIENCE, "sid": None, "pwm": "0", "cluster": ["east", "west"]},
    ),
}


@BOTH
@pytest.mark.parametrize("what", WRONG)
def test_a_token_that_our_own_key_signed_for_something_else_is_refused(alg: str, what: str) -> None:
    header, claims = WRONG[what]
    refused(forged(alg, header, claims), RINGS[alg])
    assert tokens(RINGS[alg]).check(forged(alg), NOW + 1).user == "ada", "without the change it is good"


@BOTH
@pytest.mark.parametrize("named", ["none", "None", "NONE", "nOnE", "", "HS256 ", "ES256", None])
def test_no_algorithm_but_that_of_the_key(alg: str, named: str | None) -> None:
    ring = RINGS[alg]
    claims = jwt.decode(issue(ring), options={"verify_signature": False})
    head = {"alg": named, "kid": ring.keys[0].kid, "typ": TYPE}
    for signature in ("", issue(ring).rpartition(".")[2]):
        refused(f"{part(head)}.{part(claims)}.{signature}", ring)


@BOTH
def test_a_signature_that_is_missing_cut_or_of_another_token_is_refused(alg: str) -> None:
    ring = RINGS[alg]
    head, claims, signature = issue(ring).split(".")
    other = issue(ring, sid="s2").split(".")
    for token in (
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims}.{signature[:-4]}",
        f"{head}.{claims}.{other[2]}",
        f"{head}.{other[1]}.{signature}",
        f"..{signature}",
        f"{head}.{claims}.{signature}.{signature}",
    ):
        refused(token, ring)


def _public_as_secret(how: Callable[[Ed25519PublicKey], bytes]) -> str:
    """The classic confusion: HS256 with what everybody can read in the JWKS as its secret."""
    key = RING.keys[0]
    assert isinstance(key.checks, Ed25519PublicKey)
    claims = jwt.decode(issue(), options={"verify_signature": False})
    signed = f"{part({'alg': 'HS256', 'kid': key.kid, 'typ': TYPE})}.{part(claims)}"
    digest = hmac.new(how(key.checks), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes_raw()


def _der(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _jwks(_: Ed25519PublicKey) -> bytes:
    return json.dumps(RING.jwks()).encode()


def _nothing(_: Ed25519PublicKey) -> bytes:
    return b""


@pytest.mark.parametrize("how", [_raw, _pem, _der, _jwks, _nothing])
def test_the_public_key_is_no_secret_to_sign_with(how: Callable[[Ed25519PublicKey], bytes]) -> None:
    refused(_public_as_secret(how), RING)


@BOTH
@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", Ed25519PrivateKey.generate()),
        ("HS256", b"x" * 64),
        ("HS512", b"k" * 64),
    ],
    ids=["RS256", "ES256", "another EdDSA key", "another secret", "HS512 with the right secret"],
)
def test_a_key_of_the_forgers_own_is_refused_whatever_its_kind(alg: str, named: str, key: object) -> None:
    ring = RINGS[alg]
    claims = jwt.decode(issue(ring), options={"verify_signature": False})
    head = {"kid": ring.keys[0].kid, "typ": TYPE}
    refused(jwt.encode(claims, key, algorithm=named, headers=head), ring)  # pyright: ignore[reportArgumentType]
    # A key that the token itself brings, or says where to fetch, is not looked at.
    brought = {**head, "jwk": fresh_ring().keys[0].jwk(), "jku": "https://evil/jwks", "x5u": "https://evil"}
    refused(jwt.encode(claims, key, algorithm=named, headers=brought), ring)  # pyright: ignore[reportArgumentType]


def test_an_id_token_opens_nothing_even_for_a_client_named_like_us() -> None:
    claims = jwt.decode(issue(), options={"verify_signature": False})
    token = tokens().issue_id(claims, NOW)
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == AUDIENCE
    refused(token, RING)


def test_an_id_token_is_read_back_as_a_hint_and_an_access_token_is_not() -> None:
    token = tokens().issue_id({"sub": "ada", "aud": "app", "sid": "s", "iat": 1, "exp": 2}, NOW)
    assert tokens().read_id(token)["sid"] == "s"
    for other in (
        issue(),
        tokens(fresh_ring()).issue_id({"sub": "ada", "aud": "a", "iat": 1, "exp": 2}, NOW),
    ):
        with pytest.raises(TokenRefused):
            tokens().read_id(other)


@given(st.text(max_size=80))
def test_no_text_at_all_is_a_token(text: str) -> None:
    refused(text, RING)


@given(st.dictionaries(st.text(max_size=6), st.text(max_size=6) | st.integers() | st.none(), max_size=4))
def test_no_header_at_all_makes_a_token(header: dict[str, object]) -> None:
    _, claims, signature = issue().split(".")
    refused(f"{part(header)}.{claims}.{signature}", RING)


def test_the_mark_changes_with_the_password_and_not_when_keys_turn() -> None:
    mark = new_mark()
    one, two = tokens(fresh_ring(mark)), tokens(fresh_ring(mark))
    assert one.password_mark("a") != one.password_mark("b")
    assert one.password_mark("a") == two.password_mark("a")
    assert one.password_mark("a") != tokens().password_mark("a")


def of_kubeconfig(cluster: str = "east") -> Claims:
    return Claims("ada", "u1", tokens().password_mark("$2b$hash"), "a" * 32, NOW, NOW + 3600, cluster)


@BOTH
def test_a_kubeconfigs_token_is_for_another_audience_and_names_its_cluster(alg: str) -> None:
    ours = tokens(RINGS[alg])
    token = ours.issue_kubeconfig(of_kubeconfig())
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == KUBECONFIG_AUDIENCE
    assert ours.check(token, NOW) == of_kubeconfig()
    assert ours.check(issue(RINGS[alg]), NOW).cluster == ""
    with pytest.raises(ValueError, match="one cluster"):
        ours.issue_kubeconfig(of_kubeconfig(""))
