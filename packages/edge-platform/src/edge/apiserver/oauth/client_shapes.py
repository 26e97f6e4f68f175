"""What is sent and shown of OAuth clients; nothing that is shown lets anybody in but `secret`, once (I12)."""

import msgspec

from edge.iam.oauthclients import CODE, REFRESH


class NewClient(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Body of POST oauthclients. accessTokenLife: "1h"; user: whom client_credentials act as."""

    id: str
    redirect_uris: tuple[str, ...] = msgspec.field(default=(), name="redirectURIs")
    post_logout_uris: tuple[str, ...] = msgspec.field(default=(), name="postLogoutRedirectURIs")
    grants: tuple[str, ...] = (CODE, REFRESH)
    public: bool = False
    access_token_life: str = ""
    user: str = ""


class ChangedClient(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Body of PATCH oauthclients/ID. What is left out, or null, stays as it is; a list is given whole.

    An empty accessTokenLife is the gateway's own; an empty user is none.
    """

    redirect_uris: tuple[str, ...] | None = msgspec.field(default=None, name="redirectURIs")
    post_logout_uris: tuple[str, ...] | None = msgspec.field(default=None, name="postLogoutRedirectURIs")
    grants: tuple[str, ...] | None = None
    access_token_life: str | None = None
    user: str | None = None


class NewSecret(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Body of POST oauthclients/ID/secret. keepPreviousFor: how long the old secret counts beside the new."""

    keep_previous_for: str = "0s"


class ShownClient(msgspec.Struct, rename="camel", omit_defaults=True):
    """configured: it comes from the settings, and changes there. secret: in the answer that makes it."""

    id: str
    grants: list[str]
    public: bool
    redirect_uris: list[str] = msgspec.field(name="redirectURIs")
    post_logout_uris: list[str] = msgspec.field(name="postLogoutRedirectURIs")
    access_token_life: str
    user: str
    configured: bool
    secret: str = ""


class OAuthClientList(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    items: list[ShownClient]
