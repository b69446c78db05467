"""Commands over a bus that forgets: said until they are answered, done once. A subscriber that is still connecting hears nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from edge.bus import Publisher
from edge.messages import Answer, Command, Message

SAY_AGAIN_S = 0.1
REMEMBERED = 64  # commands: far more than are on their way at any time


class Orders:
    """A service's ear for commands: a number that was answered before is answered the same again, and not obeyed twice."""

    def __init__(self, me: str, publisher: Publisher, obey: Callable[[Command], tuple[str, str]]) -> None:
        """``obey`` does it, and gives the name of an error and its detail, or nothing."""
        self._me, self._publisher, self._obey = me, publisher, obey
        self._answered: OrderedDict[int, Answer] = OrderedDict()

    def hear(self, said: Iterable[Message]) -> None:
        """Obey what is meant for us."""
        for command in said:
            if not isinstance(command, Command) or command.to != self._me:
                continue
            if command.number not in self._answered:
                error, detail = self._obey(command)
                self._answered[command.number] = Answer(service=self._me, number=command.number, error=error, detail=detail)
                if len(self._answered) > REMEMBERED:
                    self._answered.popitem(last=False)
            self._publisher.say(self._answered[command.number])
