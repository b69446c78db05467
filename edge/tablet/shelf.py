"""Files of the library over http: what is fetched, what the page leaves, and what may go once it was fetched and room is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aiohttp import web

from edge.config import Config
from edge.console import say
from edge.errors import SonosweepError
from edge.tablet.doors import HEADERS, Doors
from edge.tablet.features import refuse_if_off
from edge.tablet.library import Library

VOLUMES = ("nrrd", "mha", "nii.gz")


class Shelf:
    """``changed`` is called where the listing is another one. ``quota_mib`` 0 lets nothing go by itself."""

    def __init__(self, library: Library, doors: Doors, changed: Callable[[], None], config: Config) -> None:
        self._library, self._doors, self._changed = library, doors, changed
        self._quota, self._features = config.record.quota_mib << 20, config.features
        self._fetched: dict[str, set[str]] = {}  # by sweep, since the start: the files that went out whole
        doors.serve("/api/sweeps/{sweep}/files/{name}", self._serve_file)
        doors.serve("/api/sweeps/{sweep}/pictures", self._take_picture)

    async def make_room(self, spared: Collection[str] = ()) -> None:
        """Above the quota the oldest sweeps go that were saved and fetched, and no others; each is noted in the audit log."""
        if not self._quota:
            return
        try:
            gone = await asyncio.to_thread(make_room, self._library, self._quota, tuple(spared))
        except (SonosweepError, OSError) as wrong:
            say(f"tablet: no room could be made: {wrong}")
            return
        for sweep in gone:
            self._doors.audit("removed for room", "device", sweep)
        if gone:
            self._changed()

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        refuse_if_off(self._features, "export")
        sweep, who = request.match_info["sweep"], self._doors.who(request).name
        path = self._library.file(sweep, request.match_info["name"])
        self._doors.audit("download", who, path.name)
        about = HEADERS | {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{path.name}"'}
        answer = web.FileResponse(path, headers=about)
        await answer.prepare(request)  # sends all of it
        if answer.status == 200:
            fetched = self._fetched.setdefault(sweep, set())
            fetched.add(path.name)
            if is_whole(self._library, sweep, fetched):
                note_fetched(self._library, sweep)
        return answer

    async def _take_picture(self, request: web.Request) -> web.StreamResponse:
        refuse_if_off(self._features, "export")
        sweep = request.match_info["sweep"]
        self._library.files(sweep)
        name = await self._doors.keep_picture(request, self._library.volumes, f"{sweep}_")
        self._changed()
        return web.json_response({"file": name})


def is_whole(library: Library, sweep: str, fetched: Collection[str]) -> bool:
    """Whether who has these files has the sweep: all parts of its recording, all channels of its volume in one format, or the archive."""
    stems = [path.name.removesuffix(".nrrd") for path in library.volume_files(sweep)]
    ways = [{path.name for path in library.files(sweep) if path.suffix == ".mcap"}]
    ways += [{f"{stem}.{kind}" for stem in stems} for kind in VOLUMES]
    ways += [{f"{min(stems, key=len)}.zip"}] if stems else []
    return any(way and way <= set(fetched) for way in ways)


def note_fetched(library: Library, sweep: str) -> None:
    """A tablet has the whole of it."""
    if not library.record(sweep).fetched:
        with library.changing(sweep) as record:
            record.fetched = True


def make_room(library: Library, quota: int, spared: Collection[str] = ()) -> list[str]:
    """Delete until at most ``quota`` bytes are left, or nothing may go; answers the sweeps that went, the oldest first."""
    sizes = {sweep: sum(path.stat().st_size for path in library.files(sweep)) for sweep in library.ids()}
    total, gone = sum(sizes.values()), []
    for sweep in reversed(library.ids()):
        if total <= quota:
            break
        record = library.record(sweep)
        if record.state == "saved" and record.fetched and sweep not in spared:
            library.discard(sweep)
            library.purge(sweep)
            total -= sizes[sweep]
            gone.append(sweep)
    return gone
