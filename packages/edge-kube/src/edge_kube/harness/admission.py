"""Whether an API server asks the webhooks that were configured just now, or still those of before.

It hears of the configurations by a watch of its own, which cannot be asked. So one webhook more is configured
with those of the rooms: it looks at one ConfigMap that is never made. What is said of that one holds for all
webhooks of the configuration, which the API server takes in as a whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.errors import ApiError
from edge_kube.meta import ObjectMeta
from edge_kube.webhook import Author, PatchOps, Violation

_NAME = "edge-harness-looks-for-webhooks"
_SEEN: PatchOps = ({"op": "add", "path": "/data", "value": {"seen": "yes"}},)
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    text: str
    field: str = "data"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class LookingWebhook:
    """answer: refuses with this text once its defaults were asked too; another text for each start."""

    answer: str
    kind: type[ConfigMap] = ConfigMap
    stamp: None = None
    authorize: Callable[[Any, Any, Author], Awaitable[Sequence[str]]] | None = None
    warn: None = None
    retain: None = None
    retain_if: str = ""
    conditions: Mapping[str, str] = field(
        default_factory=lambda: {
            "is-looked-for": f"has(object.metadata.name) && object.metadata.name == '{_NAME}'"
        }
    )
    going: str = ""
    failure_policy: Literal["Fail", "Ignore"] = "Fail"

    def default(self, page: ConfigMap) -> PatchOps:
        return _SEEN

    def validate(self, page: ConfigMap, old: ConfigMap | None) -> Sequence[Violation]:
        return (_Refusal(self.answer if page.data else "not defaulted yet"),)


async def until_asked(client: Client, webhook: LookingWebhook) -> None:
    """Until the API server asks this one, and with it those beside it. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while webhook.answer not in await _said(client):  # noqa: ASYNC110 - it changes there, not here
            await asyncio.sleep(0.02)


async def until_asked_no_more(client: Client) -> None:
    """Until the API server asks none. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while await _said(client):  # noqa: ASYNC110 - it changes there, not here
            await asyncio.sleep(0.02)


async def _said(client: Client) -> str:
    """Why a dry run of the ConfigMap is refused; empty when it is not."""
    page = ConfigMap(metadata=ObjectMeta(name=_NAME, namespace="default"))
    try:
        await client.create(page, manager="test", dry_run=True)
    except ApiError as error:
        return str(error)
    return ""
