"""Programs that may ask for tokens: what is kept of each, and what may be kept (I12, design §9). Pure.

A client is a Secret of the platform's namespace. It holds a salted hash of the client's own secret; that one
is made here with 256 bits, so a fast hash keeps it: there is nothing to guess.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge.iam.redirects import is_registered, redirect_violation
from edge_kube.core import Secret as KubeSecret
from edge_kube.meta import Manifest
from edge_sdk.problem import Violation
from edge_sdk.settings import Duration

SECRET_TYPE: Final = "iam.theriseunion.io/oauth-client"  # noqa: S105
SECRET_PREFIX: Final = "edge-oauth-client-"  # noqa: S105

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
CREDENTIALS: Final = "client_credentials"
PASSWORD: Final = "password"  # noqa: S105
GRANTS: Final = (CODE, REFRESH, CREDENTIALS, PASSWORD)

COMMAND_LINE: Final = "edge-cli"
"""The client of `edge login --browser`."""
CALLBACK: Final = "/callback"

REDIRECTS_MAX: Final = 20
LIFE_MIN_S: Final = 60.0
LIFE_MAX_S: Final = 30 * 86_400.0
ID_ACCEPTED: Final = "1 to 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit"

_ID = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_HASH = re.compile(r"hmac-sha256:([0-9a-f]{32}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """secret_hash: "" for a public client, which has no secret. previous_hash counts until previous_until_s.

    life_s: of its access tokens, 0 is the gateway's own. user: whom client_credentials act as.
    configured: from the settings, so that no command changes it.
    """

    id: str
    grants: frozenset[str] = frozenset({CODE, REFRESH})
    public: bool = False
    secret_hash: str = ""
    previous_hash: str = ""
    previous_until_s: float = 0.0
    redirect_uris: tuple[str, ...] = ()
    post_logout_uris: tuple[str, ...] = ()
    life_s: float = 0.0
    user: str = ""
    configured: bool = False

    @property
    def is_console(self) -> bool:
        """Whether it is one of the settings, which the console and what stands in for it use."""
        return self.configured and not self.public

    def may_return_to(self, uri: str) -> bool:
        return is_registered(uri, self.redirect_uris)

    def is_vouched_for_at(self, uri: str) -> bool:
        """Whether nobody but the program can make use of an answer sent there (RFC 8252 §8.6).

        A public client shows no secret, and any program on a machine can take a port or a scheme.
        """
        return not self.public or uri.startswith("https://")

    def gives(self, provider: str, user: str) -> bool:
        """Whether a session that it has been given for a user in some way could be given to it still."""
        if provider == CREDENTIALS:
            return CREDENTIALS in self.grants and user == self.user
        return bool(self.grants & {CODE, PASSWORD})

    def shown(self) -> dict[str, Any]:
        """As lists show it: nothing in it lets anybody in."""
        return {
            "id": self.id,
            "grants": sorted(self.grants),
            "public": self.public,
            "redirectURIs": list(self.redirect_uris),
            "postLogoutRedirectURIs": list(self.post_logout_uris),
            "accessTokenLife": _seconds(self.life_s),
            "user": self.user,
            "configured": self.configured,
        }


def command_line_client() -> OAuthClient:
    """Public, since whoever has the program has all that is in it; people come back to their own machine."""
    return OAuthClient(
        id=COMMAND_LINE,
        public=True,
        redirect_uris=(f"http://127.0.0.1{CALLBACK}", f"http://[::1]{CALLBACK}"),
        configured=True,
    )


def is_id(text: str) -> bool:
    """Whether it can be the id of a client that is kept: it becomes a part of a name."""
    return _ID.fullmatch(text) is not None


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def hash_secret(plain: str) -> str:
    """`hmac-sha256:SALT:HASH`. For random secrets alone: a fast hash does not protect a password."""
    salt = secrets.token_hex(16)
    return f"hmac-sha256:{salt}:{_hmac(salt, plain)}"


def secret_matches(client: OAuthClient, plain: str, now_s: float) -> bool:
    """Compares with both hashes in constant time, whatever they are."""
    current = _matches(client.secret_hash, plain)
    previous = _matches(client.previous_hash, plain) and now_s < client.previous_until_s
    return current or previous


def _matches(stored: str, plain: str) -> bool:
    found = _HASH.fullmatch(stored)
    salt, expected = (found[1], found[2]) if found else ("0" * 32, "0" * 64)
    return hmac.compare_digest(_hmac(salt, plain), expected) and found is not None


def _hmac(salt: str, plain: str) -> str:
    return hmac.new(bytes.fromhex(salt), plain.encode(), hashlib.sha256).hexdigest()


def violations(client: OAuthClient) -> Sequence[Violation]:
    """All that is wrong with a client, by the names of the HTTP body."""
    found: list[Violation] = []
    if not is_id(client.id):
        found.append(Violation("id", client.id[:80], "it becomes part of a name", ID_ACCEPTED))
    unknown = sorted(client.grants - set(GRANTS))
    if unknown or not client.grants:
        found.append(Violation("grants", ", ".join(unknown)[:80], "there is no such grant", GRANTS))
    for field, uris in (
        ("redirectURIs", client.redirect_uris),
        ("postLogoutRedirectURIs", client.post_logout_uris),
    ):
        if len(uris) > REDIRECTS_MAX:
            found.append(Violation(field, len(uris), "there are too many", f"at most {REDIRECTS_MAX}"))
        found += [one for uri in uris[:REDIRECTS_MAX] if (one := redirect_violation(uri, field)) is not None]
    if CODE in client.grants and not client.redirect_uris:
        found.append(
            Violation("redirectURIs", "", f"the grant {CODE} sends people back to one", "one or more")
        )
    if CREDENTIALS in client.grants and not client.user:
        found.append(Violation("user", "", f"the grant {CREDENTIALS} acts as a user", "the name of a User"))
    if client.public and client.grants & {CREDENTIALS, PASSWORD}:
        why = "anybody can say that they are a public client"
        found.append(Violation("grants", ", ".join(sorted(client.grants)), why, (CODE, REFRESH)))
    if not client.public and not _HASH.fullmatch(client.secret_hash):
        why = "only a public client has no secret" if not client.secret_hash else "it is no hash of ours"
        found.append(Violation("secretHash", "***", why, "hmac-sha256:SALT:HASH"))
    if client.life_s and not LIFE_MIN_S <= client.life_s <= LIFE_MAX_S:
        found.append(Violation("accessTokenLife", f"{client.life_s:g}s", "a token must end", "1m to 30d"))
    return found


def record_of(client: OAuthClient, namespace: str) -> Manifest:
    """The Secret that keeps it; what is empty is left out."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {"name": SECRET_PREFIX + client.id, "namespace": namespace},
        "data": {key: _encoded(text) for key, text in _texts(client).items() if text},
    }


