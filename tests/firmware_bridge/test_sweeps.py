"""Who says where a sweep begins and ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bridge_bench import BridgeBench
from wire_frames import linear_frame

from edge.bus import Subscriber, ipc
from edge.messages import Answer, Command, Frame
from firmware_bridge.sweeps import NO_SWEEP, STOP_WITHIN_NS, OperatorSweeps, ProbeSweeps


def frame(sequence: int, *, boot_id: int = 7, sweep: int = 0, received_ns: int = 0, last: bool = False) -> Frame:
    return msgspec.structs.replace(linear_frame(sequence), boot_id=boot_id, sweep=sweep, received_ns=received_ns, last=last)


def test_the_probe_decides_where_it_was_told_to() -> None:
    sweeps = ProbeSweeps()
    assert sweeps.start() == sweeps.stop(0) == "PROBE_DECIDES"
    one = frame(3)
    assert sweeps.assign(one) is one


def test_images_between_two_sweeps_belong_to_none() -> None:
    sweeps = OperatorSweeps()
    assert sweeps.assign(frame(41, last=True)).sweep == NO_SWEEP and not sweeps.assign(frame(41, last=True)).last
    assert sweeps.start() == ""
    seen = [sweeps.assign(frame(n)) for n in (42, 43, 46)]
    assert [one.sequence for one in seen] == [0, 1, 4], "a lost frame stays visible"
    assert len({one.sweep for one in seen}) == 1 and not any(one.last for one in seen)
    assert sweeps.stop(0) == ""
    assert sweeps.assign(frame(47)).last
    assert sweeps.assign(frame(48)).sweep == NO_SWEEP


def test_a_second_start_and_a_second_stop_are_refused_by_name() -> None:
    sweeps = OperatorSweeps()
    assert sweeps.stop(0) == "NO_SWEEP"
    assert (sweeps.start(), sweeps.start()) == ("", "SWEEP_RUNS")
    sweeps.assign(frame(0))
    assert (sweeps.stop(0), sweeps.stop(0)) == ("", "NO_SWEEP")


def test_each_sweep_has_its_own_number() -> None:
    sweeps, seen = OperatorSweeps(), []
    for first in (0, 100):
        sweeps.start()
        seen.append(sweeps.assign(frame(first)).sweep)
        sweeps.stop(0)
        assert sweeps.assign(frame(first + 1)).last
    assert seen[1] == seen[0] + 1


def test_a_probe_that_starts_again_goes_on_under_the_next_number() -> None:
    sweeps = OperatorSweeps()
    sweeps.start()
    before = sweeps.assign(frame(5))
    after = sweeps.assign(frame(0, boot_id=8))
    assert (after.sweep, after.sequence) == (before.sweep + 1, 0) and sweeps.running


def test_the_probes_own_end_ends_the_operators_sweep() -> None:
    sweeps = OperatorSweeps()
    sweeps.start()
    assert sweeps.assign(frame(5, last=True)).last and not sweeps.running


def test_an_image_long_after_the_stop_is_no_part_of_the_sweep() -> None:
    sweeps = OperatorSweeps()
    sweeps.start()
    sweeps.assign(frame(0))
    sweeps.stop(1000)
    assert sweeps.assign(frame(1, received_ns=1001 + STOP_WITHIN_NS)).sweep == NO_SWEEP


@pytest.mark.parametrize("next_of_probe", [{"sweep": 1}, {"boot_id": 8}], ids=str)
def test_a_stop_holds_though_the_next_image_is_of_another_sweep_of_the_probe(next_of_probe: dict[str, int]) -> None:
    sweeps = OperatorSweeps()
    sweeps.start()
    sweeps.assign(frame(5))
    sweeps.stop(1000)
    assert [sweeps.assign(frame(n, received_ns=2000 + n, **next_of_probe)).sweep for n in range(2)] == [NO_SWEEP, NO_SWEEP]
    assert not sweeps.running and sweeps.start() == ""


def test_a_start_that_no_image_followed_can_be_taken_back() -> None:
    sweeps = OperatorSweeps()
    sweeps.start()
    assert sweeps.stop(0) == "" and sweeps.assign(frame(0)).sweep == NO_SWEEP


def test_the_bridge_obeys_over_the_bus_and_keeps_idle_images_from_the_recorder() -> None:
    bench = BridgeBench()
    answers: list[Answer] = []
    try:
        bench.open_bridge(sweeps="operator")
        keeps, looks, _ = (bench.consume(name) for name in ("record", "tablet", "run"))
        hears = Subscriber(bench.context, ipc(bench.folder, "bridge"), (Answer,))

        def obeyed(number: int, action: Any) -> str:
            def done() -> bool:
                looks.publisher.say(Command(to="bridge", number=number, action=action))
                while isinstance(message := hears.receive(), Answer):
                    answers.append(message)
                return any(answer.number == number for answer in answers)

            bench.step_until(done)
            return next(answer.error for answer in answers if answer.number == number)

        front_end = bench.front_end()
        front_end.send(linear_frame(10))
        bench.step_until(lambda: bool(looks.frames))
        assert looks.frames[0].sweep == NO_SWEEP and not keeps.frames
        assert obeyed(1, "start") == ""
        front_end.send(linear_frame(11))
        bench.step_until(lambda: bool(keeps.frames))
        assert obeyed(2, "stop") == "" and obeyed(3, "aim") == "UNKNOWN_COMMAND"
        front_end.send(linear_frame(12))
        bench.step_until(lambda: len(keeps.frames) == 2)
        assert keeps.sequences == [0, 1] and [one.last for one in keeps.frames] == [False, True]
        hears.close()
    finally:
        bench.close()
