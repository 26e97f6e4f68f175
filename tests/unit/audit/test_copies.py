"""Copies of signed statements, kept apart from the records: bounded, and a witness that is checked (O6)."""

import asyncio
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.trails import KEY, change, trail

from edge.audit import copies
from edge.audit.chain import GENESIS
from edge.audit.copies import all_lines, merged
from edge.audit.folder import Folder
from edge.audit.statements import CHECKPOINT, RETIRED, Signer, unchecked
from edge.audit.verify import verify


def signed(chain: str, count: int, first_ms: int = 1) -> list[bytes]:
    signer = Signer(KEY, chain)
    return [
        signer.sign(CHECKPOINT, seq=number, digest=GENESIS, time_ms=first_ms + number)
        for number in range(1, count + 1)
    ]


def test_the_newest_statements_of_each_chain_stay_and_none_is_there_twice() -> None:
    lines = signed("one", 9)
    kept = merged(merged({}, [*lines[:6], *signed("two", 1)]), lines[4:])
    assert [one.seq for one in unchecked(kept["one"].encode())] == [6, 7, 8, 9]
    assert [one.seq for one in unchecked(kept["two"].encode())] == [1]


def test_what_is_kept_is_bounded_and_the_chain_that_was_silent_longest_goes_first() -> None:
    kept = merged({}, signed("old", 1))
    for number in range(copies.CHAINS_MAX):
        kept = merged(kept, signed(f"chain-{number}", 4, first_ms=1000 + number))
    assert len(kept) == copies.CHAINS_MAX
    assert "old" not in kept
    signer = Signer(KEY, "wide")
    for number in range(30):
        heads = {f"chain-{number}-{other}": f"{other}:{'0' * 64}" for other in range(500)}
        kept = merged(kept, [signer.sign(CHECKPOINT, seq=number, digest=GENESIS, time_ms=9999, heads=heads)])
    assert sum(map(len, kept.values())) <= copies.BYTES_MAX


def written(path: Path) -> list[bytes]:
    """A chain of six records on disk; its signed statements, as they left the machine."""
    lines: list[bytes] = []

    async def write() -> None:
        async with trail(path, on_statement=lines.append) as made:
            for _ in range(3):
                await change(made)

    asyncio.run(write())
    return all_lines(merged({}, lines))


def test_a_folder_that_was_emptied_does_not_pass_beside_the_copies(tmp_path: Path) -> None:
    anchors = written(tmp_path / "trail")
    keys = [KEY.public_key()]
    assert verify(Folder(tmp_path / "trail"), keys, anchors).broken is None
    shutil.rmtree(tmp_path / "trail")
    Folder(tmp_path / "trail").make()
    assert verify(Folder(tmp_path / "trail"), keys).broken is None
    assert "records up to 6 were removed" in str(verify(Folder(tmp_path / "trail"), keys, anchors).broken)


def test_a_forged_copy_excuses_nothing(tmp_path: Path) -> None:
    anchors = written(tmp_path / "trail")
    forger = Signer(Ed25519PrivateKey.generate(), "gateway-1")
    excuse = forger.sign(RETIRED, seq=6, digest=GENESIS, time_ms=1)
    for segment in (tmp_path / "trail").glob("*.log"):
        segment.unlink()
    report = verify(Folder(tmp_path / "trail"), [KEY.public_key()], [excuse])
    assert report.broken is not None
    altered = anchors[-1].replace(b'"seq":6', b'"seq":5')
    said = verify(Folder(tmp_path / "trail"), [KEY.public_key()], [altered]).broken
    assert "does not bear its signature" in str(said)
