"""What the tests are given: the server under test, connections to it, and the record of what goes
over the wire."""

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import target
from matrix import MODULES, TARGET, speaks_json
from peer import Peer

from stages import serve
from stages.lab.pictures.record import Step
from stages.patience import patient
from stages.settings import trial_settings

Connect = Callable[[], Awaitable[Peer]]
Restart = Callable[[], Awaitable[Peer]]


@pytest.fixture
def transcript() -> list[Step]:
    """What has gone over the wire in this test."""
    return []


def next_name(transcript: list[Step]) -> str:
    return f"client {sum(step.kind == 'connect' for step in transcript) + 1}"


def new_server(stage: str, folder: Path) -> serve.Handler:
    server = importlib.import_module(MODULES[stage]).Server
    settings = trial_settings(server, str(folder))
    settings.pop("seed", None)  # other random choices each time
    made: serve.Handler = server(**settings)
    return made


@pytest.fixture
async def restart(
    stage: str, tmp_path: Path, transcript: list[Step], request: pytest.FixtureRequest
) -> AsyncIterator[Restart]:
    """Stops the server under test, if it runs, and starts another one in its place; returns a
    client of that one."""
    wanted = request.config.getoption("--target")
    if stage == TARGET and target.address_of(wanted):
        pytest.skip("a server that is running already cannot be restarted from here")
    async with AsyncExitStack() as running:

        async def restart() -> Peer:
            await running.aclose()
            if stage == TARGET:
                address = running.enter_context(target.serving(wanted, str(tmp_path)))
            else:
                server = new_server(stage, tmp_path)
                address = (
                    "127.0.0.1",
                    await running.enter_async_context(serve.listening(server, "127.0.0.1", 0)),
                )
            transcript.append(Step("restart", "server", "restarts"))
            name = next_name(transcript)
            json = stage == TARGET or speaks_json(stage)
            peer = await Peer.connect(*address, name, transcript, speaks_json=json)
            running.callback(peer.close)
            return peer

        yield restart


@pytest.fixture
async def address(
    stage: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[target.Address]:
    """Where the server under test listens. A stage that has stopped must have left nothing
    behind."""
    if stage == TARGET:
        with target.serving(request.config.getoption("--target"), str(tmp_path)) as address:
            yield address
        return
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: trouble.append(context))
    async with serve.listening(new_server(stage, tmp_path), "127.0.0.1", 0) as port:
        yield "127.0.0.1", port
    await only_this_task_is_left()
    assert trouble == []


async def only_this_task_is_left() -> None:
    if sys.platform == "win32":  # asyncio's own task that accepts ends a little later there
        with suppress(TimeoutError):
            async with asyncio.timeout(patient(5)):
                while len(asyncio.all_tasks()) > 1:
                    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def connect(
    address: target.Address, stage: str, transcript: list[Step], request: pytest.FixtureRequest
) -> AsyncIterator[Connect]:
    """Opens a connection to the server under test, as often as it is called."""
    json = speaks_json(request.config.getoption("--until") if stage == TARGET else stage)
    async with AsyncExitStack() as peers:

        async def connect() -> Peer:
            name = next_name(transcript)
            peer = await Peer.connect(*address, name, transcript, speaks_json=json)
            peers.callback(peer.close)
            return peer

        yield connect
