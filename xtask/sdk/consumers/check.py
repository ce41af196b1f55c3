"""The requests of programs that speak HTTP to Nacos, in the order in which they send them.

python3 check.py HOST:PORT PREFIX: each check prints one line of JSON.

The paths, parameters and what is read of the answers are those of the sources: Hyperf's providers for
`version: 2` and 3, and the discovery of APISIX. PHP writes true as 1, and leaves out what is null.
"""

import json
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

ADDRESS, PREFIX = sys.argv[1], sys.argv[2]


def ask(method, path, query=None, headers=None, body=None):
    """Status and body. Raises nothing for refusals."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    given = {name: {True: "1", False: "0"}.get(value, value) if isinstance(value, bool) else value for name, value in given.items()}
    url = f"http://{ADDRESS}/{path}" + ("?" + urllib.parse.urlencode(given) if given else "")
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def good(answer):
    status, body = answer
    assert status == 200, answer
    return body


def data(answer):
    body = json.loads(good(answer))
    assert body["code"] == 0, body
    return body["data"]


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def check(name):
    def run(function):
        begun = time.monotonic()
        detail = ""
        try:
            function()
        except Exception as error:  # What went wrong is told, whatever it is.
            traceback.print_exc()
            detail = f"{type(error).__name__}: {error}"[:300]
        millis = int((time.monotonic() - begun) * 1000)
        print(json.dumps({"check": name, "ok": not detail, "millis": millis, "detail": detail}), flush=True)

    return run


def hyperf(version, instance, service, listed):
    """A service of Hyperf begins, beats, is found, and ends."""
    name = f"{PREFIX}-hyperf-{version}"
    names = {"groupName": "api", "namespaceId": "hyperf"}
    metadata = json.dumps({"protocol": "jsonrpc-http"})
    # Whether the service is there; if not, it is made.
    status, _ = ask("GET", service, {"serviceName": name, **names})
    assert status in (400, 404), status
    same(data(ask("POST", service, {"serviceName": name, "protectThreshold": 0.5, "metadata": metadata, "ephemeral": True, **names})), "ok")
    # Made again it is refused, which Hyperf takes for done.
    status, body = ask("POST", service, {"serviceName": name, "ephemeral": True, **names})
    assert status == 400 and "exist" in body, (status, body)
    status, _ = ask("GET", instance, {"ip": "10.0.0.1", "port": 9501, "serviceName": name, **names})
    assert status == 404, status
    same(data(ask("POST", instance, {"serviceName": name, "ip": "10.0.0.1", "port": 9501, "metadata": metadata, "ephemeral": True, "weight": 99.0, "enabled": True, **names})), "ok")
    data(ask("GET", instance, {"ip": "10.0.0.1", "port": 9501, "serviceName": name, **names}))
    hosts = listed(ask("GET", f"{instance}/list", {"serviceName": name, "healthyOnly": True, **names}))
    same([(host["ip"], host["port"], host["weight"], host["healthy"]) for host in hosts], [("10.0.0.1", 9501, 99.0, True)])
    same(data(ask("PUT", instance, {"serviceName": name, "ip": "10.0.0.1", "port": 9501, "weight": 0.99, "enabled": True, "ephemeral": True, **names})), "ok")
    same(data(ask("DELETE", instance, {"serviceName": name, "ip": "10.0.0.1", "port": 9501, "ephemeral": True, **names})), "ok")
    status, body = ask("GET", f"{instance}/list", {"serviceName": name, **names})
    assert status == 404 or listed((status, body)) == [], (status, body)
    same(data(ask("DELETE", service, {"serviceName": name, **names})), "ok")


@check("hyperf-2")
def hyperf_2():
    hyperf(2, "nacos/v2/ns/instance", "nacos/v2/ns/service", lambda answer: data(answer)["hosts"])


@check("hyperf-2-beat")
def hyperf_2_beat():
    name = f"{PREFIX}-hyperf-beat"
    beat = {"ip": "10.0.0.2", "port": 9501, "serviceName": f"api@@{name}", "cluster": "DEFAULT", "weight": 1}
    query = {"serviceName": f"api@@{name}", "ip": "10.0.0.2", "port": 9501, "groupName": "api", "ephemeral": True}
    # Without the instance in full an unknown one is to be registered; with it, it is.
    light = json.loads(good(ask("PUT", "nacos/v2/ns/instance/beat", {**query, "beat": ""})))
    same(light["code"], 20404)
    full = json.loads(good(ask("PUT", "nacos/v2/ns/instance/beat", {**query, "beat": json.dumps(beat)})))
    same((full["code"], full["clientBeatInterval"] > 0, full["lightBeatEnabled"]), (10200, True, True))
    hosts = data(ask("GET", "nacos/v2/ns/instance/list", {"serviceName": name, "groupName": "api"}))["hosts"]
    same([host["ip"] for host in hosts], ["10.0.0.2"])


@check("hyperf-3")
def hyperf_3():
    hyperf(3, "nacos/v3/admin/ns/instance", "nacos/v3/admin/ns/service", data)


@check("apisix")
def apisix():
    name = f"{PREFIX}-apisix"
    ask("POST", "nacos/v1/ns/instance", {"serviceName": name, "ip": "10.0.0.3", "port": 8080, "weight": 2, "metadata": '{"gRPC_port":"9090"}'})
    ask("POST", "nacos/v1/ns/instance", {"serviceName": name, "ip": "10.0.0.4", "port": 8080, "namespaceId": "test", "groupName": "g"})
    headers = {"Accept": "application/json"}

    def nodes(more):
        answer = ask("GET", f"nacos/v1/ns/instance/list?healthyOnly=true&serviceName={name}{more}", headers=headers)
        found = json.loads(good(answer))["hosts"]
        return [(host["ip"], host["port"], host["weight"], host["metadata"].get("gRPC_port")) for host in found]

    same(nodes("&namespaceId=public&groupName=DEFAULT_GROUP"), [("10.0.0.3", 8080, 2.0, "9090")])
    same(nodes("&namespaceId=test&groupName=g"), [("10.0.0.4", 8080, 1.0, None)])
    # With a key it signs; that is ignored here.
    signed = "&" + urllib.parse.urlencode({"ak": "key", "data": f"1700000000000@@DEFAULT_GROUP@@{name}", "signature": "c2lnbmF0dXJl"})
    same(len(nodes("&namespaceId=public&groupName=DEFAULT_GROUP" + signed)), 1)
    # A service that is not there has an empty list, and not an error.
    body = good(ask("GET", f"nacos/v1/ns/instance/list?healthyOnly=true&serviceName={name}-none&namespaceId=public&groupName=DEFAULT_GROUP", headers=headers))
    same(json.loads(body)["hosts"], [])
