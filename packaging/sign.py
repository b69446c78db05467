"""``python packaging/sign.py KEY FILE.deb ...``: sign packages; a KEY that does not exist is made first, with KEY.pem for the devices."""

from __future__ import annotations

import sys
from pathlib import Path

from edge.console import say
from edge.update.signature import make_key, sign

if __name__ == "__main__":
    key = Path(sys.argv[1])
    if not key.exists():
        make_key(key, key.with_name(key.name + ".pem"))
        say(f"{key}: keep it off every device; {key}.pem goes to /etc/sonosweep/update-keys")
    for package in sys.argv[2:]:
        say(str(sign(Path(package), key)))
