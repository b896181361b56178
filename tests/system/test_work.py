"""`stages.client.work`: a worker that survives its server, and whose work survives it."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from stages import serve, wire
from stages.beyond import acks, durable
from stages.client import Client
from stages.client.work import work

HOST = "127.0.0.1"


async def test_a_job_is_acknowledged_when_the_body_has_ended() -> None:
    server = acks.Server()
    async with (
        serve.listening(server, HOST, 0) as port,
        await Client.connect(port, HOST) as boss,
        aclosing(work(port, "jobs", host=HOST)) as jobs,
    ):
        for text in ("wash", "feed"):
            await boss.send("jobs", text, delivery="one")
        assert (await anext(jobs))["msg"] == "wash"
        assert list(server.broker.topics["jobs"].in_flight) == [0]
        assert (await anext(jobs))["msg"] == "feed"
        assert list(server.broker.topics["jobs"].in_flight) == [1]
        await boss.send("jobs", "for all", delivery="all")
        assert (await anext(jobs))["msg"] == "for all"  # to be read, not to be acknowledged
        assert not server.broker.topics["jobs"].in_flight


async def test_if_the_body_raises_another_worker_gets_the_job() -> None:
    async with (
        serve.listening(acks.Server(), HOST, 0) as port,
        await Client.connect(port, HOST) as boss,
    ):
        await boss.send("jobs", "wash", delivery="one")
        with pytest.raises(ZeroDivisionError):
            async for _ in work(port, "jobs", host=HOST):
                raise ZeroDivisionError
        async with aclosing(work(port, "jobs", host=HOST)) as jobs:
            job = await anext(jobs)
        assert (job["msg"], job["redelivered"]) == ("wash", True)


async def test_it_leaves_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.client.work.SILENCE", 0.2)

    class Deaf:
        async def handle_client(self, reader: asyncio.StreamReader, client: object) -> None:
            await reader.read()

    async with (
        serve.listening(Deaf(), HOST, 0) as deaf,
        serve.listening(acks.Server(), HOST, 0) as sound,
        await Client.connect(sound, HOST) as boss,
    ):
        await boss.send("jobs", "wash", delivery="one")
        where = f"{HOST}:{deaf},{HOST}:{sound}"
        async with aclosing(work(where, "jobs", report=lambda told: None)) as jobs:
            assert (await anext(jobs))["msg"] == "wash"


async def test_it_takes_up_its_work_again_after_a_restart(tmp_path: Path) -> None:
    path, reports, done = str(tmp_path / "messages.db"), list[str](), list[str]()
    async with serve.listening(durable.Server(data=path), HOST, 0) as port:
        async with await Client.connect(port, HOST) as boss:
            for text in ("wash", "feed", "mow"):
                await boss.send("jobs", text, delivery="one")
        jobs = work(port, "jobs", host=HOST, longest_delay=0.05, report=reports.append)
        done.append((await anext(jobs))["msg"])
        done.append((await anext(jobs))["msg"])
    coming = asyncio.create_task(anext(jobs))
    async with serve.listening(durable.Server(data=path), HOST, port):
        done.append((await coming)["msg"])
        done.append((await anext(jobs))["msg"])
        await jobs.aclose()
    assert done == ["wash", "feed", "feed", "mow"]  # "feed" was not acknowledged
    assert reports[0].startswith(f"no connection to {HOST}:{port}, trying again in 0.")


async def test_a_job_that_another_has_done_meanwhile_is_reported_and_the_next_comes() -> None:
    reports: list[str] = []
    async with (
        serve.listening(acks.Server(ack_timeout=0.05), HOST, 0) as port,
        await Client.connect(port, HOST) as boss,
        await Client.connect(port, HOST) as faster,
        aclosing(work(port, "jobs", host=HOST, report=reports.append)) as jobs,
    ):
        await boss.send("jobs", "wash", delivery="one")
        await anext(jobs)
        await faster.subscribe("jobs", ack=True)
        await faster.ack(await faster.receive())
        await faster.unsubscribe("jobs")
        await boss.send("jobs", "feed", delivery="one")
        assert (await anext(jobs))["msg"] == "feed"
    assert reports == [
        "jobs 0 took so long that another was faster (the server says: Nothing to acknowledge "
        "(message 0 of this topic is not with you, or no longer))"
    ]


async def test_it_gives_up_after_the_attempts_allowed() -> None:
    async with serve.listening(acks.Server(), HOST, 0) as port:
        pass
    jobs = work(port, "jobs", host=HOST, attempts=1, longest_delay=0.01, report=lambda text: None)
    with pytest.raises(ConnectionError, match="after 1 attempts: "):
        await anext(jobs)


async def test_a_subscription_that_is_refused_is_an_error() -> None:
    async with serve.listening(acks.Server(), HOST, 0) as port:
        with pytest.raises(wire.Error, match="prefetch"):
            await anext(work(port, "jobs", host=HOST, prefetch=0))
