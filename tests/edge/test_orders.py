"""A command that is said again, because nobody heard it or its answer, is done once and answered each time."""

from __future__ import annotations

from edge.messages import Answer, Command
from edge.orders import REMEMBERED, Orders


class Says:
    def __init__(self) -> None:
        self.said: list[Answer] = []

    def say(self, message: Answer) -> None:
        self.said.append(message)


def order(number: int, to: str = "bridge") -> Command:
    return Command(to=to, number=number, action="start")


def test_a_repeated_command_is_done_once_and_answered_each_time() -> None:
    done: list[int] = []

    def obey(command: Command) -> tuple[str, str]:
        done.append(command.number)
        return "SWEEP_RUNS" if len(done) > 1 else "", ""

    says = Says()
    orders = Orders("bridge", says, obey)
    orders.hear([order(1), order(1), order(9, to="run")])
    orders.hear([order(1), order(2)])
    assert done == [1, 2]
    assert [(answer.number, answer.error) for answer in says.said] == [(1, ""), (1, ""), (1, ""), (2, "SWEEP_RUNS")]


def test_it_remembers_the_newest_only() -> None:
    done: list[int] = []
    orders = Orders("bridge", Says(), lambda command: (done.append(command.number) or "", ""))
    orders.hear([order(number) for number in range(REMEMBERED + 1)])
    orders.hear([order(REMEMBERED), order(0)])
    assert done == [*range(REMEMBERED + 1), 0]
