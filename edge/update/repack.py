"""The installed package as a .deb again, to go back to: from dpkg's own records and the files as they lie."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from edge.console import say
from edge.update.package import NAME, Dpkg, build_package

NOT_IN_CONTROL = re.compile(r"^(Status|Conffiles):.*\n(?: .*\n)*", re.M)
CONTROL = {"preinst": 0o755, "postinst": 0o755, "prerm": 0o755, "postrm": 0o755, "conffiles": 0o644}


def repack(dpkg: Dpkg, out: Path) -> None:
    """Write ``out``. ``DpkgFailed``, ``OSError``.

    A packaged file that somebody removed is left out and named: what is gone back to is what lies there now.
    """
    missing: list[str] = []
    with tempfile.TemporaryDirectory(dir=out.parent) as made:
        tree = Path(made, "tree")
        for line in dpkg.query("--listfiles", NAME).splitlines():
            source, target = dpkg.root / line.lstrip("/."), tree / line.lstrip("/.")
            if source.is_dir() and not source.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            elif not source.exists() and not source.is_symlink():
                missing.append(line)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        about = tree / "DEBIAN"
        about.mkdir(mode=0o755)
        (about / "control").write_text(NOT_IN_CONTROL.sub("", dpkg.query("--status", NAME)))
        for part in sorted(CONTROL.keys() & set(dpkg.query("--control-list", NAME).split())):
            text = dpkg.query("--control-show", NAME, part)
            if part == "conffiles":  # dpkg builds no package that names one and has it not
                text = "".join(f"{one}\n" for one in text.splitlines() if one.strip() not in missing)
            (about / part).write_text(text)
            (about / part).chmod(CONTROL[part])
        for one in missing:
            say(f"update: {one} is missing; the package that is kept to go back to is without it")
        build_package(tree, out)
