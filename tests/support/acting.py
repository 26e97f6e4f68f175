"""Who may act as whom (`kubectl --as`), granted by a role and a binding of their own."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from tests.support.gateway import IAM, Answer, RunningGateway
from tests.support.projected import binding

from edge.iam.types import IAMRole, IAMRoleSpec, PolicyRule
from edge_kube.client import Client
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

AT_PLATFORM = {IAM_SCOPE_LABEL: "platform", IAM_SCOPE_VALUE_LABEL: "global"}


async def let_act(
    gateway: RunningGateway,
    client: Client,
    who: str,
    *whom: str,
    at: Mapping[str, str] = AT_PLATFORM,
) -> str:
    """`who` may impersonate the users `whom`, or all; the name of the binding. at: labels of the scope."""
    rule = PolicyRule(
        verbs=("impersonate",), api_groups=("",), resources=("users",), resource_names=tuple(whom)
    )
    return await grant(gateway, client, who, rule, at=at)


async def grant(
    gateway: RunningGateway,
    client: Client,
    who: str,
    *rules: PolicyRule,
    at: Mapping[str, str] = AT_PLATFORM,
) -> str:
    """By a role and a binding of their own, which the gateway knows afterwards; their name.

    who: as `binding` takes subjects.
    """
    name = f"of-{who.replace(':', '-')}-{secrets.token_hex(3)}"
    meta = ObjectMeta(name=name, labels=at)
    await client.create(IAMRole(metadata=meta, spec=IAMRoleSpec(rules=rules)), manager="test")
    scope, value = at[IAM_SCOPE_LABEL], at[IAM_SCOPE_VALUE_LABEL]
    await client.create(binding(name, name, scope, value, who), manager="test")
    token = await gateway.token()
    await gateway.until(f"{IAM}/iamroles/{name}", 200, token=token)
    await gateway.until(f"{IAM}/iamrolebindings/{name}", 200, token=token)
    return name


def as_user(name: str) -> Mapping[str, str]:
    return {"Impersonate-User": name}


async def ask_as(
    gateway: RunningGateway, name: str, path: str, token: str, method: str = "GET", **options: Any
) -> Answer:
    """Asked again while rights are not proven, as happens on a busy machine."""
    async with asyncio.timeout(60):
        while True:
            answer = await gateway.ask(method, path, token=token, headers=as_user(name), **options)
            if answer.status != 503:
                return answer
