"""Somebody at a terminal, with `edge` and a home folder of their own."""

import asyncio
import os
import sys
from pathlib import Path

from tests.support.gateway import PASSWORD, PATIENCE_S, RunningGateway

EDGE = "import sys; from edge.cli.main import main; sys.exit(main())"


class Person:
    """`token` stands in EDGE_TOKEN when it is given."""

    def __init__(self, gateway: RunningGateway, home: Path, token: str = "", server: str = "") -> None:
        self.home = home
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "EDGE_SERVER": server or gateway.url}
        if token:
            self.env["EDGE_TOKEN"] = token

    @property
    def kept(self) -> Path:
        """What login writes."""
        return self.home / ".config" / "edge" / "session.json"

    async def start(self, *words: str, stderr: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", EDGE, *words), env=self.env,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=stderr,
        )  # fmt: skip

    async def types(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, output, errors."""
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 2 * PATIENCE_S)
        assert "Traceback" not in err.decode(), err.decode()
        return process.returncode or 0, out.decode(), err.decode()

    async def gets(self, *words: str, stdin: str = "") -> str:
        code, out, err = await self.types(*words, stdin=stdin)
        assert code == 0, err
        return out

    async def signs_in(self, user: str = "admin") -> None:
        await self.gets("login", "-u", user, "--password-stdin", stdin=PASSWORD + "\n")


def path_with_edge(folder: Path) -> str:
    """A PATH on which `edge` is the command line of this checkout."""
    folder.mkdir(exist_ok=True)
    shim = folder / "edge"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{EDGE}" "$@"\n')
    shim.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"
