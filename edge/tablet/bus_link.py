"""A viewer's end of the bus (the gateway, a guest): hears every service, gets the live images, sends commands and waits for answers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import zmq

from edge.bus import FrameIntake, Publisher, ipc
from edge.console import say
from edge.journal import say_fault
from edge.messages import Answer, Command, FaultRaised, Frame, MalformedMessage, Message, Pose, Status
from edge.orders import SAY_AGAIN_S
from edge.peers import Peers, SignOfLife

ANSWER_WITHIN_S = 2.0
MESSAGES_PER_TURN = 64  # then the tablets have their turn
POLL_MS = 250


class BusLink:
    """Drive :meth:`messages` in one task. ``commands`` are answered by name: an error of the service, or one of ours."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: Path, me: str = "tablet") -> None:
        self._me = me
        self._peers = Peers(context, run_dir, me)
        self._intake = FrameIntake(context, ipc(run_dir, f"frames.{me}"))
        self._publisher = Publisher(context, ipc(run_dir, me))
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = secrets.randbits(40)  # an answer to a gateway that was killed is none to us
        self._life = SignOfLife()
        self._wake = asyncio.Event()
        self._woken: set[zmq.Socket[bytes]] = set()  # those that something came to: to ask all others costs more than to hear one
        self.turns = 0  # of the loop: what moves on is alive

    async def messages(self, status: Any) -> AsyncIterator[Message]:
        """Frames and messages as they come, without end. ``status()`` is said several times a second."""
        loop = asyncio.get_running_loop()
        sockets = {int(socket.getsockopt(zmq.FD)): socket for socket in (self._intake.socket, *self._peers.sockets)}
        for (
            descriptor,
            socket,
        ) in sockets.items():  # zmq.asyncio's Poller makes four sockets anew at every turn: half of what an idle gateway cost
            loop.add_reader(descriptor, self._wake_for, socket)
        try:
            while True:
                late = loop.call_later(POLL_MS / 1000, self._wake_for, *sockets.values())
                await self._wake.wait()
                late.cancel()
                self._wake.clear()
                self.turns += 1
                woken, self._woken = self._woken, set()
                heard = self._heard(woken)
                if len(heard) >= MESSAGES_PER_TURN:
                    self._wake_for(self._intake.socket)  # a descriptor tells of what comes, not of what still waits
                for message in heard:
                    yield message
                if self._life.due("", idle=True):
                    self._publisher.say(status())
        finally:
            for descriptor in sockets:
                loop.remove_reader(descriptor)

    async def command(self, to: str, **words: Any) -> Answer:
        """Ask a service until it answers; ``SERVICE_GONE`` where it does not in time. However often it hears a command, it does it once."""
        self._number += 1
        number = self._number
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            until = time.monotonic() + ANSWER_WITHIN_S
            while not answer.done() and time.monotonic() < until and not self._peers.gone(to):
                self._publisher.say(Command(to=to, number=number, **words))
                await asyncio.wait([answer], timeout=SAY_AGAIN_S)
            return answer.result() if answer.done() else Answer(service=to, number=number, error="SERVICE_GONE")
        finally:
            del self._waiting[number]

    def raise_fault(self, fault: FaultRaised) -> None:
        """To whoever listens, and in our status."""
        self._publisher.say(fault)

    @property
    def poses_heard(self) -> int:
        """The reconstructor's number of the last pose that was heard; in our status, so that a rebuild does not run away from us."""
        return self._peers.heard("run", Pose)

    @property
    def faults(self) -> dict[str, int]:
        """Raised by the gateway since it began."""
        return self._publisher.faults

    def close(self, status: Status) -> None:
        """Say a last word and close all sockets."""
        self._publisher.say(status)
        self._intake.close()
        self._peers.close()
        self._publisher.close()

    def _wake_for(self, *sockets: zmq.Socket[bytes]) -> None:
        self._woken.update(sockets)
        self._wake.set()

    def _heard(self, woken: Collection[zmq.Socket[bytes]]) -> list[Message]:
        heard: list[Message] = list(self._peers.check(woken))
        for fault in self._peers.missed():
            say_fault(fault)
            self.raise_fault(fault)
            heard.append(fault)
        heard += self._peers.statuses.values()
        self._peers.statuses.clear()
        for message in self._peers.said:
            if isinstance(message, Answer):
                if (waits := self._waiting.get(message.number)) and not waits.done():
                    waits.set_result(message)
            else:
                heard.append(message)
        self._peers.said.clear()
        for _ in range(MESSAGES_PER_TURN if self._intake.socket in woken else 0):
            with contextlib.suppress(MalformedMessage):
                frame = self._intake.receive()
                if frame is None:
                    break
                if isinstance(frame, Frame):
                    heard.append(frame)
                continue
            say(f"{self._me}: a frame from the bridge could not be read")
        return heard
