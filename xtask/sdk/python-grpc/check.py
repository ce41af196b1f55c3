"""Drives the v2.nacos module of nacos-sdk-python through the checks of gRPC: check.py HOST:PORT PREFIX DIRECTORY.

With a fourth argument, a service, the program registers one instance there and waits to be killed.
"""

import asyncio
import json
import os
import sys
import time
import traceback
import urllib.parse
import urllib.request

from v2.nacos import (
    BatchRegisterInstanceParam,
    ClientConfigBuilder,
    DeregisterInstanceParam,
    ListInstanceParam,
    ListServiceParam,
    NacosNamingService,
    RegisterInstanceParam,
    SubscribeServiceParam,
)

ADDRESS, PREFIX, DIRECTORY = sys.argv[1:4]
METADATA = {"zone": "east 1", "owner": "Zoë"}
VICTIM = "10.5.0.9"
# Below the 10 s after which this SDK polls: what arrives within the limit was pushed.
PUSH_LIMIT = 2
# This SDK connects again at once, but repeats what it has registered only every 30 s.
RESTART_LIMIT = 35
clients = 0


async def main():
    await basics()
    await namespaces()
    await subscriptions()
    await killed()
    await restarted()


async def victim(service):
    client = await new_client()
    assert await register(client, service, VICTIM, 8009)
    print("registered", flush=True)
    await asyncio.Event().wait()


async def basics():
    service = PREFIX + "-basics"
    # A connection holds one instance of a service, so each instance has a client of its own.
    one, two = await new_client(), await new_client()

    async def server_status():
        assert await one.server_health()

    async def register_two():
        assert await register(
            one, service, "10.1.0.1", 8001, weight=2.5, metadata=METADATA, cluster_name="blue"
        )
        assert await register(two, service, "10.1.0.2", 8002)

    async def seen_by_http():
        both = lambda seen: {host["ip"] for host in seen} == {"10.1.0.1", "10.1.0.2"}
        seen = await until(2, lambda: http_list(service), both)
        weighted = next(host for host in seen if host["ip"] == "10.1.0.1")
        assert weighted["weight"] == 2.5 and weighted["metadata"] == METADATA, weighted
        assert weighted["clusterName"] == "blue", weighted

    async def list_all():
        seen = await until(3, lambda: hosts(one, service), lambda seen: len(seen) == 3)
        weighted = find(seen, "10.1.0.1")
        assert weighted.weight == 2.5 and weighted.metadata == METADATA, weighted
        assert weighted.clusterName == "blue", weighted
        assert find(seen, "10.1.0.2").clusterName == "DEFAULT", seen
        assert not find(seen, "10.1.0.3").healthy, seen

    async def list_healthy():
        seen = await hosts(one, service, healthy_only=True)
        assert sorted(host.ip for host in seen) == ["10.1.0.1", "10.1.0.2"], seen

    async def batch():
        many = PREFIX + "-batch"
        instances = [
            RegisterInstanceParam(service_name=many, ip=f"10.1.1.{number}", port=8001) for number in (1, 2)
        ]
        assert await one.batch_register_instances(
            BatchRegisterInstanceParam(service_name=many, instances=instances)
        )
        await until(3, lambda: hosts(two, many), lambda seen: len(seen) == 2)
        await until(2, lambda: http_list(many), lambda seen: len(seen) == 2)

    async def deregister_one():
        assert await deregister(two, service, "10.1.0.2", 8002)
        await until(3, lambda: hosts(one, service), lambda seen: find(seen, "10.1.0.2") is None)
        # The SDK repeats what it believes to be registered every 3 s; this instance is not repeated.
        await asyncio.sleep(3.5)
        seen = {host["ip"] for host in await http_list(service)}
        assert "10.1.0.2" not in seen and "10.1.0.1" in seen, seen

    await check("server-status", server_status)
    await check("register", register_two)
    await check("seen-by-http", seen_by_http)
    await http("POST", service, "10.1.0.3", healthy="false")
    await check("list", list_all)
    await check("list-healthy", list_healthy)
    await check("batch", batch)
    await check("deregister", deregister_one)


async def namespaces():
    service = PREFIX + "-spaces"
    one, two = await new_client(PREFIX + "-one"), await new_client(PREFIX + "-two")

    async def apart():
        for ip, client in (("10.2.0.1", one), ("10.2.0.2", two)):
            assert await register(client, service, ip, 8001)
        for ip, client in (("10.2.0.1", one), ("10.2.0.2", two)):
            await until(3, lambda: hosts(client, service), lambda seen: [host.ip for host in seen] == [ip])

    async def service_list():
        found = await one.list_services(ListServiceParam(namespace_id=PREFIX + "-one"))
        assert found.count == 1 and found.services == [service], found

    await check("namespaces", apart)
    await check("service-list", service_list)


