"""Every door is shut until it is meant to open."""

import asyncio
import io
import ipaddress
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from edge.config import TabletConfig
from edge.tablet.audit import verify
from edge.tablet.doors import Doors
from edge.tablet.routes import ROUTES


class Visit:
    """A device's doors on a real port, and somebody who knocks."""

    def __init__(self, folder):
        self.folder = folder

    async def __aenter__(self):
        self.doors = Doors(TabletConfig(folder=str(self.folder / "tablet"), secure=False), 0)
        self.doors.serve("/link", self._answer)
        self.doors.serve("/api/unpair", self._answer)
        self.doors.serve("/api/sweeps/{sweep}/files/{name}", self._answer)
        self.doors.serve("/api/sweeps/{sweep}/pictures", self._picture)
        self.server = TestServer(self.doors.app, host="127.0.0.1")
        self.client = TestClient(self.server)
        await self.client.start_server()
        self.doors.port = self.server.port
        self.origin = f"http://127.0.0.1:{self.server.port}"
        return self

    async def __aexit__(self, *error):
        await self.client.close()

    async def _answer(self, request):
        return web.json_response({"who": self.doors.who(request).name})

    async def _picture(self, request):
        return web.json_response({"file": await self.doors.keep_picture(request, self.folder, "sweep_")})

    async def ask(self, method, path, *, origin=True, **more):
        headers = {"Host": f"127.0.0.1:{self.server.port}"} | ({"Origin": self.origin} if origin else {}) | more.pop("headers", {})
        async with self.client.request(method, path, headers=headers, **more) as answer:
            text = await answer.text()
            try:
                said = json.loads(text)
            except json.JSONDecodeError:
                said = {}
            return answer.status, said.get("error", ""), answer

    async def pair(self, role="operator"):
        self.doors.open_pairing()
        self.doors.window.role = role
        status, _, answer = await self.ask("POST", "/api/pair", json={"code": self.doors.window.code, "name": "iPad"})
        assert status == 200
        return answer


def visit(folder, story):
    async def run():
        async with Visit(folder) as here:
            await story(here)

    asyncio.run(run())


def test_what_is_not_in_the_table_is_refused(tmp_path):
    async def story(here):
        await here.pair()
        for path in ("/api/secret", "/page", "/.git/config", "/api/sweeps/x"):
            assert (await here.ask("GET", path))[:2] == (404, "NOT_FOUND")
        assert (await here.ask("PUT", "/api/me"))[0] in (404, 405)
        with pytest.raises(KeyError):
            here.doors.serve("/debug", here._answer)

    visit(tmp_path, story)


@pytest.mark.parametrize("path", [path for path, route in ROUTES.items() if route.who != "anybody"])
def test_nobody_gets_in_without_a_cookie(tmp_path, path):
    async def story(here):
        place = path.replace("{sweep}", "sweep_1").replace("{name}", "x")
        body = (
            {"json": {}}
            if path.startswith("/api/un")
            else {"data": b"x", "headers": {"Content-Type": "image/png"}}
            if "pictures" in path
            else {}
        )
        assert (await here.ask(ROUTES[path].method, place, **body))[:2] == (401, "NOT_PAIRED")
        forged = {"Cookie": f"{here.doors.cookie}=forged"} | body.pop("headers", {})
        assert (await here.ask(ROUTES[path].method, place, headers=forged, **body))[:2] == (401, "NOT_PAIRED")

    visit(tmp_path, story)


def test_another_host_name_another_page_and_no_page_are_refused(tmp_path):
    async def story(here):
        await here.pair()
        assert (await here.ask("GET", "/api/me", headers={"Host": "evil.example"}))[:2] == (403, "WRONG_HOST")
        assert (await here.ask("GET", "/", headers={"Host": "127.0.0.1:1"}))[:2] == (403, "WRONG_HOST")
        assert (await here.ask("GET", "/link", headers={"Origin": "http://evil.example"}))[:2] == (403, "WRONG_ORIGIN")
        assert (await here.ask("GET", "/link", origin=False))[:2] == (403, "WRONG_ORIGIN")
        assert (await here.ask("POST", "/api/unpair", json={}, headers={"Origin": "null"}))[:2] == (403, "WRONG_ORIGIN")
        assert (await here.ask("GET", "/link"))[0] == 200
        log = here.doors.log.path
        assert verify(log) >= 5 and "WRONG_ORIGIN" in log.read_text()

    visit(tmp_path, story)


