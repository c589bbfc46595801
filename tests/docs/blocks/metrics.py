# %% after: observer = PrometheusObserver()
login = fake.login("coinbase")

# %% after: await mesh.refresh(login.token)
shown = generate_latest(observer.registry).decode()
assert 'mesh_refresh_exchanges_total{broker="coinbase",outcome="refreshed"} 1.0' in shown
assert "mesh_refresh_in_flight" not in shown
await mesh.aclose()

# %% before: async with Keeper(mesh, store, observer=observer, role="run") as keeper:
from mesh_refresh.stores import Cipher
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.keeper import Keeper

mesh = MeshClient.from_env(observer=observer)
store = await SqliteStore.open("fleet.db", cipher=Cipher([Cipher.generate_key()]))

# %% after: async with Keeper(mesh, store, observer=observer, role="run") as keeper:
assert figures is None or figures.brokers["coinbase"].logins == 1
await mesh.aclose()
await store.aclose()

# %% before: server, thread = start_http_server(port, addr="127.0.0.1", registry=observer.registry)
import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

# %% after: server, thread = start_http_server(port, addr="127.0.0.1", registry=observer.registry)
import urllib.request
scraped = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
assert "mesh_refresh_exchanges_total" in scraped
server.shutdown()
server.server_close()
thread.join()

# %% before: mesh = MeshClient.from_env(observer=OtelObserver(meter_provider, tracer_provider))
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
meter_provider, tracer_provider = MeterProvider(), TracerProvider()

# %% after: mesh = MeshClient.from_env(observer=OtelObserver(meter_provider, tracer_provider))
await mesh.aclose()
