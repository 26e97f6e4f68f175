"""The client: `calls` are the gateway's own operations, `kinds` the platform's objects."""

from pathlib import Path

from edge_sdk.client.calls import Calls
from edge_sdk.client.http import Http, TokenSource
from edge_sdk.client.kinds import Kinds


class EdgeClient(Http):
    """As `Http`, with what the gateway offers."""

    def __init__(
        self,
        server: str,
        token: str | TokenSource = "",
        *,
        ca: str | Path = "",
        timeout_s: float = 30.0,
        tries: int = 4,
        wait_max_s: float = 30.0,
    ) -> None:
        super().__init__(server, token, ca=ca, timeout_s=timeout_s, tries=tries, wait_max_s=wait_max_s)
        self.calls = Calls(self)
        self.kinds = Kinds(self)
