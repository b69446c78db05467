"""How long things may take on a machine of their own, and on one that has other work: what the figures of a boot test are held against."""

import os
import time

from edge.console import say

QUIET = 0.25  # of all processors, for what is not the machine's, with what its hypervisor took
LOADED = 4  # times as long, where others took more


def _spent_s(machine):
    """CPU time so far: (of everything on these processors and what the hypervisor took, of the booted machine alone)."""
    user, nice, system, _, _, irq, soft_irq, steal, *_ = map(int, machine.run("head", "-1", "/proc/stat").split()[1:])
    everything = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    own = dict(line.split() for line in machine.run("cat", "/sys/fs/cgroup/cpu.stat").splitlines())
    return everything, int(own["usage_usec"]) / 1e6


class Bars:
    """From its making on it watches what others take of the processors on which ``machine`` is measured."""

    def __init__(self, machine):
        self._machine = machine
        self._began_s, self._spent_s = time.monotonic(), _spent_s(machine)

    def of(self, bar, unit="s"):
        """``bar`` where it was quiet, a generous one where it was not; says which."""
        everything, own = (now - before for now, before in zip(_spent_s(self._machine), self._spent_s, strict=True))
        others = max(everything - own, 0) / (time.monotonic() - self._began_s) / os.cpu_count()
        held = bar if others < QUIET else LOADED * bar
        say(f"others took {others:.0%} of the processors meanwhile: held to {held:.0f} {unit} (the bar is {bar:.0f} {unit})")
        return held
