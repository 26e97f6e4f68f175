"""Names of objects that come as protobuf (O6)."""

from hypothesis import given
from hypothesis import strategies as st

from edge.audit.protobuf import MAGIC, object_name


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


def sent(meta: bytes, before: bytes = b"") -> bytes:
    """As kubectl sends an object: its kind, then itself."""
    kind = field(1, field(1, b"v1") + field(2, b"ConfigMap"))
    return MAGIC + kind + field(2, before + field(1, meta))


def test_the_name_of_a_created_object_is_found() -> None:
    assert object_name(sent(field(1, b"web") + field(3, b"press"))) == "web"
    numbers = b"\x38\x96\x01" + b"\x09" + bytes(8) + b"\x0d" + bytes(4)
    assert object_name(sent(field(2, b"web-") + numbers + field(1, b"web"))) == "web"


def test_without_a_name_or_an_envelope_there_is_none() -> None:
    assert object_name(sent(field(2, b"web-"))) == ""
    assert object_name(b'{"metadata":{"name":"web"}}') == ""
    assert object_name(sent(field(1, b"we\x00b"))) == ""
    assert object_name(sent(field(1, b"\xff\xfe"))) == ""


@given(st.binary(max_size=200))
def test_nothing_that_is_sent_breaks_it(body: bytes) -> None:
    assert isinstance(object_name(MAGIC + body), str)
    whole = sent(field(1, b"web"))
    assert object_name(whole[: len(body)]) in ("", "web")
