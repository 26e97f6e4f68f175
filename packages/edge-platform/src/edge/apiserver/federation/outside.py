"""A name and a password that are no local user's: asked of the directory (I13).

Every attempt that no local user passes goes to the directory or through the same steps there, so that neither
time nor an outage tells whether a name is a local user's. A password of a local user is never sent out.
"""

from dataclasses import dataclass

import structlog

from edge.apiserver.configuration.federation import LdapSettings
from edge.apiserver.federation.directory import PROVIDER, Directory
from edge.apiserver.federation.linking import Linking, LinkRefused, Prefixes
from edge.apiserver.federation.wire import DirectoryDown
from edge.iam.types import User
from edge_kube.errors import KubeError

LOCAL = "local"
SUCCEEDED = "Succeeded"
DIRECTORY_DOWN = "DirectoryDown"

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Verdict:
    """user: whom the attempt was about, None for nobody known. reason: SUCCEEDED, or why not, as one word."""

    user: User | None
    reason: str
    provider: str = LOCAL


class Outside:
    def __init__(self, directory: Directory, linking: Linking, prefixes: Prefixes) -> None:
        self._directory = directory
        self._linking = linking
        self._prefixes = prefixes

    async def instead(self, name: str, password: str, local: Verdict) -> Verdict:
        """What the directory says, after the local users said no. A local user with a password stays one."""
        try:
            if local.user is not None and local.user.spec.encrypted_password:
                await self._directory.ask_for_nobody()
                return local
            return await self._asked(name, password, local)
        except DirectoryDown:
            return Verdict(local.user, DIRECTORY_DOWN, local.provider)

    async def _asked(self, name: str, password: str, local: Verdict) -> Verdict:
        identity = await self._directory.identify(name, password)
        if identity is None:
            return local
        try:
            user = await self._linking.user_for(identity, self._prefixes)
        except LinkRefused as refused:
            log.warning("sign_in_not_linked", provider=PROVIDER, name=identity.name, why=str(refused))
            return Verdict(refused.user, refused.reason, PROVIDER)
        except KubeError as error:
            log.warning("user_not_stored", provider=PROVIDER, name=identity.name, error=str(error))
            return Verdict(None, DIRECTORY_DOWN, PROVIDER)
        return Verdict(user, SUCCEEDED, PROVIDER)


def outside_users(ldap: LdapSettings, linking: Linking) -> Outside | None:
    """None where no directory is used."""
    if not ldap.enabled:
        return None
    return Outside(Directory(ldap), linking, Prefixes(ldap.username_prefix, ldap.groups_prefix))