def test_an_address_that_came_later_is_ours_after_a_look_around(tmp_path, monkeypatch):
    async def story(here):
        host = {"Host": f"192.168.77.1:{here.doors.port}"}
        assert (await here.ask("GET", "/api/me", headers=host))[:2] == (403, "WRONG_HOST")
        monkeypatch.setattr("edge.tablet.certificates.addresses", lambda: [ipaddress.ip_address("192.168.77.1")])
        here.doors.look_around()
        assert (await here.ask("GET", "/api/me", headers=host))[0] == 200

    visit(tmp_path, story)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path):
    async def story(here):
        cookie = (await here.pair()).headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
        secure = Doors(TabletConfig(folder=str(tmp_path / "secure")), 8443)
        assert secure.cookie.startswith("__Host-")

    visit(tmp_path, story)


def test_a_code_works_once_and_tries_are_few(tmp_path):
    async def story(here):
        here.doors.open_pairing()
        code = here.doors.window.code
        assert (await here.ask("POST", "/api/pair", json={"code": code, "name": "a"}))[0] == 200
        assert (await here.ask("POST", "/api/pair", json={"code": code, "name": "b"}))[:2] == (403, "PAIRING_CLOSED")
        seen = [(await here.ask("POST", "/api/pair", json={"code": "1"}))[:2] for _ in range(12)]
        assert seen[-1] == (429, "TOO_MANY")

    visit(tmp_path, story)


def test_bodies_must_be_what_and_as_small_as_they_should(tmp_path):
    async def story(here):
        await here.pair()
        assert (await here.ask("POST", "/api/pair", data="code=1", headers={"Content-Type": "text/plain"}))[:2] == (400, "WRONG_TYPE")
        assert (await here.ask("POST", "/api/pair", data=io.BytesIO(b" " * 2_000_000), headers={"Content-Type": "application/json"}))[
            :2
        ] == (413, "TOO_LARGE")
        here.doors.open_pairing()
        assert (await here.ask("POST", "/api/pair", json={"code": 3}))[:2] == (400, "MALFORMED")
        assert (await here.ask("POST", "/api/pair", data=b"\xff{", headers={"Content-Type": "application/json"}))[:2] == (400, "MALFORMED")
        assert (await here.ask("GET", "/api/me"))[0] == 200

    visit(tmp_path, story)


def test_pictures_stay_in_their_folder_and_only_operators_leave_them(tmp_path):
    async def story(here):
        await here.pair()
        png = {"data": b"\x89PNG", "headers": {"Content-Type": "image/png"}}
        status, _, answer = await here.ask("POST", "/api/sweeps/sweep_1/pictures?name=..%2F..%2Fetc%2Fpasswd", **png)
        name = json.loads(await answer.text())["file"] if status == 200 else ""
        assert name == "sweep_0-etcpasswd.png" and (tmp_path / name).read_bytes() == b"\x89PNG"
        assert (await here.ask("POST", "/api/sweeps/sweep_1/pictures", data=b"x", headers={"Content-Type": "text/html"}))[:2] == (
            400,
            "WRONG_TYPE",
        )
        here.client.session.cookie_jar.clear()
        await here.pair("viewer")
        assert (await here.ask("POST", "/api/sweeps/sweep_1/pictures", **png))[:2] == (403, "NOT_OPERATOR")

    visit(tmp_path, story)


@pytest.mark.parametrize(
    "path", ["../doors.py", "%2e%2e/doors.py", "js/../../doors.py", "js/..%2f..%2fdoors.py", ".hidden", "js/", "nothing.js"]
)
def test_no_path_leads_out_of_the_page(tmp_path, path):
    async def story(here):
        status, _, answer = await here.ask("GET", f"/page/{path}")
        assert status in (400, 403, 404) and "Every door" not in await answer.text()

    visit(tmp_path, story)


def test_the_page_may_not_be_framed_nor_run_foreign_scripts(tmp_path):
    async def story(here):
        _, _, answer = await here.ask("GET", "/")
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200 and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        _, _, answer = await here.ask("GET", "/api/me")
        assert answer.headers["Cache-Control"] == "no-store"
        assert (await here.ask("GET", "/ca.crt"))[:2] == (404, "NO_CERTIFICATES")

    visit(tmp_path, story)


def test_a_revoked_tablet_is_out_at_once(tmp_path):
    async def story(here):
        await here.pair()
        assert (await here.ask("GET", "/link"))[0] == 200
        here.doors.revoke("iPad")
        assert (await here.ask("GET", "/link"))[:2] == (401, "NOT_PAIRED")

    visit(tmp_path, story)


def test_the_authority_is_served_as_a_tablet_installs_it(tmp_path):
    doors = Doors(TabletConfig(folder=str(tmp_path)), 8443)

    async def run():
        answer = await doors._authority(None)
        page = await doors._trust(None)
        return answer, page.text

    answer, page = asyncio.run(run())
    assert answer.content_type == "application/x-x509-ca-cert" and answer.body == doors.authority.der
    assert page.replace("<wbr>", "").count(doors.authority.fingerprint) == 3, "once in each language"
