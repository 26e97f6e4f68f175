"""Trails on a real disk: a writer in this process, records to write, and tools that damage files."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.audit.folder import Folder
from edge.audit.record import INTENT, OUTCOME, Actor, Asked, Record
from edge.audit.retention import Limits
from edge.audit.trail import Trail
from edge.audit.writer import Writer

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOMY = Limits(refuse_ratio=1.1)
"""Never full, however full the machine that tests run on."""


def intent(name: str = "web", *, user: str = "ada", now_ms: int = 1_700_000_000_000) -> Record:
    return Record(
        id=secrets.token_hex(16),
        phase=INTENT,
        time=now_ms,
        began=now_ms,
        actor=Actor(user=user, groups=("ops",)),
        req=Asked(
            verb="create", group="apps", version="v1", resource="deployments", namespace="press", name=name
        ),
        scope="namespace/press",
    )


def outcome(of: Record, code: int = 201) -> Record:
    return Record(
        id=of.id,
        phase=OUTCOME,
        time=of.time + 5,
        began=of.began,
        actor=Actor(user=of.actor.user),
        req=of.req,
        scope=of.scope,
        code=code,
    )


@asynccontextmanager
async def trail(
    path: Path,
    chain: str = "gateway-1",
    limits: Limits = ROOMY,
    on_statement: Callable[[bytes], None] = lambda _: None,
) -> AsyncGenerator[Trail]:
    made = Trail(Writer(Folder(path), chain, KEY, limits, on_statement=on_statement), within_s=60)
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def change(to: Trail, name: str = "web", code: int = 201) -> Record:
    """One change: intent and outcome."""
    asked = intent(name)
    await to.begin(asked)
    to.finish(outcome(asked, code))
    return asked


def write_chain(path: Path, records: int, chain: str = "gateway-1", limits: Limits = ROOMY) -> None:
    """A closed chain with this number of records, two a change."""

    async def write() -> None:
        async with trail(path, chain, limits) as made:
            for number in range(records // 2):
                await change(made, f"web-{number}")
            if records % 2:
                await made.begin(intent("last"))

    asyncio.run(write())


def lines_of(path: Path) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes().rstrip(b"\0").split(b"\n")[:-1]
    return []
