"""How people and programs are known: keys, tokens, sessions, accounts, kubeconfigs, lock-outs, clients."""

from collections.abc import Sequence

from edge.apiserver.callers.identity import Authenticator, People
from edge.apiserver.callers.keys import SigningKeys
from edge.apiserver.callers.kubeconfigs import Kubeconfigs
from edge.apiserver.federation.accounts import ServiceAccounts
from edge.apiserver.federation.linking import Linking
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.mirrors.store import Listener
from edge.apiserver.oauth.setup import OAuth
from edge.apiserver.proofs import Proofs
from edge.apiserver.rights.picture import Rights
from edge.apiserver.sessions.store import Lives, Sessions
from edge.apiserver.signin.lockouts import Lockouts
from edge.apiserver.wiring.ground import Ground
from edge.iam.tokens import Tokens
from edge_kube.meta import Key


class Recognition:
    """`load` the keys first; then `follow` what is known of people; then `run` what looks after it."""

    def __init__(self, ground: Ground, rights: Rights) -> None:
        self._ground = ground
        self._rights = rights
        self.people = People()
        self.kubeconfigs = Kubeconfigs(
            ground.client,
            ground.namespace,
            ground.open_streams.look,
            clock=ground.clock,
            relist_s=ground.relist_s,
        )
        self.keys = _keys(ground)
        jwt = ground.settings.authentication.jwt
        self.tokens = Tokens(self.keys.ring, issuer=jwt.issuer, lifetime_s=jwt.expire.s)
        self.sessions = _sessions(ground, self.tokens, self.people)
        self.lockouts = Lockouts(
            ground.settings.authentication.lockout.rules,
            lambda: self.tokens.ring.mark_key,
            ground.clock,
            lambda: filter(rights.is_admin, tuple(rights.index.users)),
        )
        of_accounts = ground.settings.authentication.service_accounts
        self.accounts = ServiceAccounts(
            ground.client,
            audience=of_accounts.audience,
            is_admin=rights.is_admin,
            streams=ground.open_streams,
            clock=ground.clock,
        )
        self.authenticator = Authenticator(
            self.tokens,
            self.people,
            rights.is_admin,
            self.kubeconfigs.check,
            self.sessions,
            self.accounts if of_accounts.enabled else None,
        )
        self.oauth = OAuth(ground.client, ground.settings, self.people, self.sessions, ground.clock)
        self.proofs = Proofs(rights, self.sessions.live, self.kubeconfigs, self.oauth.clients)

    @property
    def mirrors(self) -> Sequence[Mirror]:
        """Without them nobody is known."""
        return (self.kubeconfigs.mirror, self.sessions.live.mirror, self.oauth.clients.mirror)

    async def load(self) -> None:
        """Raises KubeError."""
        self.keys.changed = self._keys_changed
        self.tokens.ring = await self.keys.load()
        if self.keys.problem:
            self._ground.measures.jwt_secret_weak.labels(self.keys.problem).set(1)

    def follow(self) -> None:
        spawn = self._ground.background.spawn
        spawn(self.kubeconfigs.mirror.run())
        spawn(self.kubeconfigs.run())
        for work in self.oauth.work():
            spawn(work)
        spawn(self.sessions.live.mirror.run())

    def run(self) -> None:
        spawn = self._ground.background.spawn
        spawn(self.keys.run())
        spawn(self.sessions.keeper.run())
        spawn(self.accounts.run())

    def linking(self) -> Linking:
        """Who of another directory is whom here."""
        return Linking(self._ground.client, self.people, self._rights.index.is_bound)

    def around_users(self, feed: Listener | None) -> Listener:
        """Who they are is told before what they may: a stream that is looked at again asks for both."""

        def changed(key: Key, old: bytes | None, new: bytes | None) -> None:
            self.people.user_changed(key, new)
            self.lockouts.user_changed(self.people.user(key.name))
            if feed is not None:
                feed(key, old, new)
            self._ground.open_streams.look(key.name)

        return changed

    def around_login_records(self, _: Listener | None) -> Listener:
        return self.lockouts.recorded

    def _keys_changed(self) -> None:
        self.tokens.ring = self.keys.ring
        self.authenticator.forget()
        self._ground.open_streams.look_at_all()  # the key behind a stream may be one that was removed


def _keys(ground: Ground) -> SigningKeys:
    jwt = ground.settings.authentication.jwt
    return SigningKeys(
        ground.client,
        ground.namespace,
        jwt.secret,
        clock=ground.clock,
        keep_s=max(jwt.expire.s, ground.settings.kubeconfig.max_ttl.s),
        relist_s=ground.relist_s,
    )


def _sessions(ground: Ground, tokens: Tokens, people: People) -> Sessions:
    of = ground.settings.authentication.session
    return Sessions(
        ground.client,
        ground.namespace,
        tokens=tokens,
        people=people,
        look=ground.open_streams.look,
        clock=ground.clock,
        lives=Lives(idle_s=of.idle.s, longest_s=of.longest.s, per_user=of.per_user),
        relist_s=ground.relist_s,
    )
