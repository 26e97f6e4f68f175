"""OpenFGA with the population of a bench, in the model that it answers fastest of those that were tried.

Every permission of a role is written out at each scope for each user and team that is bound, so that a check
is a look-up there and in the scope above. With roles as data, as they are here, it answered 5 to 30 checks/s;
the price of writing them out is that a changed rule of a role rewrites the tuples of all its bindings.
"""

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.population import KINDS, VERBS, Ask

from edge.iam.index import Index
from edge.iam.rolebook import Role
from edge_kube.harness.processes import Process, free_port, tool

BATCH: Final = 100
Tuple = tuple[str, str, str]
"""user, relation, object."""


def permission(verb: str, group: str, resource: str) -> str:
    return f"can_{verb}_{KINDS.index((group, resource))}"


PERMISSIONS: Final = [permission(verb, *kind) for verb in VERBS for kind in KINDS]


class OpenFga:
    def __init__(self, url: str) -> None:
        self._url = url
        self.store = self._post("/stores", {"name": "bench"})["id"]
        self.model = self._post(f"/stores/{self.store}/authorization-models", MODEL)["authorization_model_id"]

    @property
    def check_url(self) -> str:
        return f"{self._url}/stores/{self.store}/check"

    def question(self, ask: Ask) -> bytes:
        who, scope, verb, group, resource = ask
        key = {"user": f"user:{who}", "relation": permission(verb, group, resource), "object": _object(scope)}
        return json.dumps({"tuple_key": key, "authorization_model_id": self.model}).encode()

    async def write(self, tuples: Sequence[Tuple]) -> None:
        parts = iter([tuples[start : start + BATCH] for start in range(0, len(tuples), BATCH)])

        def writer() -> None:
            for part in parts:
                keys = [{"user": user, "relation": relation, "object": obj} for user, relation, obj in part]
                self._post(f"/stores/{self.store}/write", {"writes": {"tuple_keys": keys}})

        await asyncio.to_thread(writer)

    def _post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@contextmanager
def openfga(folder: Path, engine: str, *flags: str) -> Generator[OpenFga]:
    """engine: memory or sqlite."""
    port = free_port()
    command: list[str | Path] = [
        tool("openfga"), "run", f"--http-addr=127.0.0.1:{port}", f"--grpc-addr=127.0.0.1:{free_port()}",
        "--playground-enabled=false", "--metrics-enabled=false", "--log-level=error", *flags,
    ]  # fmt: skip
    if engine == "sqlite":
        uri = f"file:{folder}/openfga.db"
        migrate = [tool("openfga"), "migrate", "--datastore-engine=sqlite", f"--datastore-uri={uri}"]
        subprocess.run(migrate, check=True, capture_output=True)
        command += ["--datastore-engine=sqlite", f"--datastore-uri={uri}"]
    process = Process("openfga", command, folder, {})
    try:
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(lambda: _answers(url), 30)
        yield OpenFga(url)
    finally:
        process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def tuples(index: Index) -> list[Tuple]:
    """All rights below the platform, as user, relation and object."""
    found: dict[Tuple, None] = {}
    for user, groups in index.users.items():
        found |= {(f"user:{user}", "member", f"team:{group}"): None for group in groups}
    for key in index.scopes.all("n"):
        found[_object(index.scopes.chain(key)[1]), "parent", _object(key)] = None
    allowed = {name: _allowed(role) for name, role in index.book.roles.items()}
    for binding in index.bindings.values():
        for subject in binding.subjects if binding.scope != "p" else ():
            one, there = _subject(subject), _object(binding.scope)
            found |= {(one, relation, there): None for relation in allowed[binding.role]}
    return list(found)


def _allowed(role: Role) -> set[str]:
    """Of the permissions that are asked about; a role for all of the platform is not."""
    if role.facts.scope not in ("workspace", "namespace"):
        return set()
    rules = [source.rule for source in role.rules()]
    return {
        permission(verb, rule.api_groups[0], rule.resources[0])
        for rule in rules
        for verb in rule.verbs
        if verb in VERBS
    }


def _subject(subject: str) -> str:
    kind, _, name = subject.partition(":")
    return f"user:{name}" if kind == "User" else f"team:{name}#member"


def _object(scope: str) -> str:
    letter, _, name = scope.split("/")
    return f"{'namespace' if letter == 'n' else 'workspace'}:{name}"


def _types() -> Iterable[dict[str, Any]]:
    direct: dict[str, Any] = {"this": {}}
    above = [
        {"tupleToUserset": {"tupleset": {"relation": "parent"}, "computedUserset": {"relation": one}}}
        for one in PERMISSIONS
    ]
    who = {"directly_related_user_types": [{"type": "user"}, {"type": "team", "relation": "member"}]}
    permissions = {"relations": dict.fromkeys(PERMISSIONS, who)}
    yield {"type": "user"}
    members = {"relations": {"member": {"directly_related_user_types": [{"type": "user"}]}}}
    yield {"type": "team", "relations": {"member": direct}, "metadata": members}
    yield {"type": "workspace", "relations": dict.fromkeys(PERMISSIONS, direct), "metadata": permissions}
    parent = {"parent": {"directly_related_user_types": [{"type": "workspace"}]}}
    yield {
        "type": "namespace",
        "relations": {
            "parent": direct,
            **{one: {"union": {"child": [direct, up]}} for one, up in zip(PERMISSIONS, above, strict=True)},
        },
        "metadata": {"relations": {**permissions["relations"], **parent}},
    }


MODEL: Final = {"schema_version": "1.1", "type_definitions": list(_types())}
