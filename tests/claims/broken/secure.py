"""Wrong doors, each with the claim that catches it, and what that is asked with."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from stages.beyond import secure
from stages.beyond.broker.commands import Answer
from stages.beyond.door import guard, users
from stages.beyond.server.connection import NOT_KNOWN


class Wrong(NamedTuple):
    claim: str
    arguments: dict[str, Any]
    owner: Any
    name: str
    instead: Any


def every_right_is_a_beginning(rights: tuple[str, ...], topic: str) -> bool:
    return any(topic.startswith(right.rstrip("*")) for right in rights)


def case_does_not_matter(rights: tuple[str, ...], topic: str) -> bool:
    return any(topic.casefold().startswith(right.rstrip("*").casefold()) for right in rights)


def what_is_not_forbidden_is_allowed(self: users.User, command: Any) -> bool:
    return bool(command.topic != "salaries")


def read_with_its_own_parser(self: guard.Guard, line: bytes) -> bytes | Answer:
    """Looks at the first of two fields of the same name, and passes on what it can't read."""
    try:
        fields = dict(reversed(json.loads(line, object_pairs_hook=list)))
    except ValueError:
        return line
    topic = str(fields.get("topic"))
    return line if topic.startswith("news/") else {"success": False, "reason": "Not allowed"}


judgement: Callable[[Any, bytes], bytes | Answer] = guard.Guard.judgement


def drop_what_is_refused(self: guard.Guard, line: bytes) -> bytes | Answer:
    said = judgement(self, line)
    return said if isinstance(said, bytes) else b""


async def let_anybody_try_again(self: Any, reader: Any, connection: Any) -> Any:
    while auth := await self.first_line(reader):
        if name := users.whose(auth.token, self.registered):
            connection.write(b'{"success": true}\n')
            return secure.Principal(name, self.registered[name])
        connection.write(json.dumps({"success": False, "reason": NOT_KNOWN}).encode() + b"\n")


WRONG = {
    wrong.instead.__name__: wrong
    for wrong in (
        Wrong(
            "test_nothing_is_allowed_that_no_rule_allows",
            {"topic": "jobs2"},
            users,
            "allows",
            every_right_is_a_beginning,
        ),
        Wrong(
            "test_nothing_is_allowed_that_no_rule_allows",
            {"topic": "News/a"},
            users,
            "allows",
            case_does_not_matter,
        ),
        Wrong(
            "test_each_right_is_for_its_own_command",
            {},
            users.User,
            "may",
            what_is_not_forbidden_is_allowed,
        ),
        Wrong(
            "test_a_line_means_the_same_to_the_door_and_to_the_queue",
            {
                "trick": b'{"command": "send", "topic": "news/a", "topic": "salaries", "msg": "x", '
                b'"delivery": "all"}\n'
            },
            guard.Guard,
            "judgement",
            read_with_its_own_parser,
        ),
        Wrong(
            "test_refusals_keep_the_order_of_answers",
            {},
            guard.Guard,
            "judgement",
            drop_what_is_refused,
        ),
        Wrong(
            "test_there_is_no_second_try_and_no_change_of_user",
            {},
            secure.Door,
            "welcome",
            let_anybody_try_again,
        ),
    )
}
