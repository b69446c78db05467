"""Every door of the gateway: who may come in by which route (``routes``), from which page, under which name."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import segno
from aiohttp import web

from edge.atomic import replacing
from edge.config import TabletConfig
from edge.errors import SonosweepError
from edge.tablet.allowance import Allowance
from edge.tablet.audit import Audit
from edge.tablet.certificates import Authority, addresses, bracketed, hosts
from edge.tablet.interfaces import likeliest_first, of_interfaces
from edge.tablet.library import NoSuchSweep
from edge.tablet.names import safe_file
from edge.tablet.pairing import OPEN_S, Tablet, Tablets, Window
from edge.tablet.refusals import REFUSALS, Refused
from edge.tablet.routes import PICTURE, ROUTES, SMALL, Route

PAGE = Path(__file__).parent / "page"
PAIRS_A_MINUTE = 10
LOOPBACK = re.compile(r"localhost|127\.|\[::1\]", re.I)
PICTURES = {"image/png": ".png", "video/mp4": ".mp4", "video/webm": ".webm"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self'; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
WHO: web.RequestKey[Tablet | None] = web.RequestKey("tablet", object)  # type: ignore[arg-type]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PairBody(msgspec.Struct, forbid_unknown_fields=True):
    """Of ``POST /api/pair``."""

    secret: str = ""
    code: str = ""
    name: str = ""


class Doors:
    """The application with its guard. ``serve`` gives a route of the table its handler. ``NoSuchSweep`` from one is a 404."""

    def __init__(self, config: TabletConfig, port: int) -> None:
        folder = Path(config.folder)
        self.config, self.port, self.window = config, port, Window()
        self.log = Audit(folder)
        self.tablets = Tablets(folder)
        self.authority = Authority(folder, config.name) if config.secure else None
        self.cookie = "__Host-sonosweep" if config.secure else "sonosweep"
        self.scheme = "https" if config.secure else "http"
        self._hosts = hosts(config.name)
        self._pairs = Allowance(PAIRS_A_MINUTE, 60.0)
        self.app = web.Application(middlewares=[self._guard], client_max_size=PICTURE)
        for path, handler in (
            ("/", self._index),
            ("/page/{path}", self._page),
            ("/sw.js", self._worker),
            ("/favicon.ico", self._icon),
            ("/trust", self._trust),
            ("/ca.crt", self._authority),
            ("/api/me", self._me),
            ("/api/pair", self._pair),
        ):
            self.serve(path, handler)

    def serve(self, path: str, handler: Handler) -> None:
        """Only what stands in ``ROUTES`` can be served."""
        pattern = path.replace("{path}", "{path:.+}")
        self.app.router.add_route(ROUTES[path].method, pattern, handler, name=re.sub(r"\W+", "_", path))
        self.app.router[re.sub(r"\W+", "_", path)]._sonosweep = path  # type: ignore[attr-defined]

    def who(self, request: web.Request) -> Tablet:
        """The tablet that asks; the guard has let it in."""
        tablet = request[WHO]
        assert tablet is not None
        return tablet

    def look_around(self) -> None:
        """Addresses come and go: a radio network is up after us."""
        self._hosts = hosts(self.config.name)
        if self.authority:
            self.authority.renew()

    def audit(self, event: str, who: str, detail: str) -> None:
        """Into the log: it has happened."""
        self.log.note_done(event, who, detail)

    def refuse(self, request: web.Request, name: str, detail: str = "") -> web.Response:
        """The answer, and a line in the log."""
        self.log.refused(name, str(request.remote), f"{request.method} {request.path[:120]} {detail}")
        refusal = REFUSALS[name]
        return web.json_response(
            {"error": name, "text": refusal.text}, status=refusal.status, headers=HEADERS | {"Cache-Control": "no-store"}
        )

    def address(self) -> str:
        """Where tablets find the device: its address in the network, else on this machine."""
        if self.config.address not in ("0.0.0.0", "::"):
            return f"{self.scheme}://{self.config.address}:{self.port}"
        outside = likeliest_first([one for one in addresses() if not (one.is_loopback or one.is_link_local)], of_interfaces())
        return f"{self.scheme}://{bracketed(outside[0]) if outside else '127.0.0.1'}:{self.port}"

    def open_pairing(self, seen_at: str = "") -> dict[str, Any]:
        """Open the window: what is shown to whoever holds the tablet. ``seen_at``: the Host at which another tablet sees the device."""
        self.window.open(time.monotonic())
        self.log.note("pairing opened")
        base = f"{self.scheme}://{seen_at}" if seen_at and not LOOPBACK.match(seen_at) else self.address()
        url = f"{base}/#pair={self.window.secret}"
        return {
            "url": url,
            "code": self.window.code,
            "qr": segno.make(url).svg_inline(scale=4, dark="#000", light="#fff"),
            "open_s": OPEN_S,
        }

    def close_pairing(self) -> dict[str, Any]:
        """Nobody comes in any more."""
        self.window.close()
        return {}

    def trust(self) -> dict[str, Any]:
        """Where a tablet learns to trust the device, and the fingerprint that it must see there."""
        if self.authority is None:
            return {"error": "NO_CERTIFICATES", "text": REFUSALS["NO_CERTIFICATES"].text}
        return {"url": f"{self.address()}/trust", "fingerprint": self.authority.fingerprint}

    def pairing(self) -> dict[str, float] | None:
        """For ``state``."""
        open_s = self.window.open_s(time.monotonic())
        return {"open_s": round(open_s)} if open_s else None

    def paired(self) -> list[dict[str, Any]]:
        """Who may come in."""
        return [msgspec.to_builtins(tablet) for tablet in self.tablets.all()]

    def revoke(self, name: str) -> None:
        """Forget a tablet."""
        self.tablets.revoke(name)
        self.log.note("revoked", name)

    async def keep_picture(self, request: web.Request, folder: Path, prefix: str) -> str:
        """Write a picture that the page drew; answers its name. ``Refused``."""
        ending = PICTURES.get(request.content_type)
        if ending is None:
            raise Refused("WRONG_TYPE", request.content_type)
        name = re.sub(r"[^a-z0-9-]", "", request.query.get("name", "").lower())[:40] or "picture"
        number = 0
        while (path := safe_file(folder, f"{prefix}{number}-{name}{ending}")).exists():
            number += 1
        with replacing(path) as out:
            async for piece in request.content.iter_chunked(1 << 16):
                out.write(piece)
                if out.tell() > PICTURE:
                    raise Refused("TOO_LARGE")
        return path.name

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = ROUTES.get(getattr(request.match_info.route.resource, "_sonosweep", ""))
        if refused := self._wrong_with(request, route):
            return self.refuse(request, refused, f"Host {request.host[:60]} Origin {request.headers.get('Origin', '-')[:60]}")
        assert route is not None
        try:
            answer = await handler(request)
        except Refused as wrong:
            return self.refuse(request, wrong.name, wrong.detail)
        except NoSuchSweep as wrong:
            return self.refuse(request, "NO_SUCH_SWEEP", str(wrong))
        except SonosweepError as wrong:
            return self.refuse(request, "UNREADABLE", str(wrong))
        if not answer.prepared:
            answer.headers.update(HEADERS)
            answer.headers["Cache-Control"] = "no-cache" if route.kept else "no-store"
        return answer

    def _wrong_with(self, request: web.Request, route: Route | None) -> str:
        """The name of the refusal; empty where the request may come in. Says who it is."""
        host, _, port = request.host.rpartition(":") if re.search(r":\d+$", request.host) else (request.host, "", "")
        if host.lower() not in self._hosts or port != ("" if self.port in (80, 443) else str(self.port)):
            return "WRONG_HOST"
        if route is None or request.method != route.method:
            return "NOT_FOUND"
        if route.own and request.headers.get("Origin") != f"{self.scheme}://{request.host}":
            return "WRONG_ORIGIN"
        if route.method == "POST":
            if request.content_length is None:
                return "NO_LENGTH"
            if request.content_length > route.largest:
                return "TOO_LARGE"
            if route.largest == SMALL and request.content_type != "application/json":
                return "WRONG_TYPE"
        tablet = self.tablets.find(request.cookies.get(self.cookie, ""))
        request[WHO] = tablet
        if route.who != "anybody" and tablet is None:
            return "NOT_PAIRED"
        return "NOT_OPERATOR" if route.who == "operator" and tablet and tablet.role != "operator" else ""

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _worker(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "sw.js")  # at the root, so that it may serve the whole page

    async def _icon(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "icon.svg")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        folder = PAGE
        for part in request.match_info["path"].split("/")[:-1]:
            folder = safe_file(folder, part)
        path = safe_file(folder, request.match_info["path"].rpartition("/")[2])
        if not path.is_file():
            raise Refused("NOT_FOUND", request.path[:80])
        return web.FileResponse(path)

    async def _trust(self, request: web.Request) -> web.StreamResponse:
        if self.authority is None:
            raise Refused("NO_CERTIFICATES")
        text = (PAGE / "trust.html").read_text(encoding="utf-8").replace("{fingerprint}", self.authority.fingerprint.replace(":", ":<wbr>"))
        return web.Response(text=text, content_type="text/html")

    async def _authority(self, request: web.Request) -> web.StreamResponse:
        if self.authority is None:
            raise Refused("NO_CERTIFICATES")
        headers = {"Content-Disposition": 'attachment; filename="sonosweep-ca.crt"'}
        return web.Response(body=self.authority.der, content_type="application/x-x509-ca-cert", headers=headers)

    async def _me(self, request: web.Request) -> web.StreamResponse:
        tablet = request[WHO]
        about = {
            "paired": tablet is not None,
            "role": tablet.role if tablet else "",
            "name": tablet.name if tablet else "",
            "pairing_open": self.pairing() is not None,
            "secure": self.config.secure,
            "device": self.config.name,
            "version": version("sonosweep"),
        }
        return web.json_response(about)

    async def _pair(self, request: web.Request) -> web.StreamResponse:
        if not self._pairs.take():
            raise Refused("TOO_MANY")
        try:
            body = msgspec.json.decode(await request.read(), type=PairBody)
        except (msgspec.MsgspecError, UnicodeError) as wrong:
            raise Refused("MALFORMED", str(wrong)[:120]) from wrong
        role = self.window.role
        if refused := self.window.enter(time.monotonic(), body.secret, body.code):
            raise Refused(refused)
        token = self.tablets.add(body.name, role, secure=self.config.secure)
        tablet = self.tablets.find(token)
        assert tablet is not None
        self.log.note("paired", tablet.name, role)
        answer = web.json_response({"role": role, "name": tablet.name})
        life = int(tablet.life_s)
        answer.set_cookie(self.cookie, token, max_age=life, path="/", secure=self.config.secure, httponly=True, samesite="Strict")
        return answer

    def forgotten(self) -> web.Response:
        """The answer to a tablet that was forgotten: it forgets its cookie."""
        answer = web.json_response({})
        answer.del_cookie(self.cookie, path="/", secure=self.config.secure, httponly=True, samesite="Strict")
        return answer
