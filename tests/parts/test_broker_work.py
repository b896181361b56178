"""The rules of work: who may have a message that another has had, and what is kept of it."""

import json
from typing import Any

import msgspec
import pytest
from rules import ALICE, BOB, BOSS, CAROL, SUCCESS, Bench, answers, jobs

from stages.beyond import acks
from stages.beyond.broker import Batch, Rules


def restart(bench: Bench, **settings: Any) -> None:
    """As when the server is started again. Its clients get the same numbers as those before."""
    rules = msgspec.structs.replace(bench.broker.rules, **settings)
    bench.broker.carry_out(Batch(bench.time, [], rules))


def refusals(sent: list[tuple[int, Any]]) -> list[str]:
    return [answer["reason"] for answer in answers(sent) if not answer["success"]]


def test_a_worker_that_has_seen_something_does_not_get_it_when_another_leaves() -> None:
    bench = Bench()
    bench.work(BOB)
    bench.job("0", "1", "2")
    assert jobs(bench.work(ALICE, last_seen=1)) == []
    bench.leaves(BOB)
    assert jobs(bench.batch()) == [(ALICE, "2", True)]


def test_who_let_work_expire_gets_all_of_it_again_when_nobody_else_is_left() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=2)
    bench.job("a", "b")
    bench.time = 5.0
    bench.work(BOB, prefetch=1)
    assert jobs(bench.job("c")) == [(BOB, "c", False)]
    assert jobs(bench.batch(time=10.0)) == []  # Bob might come to it
    bench.say(BOB, "unsubscribe")
    assert jobs(bench.batch()) == [(ALICE, "a", True), (ALICE, "b", True)]


def test_who_is_gone_does_not_count_among_those_that_let_work_expire() -> None:
    bench = Bench()
    bench.work(CAROL, prefetch=1)
    bench.job("a")
    bench.work(ALICE, prefetch=1)
    assert jobs(bench.batch(time=10.0)) == [(ALICE, "a", True)]
    bench.say(CAROL, "unsubscribe")
    bench.time = 11.0
    bench.work(BOB, prefetch=1)
    assert jobs(bench.job("b")) == [(BOB, "b", False)]
    assert jobs(bench.batch(time=20.0)) == []  # Carol and Alice have had it, but not Bob


def test_after_a_restart_nobody_may_acknowledge_what_another_has_let_expire() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job("a")
    bench.batch(time=10.0)
    restart(bench)
    assert refusals(bench.say(ALICE, "ack", index=0)) == ["Nothing to acknowledge"]


def test_what_went_to_one_that_acknowledges_nothing_is_done() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.job("a")
    bench.say(BOB, "subscribe")
    assert jobs(bench.batch(time=10.0)) == [(BOB, "a", True)]
    assert refusals(bench.say(ALICE, "ack", index=0)) == ["Nothing to acknowledge"]


def test_work_is_refused_where_too_much_waits_unless_it_may_not_wait_anyway() -> None:
    bench = Bench(waiting_length=0)
    assert refusals(bench.job("a", cache=True)) == ["Full"]
    assert answers(bench.job("b", cache=False)) == [SUCCESS]


def test_a_worker_gets_what_waits_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "SLICE", 3)
    bench = Bench()
    bench.job(*"abcdefgh")
    slices = [jobs(bench.work(ALICE))]
    while bench.broker.due == bench.broker.now:
        slices.append(jobs(bench.batch()))
    assert [[msg for _, msg, _ in each] for each in slices] == [
        list("abc"),
        list("def"),
        ["g", "h"],
    ]


def test_work_that_nobody_may_have_is_passed_over_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acks, "SLICE", 3)
    bench = Bench()
    bench.work(ALICE, prefetch=4)
    bench.job(*"abcd")
    bench.time = 5.0
    bench.work(BOB, prefetch=1)
    bench.job("e")
    assert jobs(bench.batch(time=10.0)) == []  # Alice may not have it again, and Bob is busy
    for _ in range(5):
        bench.batch()
    assert bench.broker.due == 15.0  # nothing is left to do until then


def test_work_of_two_that_leave_at_once_comes_back_in_order() -> None:
    bench = Bench()
    for worker in (ALICE, BOB):
        bench.work(worker, prefetch=1)
    bench.job("a", "b")
    bench.work(CAROL)
    (held,) = bench.broker.topics["jobs"].workers[ALICE].in_flight
    first, second = (ALICE, BOB) if held == 0 else (BOB, ALICE)
    sent = bench.batch((first, None), (second, None)) + bench.batch()
    assert jobs(sent) == [(CAROL, "a", True), (CAROL, "b", True)]


def test_who_has_unsubscribed_and_finished_is_forgotten() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job("a")
    bench.say(ALICE, "unsubscribe")
    bench.say(ALICE, "ack", index=0)
    assert bench.broker.topics["jobs"].workers == {}
    assert bench.broker.topics_of == {ALICE: {}}


def test_a_topic_has_one_alarm_however_much_is_in_flight() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job(*"abc")
    assert bench.broker.alarms.heap == [(10.0, "jobs")]


def test_a_restart_may_bring_other_limits() -> None:
    bench = Bench()
    limits: Any = {"ack_timeout": 1.0, "waiting_length": 2, "waiting_size": 3, "cache_length": 4}
    restart(bench, **limits)
    assert bench.broker.rules == Rules(seed=42, **limits)


def test_what_is_in_flight_is_told_by_worker() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.job("a", "b")
    kept = bench.broker.kept()["jobs"]
    assert {client: [each.msg for each in has] for client, has in kept.in_flight.items()} == {
        ALICE: ["a"]
    }
    assert [each.msg for each in kept.messages] == ["b"]


async def test_a_server_has_one_timer_and_none_at_the_end() -> None:
    server = acks.Server()
    async with server:
        for client, line in [
            (ALICE, {"command": "subscribe", "topic": "jobs", "ack": True}),
            (BOSS, {"command": "send", "topic": "jobs", "msg": "a", "delivery": "one"}),
        ]:
            server.broker.carry_out(Batch(server.time(), [(client, json.dumps(line).encode())]))
        at_once: Any = server.sequencer
        at_once.set_timer()
        first = at_once.timer
        at_once.set_timer()
        last = at_once.timer
        assert first
        assert last
        assert first.cancelled()
        assert not last.cancelled()
    assert last.cancelled()
