"""Drives the nacos module of nacos-sdk-python through the conformance checks: check.py HOST:PORT PREFIX DIRECTORY."""

import json
import os
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request

from nacos import NacosClient

ADDRESS, PREFIX, DIRECTORY = sys.argv[1:4]
METADATA = {"zone": "east 1", "owner": "Zoë"}
# This SDK takes no push: it sees a change when it polls, here every 2 s (7 s unless told).
POLL_SECONDS = 2
POLL_LIMIT = POLL_SECONDS + 2
BEAT_SECONDS = 5
printing = threading.Lock()


def main():
    alongside = threading.Thread(target=lifetime)
    alongside.start()
    basics()
    namespaces()
    subscriptions()
    alongside.join()


def basics():
    service = PREFIX + "-basics"
    client = new_client()

    def register():
        assert client.add_naming_instance(
            service, "10.1.0.1", 8001, weight=2.5, metadata=METADATA, heartbeat_interval=BEAT_SECONDS
        )
        assert client.add_naming_instance(service, "10.1.0.2", 8002, heartbeat_interval=BEAT_SECONDS)

    def list_all():
        found = until(3, lambda: hosts(client, service), lambda seen: len(seen) == 3)
        weighted = find(found, "10.1.0.1")
        assert weighted["weight"] == 2.5 and weighted["metadata"] == METADATA, weighted
        assert not find(found, "10.1.0.3")["healthy"], found
        # Named without a cluster the instances are in the default one, where their beats go.
        assert {host["clusterName"] for host in found} == {"DEFAULT"}, found

    def list_healthy():
        found = hosts(client, service, healthy_only=True)
        assert sorted(host["ip"] for host in found) == ["10.1.0.1", "10.1.0.2"], found

    def deregister():
        assert client.remove_naming_instance(service, "10.1.0.2", 8002)
        gone = lambda seen: find(seen, "10.1.0.2") is None
        until(3, lambda: hosts(client, service), gone)
        # A beat sent before it must not bring the instance back.
        time.sleep(BEAT_SECONDS + 1)
        found = hosts(client, service)
        assert gone(found), found

    check("register", register)
    register_raw(service, "10.1.0.3", 8003, False)
    check("list", list_all)
    check("list-healthy", list_healthy)
    check("deregister", deregister)


def namespaces():
    service = PREFIX + "-spaces"
    clients = {"10.2.0.1": new_client(PREFIX + "-one"), "10.2.0.2": new_client(PREFIX + "-two")}

    def apart():
        for ip, client in clients.items():
            assert client.add_naming_instance(service, ip, 8001)
        for ip, client in clients.items():
            until(3, lambda: hosts(client, service), lambda seen: [host["ip"] for host in seen] == [ip])

    check("namespaces", apart)


def subscriptions():
    provider = new_client()
    watched = Watch(provider, PREFIX + "-watch")
    crowd = Watch(provider, PREFIX + "-crowd")

    def appear():
        start = time.monotonic()
        assert provider.add_naming_instance(watched.service, "10.3.0.2", 8002, heartbeat_interval=BEAT_SECONDS)
        until(POLL_LIMIT, watched.seen, lambda seen: "10.3.0.2" in seen)
        return f"polled after {milliseconds_since(start)} ms"

    def vanish():
        assert "10.3.0.2" in watched.seen(), "it did not appear"
        start = time.monotonic()
        assert provider.remove_naming_instance(watched.service, "10.3.0.2", 8002)
        until(POLL_LIMIT, watched.seen, lambda seen: "10.3.0.2" not in seen)
        return f"polled after {milliseconds_since(start)} ms"

    def hundred():
        for number in range(2, 101):
            metadata = {"zone": f"z{number % 3}"}
            assert provider.add_naming_instance(crowd.service, f"10.3.0.{number}", 8000 + number, metadata=metadata)
        start = time.monotonic()
        found = until(POLL_LIMIT, crowd.seen, lambda seen: len(seen) == 100)
        assert found["10.3.0.100"]["metadata"] == {"zone": "z1"}, found
        return f"polled {milliseconds_since(start)} ms after the last"

    check("subscribe-appear", appear)
    check("subscribe-vanish", vanish)
    check("subscribe-100", hundred)


