"""Check a class of your own: by an exercise of the notebooks, by the shared tests, or both."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages import serve
from stages.beyond import acks, broker, cluster, fast, replies, slow_consumers
from stages.beyond.door.users import User
from stages.beyond.log.replica import Replica
from stages.lab.judging.claims import Claim, verdict
from stages.lab.judging.exercises import EXERCISES
from stages.lab.judging.shared_tests import NAMES, CannotJudge, run_tests
from stages.lab.workbench.background import launch
from stages.lab.workbench.lab import Lab
from stages.lab.workbench.reading import Text
from stages.settings import for_trial


async def check(
    server: type[Any] | Path, exercise: str | None = None, *, until: str | None = None
) -> Text:
    """Try a server, or a broker: a line for each claim, ✓ if it holds, else what was expected and
    what was got, and what may help.

    `server` is a class, or with `until` the path of a file that has a class `Server`. `exercise`
    names one of the notebooks' exercises. `until` names the last stage whose shared tests it is to
    pass: the very tests that `pytest` runs, found in the project's checkout. What cannot be checked
    is told in a sentence.
    """
    try:
        refuse_what_cannot_be_checked(server, exercise, until)
        if isinstance(server, Path):
            assert until  # else it was refused
            return verdict(await asyncio.to_thread(run_tests, server, until))
        served = with_broker(server, exercise)
        claims, tested = list[Claim](), list[Claim]()
        if exercise:
            claims = await asked_twice(lambda: try_exercise(served, exercise))
        if until:
            with TemporaryDirectory() as folder:
                created(served, folder)

            async def ask() -> list[Claim]:
                return await asyncio.to_thread(run_tests, served, until)

            # A skeleton breaks many, so only what extends a stage is worth asking twice.
            tested = await (asked_twice(ask) if exercise else ask())
    except CannotJudge as problem:
        return Text(str(problem), str(problem))
    if until:
        claims += summed_up(tested, "" if exercise else until)
    return verdict(claims)


def refuse_what_cannot_be_checked(server: Any, exercise: str | None, until: str | None) -> None:
    """Raise `CannotJudge` if there is nothing to check, or no class to check."""
    if exercise is None and until is None:
        raise CannotJudge(
            "Nothing was checked: expected an exercise, as in check(Mine, 'nack'), or a stage, as in check(Mine, until='acks')."
        )
    if exercise is not None and exercise not in EXERCISES:
        raise CannotJudge(
            f"There is no exercise {exercise!r}: expected one of {', '.join(EXERCISES)}."
        )
    if until is not None and until not in NAMES:
        raise CannotJudge(f"There is no stage {until!r}: expected one of {', '.join(NAMES)}.")
    if isinstance(server, Path):
        if exercise:
            raise CannotJudge("An exercise is for a class: expected one, not the path of a file.")
        return
    if isinstance(server, str):
        raise CannotJudge(f"check expects the path of a file: write check(Path({server!r}), …).")
    if not isinstance(server, type):
        raise CannotJudge(
            f"check expects a class: write check({type(server).__name__}, …), not check({type(server).__name__}(), …)."
        )
    is_part = issubclass(server, broker.Broker | Replica | User)
    method = inspect.unwrap(getattr(server, "handle_client", lambda: None))
    if not is_part and not inspect.iscoroutinefunction(method):
        raise CannotJudge(
            f"{server.__name__} is no server: expected a method `async def handle_client(self, reader, client)`, or a class that extends a stage's."
        )
    for name in coroutines(server):
        raise CannotJudge(
            f"{server.__name__}.{name} is a coroutine, and nobody would await it: write `def`, not `async def`."
        )
    beyond = exercise is not None and EXERCISES[exercise].stage.startswith("beyond.")
    if issubclass(server, Replica | User) and until:
        raise CannotJudge(
            f"{server.__name__} is no server: expected an exercise alone, without `until`."
        )
    if beyond and not is_part and not issubclass(server, replies.Server):
        raise CannotJudge(
            f"{exercise!r} is an exercise of a later lesson: expected a class that extends a `Broker`."
        )


def coroutines(server: type[Any]) -> list[str]:
    """The methods that are coroutines, and should be none: commands, and what is none in a stage
    that it extends."""
    plain = {name for base in server.__mro__[1:-1] for name in vars(base)} | set(
        filter(lambda command: isinstance(command, str), getattr(server, "commands", ()))
    )
    return [
        name
        for name, method in vars(server).items()
        if inspect.iscoroutinefunction(method)
        and name in plain
        and not inspect.iscoroutinefunction(getattr(super(server, server), name, None))
    ]


def with_broker(mine: type[Any], exercise: str | None) -> type[Any]:
    """The class itself, if it is a server; a server around it, if it is a broker; if it is a
    smaller part, a sound server that only carries it: it may be too wrong to serve with."""
    if issubclass(mine, Replica | User):
        return type("Server", (cluster.Server,), {"candidate": mine})
    if not issubclass(mine, broker.Broker):
        return mine
    stages = {
        fast.Broker: fast.Server,
        acks.Broker: acks.Server,
        broker.Broker: slow_consumers.Server,
    }
    stage = next(server for kind, server in stages.items() if issubclass(mine, kind))
    if exercise:
        tried_in = import_module(f"stages.{EXERCISES[exercise].stage}").Server
        if issubclass(tried_in, stage) and issubclass(mine, tried_in.broker_class):
            stage = tried_in
    return type("Server", (stage,), {"broker_class": mine})


def created(server: type[Any], folder: str) -> Any:
    """A server under the settings of a trial. Raises `CannotJudge` if its class wants more."""
    try:
        return for_trial(server, folder)
    except Exception as problem:
        own = serve.learners_frames(problem)
        told = serve.described(problem) if own else f"{type(problem).__name__}: {problem}"
        raise CannotJudge(
            f"{server.__name__} cannot be created: {told}. Expected a class that needs no arguments."
        ) from None


async def asked_twice(ask: Callable[[], Awaitable[list[Claim]]]) -> list[Claim]:
    """Ask once more if something does not hold. Where that makes a difference, a claim says so: it
    may be the machine, and not the class."""
    first = await ask()
    if all(claim.held for claim in first):
        return first
    held = {claim.text for claim in await ask() if claim.held}
    return [
        replace(claim, text=f"{claim.text} ({UNSURE})")
        if not claim.held and claim.text in held
        else claim
        for claim in first
    ]


UNSURE = "it did when asked again: run this once more, the machine may be busy"


async def try_exercise(server: type[Any], exercise: str) -> list[Claim]:
    claims: list[Claim] = []
    with TemporaryDirectory() as folder, launch(created(server, folder)) as lab:
        try:
            async for claim in EXERCISES[exercise].scenario(lab):
                claims.append(claim if claim.held else replace(claim, wire=wire_of(lab)))
        except Exception as problem:
            got = f"{type(problem).__name__}: {problem}"
            fault = serve.described(problem) if serve.learners_frames(problem) else ""
            claims.append(
                Claim("it runs to the end", "no exception", got, fault=fault, wire=wire_of(lab))
            )
    return claims


def wire_of(lab: Lab) -> tuple[str, ...]:
    return tuple(str(lab.diagram()).splitlines())


def summed_up(claims: list[Claim], stage: str) -> list[Claim]:
    """The claims of a stage one by one, and all others as one: they hold, or the first that does
    not and how many more."""
    own = [claim for claim in claims if claim.stage in (stage, "")]
    others = [claim for claim in claims if claim.stage not in (stage, "")]
    broken = sorted((claim for claim in others if not claim.held), key=lambda each: each.hardening)
    if broken:
        more = f" (and {len(broken) - 1} more)" if broken[1:] else ""
        own.append(replace(broken[0], text=f"{broken[0].text}{more}"))
    elif others:
        before = "of the stages before" if own else "of the stages"
        own.append(Claim(f"all {len(others)} claims {before} hold"))
    return own
