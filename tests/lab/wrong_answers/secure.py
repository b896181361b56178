"""Wrong answers to the exercises of lesson 12."""

import re
from fnmatch import fnmatchcase

from stages.beyond.broker.commands import Ack, Send, Subscribe, Unsubscribe
from stages.beyond.door.users import User, allows
from wrong_answers import wrong_answer_to


def rights_for(user, command):
    return user.send if isinstance(command, Send) else user.subscribe


@wrong_answer_to("rights", "a right without * is no beginning")
class EveryRightIsABeginning(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return isinstance(command, Ack | Unsubscribe)
        rights = rights_for(self, command)
        return any(command.topic.startswith(right.removesuffix("*")) for right in rights)


@wrong_answer_to("rights", "nor in other letters")
class WhateverTheCase(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return isinstance(command, Ack | Unsubscribe)
        rights = tuple(right.lower() for right in rights_for(self, command))
        return allows(rights, command.topic.lower())


@wrong_answer_to("rights", "* in the middle is a letter")
class Glob(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return isinstance(command, Ack | Unsubscribe)
        return any(fnmatchcase(command.topic, right) for right in rights_for(self, command))


@wrong_answer_to("rights", "what she may send she may not read")
class OneListForBoth(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return isinstance(command, Ack | Unsubscribe)
        return allows(self.send + self.subscribe, command.topic)


@wrong_answer_to("rights", "a command that it does not know is not allowed")
class WhatIsNotForbidden(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return True
        return super().may(command)


@wrong_answer_to("rights", "to acknowledge and to unsubscribe needs no right")
class RightsForAll(User):
    def may(self, command):
        return allows(rights_for(self, command), command.topic)


@wrong_answer_to("rights", "and so is all else")
class Pattern(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return isinstance(command, Ack | Unsubscribe)
        return any(
            command.topic == right
            or (right.endswith("*") and re.match(right[:-1], command.topic) is not None)
            for right in rights_for(self, command)
        )


@wrong_answer_to("exceptions", "wherever it stands, also before news/*")
class LastOneWins(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return super().may(command)
        allowed = False
        for right in rights_for(self, command):
            if allows((right.removeprefix("!"),), command.topic):
                allowed = not right.startswith("!")
        return allowed


@wrong_answer_to("exceptions", "!salaries just that topic")
class TakesMore(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return super().may(command)
        rights = rights_for(self, command)
        taken = [right[1:].removesuffix("*") for right in rights if right.startswith("!")]
        return super().may(command) and not command.topic.startswith(tuple(taken))


@wrong_answer_to("exceptions", "!a alone gives nothing")
class OnlyTakes(User):
    def may(self, command):
        if not isinstance(command, Send | Subscribe):
            return super().may(command)
        rights = rights_for(self, command)
        taken = tuple(right[1:] for right in rights if right.startswith("!"))
        given = tuple(right for right in rights if not right.startswith("!")) or ("*",)
        return allows(given, command.topic) and not allows(taken, command.topic)


@wrong_answer_to("exceptions", "what is taken from subscribe is not taken from send")
class ForBoth(User):
    def may(self, command):
        both = self.send + self.subscribe
        taken = tuple(right[1:] for right in both if right.startswith("!"))
        given = isinstance(command, Send | Subscribe) and allows(
            tuple(right for right in rights_for(self, command) if right[:1] != "!"), command.topic
        )
        return given and not allows(taken, command.topic)


@wrong_answer_to("exceptions", "!news/secret* takes away all that begins so")
class TakesOnlyItself(User):
    def may(self, command):
        rights = rights_for(self, command)
        return super().may(command) and f"!{command.topic}" not in rights


@wrong_answer_to("levels", "+ is one level, which has a name")
class AnyNumberOfLevels(User):
    def may(self, command):
        return any(fnmatchcase(command.topic, right.replace("+", "*")) for right in self.subscribe)


@wrong_answer_to("levels", "+ is one level, which has a name")
class NoName(User):
    def may(self, command):
        return any(
            re.fullmatch(re.escape(right).replace(r"\+", "[^/]*"), command.topic)
            for right in self.subscribe
        )


@wrong_answer_to("levels", "and nothing that is longer, or other")
class Unanchored(User):
    def may(self, command):
        return any(
            re.search(re.escape(right).replace(r"\+", "[^/]+"), command.topic)
            for right in self.subscribe
        )


@wrong_answer_to("levels", "all else is itself: a.b/+, a+b, [x]/+")
class Unescaped(User):
    def may(self, command):
        return any(
            re.fullmatch(right.replace("+", "[^/]+"), command.topic) for right in self.subscribe
        )


@wrong_answer_to("levels", "+ may be all of it, and a final * is as before: +, rooms/+/*")
class ForgetsTheStar(User):
    def may(self, command):
        return any(
            len(right.split("/")) == len(command.topic.split("/"))
            and all(
                level == part or (level == "+" and part)
                for level, part in zip(right.split("/"), command.topic.split("/"), strict=True)
            )
            for right in self.subscribe
        )
