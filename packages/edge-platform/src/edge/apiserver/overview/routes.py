"""`GET …/console.theriseunion.io/v1alpha1/overview?scope=S` (console §5.6)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edge.apiserver.answers import document, is_known, unchanged
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.openapi.operation import CONSOLE, Operation, Param
from edge.apiserver.overview.board import Overview
from edge.apiserver.overview.boards import overview_of
from edge.apiserver.overview.feed import OverviewFeed
from edge.apiserver.rights.sight import Eyes

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

OPERATIONS: Final = (
    Operation(
        "GET", f"{CONSOLE}/overview", "How all is: counts by state, a tile a cluster, what is wrong",
        "console", answer=Overview, name="getOverview",
        params=(Param("scope", "platform, cluster/C, workspace/W, …; the whole platform without it."),),
    ),
)  # fmt: skip


async def answer_overview(
    exchange: "Exchange", eyes: Eyes, collections: Mapping[tuple[str, str], Collection]
) -> web.StreamResponse:
    """Raises Forbidden, Problem (400), Unavailable."""
    feed = OverviewFeed(eyes, exchange.caller.caller.name, collections, exchange.target.first("scope"))
    live = await overview_of(feed)
    tag = f'W/"{live.hash}"'
    if is_known(exchange.request, tag):
        return unchanged(tag)
    response = document(live.overview)
    response.headers["ETag"] = tag
    return response
