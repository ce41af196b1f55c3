"""A real Prometheus that scrapes the server and finds its targets by it.

python3 check.py HOST:PORT PREFIX: each check prints one line of JSON. Prometheus itself says what it
has found and scraped: its own API is asked.
"""

import http.server
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import urllib.request

ADDRESS, PREFIX = sys.argv[1], sys.argv[2]
# Long enough for a machine that does much else.
PATIENCE = 40


def ask(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read().decode()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Application(http.server.BaseHTTPRequestHandler):
    """An application with metrics at a path of its own."""

    def do_GET(self):
        found = self.path == "/app/metrics"
        body = b"app_requests_total 7\n" if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
threading.Thread(target=application.serve_forever, daemon=True).start()
APP = application.server_address[1]
NAMESPACE, SERVICE = f"{PREFIX}-ns", f"{PREFIX}-shop"
# Keys that are no names of labels as they are, and values of all kinds.
METADATA = {
    "app.version": "1.2", "team-name": "a \"b\" \\ \n c", "1st": "é 中文", "weird/key!": "x",
    "__metrics_path__": "/app/metrics", "__address__": "192.0.2.1:1", "__meta_nacos_service": "forged",
}


def register(namespace, group, service, port, metadata, **more):
    given = {
        "namespaceId": namespace, "groupName": group, "serviceName": service, "ip": "127.0.0.1", "port": port,
        "metadata": json.dumps(metadata), "ephemeral": "false", **more,
    }
    answer = ask(f"http://{ADDRESS}/nacos/v2/ns/instance?{urllib.parse.urlencode(given)}", "POST")
    assert json.loads(answer)["code"] == 0, answer


def configuration(folder):
    sd = f"http://{ADDRESS}/nacos/prometheus"
    jobs = {
        "all": sd,
        "namespace": f"{sd}/namespaceId/{NAMESPACE}",
        "service": f"{sd}/namespaceId/{NAMESPACE}/service/{SERVICE}",
    }
    found = "".join(
        f"""
  - job_name: sd-{name}
    http_sd_configs: [{{url: '{url}', refresh_interval: 1s}}]
    relabel_configs:
      - {{source_labels: [__meta_nacos_service], regex: '{PREFIX}-.*', action: keep}}
      - {{regex: '__meta_nacos_(.+)', action: labelmap}}
      - {{regex: '__meta_(clusterName)', action: labelmap}}
"""
        for name, url in jobs.items())
    file = pathlib.Path(folder) / "prometheus.yml"
    file.write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: own
    metrics_path: /metrics
    static_configs: [{{targets: ['{ADDRESS}']}}]
  - job_name: nacos
    metrics_path: /nacos/actuator/prometheus
    static_configs: [{{targets: ['{ADDRESS}']}}]
{found}""")
    return file


PORT = free_port()
API = f"http://127.0.0.1:{PORT}/api/v1"


def api(path, **query):
    answer = json.loads(ask(f"{API}/{path}?{urllib.parse.urlencode(query)}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def targets(job):
    return [one for one in api("targets", state="active")["activeTargets"] if one["labels"]["job"] == job]


def values(query):
    return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in api("query", query=query)["result"]}


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            found = condition()
            if found:
                return found
            last = "nothing"
        except Exception as error:  # Prometheus may not be up yet.
            last = f"{type(error).__name__}: {error}"
        assert time.monotonic() < end, f"{what}: {last}"
        time.sleep(0.3)


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


def scraped(job, *series):
    def is_up():
        found = targets(job)
        assert len(found) == 1, found
        assert found[0]["health"] == "up", found[0]["lastError"]
        return found

    until(f"{job} is scraped", is_up)
    for one in series:
        until(f"{one} of {job}", lambda one=one: values(f"{one}{{job='{job}'}}"))


def discovered(job, wanted):
    """Waits until the job has exactly these targets, by service and port."""
    def are_there():
        found = sorted((one["labels"]["service"], int(one["labels"]["instance"].rsplit(":", 1)[1])) for one in targets(job))
        assert found == sorted(wanted), f"{found} is not {sorted(wanted)}"
        return True

    until(f"targets of {job}", are_there)


def main(folder):
    register(NAMESPACE, "sales", SERVICE, APP, METADATA)
    register(NAMESPACE, "other", SERVICE, 9, {}, enabled="false", clusterName="spare")
    register(NAMESPACE, "sales", f"{PREFIX}-stock", 9, {})
    register("public", "sales", SERVICE, 9, {})
    file, data = configuration(folder), pathlib.Path(folder) / "data"
    prometheus = subprocess.Popen([
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{PORT}",
        "--log.level=warn",
    ], stdout=sys.stderr)
    try:
        @check("scrape-own")
        def _():
            scraped("own", "naming_services", "naming_instances")

        @check("scrape-nacos")
        def _():
            scraped("nacos", "nacos_monitor", "system_cpu_usage", "http_server_requests_seconds_count")
            services = values("nacos_monitor{job='nacos',name='serviceCount'}")
            assert len(services) == 1 and min(services.values()) >= 4, services

        @check("discover-all")
        def _():
            discovered("sd-all", [(SERVICE, APP), (SERVICE, 9), (SERVICE, 9), (f"{PREFIX}-stock", 9)])

        @check("discover-namespace")
        def _():
            discovered("sd-namespace", [(SERVICE, APP), (SERVICE, 9), (f"{PREFIX}-stock", 9)])

        @check("discover-service")
        def _():
            discovered("sd-service", [(SERVICE, APP), (SERVICE, 9)])

        @check("labels")
        def _():
            [one] = [one for one in targets("sd-service") if one["labels"]["instance"].endswith(f":{APP}")]
            # Not those that it calls discovered: relabelling writes into them in releases of Debian.
            after = one["labels"]
            wanted = {
                "app_version": "1.2", "team_name": METADATA["team-name"], "_1st": METADATA["1st"], "weird_key_": "x",
                "clusterName": "DEFAULT", "namespace": NAMESPACE, "group": "sales", "service": SERVICE,
                "cluster": "DEFAULT", "enabled": "true", "instance": f"127.0.0.1:{APP}", "job": "sd-service",
                "healthy": after["healthy"],
            }
            assert after == wanted, f"{after} is not {wanted}"
            assert after["healthy"] in ("true", "false"), after
            assert one["scrapeUrl"] == f"http://127.0.0.1:{APP}/app/metrics", one["scrapeUrl"]
            [spare] = [one["labels"] for one in targets("sd-service") if one["labels"]["group"] == "other"]
            assert (spare["enabled"], spare["cluster"]) == ("false", "spare"), spare

        @check("scrape-discovered")
        def _():
            until("the application is scraped at its own path", lambda: values(f"app_requests_total{{job='sd-service',service='{SERVICE}'}} == 7"))
    finally:
        prometheus.terminate()
        prometheus.wait(20)


with tempfile.TemporaryDirectory() as place:
    main(place)
