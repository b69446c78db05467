"""The building process seen from outside: started, listened to, and its death told by name."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator

import msgspec

from export.engine.build import LESS_MEMORY, BuilderDied, BuildOutOfMemory, Built, EngineNotBuilt, Refused, Request, Stepped

COMMAND = (sys.executable, "-m", "export.engine.build")
Shown = Callable[[Iterable[str]], Iterator[str]]  # what stands between the process's lines and us, such as a progress bar


def build_apart(request: Request, shown: Shown = iter) -> Built:
    """Build in a process of its own, whose memory is free again afterwards. Any kind of ``EngineNotBuilt``."""
    answer: Stepped | Refused | Built | None = None
    strays: list[str] = []
    with tempfile.TemporaryFile("w+") as said:
        words = [*COMMAND, msgspec.json.encode(request).decode()]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, text=True) as child:
            try:
                for line in shown(child.stdout or ()):
                    try:
                        answer = msgspec.json.decode(line, type=Stepped | Refused | Built)
                    except msgspec.DecodeError:
                        strays.append(line)  # a library that prints where it should not; told where nothing else is
            except BaseException:
                child.kill()  # we are being ended, and it would go on for minutes
                raise
        said.seek(0)
        strays += said.readlines()
    if isinstance(answer, Refused):
        raise {kind.__name__: kind for kind in EngineNotBuilt.__subclasses__()}[answer.kind](answer.text)
    if isinstance(answer, Built) and child.returncode == 0:
        return answer
    raise _death(request.variant, child.returncode, "".join(strays[-5:]).strip())


def _death(variant: str, status: int, words: str) -> EngineNotBuilt:
    if status == -signal.SIGKILL:
        return BuildOutOfMemory(f"{variant}: the builder was killed, as the system does where memory runs out; {LESS_MEMORY}")
    how = f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return BuilderDied(f"{variant}: the builder {how}: {words or 'it said nothing'}; nothing was kept; try another variant or TensorRT")
