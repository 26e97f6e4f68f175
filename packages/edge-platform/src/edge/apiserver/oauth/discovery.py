"""What a program reads to find its way (OIDC discovery, RFC 8414), and who signed in (OIDC core §5.3)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.callers.identity import Authenticator, People
from edge.apiserver.openapi import shapes
from edge.apiserver.openapi.operation import Operation
from edge.apiserver.sessions.credential import credential
from edge.iam.oauthrequests import SCOPES
from edge_sdk.clock import Clock
from edge_sdk.problem import Forbidden

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

OPERATIONS: Final = (
    *(
        Operation(
            "GET", f"/.well-known/{name}", f"What a program reads to find its way ({source})", "oauth",
            answer=dict[str, Any], public=True, name=id_,
        )
        for name, source, id_ in (
            ("openid-configuration", "OpenID discovery", "getOpenidConfiguration"),
            ("oauth-authorization-server", "RFC 8414", "getOauthServer"),
        )
    ),
    Operation(
        "GET", "/oauth/userinfo", "Who signed in", "me", answer=shapes.UserInfo, name="getUserInfo",
    ),
    Operation(
        "POST", "/oauth/userinfo", "Who signed in, for programs that POST", "me", answer=shapes.UserInfo,
        name="postUserInfo",
    ),
)  # fmt: skip


class Discovery:
    """algorithms: that id tokens are signed with. grants: those that the token endpoint knows."""

    def __init__(
        self, issuer: str, algorithms: Callable[[], Sequence[str]], grants: Callable[[], Sequence[str]]
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._grants = grants

    async def show(self, _: "Exchange") -> web.StreamResponse:
        return document(self._document())

    def _document(self) -> dict[str, Any]:
        oauth = f"{self._issuer.rstrip('/')}/oauth"
        methods = ["client_secret_basic", "client_secret_post"]
        return {
            "issuer": self._issuer,
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/token",
            "userinfo_endpoint": f"{oauth}/userinfo",
            "jwks_uri": f"{oauth}/jwks",
            "revocation_endpoint": f"{oauth}/revoke",
            "introspection_endpoint": f"{oauth}/introspect",
            "end_session_endpoint": f"{oauth}/logout",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": sorted(self._grants()),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [*methods, "none"],
            "revocation_endpoint_auth_methods_supported": [*methods, "none"],
            "introspection_endpoint_auth_methods_supported": methods,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self._algorithms()),
            "claims_supported": [
                *("iss", "sub", "aud", "exp", "iat", "auth_time", "sid", "nonce"),
                *("name", "preferred_username", "email", "groups"),
            ],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "authorization_response_iss_parameter_supported": True,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "ui_locales_supported": ["en"],
        }


class UserInfo:
    """GET or POST /oauth/userinfo, with the access token as a bearer."""

    def __init__(
        self,
        authenticator: Authenticator,
        people: People,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._people = people
        self._clock = clock

    async def show(self, exchange: "Exchange") -> web.StreamResponse:
        """Raises NotAuthenticated, Forbidden."""
        token = credential(exchange.request)
        session = await self._authenticator.admit(token, self._clock.now_s())
        if session.cluster:
            raise Forbidden(
                "kubeconfig-elsewhere",
                what="A kubeconfig does not tell a program who you are",
                do="sign in to that program",
            )
        user = self._people.user(session.caller.name)
        spec = user.spec if user is not None else None
        found = {
            "sub": session.caller.name,
            "preferred_username": session.caller.name,
            "name": spec.display_name if spec else "",
            "email": spec.email if spec else "",
            "groups": list(session.caller.groups),
        }
        return document({key: value for key, value in found.items() if value or key == "groups"})
