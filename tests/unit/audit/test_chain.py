"""The chain shows every change of a single record: removed, altered, moved, added (O6)."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.trails import KEY, ROOMY, lines_of, write_chain

from edge.audit.chain import BODY, GENESIS, line_of, link
from edge.audit.folder import Folder
from edge.audit.query import Query, search
from edge.audit.retention import Limits
from edge.audit.statements import RETIRED, Signer, last_hash, read_statements
from edge.audit.verify import verify

RECORDS = 21
SMALL = Limits(segment_bytes=2000, refuse_ratio=1.1)


@pytest.fixture(scope="module")
def written() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write_chain(Path(folder) / "trail", RECORDS)
        yield Path(folder) / "trail"


def damaged(written: Path, lines: list[bytes], to: Path) -> Folder:
    shutil.copytree(written, to)
    (segment,) = to.glob("*.log")
    segment.write_bytes(b"".join(line + b"\n" for line in lines))
    return Folder(to)


def test_an_untouched_chain_is_whole_and_its_end_is_signed(written: Path) -> None:
    report = verify(Folder(written))
    assert (report.broken, report.records, report.unsigned, report.chains) == (None, RECORDS, 0, 1)


@settings(max_examples=150)
@given(data=st.data())
def test_every_change_of_one_record_is_found_at_that_record(data: st.DataObject, written: Path) -> None:
    (segment,) = written.glob("*.log")
    lines = lines_of(segment)
    at = data.draw(st.integers(0, RECORDS - 1), label="record")
    how = data.draw(st.sampled_from(["remove", "alter", "swap", "repeat"]))
    expected = at + 1
    if how == "remove":
        del lines[at]
    elif how == "alter":
        place = data.draw(st.integers(0, len(lines[at]) - 1), label="byte")
        flip = data.draw(st.integers(1, 255), label="flip")
        new = lines[at][place] ^ flip
        if new in (0, 10):
            return  # tears the line in two: another test
        lines[at] = lines[at][:place] + bytes([new]) + lines[at][place + 1 :]
    elif how == "swap":
        other = data.draw(st.integers(0, RECORDS - 1), label="other")
        if other == at:
            return
        lines[at], lines[other] = lines[other], lines[at]
        expected = min(at, other) + 1
    else:
        lines.insert(at + 1, lines[at])
        expected = at + 2
    with tempfile.TemporaryDirectory() as folder:
        report = verify(damaged(written, lines, Path(folder) / "copy"))
    assert report.broken is not None
    assert (report.broken.chain, report.broken.seq) == ("gateway-1", expected), str(report.broken)


@pytest.mark.parametrize("cut", [b"\n", b"\0"])
def test_a_line_that_is_torn_in_two_is_found(written: Path, tmp_path: Path, cut: bytes) -> None:
    (segment,) = written.glob("*.log")
    lines = lines_of(segment)
    lines[4] = lines[4][:90] + cut + lines[4][91:]
    broken = verify(damaged(written, lines, tmp_path / "copy")).broken
    assert broken is not None
    assert broken.seq == 5


def test_what_was_done_is_told_by_name(written: Path, tmp_path: Path) -> None:
    (segment,) = written.glob("*.log")
    lines = lines_of(segment)
    altered = lines.copy()
    altered[6] = altered[6].replace(b'"user":"ada"', b'"user":"eve"')
    assert "record 7: it was altered" in str(verify(damaged(written, altered, tmp_path / "a")).broken)
    removed = lines[:6] + lines[7:]
    assert "record 7: it was removed" in str(verify(damaged(written, removed, tmp_path / "b")).broken)
    assert "up to 21 were removed" in str(verify(damaged(written, lines[:9], tmp_path / "c")).broken)


def test_a_chain_that_was_computed_anew_does_not_meet_its_signatures(written: Path, tmp_path: Path) -> None:
    (segment,) = written.glob("*.log")
    digest, forged = GENESIS, list[bytes]()
    for line in lines_of(segment):
        body = line[BODY:].replace(b'"user":"ada"', b'"user":"eve"')
        digest = link(digest, body)
        forged.append(line_of(digest, body)[:-1])
    broken = verify(damaged(written, forged, tmp_path / "copy")).broken
    assert broken is not None
    assert "not what was signed" in broken.why


def test_forged_and_dropped_signatures_are_found(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "a")
    signatures = tmp_path / "a" / "gateway-1.sig"
    signatures.write_bytes(signatures.read_bytes().replace(b'"seq":21', b'"seq":20'))
    assert "does not bear its signature" in str(verify(Folder(tmp_path / "a")).broken)
    shutil.copytree(written, tmp_path / "b")
    signatures = tmp_path / "b" / "gateway-1.sig"
    signatures.write_bytes(b"".join(signatures.read_bytes().splitlines(keepends=True)[1:]))
    assert "a statement before" in str(verify(Folder(tmp_path / "b")).broken)


def test_keys_that_came_with_the_folder_are_not_trusted_when_others_are_given(
    written: Path, tmp_path: Path
) -> None:
    shutil.copytree(written, tmp_path / "copy")
    other = Ed25519PrivateKey.generate().public_key()
    assert verify(Folder(tmp_path / "copy"), [KEY.public_key()]).broken is None
    assert "is not known" in str(verify(Folder(tmp_path / "copy"), [other]).broken)


def test_a_missing_segment_and_a_missing_chain_are_found(tmp_path: Path) -> None:
    write_chain(tmp_path / "t", 20, limits=SMALL)
    write_chain(tmp_path / "t", 4, "gateway-2")  # its first statement names the first chain's end
    segments = sorted((tmp_path / "t").glob("gateway-1.*.log"))
    assert len(segments) > 3
    assert verify(Folder(tmp_path / "t")).broken is None
    segments[1].rename(tmp_path / "away")
    assert "were removed" in str(verify(Folder(tmp_path / "t")).broken)
    for path in (tmp_path / "t").glob("gateway-1.*"):
        path.unlink()
    broken = verify(Folder(tmp_path / "t")).broken
    assert broken is not None
    assert (broken.chain, broken.seq) == ("gateway-1", 1)


def test_segments_whose_time_is_over_go_with_a_signed_statement(tmp_path: Path) -> None:
    write_chain(tmp_path, 20, limits=SMALL)
    segments = sorted(tmp_path.glob("*.log"))
    for path in segments[:2]:
        os.utime(path, (1, 1))
    search(Folder(tmp_path), Query(), lambda _user, _scope: True)
    assert len(list(tmp_path.glob("index/*"))) == len(segments)
    write_chain(tmp_path, 2, "gateway-2", ROOMY)
    assert sorted(tmp_path.glob("gateway-1.*.log")) == segments[2:]
    assert {path.stem for path in tmp_path.glob("index/*")} == {path.stem for path in segments[2:]}
    report = verify(Folder(tmp_path))
    assert report.broken is None
    assert report.retired > 0
    lines = (tmp_path / "gateway-1.sig").read_bytes().splitlines(keepends=True)
    said = list(read_statements(lines, [KEY.public_key()]))
    assert [one.kind for one in said][-2:] == ["retired", "retired"]
    segments[2].unlink()  # and one that nobody let go of
    assert verify(Folder(tmp_path)).broken is not None


@pytest.mark.parametrize(
    ("line", "part", "is_found"),
    [(3, BODY, False), (4, BODY, True), (5, BODY, True), (3, 0, True), (6, BODY, True)],
    ids=["over", "over, in between", "the last that is over", "h of the first", "kept"],
)
def test_a_file_may_begin_before_the_end_of_what_is_over(
    written: Path, tmp_path: Path, line: int, part: int, is_found: bool
) -> None:
    """Sinks do not end their files at the same record: one is left that begins at 3, and up to 5 all is over.
    Of what is over the first record alone is not covered by what was signed."""
    lines = lines_of(next(written.glob("*.log")))
    folder = damaged(written, lines[2:], tmp_path / "trail")
    (segment,) = folder.segments()
    segment.path.rename(folder.segment(segment.chain, 3).path)
    path = folder.statements(segment.chain)
    digest = bytes.fromhex(lines[4][:64].decode())
    Signer(KEY, segment.chain, last_hash(path.read_bytes())).keep(
        path, RETIRED, seq=5, digest=digest, time_ms=1
    )
    report = verify(folder)
    assert (report.broken, report.records) == (None, RECORDS - 3)
    altered = bytearray(lines[line - 1])
    altered[part + 5] = ord("0") if altered[part + 5] != ord("0") else ord("1")
    kept = [*lines[2 : line - 1], bytes(altered), *lines[line:]]
    folder.segment(segment.chain, 3).path.write_bytes(b"".join(one + b"\n" for one in kept))
    assert (verify(folder).broken is not None) is is_found