def patch_of(client: OAuthClient) -> Manifest:
    """The merge patch after which its Secret says this, and nothing that was said before."""
    return {"data": {key: _encoded(text) if text else None for key, text in _texts(client).items()}}


def _texts(client: OAuthClient) -> dict[str, str]:
    return {
        "grants": "\n".join(sorted(client.grants)),
        "public": "true" if client.public else "",
        "secretHash": client.secret_hash,
        "previousSecretHash": client.previous_hash,
        "previousSecretUntil": f"{client.previous_until_s:.0f}" if client.previous_hash else "",
        "redirectURIs": "\n".join(client.redirect_uris),
        "postLogoutRedirectURIs": "\n".join(client.post_logout_uris),
        "accessTokenLife": _seconds(client.life_s),
        "user": client.user,
    }


def _seconds(life_s: float) -> str:
    """As it can be read again: the short form of 30 days would be 2.592e+06."""
    return f"{life_s:.15g}s" if life_s else ""


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read_client(secret: KubeSecret) -> OAuthClient:
    """Raises ValueError that says what is wrong: a client that is half understood is none."""
    id_ = secret.metadata.name.removeprefix(SECRET_PREFIX)
    if secret.type != SECRET_TYPE or id_ == secret.metadata.name:
        raise ValueError(
            f"it is no Secret of type {SECRET_TYPE} with a name that begins with {SECRET_PREFIX}"
        )
    content = _content(secret.data)
    public = content.get("public", "false")
    if public not in ("true", "false"):
        raise ValueError('public is neither "true" nor "false"')
    life = content.get("accessTokenLife", "")
    client = OAuthClient(
        id=id_,
        grants=frozenset(content.get("grants", f"{CODE} {REFRESH}").split()),
        public=public == "true",
        secret_hash=content.get("secretHash", ""),
        previous_hash=content.get("previousSecretHash", ""),
        previous_until_s=float(content.get("previousSecretUntil", "0")),
        redirect_uris=tuple(content.get("redirectURIs", "").split()),
        post_logout_uris=tuple(content.get("postLogoutRedirectURIs", "").split()),
        life_s=Duration.of(life).s if life else 0.0,
        user=content.get("user", ""),
    )
    wrong = violations(client)
    if wrong:
        raise ValueError("; ".join(str(one) for one in wrong))
    return client


def _content(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode().strip() for key, text in data.items()}
