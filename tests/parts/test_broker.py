"""The rules of brokers, and their snapshots."""

import json
import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from rules import ALICE, BOB, BOSS, CAROL, SUCCESS, Bench, answers, jobs

import stages.beyond.broker.topic
from stages.beyond import acks, broker
from stages.beyond.broker import Batch, Rules
from stages.beyond.broker.commands import Message
from stages.beyond.broker.topic import MessagesPiece
from stages.beyond.log import file as log


def test_a_message_that_is_held_too_long_goes_to_another_worker() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job("wash")
    bench.work(BOB)
    assert jobs(bench.batch(time=9.9)) == []
    assert bench.broker.due == 10.0
    assert jobs(bench.batch(time=10.0)) == [(BOB, "wash", True)]


def test_a_message_that_is_held_too_long_comes_again_to_the_only_worker() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.job("wash")
    for time in (10.0, 20.0, 30.0):
        assert jobs(bench.batch(time=time)) == [(ALICE, "wash", True)]


def test_a_message_that_all_workers_have_let_expire_comes_again_all_the_same() -> None:
    bench = Bench()
    for worker in (ALICE, BOB):
        bench.work(worker, prefetch=1)
    bench.job("wash")
    got = {jobs(bench.batch(time=time))[0][0] for time in (10.0, 20.0, 30.0)}
    assert got == {ALICE, BOB}


def test_a_hung_worker_does_not_get_its_message_back_while_the_others_are_busy() -> None:
    bench = Bench()
    for worker in (ALICE, BOB):
        bench.work(worker, prefetch=1)
    (first,) = jobs(bench.job("a"))
    (second,) = jobs(bench.job("b"))
    bench.time = 9.0
    healthy, hung = second[0], first[0]
    bench.say(healthy, "ack", index=1)
    assert jobs(bench.job("c")) == [(healthy, "c", False)]
    assert jobs(bench.batch(time=10.0)) == []  # "a" is overdue, and only the hung worker has room
    assert jobs(bench.job("d")) == [(hung, "d", False)]
    assert jobs(bench.say(healthy, "ack", index=2)) == [(healthy, "a", True)]


def test_a_worker_whose_message_was_taken_away_gets_the_next_one() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.work(BOB, prefetch=1)
    bench.job("a", "b", "c")
    sent = jobs(bench.batch(time=10.0))
    assert sorted(msg for _, msg, _ in sent) == ["a", "b"]  # each to the other one
    assert all(again for _, _, again in sent)


def test_a_late_acknowledgement_counts_whoever_has_the_message_now() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.job("wash")
    bench.work(BOB, prefetch=1)
    assert jobs(bench.batch(time=10.0)) == [(BOB, "wash", True)]
    bench.leaves(CAROL)
    assert jobs(bench.job("a", "b")) == [(ALICE, "a", False)]
    assert answers(late := bench.say(ALICE, "ack", index=0)) == [SUCCESS]
    assert jobs(late) == [(BOB, "b", False)]  # he has room now
    assert answers(bench.say(BOB, "ack", index=0))[0]["reason"] == "Nothing to acknowledge"
    bench.leaves(ALICE)
    bench.leaves(BOB)
    assert [msg for _, msg, _ in jobs(bench.work(CAROL))] == ["a", "b"]


def test_a_late_acknowledgement_counts_while_the_message_waits() -> None:
    bench = Bench()
    for worker in (ALICE, BOB):
        bench.work(worker, prefetch=1)
    (first,) = jobs(bench.job("a"))
    bench.time = 5.0
    bench.job("b")
    assert jobs(bench.batch(time=10.0)) == []
    assert answers(bench.say(first[0], "ack", index=0)) == [SUCCESS]
    assert answers(bench.say(first[0], "ack", index=0))[0]["reason"] == "Nothing to acknowledge"
    bench.leaves(ALICE)
    bench.leaves(BOB)
    assert [msg for _, msg, _ in jobs(bench.work(CAROL))] == ["b"]


