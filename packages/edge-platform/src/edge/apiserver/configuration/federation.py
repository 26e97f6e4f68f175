"""What sign-in through outside directories can be told; what cannot work is named at start (I13, G6).

Keys enabled … bindPassword, and enabled … redirectURL, are those of the documents (spec/seed-details §2.2).
"""

import ipaddress
import ssl
from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import field
from sansldap import LDAPFilter

from edge.iam.federated import FOREIGN_GROUP_PREFIXES
from edge.iam.lockout import LIMIT_MAX, Rules
from edge_sdk.problem import Violation
from edge_sdk.secret import Secret
from edge_sdk.settings import Duration, Section, setting

PUBLISHED: Final = frozenset({"", "***", "changeme"})
"""Values that documents print in the place of a secret."""
LDAPS_PORT: Final = 636
LONGEST_MAX_S: Final = 30 * 86_400.0


class OidcSettings(Section):
    """Sign-in through an OpenID provider."""

    enabled: bool = False
    issuer_url: Annotated[str, setting("As the provider writes it in its tokens.")] = field(
        default="", name="issuerURL"
    )
    client_id: str = field(default="", name="clientID")
    client_secret: Annotated[Secret, setting(env="OIDC_CLIENT_SECRET")] = Secret("")
    redirect_url: Annotated[str, setting("https://HOST/oauth/callback of this gateway.")] = field(
        default="", name="redirectURL"
    )
    scopes: Annotated[tuple[str, ...], setting("Asked of the provider beside openid.")] = (
        "profile",
        "email",
        "groups",
    )
    username_claim: Annotated[str, setting("Names new users.")] = "preferred_username"
    groups_claim: Annotated[str, setting("A list of texts; empty: groups are not read.")] = "groups"
    username_prefix: Annotated[str, setting("Before the names of new users; may be empty.")] = "oidc-"
    groups_prefix: Annotated[str, setting("Before the provider's groups; ends with a colon.")] = "oidc:"
    certificate_authority: Annotated[str, setting("PEM of who signed for the provider.")] = ""
    insecure: Annotated[bool, setting("Provider without TLS, for trying things out.")] = False


class LdapSettings(Section):
    """Sign-in through a directory. Search, then bind as what was found."""

    enabled: bool = False
    host: str = ""
    port: Annotated[int, setting(ge=0, le=65535)] = 389
    base_dn: str = field(default="", name="baseDN")
    bind_dn: Annotated[str, setting("Who searches; empty: nobody in particular.")] = field(
        default="", name="bindDN"
    )
    bind_password: Annotated[Secret, setting(env="LDAP_BIND_PASSWORD")] = Secret("")
    ldaps: Annotated[bool, setting("TLS from the first byte, as on port 636; otherwise StartTLS.")] = False
    insecure: Annotated[bool, setting("No TLS: passwords can be read on the way.")] = False
    certificate_authority: Annotated[str, setting("PEM of who signed for the directory.")] = ""
    user_attribute: Annotated[str, setting("What people type as their name.")] = "uid"
    user_filter: Annotated[str, setting("Which entries are people.")] = "(objectClass=person)"
    id_attribute: Annotated[str, setting("Never changes and is never used again.")] = "entryUUID"
    display_name_attribute: str = "cn"
    email_attribute: str = "mail"
    group_base_dn: Annotated[str, setting("Empty: baseDN.")] = field(default="", name="groupBaseDN")
    group_filter: Annotated[str, setting("Which entries are groups; empty: groups are not read.")] = (
        "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=group))"
    )
    group_name_attribute: str = "cn"
    member_attribute: Annotated[str, setting("Holds the DN of a member.")] = "member"
    username_prefix: Annotated[str, setting("Before the names of new users; may be empty.")] = "ldap-"
    groups_prefix: Annotated[str, setting("Before the directory's groups; ends with a colon.")] = "ldap:"
    check_every: Annotated[
        Duration,
        setting("How often it is asked about who has sessions or kubeconfigs; 0: at a refresh alone."),
    ] = Duration(3600)
    grace: Annotated[
        Duration, setting("How long its last word on somebody counts while it does not answer.")
    ] = Duration(2 * 86_400)

    @property
    def over_tls(self) -> bool:
        """Whether the connection begins with TLS."""
        return not self.insecure and (self.ldaps or self.port == LDAPS_PORT)


class LockoutSettings(Section):
    """After how many wrong passwords a name, or an address, waits."""

    per_user: Annotated[int, setting("Within `window`; 0: never.", ge=0, le=LIMIT_MAX)] = 5
    per_address: Annotated[int, setting("For all names together; 0: never.", ge=0, le=LIMIT_MAX)] = 50
    window: Duration = Duration(900)
    lock: Annotated[Duration, setting("The first time; then twice as long each time.")] = Duration(900)
    longest: Duration = Duration(86_400)

    @property
    def rules(self) -> Rules:
        return Rules(self.per_user, self.per_address, self.window.s, self.lock.s, self.longest.s)


def lockout_contradictions(lockout: LockoutSettings) -> Iterator[Violation]:
    """What would lock nobody, or for longer than is remembered."""
    at = "authentication.lockout"
    if lockout.window.s < 1:
        yield Violation(f"{at}.window", lockout.window, "no two failures would be within it", "1s or more")
    if lockout.lock.s < 1:
        yield Violation(
            f"{at}.lock", lockout.lock, "it would be over at once", "1s or more; perUser: 0 for none"
        )
    if not lockout.lock.s <= lockout.longest.s <= LONGEST_MAX_S:
        yield Violation(
            f"{at}.longest", lockout.longest, "records of sign-ins are kept for 90 days", "lock to 30d"
        )


