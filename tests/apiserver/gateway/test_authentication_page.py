"""The commands of docs/authentication.md, as they stand (I12)."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

from tests.support.gateway import PASSWORD, RunningGateway
from tests.support.sessions import MINE

PAGE = Path(__file__).parents[3] / "docs" / "authentication.md"


async def test_the_commands_of_the_page_work_as_they_stand(gateway: RunningGateway) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S)
    script = "\n".join(blocks).replace("password=…", f"password={PASSWORD}")
    assert blocks
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "API": gateway.url.removeprefix("http://")},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    said = out.decode()
    assert process.returncode == 0, said
    assert '"user":"admin"' in said
    assert '"refresh_token"' in said
    assert '"kind":"SessionList"' in said
    left = (await gateway.get(MINE, token=await gateway.token())).json()["items"]
    assert len(left) == 1, "the page ends all others, and logs out of its own"