def test_expired_work_of_a_worker_that_has_unsubscribed_goes_to_another() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job("wash")
    bench.say(ALICE, "unsubscribe")
    bench.work(BOB)
    assert jobs(bench.batch(time=10.0)) == [(BOB, "wash", True)]
    bench.say(BOB, "ack", index=0)
    assert bench.broker.topics["jobs"].workers.keys() == {BOB}


def test_the_time_never_goes_back() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.batch(time=100.0)
    bench.batch(time=50.0)
    bench.job("wash")
    bench.work(BOB)
    assert jobs(bench.batch(time=109.0)) == []
    assert jobs(bench.batch(time=110.0)) == [(BOB, "wash", True)]


def test_with_a_restart_a_new_time_begins() -> None:
    bench = Bench()
    bench.batch(time=100.0)
    bench.broker.carry_out(Batch(1.0, [], bench.broker.rules))  # as after a reboot
    bench.time = 1.0
    bench.work(ALICE)
    bench.job("wash")
    assert bench.broker.due == 11.0


@pytest.mark.parametrize("limit", [{"waiting_length": 2}, {"waiting_size": 7}])
def test_work_that_would_have_to_wait_where_too_much_waits_is_refused(
    limit: dict[str, int],
) -> None:
    bench = Bench(**limit)
    assert answers(bench.job("one", "two")) == [SUCCESS] * 2
    (refusal,) = answers(bench.job("three", id="a7"))
    assert refusal.pop("detail").endswith("of this topic wait")
    assert refusal == {"success": False, "reason": "Full", "id": "a7"}
    assert answers(bench.say(BOSS, "send", msg="news", delivery="all")) == [SUCCESS]
    assert jobs(bench.work(ALICE, prefetch=1)) == [(ALICE, "one", False), (ALICE, "news", False)]
    assert answers(bench.job("four")) == [SUCCESS]
    assert [
        each.index for _, each in bench.leaves(ALICE) + bench.work(BOB) if isinstance(each, Message)
    ] == [
        0,
        1,
        2,
        3,
    ]


def test_work_that_may_not_wait_goes_to_a_worker_that_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acks, "SLICE", 2)
    bench = Bench(waiting_length=0)
    bench.work(ALICE)
    bench.job(*"abcd")
    bench.work(BOB)
    urgent = {"command": "send", "topic": "jobs", "delivery": "one"}
    lines = [{**urgent, "msg": "e", "cache": False}, {**urgent, "msg": "f"}]
    said = b"\n".join(json.dumps(line).encode() for line in lines)
    sent = bench.batch((ALICE, None), (BOSS, said))
    assert [msg for _, msg, _ in jobs(sent)] == ["e"]  # the rest is still to be handed out
    assert answers(sent) == [SUCCESS] * 2
    slices = [[msg for _, msg, _ in jobs(bench.batch())] for _ in range(3)]
    assert slices == [["a", "b"], ["c", "d"], ["f"]]


def test_a_worker_that_wants_nothing_old_gets_nothing_old_when_another_leaves() -> None:
    bench = Bench()
    bench.work(BOB, prefetch=1)
    bench.job("0", "1", "2")
    assert jobs(bench.work(ALICE, cache=False)) == []
    assert jobs(bench.leaves(BOB)) == []
    assert jobs(bench.job("3")) == [(ALICE, "3", False)]
    assert [msg for _, msg, _ in jobs(bench.work(CAROL))] == ["0", "1", "2"]


def test_nothing_is_kept_of_who_has_let_a_message_expire_and_is_gone() -> None:
    bench = Bench()
    for worker in (ALICE, BOB):
        bench.work(worker, prefetch=1)
    bench.job("a")
    bench.batch(time=10.0)
    bench.batch(time=20.0)
    bench.leaves(ALICE)
    assert [list(lost_by) for lost_by in bench.broker.topics["jobs"].expired.values()] == [[BOB]]


