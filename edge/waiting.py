"""What the reconstructor does while it cannot begin: it stays alive, names the reason, and looks again. Recordings do not need it.

Each look is a process of its own (``sonosweep run --check``): one that was refused a GPU may be refused it for as long as it lives,
and systemd resolves the device nodes that a service may open when the service starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import zmq

import edge.gpu as gpu
from edge.bus import Publisher, ipc
from edge.config import Config
from edge.daemon import memory_mib, notify
from edge.errors import SonosweepError
from edge.journal import say_fault
from edge.messages import Command, FaultRaised, Status
from edge.motion.engine import EngineRefused
from edge.orders import Orders
from edge.peers import Peers, SignOfLife
from edge.processes import die_with_parent
from edge.services import WAITING

LOOK_PERIOD_S = 5.0
LONGEST_LOOK_S = 170.0  # below TimeoutStartSec= of sonosweep-run.service: what takes longer would not start there either


def reason(config: Config, wrong: SonosweepError) -> tuple[str, str]:
    """The fault by which a reconstructor that does not open is named, and its detail."""
    named = config.volume.backend == "cuda" or (config.motion.source == "network" and config.motion.backend == "trt")
    if named and (lack := gpu.missing()):
        return "GPU_MISSING", lack if gpu.nodes() else f"{lack}; there is no device node of a GPU in /dev"
    return "ENGINE_MISSING" if isinstance(wrong, EngineRefused) else "RECONSTRUCTION_REFUSED", str(wrong)


def unused_gpu(config: Config, backend: str) -> dict[str, str]:
    """The fault of a Jetson on which ``auto`` has chosen the CPU; nothing where the GPU is used or not wanted, or there is none."""
    if config.volume.backend != "auto" or backend == "cuda" or not gpu.l4t():
        return {}
    return {"GPU_UNUSED": gpu.missing() or "the compounding backend cuda does not run; see sonosweep check"}


class Waiting:
    """Stands in for the service: takes frames so that the probe is not held back, says its status, obeys what it can."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        why: tuple[str, str],
        look: list[str],
        period_s: float = LOOK_PERIOD_S,
    ) -> None:
        """``why``: as of :func:`reason`. ``look``: the command that ends with 0 once the reconstructor opens, else says why not (JSON)."""
        run_dir = Path(config.run_dir)
        self._frames = context.socket(zmq.PULL)
        self._frames.setsockopt(zmq.LINGER, 0)
        self._frames.connect(ipc(run_dir, "frames.run"))
        self._publisher = Publisher(context, ipc(run_dir, "run"))
        self._peers = Peers(context, run_dir, "run")
        self._orders = Orders("run", self._publisher, self._obey)
        self._look, self._period_s, self._nodes = look, period_s, gpu.nodes()
        self._looking: subprocess.Popen[bytes] | None = None
        self._next_look = time.monotonic() + period_s
        self._standing: dict[str, str] = {}
        self._ignored, self._life = 0, SignOfLife()
        self.over = False
        self._stand(why)

    def step(self) -> None:
        """Take what has come, say how we are, look again when it is time."""
        self._frames.poll(100)
        while self._frames.poll(0):
            self._frames.recv_multipart()
            self._ignored += 1
        for fault in self._peers.check():
            self._publish(fault)
        self._orders.hear(self._peers.said)
        self._peers.said.clear()
        now = time.monotonic()
        if self._life.due(WAITING, idle=False):
            self._publisher.say(self.status())
        if self._looking is not None:
            self._see(self._looking, now)
        elif now > self._next_look:
            self.over = gpu.nodes() != self._nodes
            self._looking = None if self.over else self._begin_look()
            self._next_look = now + LONGEST_LOOK_S

    def status(self) -> Status:
        """The sign of life, with the fault for which nothing is reconstructed."""
        counts = {"ignored": self._ignored}
        health = {"memory_mib": memory_mib()}
        return Status(service="run", state=WAITING, counts=counts, faults=self._publisher.faults, standing=self._standing, health=health)

    def close(self) -> None:
        """End a look that is under way, close the sockets."""
        if self._looking is not None:
            self._looking.kill()
            self._looking.communicate()
        self._frames.close(0)
        self._peers.close()
        self._publisher.close()

    def _begin_look(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._look, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
        )

    def _see(self, looking: subprocess.Popen[bytes], now: float) -> None:
        if looking.poll() is None:
            if now > self._next_look:
                looking.kill()
            return
        said = looking.communicate()[0]
        self._looking, self._next_look = None, now + self._period_s
        self.over = looking.returncode == 0
        if not self.over:
            try:
                told = json.loads(said)
                self._stand((told["fault"], told["detail"]))
            except (ValueError, KeyError, TypeError):
                self._stand(("RECONSTRUCTION_REFUSED", f"sonosweep run --check ended with {looking.returncode} and did not say why"))

    def _stand(self, why: tuple[str, str]) -> None:
        """The fault that holds from now on; told where it is another one than before."""
        name, detail = why
        if name not in self._standing:
            self._publish(FaultRaised(service="run", name=name, detail=detail))
        self._standing = {name: detail}

    def _obey(self, command: Command) -> tuple[str, str]:
        """A sweep may begin, and be recorded: to ``aim`` what is not there is no error."""
        if command.action == "aim":
            return "", ""
        name, detail = next(iter(self._standing.items()))
        return ("REBUILD_FAILED" if command.action == "rebuild" else "UNKNOWN_COMMAND"), f"{name}: {detail}"

    def _publish(self, fault: FaultRaised) -> None:
        say_fault(fault)
        self._publisher.say(fault)


def look_command() -> list[str]:
    """This very command, only to see whether it would begin."""
    return [sys.executable, *sys.orig_argv[1:], "--check", "--json"]


def begin_again() -> int:
    """Under systemd the service ends and is started anew, with the devices that there are now; elsewhere the command is run again."""
    if not notify("STOPPING=1"):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return 0
