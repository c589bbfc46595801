# %% before: billing, key = AccessKey.generate("billing", [Scope.TOKENS, Scope.ADD])
from mesh_refresh.stores import MemoryStore

store = MemoryStore()
login = fake.login("coinbase")

# %% after: billing, key = AccessKey.generate("billing", [Scope.TOKENS, Scope.ADD])
from aiohttp import ClientSession

runner = web.AppRunner(make_app(), handler_cancellation=True)
await runner.setup()
await web.TCPSite(runner, "127.0.0.1", 0).start()
async with ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/fleet/v1/logins/~YS9i"
    async with session.put(url, json=login.link_payload()) as response:
        assert response.status == 201, await response.text()
    async with session.get(f"{url}/tokens") as response:
        assert (await response.json())["loginId"] == "a/b"
    async with session.get(url) as response:
        assert response.status == 403
await runner.cleanup()