def test_work_that_a_worker_is_ready_for_is_never_refused() -> None:
    bench = Bench(waiting_length=0)
    bench.work(ALICE)
    assert jobs(bench.job("wash")) == [(ALICE, "wash", False)]


def test_work_that_comes_back_is_kept_also_where_too_much_waits() -> None:
    bench = Bench(waiting_length=1)
    bench.work(ALICE)
    bench.job("a", "b", "c")
    bench.leaves(ALICE)
    assert [msg for _, msg, _ in jobs(bench.work(BOB))] == ["a", "b", "c"]


def test_a_worker_that_says_nothing_of_it_has_at_most_a_thousand_messages_in_flight() -> None:
    bench = Bench()
    bench.work(ALICE)
    assert len(jobs(bench.job(*map(str, range(1001))))) == 1000
    assert jobs(bench.say(ALICE, "ack", index=500)) == [(ALICE, "1000", False)]


def test_a_worker_that_acknowledges_no_longer_has_room_whatever_it_still_holds() -> None:
    bench = Bench()
    bench.work(ALICE)
    bench.job(*map(str, range(1001)))
    assert jobs(bench.say(ALICE, "subscribe")) == [(ALICE, "1000", False)]


def test_a_worker_that_dies_with_much_is_relieved_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acks, "SLICE", 3)
    bench = Bench()
    bench.work(ALICE)
    bench.job(*"abcdefgh")
    bench.work(BOB)
    slices = [jobs(bench.leaves(ALICE))]
    while bench.broker.due == bench.broker.now:
        slices.append(jobs(bench.batch()))
    handed_out = [[msg for _, msg, _ in each] for each in slices]
    assert handed_out == [[], ["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]


def test_new_work_does_not_overtake_what_is_still_to_be_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acks, "SLICE", 2)
    bench = Bench()
    bench.work(ALICE)
    bench.job(*"abcd")
    bench.work(BOB)
    bench.leaves(ALICE)
    sent = bench.job("e") + bench.batch() + bench.batch()
    assert [msg for _, msg, _ in jobs(sent)] == ["a", "b", "c", "d", "e"]


def test_nothing_of_a_client_that_is_gone_is_kept() -> None:
    bench = Bench()
    bench.work(ALICE, prefetch=1)
    bench.say(ALICE, "subscribe", topic="news")
    bench.job("a", "b")
    bench.leaves(ALICE)
    assert bench.broker.topics_of == {}
    for topic in bench.broker.topics.values():
        assert (len(topic.subscribers), len(topic.ready), topic.workers, len(topic.in_flight)) == (
            0,
            0,
            {},
            0,
        )


def test_acknowledging_in_a_topic_that_nobody_knows_makes_none() -> None:
    bench = Bench()
    assert (
        answers(bench.say(ALICE, "ack", topic="foo", index=0))[0]["reason"]
        == "Nothing to acknowledge"
    )
    bench.say(ALICE, "unsubscribe", topic="foo")
    assert bench.broker.topics == {}


def test_the_oldest_messages_of_both_kinds_are_evicted_while_work_has_no_limit_of_its_own() -> None:
    plain: broker.Broker[stages.beyond.broker.topic.Topic] = broker.Broker(Rules(cache_length=3))

    def say(client: int, **command: Any) -> list[Any]:
        line = json.dumps({"topic": "foo", **command}).encode()
        return [
            each
            for part in plain.carry_out(Batch(0.0, [(client, line)]))
            for _, what in part
            for each in what
        ]

    for n, delivery in enumerate(["one", "all", "one", "all", "one"]):
        say(BOSS, command="send", msg=str(n), delivery=delivery)
    answer, *messages = say(ALICE, command="subscribe", last_seen=-1)
    assert answer == {"success": True, "missed": 2}
    assert [message.msg for message in messages] == ["2", "3", "4"]
    say(ALICE, command="unsubscribe")
    assert plain.topics_of == {ALICE: {}}


def test_a_topic_has_a_name_of_at_most_255_characters() -> None:
    bench = Bench()
    assert answers(bench.say(ALICE, "subscribe", topic="x" * 255)) == [SUCCESS]
    assert (
        answers(bench.say(ALICE, "subscribe", topic="x" * 256))[0]["reason"]
        == "Malformed json message"
    )


def story(bench: Bench) -> list[Any]:
    """A bit of everything."""
    said: list[Any] = []
    for worker in (ALICE, BOB, CAROL):
        said += bench.work(worker, prefetch=worker)
        said += bench.say(worker, "subscribe", topic="news \ud800")
    said += bench.job(*"abcdefghij")
    said += bench.say(
        BOSS, "send", topic="news \ud800", msg="half a pair: \ud800", delivery="all", cache=True
    )
    said += bench.say(ALICE, "ack", index=0)
    said += bench.batch(time=11.0)
    said += bench.leaves(BOB)
    return said


def test_two_brokers_that_are_given_the_same_say_the_same() -> None:
    assert story(Bench()) == story(Bench())
    assert story(Bench()) != story(Bench(seed=43))


def restored(pieces: Iterable[Any]) -> Bench:
    copy = Bench(seed=0, ack_timeout=1.0, cache_length=0)
    for piece in pieces:
        copy.broker.restore(*log.decode(b"[%s]" % log.encode(piece), copy.broker.pieces))
    return copy


def state_of(made: acks.Broker) -> list[Any]:
    """The state, in an order that is always the same."""
    pieces = [msgspec.to_builtins(piece) for piece in made.snapshot()]
    messages = [
        (topic, each)
        for kind, topic, each_of in (p for p in pieces if p[0] == "messages")
        for each in each_of
    ]
    return sorted([*[piece for piece in pieces if piece[0] != "messages"], *messages], key=repr)


def test_a_broker_restored_from_a_snapshot_is_the_same() -> None:
    bench = Bench()
    story(bench)
    copy = restored(bench.broker.snapshot())
    copy.time = bench.time
    assert state_of(copy.broker) == state_of(bench.broker)
    assert story(copy) == story(bench)
    assert copy.batch(time=1000.0) == bench.batch(time=1000.0)


def test_a_snapshot_is_of_the_moment_when_it_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.beyond.broker.topic, "PIECE", 2)
    bench = Bench()
    story(bench)
    expected, snapshot = state_of(bench.broker), bench.broker.snapshot()
    pieces = [next(snapshot)]
    for n in range(20):  # every command changes a topic before it is copied, or after
        bench.say(
            CAROL,
            "send",
            topic="news \ud800" if n % 3 else f"news {n}",
            msg=f"later {n}",
            delivery="all",
        )
        bench.job(f"later {n}")
        bench.batch(time=12.0 + 5 * n)
        pieces += [piece for piece in [next(snapshot, None)] if piece is not None]
    pieces += list(snapshot)
    assert state_of(restored(pieces).broker) == expected


