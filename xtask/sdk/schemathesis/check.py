"""Requests made from the OpenAPI document of the server, by schemathesis.

check.py HOST:PORT PREFIX, with the Python that schemathesis is installed for: each check prints one line
of JSON. The same requests are made in each run. No answer may be a 5xx but 501, have a status or a
type that the document does not name, or another form than it says.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

ADDRESS = sys.argv[1]
BASE = f"http://{ADDRESS}/nacos"
EXAMPLES = "3"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def document():
    with urllib.request.urlopen(f"{BASE}/v3/openapi.json", timeout=10) as answer:
        found = json.load(answer)
    # What only the port for consoles answers names a server of its own.
    found["paths"] = {path: item for path, item in found["paths"].items() if "servers" not in item}
    return found


def run(name, paths, folder):
    begun = time.monotonic()
    asked = document()
    asked["paths"] = {path: item for path, item in asked["paths"].items() if re.match(paths, path)}
    (folder / "document.json").write_text(json.dumps(asked))
    (folder / "schemathesis.toml").write_text(
        '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 501]\n')
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    ran = subprocess.run(
        [program, "--config-file", folder / "schemathesis.toml", "run", folder / "document.json", "--url", BASE,
         "--phases", "examples,coverage,fuzzing", "-n", EXAMPLES, "--seed", "1", "--generation-deterministic",
         "--continue-on-failure", "-w", "2", "-c", CHECKS, "--warnings", "off", "--no-color"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    print(ran.stdout, file=sys.stderr)
    counted = re.search(r"(\d+) generated.*", ran.stdout)
    ok = ran.returncode == 0 and counted is not None and int(counted.group(1)) > 100
    failed = re.findall(r"^_{3,} (.+?) _{3,}$", ran.stdout, re.MULTILINE)
    detail = "" if ok else ", ".join(failed)[:250] or "schemathesis did not run to its end"
    millis = int((time.monotonic() - begun) * 1000)
    print(json.dumps({"check": name, "ok": ok, "millis": millis, "detail": detail}), flush=True)


with tempfile.TemporaryDirectory() as place:
    run("requests-1.x", "^/(?!v[23]/)", pathlib.Path(place))
    run("requests-2.x", "^/v2/", pathlib.Path(place))
    run("requests-3.x", "^/v3/", pathlib.Path(place))
