"""Verdicts that can be trusted: `check` in a notebook, `python -m stages.lab.judge` in a terminal."""

import ast
import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages import basic, caching, delivery, disconnects, wire
from stages.beyond import acks
from stages.lab import check
from stages.lab.judging.claims import Claim, around_difference, outcome, verdict
from stages.patience import patient

pytestmark = pytest.mark.slow


def test_a_claim_from_a_failed_test_is_broken_whatever_the_texts_say() -> None:
    claim = Claim("it holds", "the same", "the same", failed=True)
    assert not claim.held
    assert str(verdict([claim])).endswith("not yet")


def test_texts_are_cut_where_they_begin_to_differ() -> None:
    one, other = around_difference("a" * 500 + "b" * 500, "a" * 500 + "c" * 500)
    assert (one[:2], one[-2:], one.count("a")) == ("…a", "b…", 33)
    assert (other[:2], other[-2:], other.count("a")) == ("…a", "c…", 33)
    assert around_difference("ab", "ac") == ("ab", "ac")
    assert around_difference("a" * 300, "a" * 301) == ("…" + "a" * 99, "…" + "a" * 100)


def test_hardening_alone_does_not_make_a_server_unsolved() -> None:
    sound, hostile = Claim("sound"), Claim("hostile", failed=True, hardening=True)
    assert outcome([sound, hostile]) == "solved, but not hardened"
    assert outcome([Claim("sound", failed=True), hostile]) == "not yet"
    assert outcome([sound, Claim("hostile", hardening=True)]) == "solved"
    assert str(verdict([hostile, sound])).splitlines()[0] == "✓ sound"


class LosesOnBurst(basic.Server):
    """Delivers of each topic the first hundred messages, then every second one."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[str, int] = {}

    def deliver(self, message: wire.Command, recipients: Any) -> None:
        n = self.sent[message["topic"]] = self.sent.get(message["topic"], 0) + 1
        if n <= 100 or n % 2:
            super().deliver(message, recipients)


async def test_what_differs_only_late_is_found() -> None:
    told = str(await check(LosesOnBurst, until="basic"))
    assert "✗ messages arrive in the order sent: expected …" in told
    assert told.endswith("not yet")


class FailsToReplay(caching.Server):
    def unseen(self, command: wire.Command) -> list[wire.Command]:
        nothing: dict[str, list[wire.Command]] = {}
        return nothing["never heard of"]


async def test_an_exception_of_the_learners_is_told_with_its_line() -> None:
    told = str(await check(FailsToReplay, until="caching"))
    line = FailsToReplay.unseen.__code__.co_firstlineno + 2
    failed = f"your class failed: KeyError: 'never heard of' in FailsToReplay.unseen, line {line}"
    assert told.splitlines()[1] == f"    {failed}"
    assert told.splitlines()[2].startswith("    hint: Keep the messages of a topic")
    told = str(await check(FailsToReplay, "by_age"))
    assert f"    {failed}" in told.splitlines()


async def test_a_verdict_needs_no_source_of_a_test_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python 3.11's parser counts its depth for all threads together: when a server parses in one,
    it now and then fails in another."""

    def fails(source: str, filename: str = "", *rest: Any, **more: Any) -> Any:
        if filename == "source":  # as pytest names what it shows
            raise SystemError("AST constructor recursion depth mismatch")
        return real(source, filename, *rest, **more)

    real = ast.parse
    monkeypatch.setattr(ast, "parse", fails)
    told = str(await check(FailsToReplay, until="caching"))
    assert told.startswith("✗ a message waits for every late subscriber: ")


async def test_what_fails_in_the_tests_themselves_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise SystemError("out of order\nand more")

    monkeypatch.setattr("stages.lab.judging.shared_tests.Judge.pytest_runtest_logreport", fails)
    told = str(await check(basic.Server, until="basic"))
    assert told == "the tests themselves have failed: SystemError: out of order"


async def test_the_claims_of_earlier_stages_are_one_line() -> None:
    told = str(await check(delivery.Server, until="delivery")).splitlines()
    assert told[:2] == [
        "✓ one delivery reaches exactly one subscriber",
        "✓ one delivery is drawn uniformly",
    ]
    assert told[-2:] == ["✓ all 18 claims of the stages before hold", "solved"]
    told = str(await check(basic.Server, "unsubscribe", until="delivery")).splitlines()
    broken = [line for line in told if line.startswith("✗ one delivery")]
    assert broken[0].startswith("✗ one delivery reaches exactly one subscriber (and 4 more): ")


class WantsArguments(basic.Server):
    def __init__(self, colour: str) -> None:
        super().__init__()


class Plain:
    pass


@pytest.mark.parametrize(
    ("server", "what", "sentence"),
    [
        (basic.Server, {}, "Nothing was checked: expected an exercise"),
        (
            "mine.py",
            {"until": "basic"},
            "check expects the path of a file: write check(Path('mine.py')",
        ),
        (Path("mine.py"), {"exercise": "unsubscribe"}, "An exercise is for a class"),
        (
            Path("/nowhere/mine.py"),
            {"until": "basic"},
            "cannot load /nowhere/mine.py: FileNotFound",
        ),
        (basic.Server, {"exercise": "cooking"}, "There is no exercise 'cooking': expected one of"),
        (basic.Server, {"until": "cooking"}, "There is no stage 'cooking': expected one of basic,"),
        (basic.Server(), {"until": "basic"}, "check expects a class: write check(Server, …), not"),
        (Plain, {"until": "basic"}, "Plain is no server: expected a method `async def handle_cl"),
        (WantsArguments, {"until": "basic"}, "WantsArguments cannot be created: TypeError: "),
        (WantsArguments, {"exercise": "no_echo"}, "WantsArguments cannot be created: TypeError: "),
        (basic.Server, {"exercise": "nack"}, "'nack' is an exercise of a later lesson: expected"),
    ],
)
async def test_what_cannot_be_checked_is_told_in_a_sentence(
    server: Any, what: Any, sentence: str
) -> None:
    told = str(await check(server, **what))
    assert told.startswith(sentence)
    assert len(told.splitlines()) == 1