def test_whoever_goes_through_the_topics_by_hand_changes_no_snapshot() -> None:
    bench = Bench()
    story(bench)
    expected, snapshot = state_of(bench.broker), bench.broker.snapshot()
    for topic in bench.broker.topics.values():
        topic.next_index += 1
        topic.cache.clear()
    for name in bench.broker.topics:
        bench.broker.topics[name].waiting.clear()
    bench.broker.topics["jobs"].expired.clear()
    assert state_of(restored(snapshot).broker) == expected != state_of(bench.broker)


def test_a_piece_of_a_snapshot_is_neither_long_nor_large() -> None:
    bench = Bench(cache_length=5000)
    for n in range(2500):
        bench.say(BOSS, "send", topic="small", msg=str(n), delivery="all")
    for _ in range(5):
        bench.say(BOSS, "send", topic="large", msg="x" * 700_000, delivery="all")
    pieces = [each for each in bench.broker.snapshot() if isinstance(each, MessagesPiece)]
    assert [len(each.messages) for each in pieces if each.topic == "small"] == [1000, 1000, 500]
    assert [len(each.messages) for each in pieces if each.topic == "large"] == [2, 2, 1]


@pytest.mark.parametrize(("number", "lengths"), [(0, []), (6, [3, 3]), (7, [3, 3, 1])])
@pytest.mark.parametrize(("piece", "size"), [(3, 1000), (1000, 20)])
def test_messages_are_cut_into_pieces_after_so_many_or_so_much(
    number: int, lengths: list[int], piece: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.beyond.broker.topic, "PIECE", piece)
    monkeypatch.setattr(stages.beyond.broker.topic, "PIECE_SIZE", size)
    messages = [
        Message(topic="foo", msg="x" * 10, delivery="all", index=index) for index in range(number)
    ]
    assert [len(some) for some in stages.beyond.broker.topic.cut(messages)] == lengths


