"""Frames of one flush go out as one write (G4; console §5.4)."""

import asyncio

from edge.apiserver.watching.socket import JOINED_MAX_BYTES, Joined


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))


def test_what_is_written_while_joining_is_one_write_and_anything_else_goes_out_at_once() -> None:
    wire = Wire()
    joined = Joined(wire)
    joined.write(b"a")
    with joined.joining():
        joined.write(b"b")
        joined.write(b"c")
        assert wire.writes == [b"a"]
    joined.write(b"d")
    assert wire.writes == [b"a", b"bc", b"d"]


def test_no_more_is_held_back_than_a_bound_and_nothing_is_lost_when_sending_fails() -> None:
    wire = Wire()
    joined = Joined(wire)
    try:
        with joined.joining():
            joined.write(b"x" * (JOINED_MAX_BYTES + 1))
            assert len(wire.writes) == 1
            joined.write(b"y")
            raise TimeoutError
    except TimeoutError:
        pass
    assert wire.writes[1:] == [b"y"]
