"""Acks, pace, back-pressure and pings of the watch socket; no clock runs here (G3; console §5.4)."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.watching.conversation import Conversation, Stale
from edge.apiserver.watching.flow import DEAD_AFTER_S, SLOW_AFTER_S, Flow
from edge.apiserver.watching.protocol import (
    HEARTBEAT_S,
    UNACKED_MAX,
    Access,
    BadMessage,
    Have,
    Rows,
    Sub,
    read_message,
)
from edge.apiserver.watching.window import Row, Window
from edge_sdk.problem import Forbidden, Missing, Problem

ROWS = Rows("g", "v1", "things")


def window(*sizes: int) -> Window:
    rows = [Row(f"k{number}", (f"n{number}", "", ""), (size,)) for number, size in enumerate(sizes)]
    return Window(("size",), rows, len(rows))


def sent(talk: Conversation, now_s: float) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in talk.frames(now_s)]


def resize(shown: Window, size: int) -> None:
    shown.put("k0", Row("k0", ("n0", "", ""), (size,)))


def test_a_change_after_a_quiet_time_goes_out_at_once_and_the_next_ones_together() -> None:
    talk, shown = Conversation(0), window(1)
    talk.begin(1, ROWS)
    talk.opened(1, shown)
    assert [frame["t"] for frame in sent(talk, 0)] == ["snap"]
    resize(shown, 2)
    talk.woken(1)
    assert [frame["t"] for frame in sent(talk, 1)] == ["delta"]
    for size in (3, 4, 5):
        resize(shown, size)
        talk.woken(1)
    assert sent(talk, 1.1) == []
    assert talk.next_at_s(1.1) == 1.2
    (delta,) = sent(talk, 1.2)
    assert delta["set"] == [["k0", {"size": 5}]]
    assert talk.coalesced == 2


def test_a_hidden_page_gets_changes_every_five_seconds_but_answers_at_once() -> None:
    talk, shown = Conversation(0), window(1)
    talk.flow.pace = "hidden"
    talk.begin(1, ROWS)
    talk.opened(1, shown)
    talk.begin(2, ROWS)
    sent(talk, 0)
    talk.flow.flushed(0)
    resize(shown, 2)
    talk.woken(1)
    talk.opened(2, shown)
    assert [frame["t"] for frame in sent(talk, 0.3)] == ["snap"]
    assert sent(talk, 4.9) == []
    assert [frame["id"] for frame in sent(talk, 5.0)] == [1]


def test_nothing_is_sent_beyond_the_unacknowledged_limit_and_after_half_a_minute_it_is_over() -> None:
    talk, shown = Conversation(0), window(0)
    talk.begin(1, ROWS)
    talk.opened(1, shown)
    now_s = 0.0
    frames = 0
    for size in range(1, 100):
        resize(shown, size)
        talk.woken(1)
        frames += len(sent(talk, now_s))
        talk.flow.pong(now_s)
        now_s += 0.25
    assert frames == UNACKED_MAX
    full_since_s = (UNACKED_MAX - 1) * 0.25
    assert talk.flow.gives_up_at_s() == pytest.approx(full_since_s + SLOW_AFTER_S)
    assert talk.flow.acked(UNACKED_MAX, now_s)
    assert talk.flow.gives_up_at_s() > now_s + SLOW_AFTER_S
    (delta,) = sent(talk, now_s)
    assert delta["set"] == [["k0", {"size": 99}]]


def test_a_client_without_a_pong_is_dead_after_45_seconds() -> None:
    flow = Flow(100)
    assert not flow.wants_ping(100)
    assert flow.wants_ping(100 + HEARTBEAT_S)
    assert not flow.wants_ping(100 + HEARTBEAT_S)
    assert flow.gives_up_at_s() == 100 + DEAD_AFTER_S
    flow.pong(130)
    assert flow.gives_up_at_s() == 130 + DEAD_AFTER_S


@given(acks=st.lists(st.integers(-5, 80)))
def test_only_numbers_that_were_sent_can_be_acknowledged(acks: list[int]) -> None:
    flow = Flow(0)
    for _ in range(UNACKED_MAX):
        flow.next_seq(0)
    for seq in acks:
        assert flow.acked(seq, 1) == (0 <= seq <= UNACKED_MAX)
    assert flow.has_room == (max((seq for seq in acks if seq <= UNACKED_MAX), default=0) > 0)


def test_who_has_it_already_is_told_so_and_who_has_something_else_gets_all() -> None:
    talk, shown = Conversation(0), window(1, 2)
    for id_, have in ((1, Have(shown.rv, shown.hash)), (2, Have("7-other", "other")), (3, None)):
        talk.begin(id_, ROWS)
        talk.opened(id_, shown, have)
    frames = sent(talk, 0)
    assert [(frame["id"], frame["t"]) for frame in frames] == [(1, "same"), (2, "snap"), (3, "snap")]
    assert frames[0]["rv"] == frames[1]["rv"]


def test_the_rv_of_a_delta_is_enough_to_resume_on_another_replica() -> None:
    shown, other = window(1, 2), window(9, 2)
    resize(shown, 9)
    rv = json.loads(shown.delta(0))["rv"]
    assert rv.rpartition("-")[2] == other.hash


def test_nothing_that_was_worked_out_before_goes_out_while_rights_are_looked_at() -> None:
    talk, shown = Conversation(0), window(1)
    talk.begin(1, ROWS)
    talk.opened(1, shown)
    talk.begin(2, Access("workspace/a"))
    talk.access_is(2, "1")
    talk.held_back = True
    talk.ended(3, Missing("gone", what="It is gone"))
    assert [frame["t"] for frame in sent(talk, 0)] == ["end"]
    talk.held_back = False
    talk.access_is(2, "2")
    frames = sent(talk, 0)
    assert [frame["t"] for frame in frames] == ["access", "snap"]
    assert (frames[0]["scope"], frames[0]["etag"]) == ("workspace/a", "2")
    talk.access_is(2, "2")
    assert sent(talk, 1) == []


def test_other_rights_that_show_the_same_are_no_news() -> None:
    talk = Conversation(0)
    talk.begin(1, ROWS)
    talk.opened(1, window(1))
    sent(talk, 0)
    talk.replaced(1, window(1))
    assert sent(talk, 1) == []
    talk.replaced(1, window())
    assert [frame["rows"] for frame in sent(talk, 1)] == [[]]


def test_a_cluster_that_is_cut_off_is_told_once_and_its_return_brings_a_new_window() -> None:
    talk = Conversation(0)
    talk.begin(1, ROWS)
    talk.opened(1, window(1))
    sent(talk, 0)
    talk.stale(1, (Stale("east", 1763799000),))
    talk.stale(1, (Stale("east", 1763799000),))
    (stale,) = sent(talk, 1)
    assert (stale["t"], stale["cluster"], stale["since"]) == ("stale", "east", 1763799000)
    talk.woken(1)
    assert sent(talk, 2) == []
    talk.stale(1, ())
    assert [frame["t"] for frame in sent(talk, 3)] == ["fresh", "snap"]


def test_of_many_clusters_each_that_is_cut_off_is_told_and_the_limit_of_acks_holds() -> None:
    talk = Conversation(0)
    talk.begin(1, ROWS)
    talk.opened(1, window(1))
    gone = [Stale(f"site-{number:03}", 1763799000) for number in range(UNACKED_MAX + 10)]
    talk.stale(1, gone)
    first = sent(talk, 0)
    assert [frame["t"] for frame in first] == ["snap", *["stale"] * (UNACKED_MAX - 1)]
    assert talk.next_at_s(0) > 0, "nothing to come again for before the client acknowledges"
    assert talk.flow.acked(UNACKED_MAX, 1)
    rest = sent(talk, 1)
    told = [frame["cluster"] for frame in (*first[1:], *rest)]
    assert told == [one.cluster for one in gone]
    talk.flow.acked(talk.flow.seq, 2)
    talk.stale(1, gone[2:])
    assert [(frame["t"], frame.get("cluster")) for frame in sent(talk, 2)] == [
        ("fresh", "site-000"),
        ("fresh", "site-001"),
        ("snap", None),
    ]
    talk.stale(1, [one._replace(code="UpstreamTimeout") for one in gone[2:]])
    assert sent(talk, 3) == [], "told once, whatever it is called later"


def test_a_subscription_that_ends_while_frames_are_sent_takes_no_other_with_it() -> None:
    """A frame takes as long as its client needs to read it; the next ones may be of no interest by then."""
    talk = Conversation(0)
    for id_ in (1, 2, 3):
        talk.begin(id_, ROWS)
        talk.opened(id_, window(id_))
    frames = talk.frames(0)
    assert json.loads(next(frames))["id"] == 1
    talk.drop(2)
    assert [json.loads(frame)["id"] for frame in frames] == [3]
    shown = [window(1), window(2)]
    for id_, one in zip((1, 3), shown, strict=True):
        talk.opened(id_, one)
    sent(talk, 1)
    for id_, one in zip((1, 3), shown, strict=True):
        resize(one, 9)
        talk.woken(id_)
    frames = talk.frames(2)
    assert json.loads(next(frames))["id"] == 1
    talk.ended(3, Missing("gone", what="It is gone"))
    assert list(frames) == []
    assert [frame["t"] for frame in sent(talk, 3)] == ["end"]


def test_rights_that_change_while_frames_are_sent_hold_back_the_next_ones() -> None:
    talk, shown = Conversation(0), [window(1), window(1)]
    for id_, one in enumerate(shown):
        talk.begin(id_, ROWS)
        talk.opened(id_, one)
    sent(talk, 0)
    for id_, one in enumerate(shown):
        resize(one, 9)
        talk.woken(id_)
    frames = talk.frames(1)
    next(frames)
    talk.held_back = True
    assert list(frames) == []
    talk.replaced(1, window())
    talk.held_back = False
    assert [(frame["t"], frame["id"], frame["rows"]) for frame in sent(talk, 2)] == [("snap", 1, [])]


def test_news_that_come_while_the_last_frame_is_sent_are_not_forgotten() -> None:
    talk, shown = Conversation(0), window(1)
    talk.begin(1, ROWS)
    talk.opened(1, shown)
    sent(talk, 0)
    resize(shown, 2)
    talk.woken(1)
    frames = talk.frames(1)
    assert json.loads(next(frames))["set"] == [["k0", {"size": 2}]]
    resize(shown, 3)
    talk.woken(1)
    assert list(frames) == []
    (delta,) = sent(talk, 2)
    assert delta["set"] == [["k0", {"size": 3}]]


def test_ends_say_one_of_six_words_and_what_to_do() -> None:
    talk = Conversation(0)
    talk.ended(1, Forbidden("forbidden", what="No", do="ask"))
    unknown = {"column": "colour", "known": ["name", "age"]}
    talk.ended(2, Problem("unknown-column", what="There is no such column", params=unknown))
    talk.ended(3, Problem("bad-selector", what="Bad"))
    frames = sent(talk, 0)
    assert [frame["code"] for frame in frames] == ["Forbidden", "UnknownColumn", "BadRequest"]
    assert frames[0]["edge"]["code"] == "Forbidden"
    assert frames[0]["edge"]["do"] == "ask"
    assert frames[0]["edge"]["next"] == [{"kind": "ask", "value": "", "label": "ask"}]
    assert frames[1]["edge"]["params"] == unknown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"t":"nothing"}',
        '{"t":"ack"}',
        '{"t":"ack","seq":"1"}',
        '{"t":"ack","seq":1,"more":2}',
        '{"t":"pace","pace":"fast"}',
        '{"t":"sub","id":1,"what":{}}',
        '{"t":"sub","id":-1,"what":{"access":{}}}',
        '{"t":"sub","id":1,"what":{"access":{},"ops":{}}}',
        '{"t":"sub","id":1,"what":{"rows":{"group":"g"}}}',
        '{"t":"sub","id":1,"what":{"rows":{"group":"g","version":"v","resource":"r","limit":"x"}}}',
        '{"t":"sub","id":99999999999999999999,"what":{"access":{}}}',
        '{"t":"unsub","id":1e400}',
        "[" * 5000,
    ],
)
def test_a_message_that_breaks_the_protocol_is_refused_with_a_reason_that_fits_a_close_frame(
    text: str,
) -> None:
    with pytest.raises(BadMessage) as refused:
        read_message(text)
    assert 0 < len(str(refused.value)) <= 123


@given(data=st.one_of(st.text(), st.binary()))
def test_whatever_comes_is_read_or_refused(data: str | bytes) -> None:
    with contextlib.suppress(BadMessage):
        read_message(data)


def test_an_id_in_use_is_refused() -> None:
    talk = Conversation(0)
    message = read_message('{"t":"sub","id":1,"what":{"access":{"scope":"platform"}}}')
    assert isinstance(message, Sub)
    talk.begin(1, Access())
    with pytest.raises(BadMessage, match="in use"):
        talk.begin(1, Access())