def test_a_pool_draws_among_its_clients_only() -> None:
    pool = stages.beyond.broker.topic.Pool([1, 2, 3])
    for client in (4, 4, 1):
        pool.add(client)
    for client in (2, 2, 5):
        pool.discard(client)
    rng = random.Random(42)
    assert {pool.draw(rng) for _ in range(100)} == set(pool.clients) == {1, 3, 4}
    assert (2 in pool, 4 in pool, len(pool)) == (False, True, 3)


def test_replays_share_one_copy_of_what_is_cached_wherever_they_begin() -> None:
    bench = Bench(cache_length=100)
    for number in range(5):
        bench.say(BOSS, "send", topic="news", msg=str(number), delivery="all")
    asked = [{"command": "subscribe", "topic": "news", "last_seen": seen} for seen in (0, 3, 4)]
    data = b"\n".join(json.dumps(each).encode() for each in asked)
    ((_, first), (_, second)) = [
        (clients, what)
        for clients, what in bench.broker.carry_out(Batch(0, [(ALICE, data)]))[1]
        if isinstance(what, stages.beyond.broker.topic.Tail)
    ]
    assert [message.index for message in first] == [1, 2, 3, 4]
    assert ([message.index for message in second], len(second), second[0].index) == ([4], 1, 4)
    assert first.messages is second.messages


def test_a_restored_broker_knows_what_its_cache_has_lost() -> None:
    bench = Bench(cache_length=2)
    for text in "abcde":
        bench.say(BOSS, "send", topic="news", msg=text, delivery="all")
    copy = restored(bench.broker.snapshot())
    (_, answer), *replay = copy.say(ALICE, "subscribe", topic="news", last_seen=0)
    assert answer == {"success": True, "missed": 2}
    assert [message.msg for _, message in replay] == ["d", "e"]


def test_a_full_cache_that_went_on_is_not_replayed_as_it_was() -> None:
    bench = Bench(cache_length=2)
    for text in "abc":
        bench.say(BOSS, "send", topic="news", msg=text, delivery="all")
        _, *replay = bench.say(ALICE, "subscribe", topic="news")
    assert [message.msg for _, message in replay] == ["b", "c"]


def test_the_first_brokers_snapshot_has_its_subscribers() -> None:
    first: broker.Broker[Any] = broker.Broker()
    copy: broker.Broker[Any] = broker.Broker()
    subscribe = b'{"command": "subscribe", "topic": "news"}'
    first.carry_out(Batch(0.0, [(ALICE, subscribe), (BOB, subscribe)]))
    for piece in first.snapshot():
        copy.restore(piece)
    copy.carry_out(Batch(0.0, [(ALICE, None)]))
    assert copy.topics["news"].subscribers.clients == [BOB]
    assert copy.topics_of == {BOB: {"news": None}}