class ServiceAccountSettings(Section):
    """Tokens of the host cluster's service accounts, as pods mount them."""

    enabled: bool = True
    audience: Annotated[str, setting("What a token must be made for.", pattern=r"^[!-~]{1,200}$")] = (
        "edge-platform"
    )


def contradictions(oidc: OidcSettings, ldap: LdapSettings) -> Iterator[Violation]:
    """All that would make sign-in through a directory fail, or unsafe."""
    if oidc.enabled:
        yield from _oidc(oidc)
    if ldap.enabled:
        yield from _ldap(ldap)
    if oidc.enabled and ldap.enabled and oidc.groups_prefix == ldap.groups_prefix:
        why = "each would take the other's groups away"
        yield Violation("authentication.ldap.groupsPrefix", ldap.groups_prefix, why, "ldap:")


def _oidc(oidc: OidcSettings) -> Iterator[Violation]:
    at = "authentication.oidc"
    for key, url in (("issuerURL", oidc.issuer_url), ("redirectURL", oidc.redirect_url)):
        yield from _url(f"{at}.{key}", url, plain=oidc.insecure)
    if oidc.redirect_url and not urlsplit(oidc.redirect_url).path.endswith("/oauth/callback"):
        why = "the provider would send people where nobody waits for them"
        yield Violation(f"{at}.redirectURL", oidc.redirect_url, why, "https://HOST/oauth/callback")
    if not oidc.client_id:
        yield Violation(f"{at}.clientID", "", "the provider must know who asks", "the id it gave")
    if oidc.client_secret.reveal() in PUBLISHED:
        yield Violation(f"{at}.clientSecret", "***", "it is empty or printed in documents", "the secret")
    yield from _authority(at, oidc.certificate_authority)
    yield from _prefix(at, oidc.groups_prefix)


def _ldap(ldap: LdapSettings) -> Iterator[Violation]:
    at = "authentication.ldap"
    for key, value in (("host", ldap.host), ("baseDN", ldap.base_dn)):
        if not value:
            yield Violation(f"{at}.{key}", "", "the directory cannot be searched", "it is needed")
    if ldap.bind_dn and ldap.bind_password.reveal() in PUBLISHED:
        why = "it is empty or printed in documents; a bind without a password proves nothing"
        yield Violation(f"{at}.bindPassword", "***", why, "the password of bindDN")
    if ldap.insecure and (ldap.ldaps or ldap.port == LDAPS_PORT):
        yield Violation(f"{at}.insecure", "true", "the connection would use TLS", "false, or no ldaps")
    if ldap.insecure and ldap.certificate_authority:
        why = "certificateAuthority is set, and nothing would be checked with it"
        yield Violation(f"{at}.insecure", "true", why, "false")
    if 0 < ldap.check_every.s < 1:
        why = "the directory would be asked all the time"
        yield Violation(f"{at}.checkEvery", ldap.check_every, why, "1s or more; 0 for at a refresh alone")
    if ldap.grace.s > LONGEST_MAX_S:
        why = "whoever left would go on for as long as the directory can be kept from answering"
        yield Violation(f"{at}.grace", ldap.grace, why, "30d or less")
    for key, text in (("userFilter", ldap.user_filter), ("groupFilter", ldap.group_filter)):
        yield from _filter(f"{at}.{key}", text)
    yield from _authority(at, ldap.certificate_authority)
    yield from _prefix(at, ldap.groups_prefix)


def trust(authority: str) -> ssl.SSLContext:
    """Who is believed: the authority alone, in PEM, or the machine's. Raises ValueError when it is none."""
    try:
        return ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError as error:
        raise ValueError(f"it is no PEM certificate: {error}") from error


def _authority(at: str, authority: str) -> Iterator[Violation]:
    try:
        trust(authority)
    except ValueError as error:
        why = str(error)
        yield Violation(f"{at}.certificateAuthority", authority[:40], why, "-----BEGIN CERTIFICATE-----…")


def _filter(key: str, text: str) -> Iterator[Violation]:
    if not text:
        return
    try:
        LDAPFilter.from_string(text)
    except ValueError as error:
        yield Violation(key, text, f"it is no filter: {error}", "such as (objectClass=person)")


def _prefix(at: str, prefix: str) -> Iterator[Violation]:
    if not prefix.endswith(":") or prefix.startswith(FOREIGN_GROUP_PREFIXES):
        why = "groups from outside must be told from the platform's own"
        yield Violation(f"{at}.groupsPrefix", prefix, why, "a word and a colon, not system: or edge:")


def _url(key: str, text: str, *, plain: bool) -> Iterator[Violation]:
    parts = urlsplit(text)
    if not parts.hostname or parts.scheme not in ("https", "http"):
        yield Violation(key, text, "it is no address", "https://HOST[/PATH]")
    elif parts.scheme == "http" and not plain and not _is_loopback(parts.hostname):
        why = "whoever is on the way could sign in as anybody"
        yield Violation(key, text, why, "https://…, or insecure: true for trying things out")
    elif parts.query or parts.fragment or parts.username is not None:
        yield Violation(key, text, "it has more than host and path", "https://HOST[/PATH]")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