def lifetime():
    """One instance that beats beside one that never does, for as long as the former takes to prove itself."""
    provider = new_client()
    start = time.monotonic()
    watched = Watch(provider, PREFIX + "-lifetime")
    silent_start = time.monotonic()

    def age(least, what):
        age = milliseconds_since(silent_start)
        assert age >= least, f"{what} after only {age} ms"
        return f"{what} after {age} ms"

    def unhealthy():
        register_raw(watched.service, "10.4.0.9", 8009, True)
        until(POLL_LIMIT, watched.seen, lambda seen: "10.4.0.9" in seen)
        until(26, watched.seen, lambda seen: not seen["10.4.0.9"]["healthy"])
        return age(14_000, "unhealthy")

    def removed():
        until(26, watched.seen, lambda seen: "10.4.0.9" not in seen)
        return age(29_000, "removed")

    def beats():
        while time.monotonic() - start < 42:
            found = [host for host in hosts(provider, watched.service) if host["ip"] == "10.3.0.1"]
            assert [host["healthy"] for host in found] == [True], found
            assert watched.seen()["10.3.0.1"]["healthy"]
            time.sleep(0.5)

    def silent():
        check("expiry-unhealthy", unhealthy)
        check("expiry-removed", removed)

    threads = [threading.Thread(target=silent), threading.Thread(target=lambda: check("beats", beats))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Watch:
    """A service with one beating instance, 10.3.0.1:8001, and a subscriber to it.

    The SDK tells of changes one instance at a time and never of the first it sees, so the list begins with that one.
    """

    def __init__(self, provider, service):
        self.service = service
        assert provider.add_naming_instance(service, "10.3.0.1", 8001, heartbeat_interval=BEAT_SECONDS)
        first = until(3, lambda: hosts(provider, service), lambda seen: len(seen) == 1)
        self._lock = threading.Lock()
        self._hosts = {"10.3.0.1": first[0]}
        self.consumer = new_client()
        self.consumer.subscribe(Listener(self._changed), POLL_SECONDS, service_name=service)

    def _changed(self, event, subscribed):
        host = subscribed.instance
        with self._lock:
            if event == "DELETED":
                self._hosts.pop(host["ip"], None)
            else:
                self._hosts[host["ip"]] = host

    def seen(self):
        with self._lock:
            return dict(self._hosts)


class Listener:
    """What the SDK calls: any object with a name and `launch`."""

    listener_name = "conformance"

    def __init__(self, launch):
        self.launch = launch


def new_client(namespace=None):
    return NacosClient(ADDRESS, namespace=namespace, logDir=DIRECTORY, log_level="WARNING")


def hosts(client, service, **options):
    return client.list_naming_instance(service, **options)["hosts"]


def find(found, ip):
    return next((host for host in found if host["ip"] == ip), None)


def register_raw(service, ip, port, healthy):
    """Registers without the SDK, so that nobody beats for the instance."""
    query = urllib.parse.urlencode({"serviceName": service, "ip": ip, "port": port, "healthy": healthy})
    request = urllib.request.Request(f"http://{ADDRESS}/nacos/v1/ns/instance?{query}", method="POST")
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.read() == b"ok"


def until(limit_seconds, look, wanted):
    end = time.monotonic() + limit_seconds
    seen = look()
    while not wanted(seen) and time.monotonic() < end:
        time.sleep(0.02)
        seen = look()
    assert wanted(seen), f"not within {limit_seconds} s, last seen: {seen}"
    return seen


def milliseconds_since(start):
    return int((time.monotonic() - start) * 1000)


def check(name, body):
    start = time.monotonic()
    line = {"check": name}
    try:
        line["detail"] = body() or ""
        line["ok"] = True
    except Exception as error:
        traceback.print_exc()
        line["detail"] = f"{type(error).__name__}: {error}"
        line["ok"] = False
    line["millis"] = milliseconds_since(start)
    with printing:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # The polling threads of the SDK never end by themselves.
    os._exit(0)
