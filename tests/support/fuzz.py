"""Calls made up from the OpenAPI document, each sent to a running gateway: what it makes of them (G2)."""

import contextlib
import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.support.toldof import ToldOf

ANSWER_WITHIN_S: Final = 20.0
KNOWN: Final = 0.7
"""How often a path names things that there are: made up ones come no further than 404."""
LAST: Final[Mapping[str, int]] = {"get": 0, "post": 1, "put": 2, "patch": 3, "delete": 4}


@dataclass
class Tried:
    """statuses: how often each was the answer. bugs: one line for each answer that nobody declared.

    untold: one for each of the gateway's own that is another than the document says.
    """

    statuses: Counter[int] = field(default_factory=Counter[int])
    bugs: list[str] = field(default_factory=list[str])
    untold: list[str] = field(default_factory=list[str])

    @property
    def calls(self) -> int:
        return self.statuses.total()


class Fuzz:
    """token: asked again when a call has ended the session. known: path parameter → names of what there is.

    Blocks: run it in a thread.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        url: str,
        token: Callable[[], str],
        known: Mapping[str, Sequence[str]],
    ) -> None:
        self._schema = schemathesis.openapi.from_dict(dict(document))
        self._told_of = ToldOf(document)
        self._url = url
        self._new_token = token
        self._token = token()
        self._known = known
        self._session = requests.Session()
        self.tried = Tried()

    def run(self, *, valid: int, invalid: int) -> Tried:
        """valid, invalid: calls for each operation, by its schemas and against them."""
        for operation in self._operations():
            self._try(operation, GenerationMode.POSITIVE, valid)
            with contextlib.suppress(Unsatisfiable):  # nothing about it could be wrong
                self._try(operation, GenerationMode.NEGATIVE, invalid)
        return self.tried

    def _operations(self) -> Iterable[Any]:
        """What takes things away comes last, whole collections at the very end."""
        found = [cast("Any", result).ok() for result in self._schema.get_all_operations()]
        return sorted(found, key=lambda one: (LAST[one.method], "{name}" not in one.path, one.path))

    def _try(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        chance = random.Random(zlib.crc32(operation.label.encode()))

        @seed(5)
        @settings(
            max_examples=examples,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            self._send(self._bounded(case, chance))

        one()

    def _bounded(self, case: Any, chance: random.Random) -> Any:
        """It names what there is, ends by itself, and leaves the others' accounts as they are."""
        for name in case.path_parameters or {}:
            if name in self._known and chance.random() < KNOWN:
                case.path_parameters[name] = chance.choice(self._known[name])
        query = dict(case.query) if isinstance(case.query, Mapping) else {}
        query.pop("watch", None)
        query.pop("follow", None)
        if case.method == "DELETE" and "/me/" not in case.path:
            query["dryRun"] = "All"
        case.query = query
        return case

    def _send(self, case: Any) -> None:
        try:
            answer = self._answer(case)
            if answer.status_code == 401:
                self._token = self._new_token()
                answer = self._answer(case)
        except (requests.Timeout, requests.ConnectionError) as error:
            self.tried.bugs.append(f"{case.method} {case.formatted_path}: no answer: {error!r}"[:600])
            return
        status = answer.status_code
        self.tried.statuses[status] += 1
        operation: Mapping[str, Any] = case.operation.definition.raw
        if "kubernetes" not in operation["tags"]:  # what a cluster answers is told of in general only
            kind, body = "".join(answer.headers.get("content-type", [])), answer.content
            if fault := self._told_of.fault(operation, status, kind, body):
                self.tried.untold.append(f"{case.method} {case.formatted_path}: {fault}")
        if status >= 500 and not (status in (503, 504) and _declares(case.operation, status)):
            text = answer.content[:300].decode(errors="replace")
            self.tried.bugs.append(f"{case.as_curl_command()[:900]}\n    → {status} {text}")

    def _answer(self, case: Any) -> Any:
        return case.call(
            base_url=self._url,
            session=self._session,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=ANSWER_WITHIN_S,
            allow_redirects=False,
        )


def _declares(operation: Any, status: int) -> bool:
    responses = operation.definition.raw["responses"]
    return str(status) in responses or "default" in responses