async def test_a_broker_is_judged_within_a_server() -> None:
    class Mine(acks.Broker):
        pass

    assert str(await check(Mine, until="replies")).endswith("solved")


def judged(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.lab.judge", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=patient(60)
    )


def test_a_sound_class_ends_with_0() -> None:
    result = judged("stages.delivery:Server", "--until", "delivery")
    assert result.returncode == 0
    assert "basic  18/18\n  ✓ a message reaches every subscriber of its topic\n" in result.stdout
    assert result.stdout.endswith("\nsolved\n")


def test_a_claim_that_is_broken_ends_with_1_and_is_explained() -> None:
    result = judged("tests/claims/broken/basic.py:DeliversTwice", "--until", "basic")
    assert result.returncode == 1
    told = result.stdout.partition("  ✗ a message reaches every subscriber of its topic")[2]
    assert told.splitlines()[:2] == [
        ": expected ['hello'], got ['hello', 'hello']",
        "      hint: Write each message to every client that has subscribed to exactly this topic.",
    ]
    assert "      server   --> client 1  #0 hello\n" in told


@pytest.mark.skipif(sys.platform == "win32", reason="there, Ctrl-C reaches the whole console")
def test_ctrl_c_is_no_verdict() -> None:
    command = [
        sys.executable,
        "-m",
        "stages.lab.judge",
        "stages.beyond.acks:Server",
        "--until",
        "acks",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        told = process.stderr.read(1)  # of the progress bar: it judges
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=patient(60))
    assert (process.returncode, out) == (130, b"")
    assert told.endswith(b"stages.lab.judge: interrupted before everything was judged\n")


def test_nothing_is_no_target() -> None:
    for target, problem in (
        ("", "there is nothing to judge"),
        (":7777", "':7777' is nothing to judge: expected my_server.py, package.module:Class or"),
        (
            "tests/claims/broken/__init__.py",
            "cannot load tests/claims/broken/__init__.py: it has no class `Server`",
        ),
    ):
        result = judged(target)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"stages.lab.judge: {problem}")
        assert len(result.stderr.splitlines()) == 1


async def test_a_method_that_nobody_would_await_is_named() -> None:
    class Mine(basic.Server):
        async def send(self, command: Any, client: Any) -> None:  # type: ignore[override]
            pass

    told = str(await check(Mine, until="basic"))
    assert (
        told == "Mine.send is a coroutine, and nobody would await it: write `def`, not `async def`."
    )


def test_many_targets_are_a_table_and_an_unusable_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("class Server: pass")
    plain = str(tmp_path / "plain.py")
    result = judged("stages.basic:Server", plain, "--until", "basic")
    assert result.returncode == 1
    head, sound, unusable = result.stdout.splitlines()
    assert head.split() == ["basic", "verdict"]
    assert sound.split() == ["stages.basic:Server", "18/18", "solved"]
    assert f"cannot use {plain}: the class Server is no server" in unusable
    alone = judged(plain)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert alone.stderr.startswith(f"stages.lab.judge: cannot use {plain}: ")
    assert len(alone.stderr.splitlines()) == 1


def test_for_a_program_all_that_is_known_is_json() -> None:
    result = judged("stages.basic:Server", "--until", "delivery", "--json")
    (told,) = json.loads(result.stdout)
    assert (result.returncode, told["verdict"]) == (1, "not yet")
    assert told["stages"] == {"basic": "18/18", "delivery": "0/5"}
    (broken,) = [
        claim for claim in told["claims"] if claim["text"].startswith("any other delivery")
    ]
    assert (broken["held"], broken["stage"], broken["hardening"]) == (False, "delivery", False)
    assert broken["wire"][-1] == "server   --> client 1  never"


async def test_a_slow_but_sound_server_is_not_given_up() -> None:
    class Slow(disconnects.Server):
        async def handle_client(self, reader: asyncio.StreamReader, client: Any) -> None:
            await super().handle_client(Slowly(reader), client)  # type: ignore[arg-type]

    class Slowly:
        """Gives a line every millisecond: a thousand take longer than the patience of a claim."""

        def __init__(self, reader: asyncio.StreamReader) -> None:
            self.reader = reader

        async def read(self, size: int) -> bytes:
            await asyncio.sleep(0.005)
            return await self.reader.readline()

    assert "✓ messages arrive in the order sent" in str(await check(Slow, until="basic"))


async def test_a_claim_that_holds_only_when_asked_again_says_so() -> None:
    class FirstTime(caching.Server):
        failures = iter([True])

        def keep(self, message: wire.Command) -> None:
            if message.get("cache") is not False or next(self.failures, False):
                super().keep(message)

    told = str(await check(FirstTime, "uncached"))
    assert "✗" in told
    assert "it did when asked again: run this once more, the machine may be busy" in told
    assert told.endswith("not yet")
