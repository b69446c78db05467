"""A tablet beside a machine: trusts it by its fingerprint, pairs as `sonosweep tablet pair` says, and sweeps over the link."""

import asyncio
import hashlib
import json
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
from test_tablet import Page

PATIENCE_S = 150
ITSELF = "127.0.0.1:8443"


@asynccontextmanager
async def tablet_page(machine, address="https://127.0.0.1:8443"):
    """Operating. ``address``: where the machine's port is found, whatever it calls itself."""
    trust = json.loads(machine.run("sonosweep", "tablet", "trust", "--json"))
    told = json.loads(machine.run("sonosweep", "tablet", "pair", "--json"))
    secret = told["url"].partition("/#pair=")[2]
    headers = {"Origin": f"https://{ITSELF}", "Host": ITSELF}
    async with aiohttp.ClientSession() as stranger, stranger.get(f"{address}/ca.crt", headers=headers, ssl=False) as answer:
        authority = await answer.read()
    assert hashlib.sha256(authority).hexdigest() == trust["fingerprint"].replace(":", "").lower()
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(headers=headers, cookie_jar=jar, connector=trusting) as session:
        async with session.post(f"{address}/api/pair", json={"secret": secret, "name": "iPad"}) as answer:
            assert answer.status == 200, await answer.text()
        page = Page(address, session, PATIENCE_S)
        await page.connect()
        assert (await page.do("take_operator"))["ok"]
        yield page
        await page.ws.close()
        page.reading.cancel()


async def sweep_and_save(machine, move, address="https://127.0.0.1:8443"):
    """From the tablet's start to a saved volume; ``move()`` moves the probe, which lies still. Answers the sweep's name."""
    async with tablet_page(machine, address) as page:
        sweep = await page.swept(SimpleNamespace(probe=SimpleNamespace(still=lambda: True, move=move)))
        assert page.last["end"]["same"], "what the tablet shows is not what the device has"
        assert (await page.do("save", sweep=sweep, direction_confirmed=True))["ok"]
        return sweep


def play(story, patience_s=PATIENCE_S):
    """Run it to its end, in bounded time."""

    async def whole():
        try:
            return await asyncio.wait_for(story, patience_s)
        finally:
            await asyncio.sleep(0.3)  # aiohttp's TLS connections end a moment after their session

    return asyncio.run(whole())
