"""docs/client.md: its example is run as it is printed, over TLS (G2, O14; issue 5 §2)."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.support.gateway import RunningGateway

from edge.iam.types import Category
from edge_kube.client import Client

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
NAME = "shelf-of-a-program"


async def test_the_example_of_the_page_works_as_it_stands(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(gateway.server.tls.ca)
    _, port = gateway.server.addresses[-1]
    env = {
        "EDGE_SERVER": f"https://localhost:{port}",
        "EDGE_TOKEN": await gateway.token(),
        "EDGE_CA": str(ca),
    }
    try:
        for _ in range(2):  # what is there already is fine
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program), env={"PATH": os.environ["PATH"], **env},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(), 120)
            said = out.decode()
            assert (process.returncode, err.decode()) == (0, ""), err.decode()
            assert "signed in as admin\n" in said
            assert "user ada" in said
            assert f"ADDED {NAME} box\n" in said
            assert re.search(r'^404 NotFound .*"nobody" not found', said, re.MULTILINE), said
            assert re.search(r"^\d+ pods in the host, \d+ in all$", said, re.MULTILINE)
            assert re.search(r"^\d+ operations under way$", said, re.MULTILINE)
        made = await kube.get(Category, NAME)
        assert made.spec.icon == "box"
    finally:
        await kube.delete(Category, NAME)