async def subscriptions():
    second = await new_client()
    watched = await Watch.begin(PREFIX + "-watch")

    async def told(change, wanted):
        start = time.monotonic()
        await change
        await watched.until(wanted)
        return f"pushed after {milliseconds_since(start)} ms"

    async def appear():
        return await told(
            register(second, watched.service, "10.3.0.2", 8002), lambda seen: find(seen, "10.3.0.2")
        )

    async def vanish():
        assert find(watched.hosts, "10.3.0.2"), "it did not appear"
        return await told(
            deregister(second, watched.service, "10.3.0.2", 8002), lambda seen: not find(seen, "10.3.0.2")
        )

    async def http_appear():
        wanted = lambda seen: find(seen, "10.3.0.3") and find(seen, "10.3.0.3").weight == 0.5
        return await told(http("POST", watched.service, "10.3.0.3", weight="0.5"), wanted)

    async def http_vanish():
        assert find(watched.hosts, "10.3.0.3"), "it did not appear"
        return await told(
            http("DELETE", watched.service, "10.3.0.3"), lambda seen: not find(seen, "10.3.0.3")
        )

    await check("subscribe-appear", appear)
    await check("subscribe-vanish", vanish)
    await check("http-appear", http_appear)
    await check("http-vanish", http_vanish)


async def killed():
    watched = await Watch.begin(PREFIX + "-killed")

    async def gone():
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, ADDRESS, PREFIX, DIRECTORY + "/victim", watched.service,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async for line in process.stdout:
                if line.strip() == b"registered":
                    break
            await watched.until(lambda seen: find(seen, VICTIM))
        finally:
            process.kill()
        start = time.monotonic()
        await watched.until(lambda seen: not find(seen, VICTIM))
        return f"gone after {milliseconds_since(start)} ms"

    await check("client-killed", gone)


async def restarted():
    """Tells the caller that all else is done, by a file, and waits for the file that says that the server has restarted."""
    watched = await Watch.begin(PREFIX + "-restart")
    open(DIRECTORY + "/ready", "w").close()
    while not os.path.exists(DIRECTORY + "/restarted"):
        await asyncio.sleep(0.02)

    async def back():
        start = time.monotonic()
        first = lambda seen: [host["ip"] for host in seen] == ["10.3.0.1"]
        await until(RESTART_LIMIT, lambda: http_list(watched.service), first)
        registered = milliseconds_since(start)
        await http("POST", watched.service, "10.3.0.4")
        wanted = lambda seen: find(seen, "10.3.0.1") and find(seen, "10.3.0.4")
        await until(RESTART_LIMIT - registered / 1000, watched.seen, wanted)
        return f"back after {registered} ms, subscribed again after {milliseconds_since(start)} ms"

    await check("server-restart", back)


class Watch:
    """A service with one instance, 10.3.0.1:8001, and a subscriber to it."""

    @classmethod
    async def begin(cls, service):
        watched = cls()
        watched.service, watched.hosts = service, []
        watched.provider, watched.consumer = await new_client(), await new_client()
        assert await register(watched.provider, service, "10.3.0.1", 8001)
        await watched.consumer.subscribe(
            SubscribeServiceParam(service_name=service, subscribe_callback=watched.changed)
        )
        await until(5, watched.seen, lambda seen: len(seen) == 1)
        return watched

    async def changed(self, found):
        self.hosts = found

    async def seen(self):
        return self.hosts

    async def until(self, wanted):
        await until(PUSH_LIMIT, self.seen, wanted)


async def new_client(namespace=""):
    global clients
    clients += 1
    # A directory of its own each: the cache in it is of one client.
    own = f"{DIRECTORY}/{clients}"
    config = ClientConfigBuilder().server_address(ADDRESS).namespace_id(namespace)
    config = config.log_level("WARNING").log_dir(own).cache_dir(own).build()
    return await NacosNamingService.create_naming_service(config)


async def register(client, service, ip, port, **more):
    return await client.register_instance(RegisterInstanceParam(service_name=service, ip=ip, port=port, **more))


async def deregister(client, service, ip, port):
    return await client.deregister_instance(DeregisterInstanceParam(service_name=service, ip=ip, port=port))


async def hosts(client, service, healthy_only=None):
    # With `subscribe` off the SDK asks the server.
    return await client.list_instances(
        ListInstanceParam(service_name=service, subscribe=False, healthy_only=healthy_only)
    )


def find(found, ip):
    return next((host for host in found if host.ip == ip), None)


async def http(method, service, ip, **more):
    """Registers or deregisters over HTTP, as a client of 1.x does."""
    said = await call(method, "/nacos/v1/ns/instance", serviceName=service, ip=ip, port=8003, **more)
    assert said == b"ok", said


async def http_list(service):
    """What a client of 1.x is told of a service."""
    return json.loads(await call("GET", "/nacos/v1/ns/instance/list", serviceName=service))["hosts"]


async def call(method, path, **query):
    url = f"http://{ADDRESS}{path}?{urllib.parse.urlencode(query)}"

    def ask():
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as reply:
            return reply.read()

    return await asyncio.to_thread(ask)


async def until(limit_seconds, look, wanted):
    end = time.monotonic() + limit_seconds
    seen = await look()
    while not wanted(seen) and time.monotonic() < end:
        await asyncio.sleep(0.02)
        seen = await look()
    assert wanted(seen), f"not within {limit_seconds} s, last seen: {seen}"
    return seen


def milliseconds_since(start):
    return int((time.monotonic() - start) * 1000)


async def check(name, body):
    start = time.monotonic()
    line = {"check": name}
    try:
        line["detail"] = await body() or ""
        line["ok"] = True
    except Exception as error:
        traceback.print_exc()
        line["detail"] = f"{type(error).__name__}: {error}"
        line["ok"] = False
    line["millis"] = milliseconds_since(start)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(victim(sys.argv[4]) if len(sys.argv) > 4 else main())
    except Exception:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # The threads of the SDK never end by themselves.
    os._exit(0)
