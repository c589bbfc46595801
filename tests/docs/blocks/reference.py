# %% before: class MyTransport:
from mesh_refresh import HttpReply, HttpRequest, NotSent, Tokens

class Connection:
    async def post(self, url, headers, body):
        return 200, {}, b'{"status":"ok","content":{"status":"succeeded","accessToken":"new"}}'
    async def close(self):
        self.closed = True

connection = Connection()

async def connect():
    return connection

# %% after: class MyTransport:
refreshed = await mesh.refresh(Tokens("coinbase", "old"))
assert refreshed.tokens.access_token == "new"
await mesh.aclose()
assert connection.closed

# %% before: class Measuring:
login = fake.login("coinbase")

# %% after: class Measuring:
assert len(measuring.seconds) == 1
