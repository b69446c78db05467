"""Lists the names of TensorRT's Python bindings of one version, as JSON, without TensorRT: run as a process of its own.

python names.py FOLDER      FOLDER holds the unpacked bindings and, in FOLDER/stub, the libraries made of stub.c
"""

from __future__ import annotations

import ctypes
import inspect
import json
import sys
from pathlib import Path


def names(module: object) -> list[str]:
    """``Builder``, ``Builder.create_network`` ..., and of enums their members."""
    found = []
    for name in dir(module):
        member = getattr(module, name)
        if not name.startswith("_"):
            found.append(name)
            if inspect.isclass(member):
                found += [f"{name}.{attribute}" for attribute in dir(member) if not attribute.startswith("_")]
    return sorted(found)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for library in sorted((folder / "stub").glob("*.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    import tensorrt_bindings  # type: ignore[import-not-found]

    json.dump({"version": tensorrt_bindings.__version__, "names": names(tensorrt_bindings)}, sys.stdout)
