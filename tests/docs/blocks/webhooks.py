# %% before: app = FastAPI()
import asyncio
import os
from datetime import UTC, datetime

import httpx2
from aiohttp import web
from mesh_refresh.service import Webhooks
os.environ["WEBHOOK_SECRET"] = os.environ["MESH_REFRESH_WEBHOOK_SECRET"] = secret = Webhooks.generate_secret()

# %% before: export MESH_REFRESH_WEBHOOK_SECRET=$(mesh-refresh webhooks secret)
class Served:
    """The app behind a socket."""

    async def __aenter__(self):
        relay = web.Application()
        relay.router.add_post("/hooks", self.relay)
        self.runner = web.AppRunner(relay, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.seen = []
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/hooks"

    async def relay(self, request):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://receiver") as asgi:
            reply = await asgi.post("/hooks", content=await request.read(), headers=dict(request.headers))
            self.seen.append(reply.status_code)
            return web.Response(status=reply.status_code)


from mesh_refresh.keeper import Notice, NoticeKind


def told(sequence, kind):
    return Notice(f"n{sequence}", kind, "user-7", "account-1", "coinbase", datetime.now(UTC), sequence)


async with Served() as served, Webhooks(served.url, secret) as hooks:
    for one in (told(1, NoticeKind.RECONNECT_REQUIRED), told(3, NoticeKind.RECOVERED)):
        await hooks(one)
        await hooks(one)
    await hooks(told(2, NoticeKind.RECONNECT_REQUIRED))  # resent by hand
    assert served.seen == [204] * 5
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://receiver") as stranger:
        now = str(int(datetime.now(UTC).timestamp()))
        for signature in ("v1,AAAA", "v1", "v1,!", "v2,AAAA"):
            made_up = {"webhook-id": "n4", "webhook-timestamp": now, "webhook-signature": signature}
            assert (await stranger.post("/hooks", content=b"{}", headers=made_up)).status_code == 401
assert database.execute("SELECT * FROM account").fetchall() == [("user-7", "account-1", 3, "login.recovered")]

# %% after: async def work(url: str, stop: asyncio.Event):
stop = asyncio.Event()
stop.set()
await work("https://receiver.example/hooks", stop)
new = Webhooks.generate_secret()
async with Served() as served, Webhooks(served.url, f"{new} {secret}") as hooks:
    await hooks(told(4, NoticeKind.MFA_NEEDED))
    webhook = Webhook(new)
    await hooks(told(5, NoticeKind.MFA_DONE))
    assert served.seen == [204, 204]
database.close()
