# SPDX-License-Identifier: Apache-2.0
"""What a program inside an instance meets: metadata service, credentials, services, the way in and out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.ec2.conftest import lab_of

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

APP = """#!/bin/bash
mkdir -p /opt/app
cat > /opt/app/app.py <<'X'
import base64, hashlib, http.server, json, os
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/crash":
            os._exit(3)
        if self.headers.get("Upgrade"):
            head = (b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: echo", b"", b"")
            self.connection.sendall(b"\\r\\n".join(head))
            while data := self.connection.recv(4096):
                self.connection.sendall(data.upper())
            self.close_connection = True
            return
        if self.path == "/stream":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for part in (b"one ", b"two ", b"three"):
                self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(part), part))
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        runs = open("/var/app-runs").read().count("run")
        self.answer({"headers": dict(self.headers), "runs": runs, "color": os.environ.get("COLOR")})
    def do_POST(self):
        data = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size); self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"length": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
open("/var/app-runs", "a").write("run\\n")
http.server.ThreadingHTTPServer(("0.0.0.0", 80), App).serve_forever()
X
cat > /etc/systemd/system/app.service <<'X'
[Unit]
Description=The app
After=network-online.target
[Service]
ExecStart=/usr/bin/env python3 -u /opt/app/app.py
Environment=COLOR=blue
WorkingDirectory=/opt/app
Restart=always
RestartSec=50ms
[Install]
WantedBy=multi-user.target
X
systemctl daemon-reload
systemctl enable --now app
systemctl is-active app && echo the app is active
"""


def get(lab: Lab, instance: str, path: str = "/") -> tuple[int, Any]:
    connection = lab.connect(instance)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if response.getheader("Content-Type") is None else body.decode()


@pytest.fixture(scope="module")
def app(chamber: Any) -> Any:
    """A running instance with the app on port 80."""
    lab = lab_of(chamber)
    instance = lab.run(APP, SecurityGroupIds=[lab.group(80)])
    lab.wait(instance)
    lab.until(lambda: get(lab, instance)[0] == 200, "an answer of the app")
    yield instance
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_a_request_reaches_the_app_as_behind_a_load_balancer(lab: Lab, app: str) -> None:
    status, seen = get(lab, app, "/page?secret=1")
    assert status == 200
    headers = seen["headers"]
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert headers["Host"].startswith(f"{app}.ec2.localhost")
    assert seen["color"] == "blue"


def test_keep_alive_bodies_and_streams(lab: Lab, app: str) -> None:
    connection = lab.connect(app)
    connection.request("POST", "/", body=b"x" * 3_000_000)
    assert json.loads(connection.getresponse().read())["length"] == 3_000_000
    connection.request(
        "POST",
        "/",
        body=iter([b"a" * 1000, b"b" * 70000]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert json.loads(connection.getresponse().read())["length"] == 71000
    connection.request("GET", "/stream")
    assert connection.getresponse().read() == b"one two three"
    connection.request("HEAD", "/nothing-here")
    assert connection.getresponse().status == 501
    connection.close()


def test_upgrade(lab: Lab, app: str) -> None:
    connection = lab.connect(app)
    sock = connection.sock
    sock.sendall(
        f"GET / HTTP/1.1\r\nHost: {app}.ec2.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    assert head.startswith(b"HTTP/1.1 101")
    sock.sendall(b"hello")
    assert sock.recv(100) == b"HELLO"
    sock.close()


def test_refusals_say_what_to_do(lab: Lab, app: str) -> None:
    closed = lab.run("#!/bin/sh\ntrue\n", SecurityGroupIds=[lab.group()])
    lab.wait(closed)
    status, page = get(lab, closed)
    assert status == 504
    assert "authorize-security-group-ingress" in page
    silent = lab.run("#!/bin/sh\ntrue\n", SecurityGroupIds=[lab.group(80)])
    lab.wait(silent)
    status, page = get(lab, silent)
    assert status == 502
    assert f"cloudchamber logs {silent}" in page
    lab.ec2.terminate_instances(InstanceIds=[closed, silent])
    connection = lab.connect(app)
    connection.request("GET", "/", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 404


def test_a_crashed_service_comes_back_and_starts_at_boot(lab: Lab, app: str) -> None:
    runs = get(lab, app)[1]["runs"]
    assert get(lab, app, "/crash")[0] == 502
    after = lab.until(lambda: found if (found := get(lab, app))[0] == 200 else None, "the app again")
    assert after[1]["runs"] == runs + 1
    lab.ec2.stop_instances(InstanceIds=[app])
    lab.wait(app, "stopped")
    assert get(lab, app)[0] == 503
    lab.ec2.start_instances(InstanceIds=[app])
    lab.wait(app)
    after = lab.until(lambda: found if (found := get(lab, app))[0] == 200 else None, "the app after a start")
    assert after[1]["runs"] == runs + 2


IMDS = r"""#!/bin/bash
I=http://169.254.169.254/latest
code() { curl -s -o /dev/null -w "%{http_code}" "$@"; }
echo "v1 $(code $I/meta-data/)"
echo "nottl $(code -X PUT $I/api/token)"
echo "badttl $(code -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21601' $I/api/token)"
echo "forwarded $(code -X PUT -H 'X-Forwarded-For: 1.2.3.4' -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $I/api/token)"
T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $I/api/token)
see() { curl -s -H "X-aws-ec2-metadata-token: $T" "$@"; }
echo "id $(see $I/meta-data/instance-id)"
echo "region $(see $I/meta-data/placement/region)"
echo "name $(see $I/meta-data/tags/instance/Name)"
instance_id='import json, sys; print(json.load(sys.stdin)["instanceId"])'
echo "document $(see $I/dynamic/instance-identity/document | python3 -c "$instance_id")"
echo "data $(see $I/user-data | head -1)"
echo "missing $(code -H "X-aws-ec2-metadata-token: $T" $I/meta-data/nope)"
echo "norole $(code -H "X-aws-ec2-metadata-token: $T" $I/meta-data/iam/security-credentials/)"
echo "badtoken $(code -H "X-aws-ec2-metadata-token: x" $I/meta-data/)"
echo "done"
"""


def test_metadata_service(lab: Lab) -> None:
    instance = lab.run(
        IMDS,
        MetadataOptions={"InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "imds"}]}],
    )
    lab.wait(instance)
    console = lab.until_console(instance, "ended with exit code 0")
    said = dict(line.split(" ", 1) for line in console.splitlines() if line.count(" ") == 1 and "[" not in line)
    assert said == {
        "v1": "401", "nottl": "400", "badttl": "400", "forwarded": "403", "id": instance, "region": "us-east-1",
        "name": "imds", "document": instance, "missing": "404", "norole": "404", "badtoken": "401",
        "data": "#!/bin/bash",
    }  # fmt: skip
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_credentials_of_the_role_and_of_the_next_one(lab: Lab) -> None:
    first, _ = lab.profile({"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"})
    second, role = lab.profile()
    script = """#!/bin/bash
aws sts get-caller-identity --query Arn --output text
aws ec2 describe-vpcs --query 'Vpcs[0].CidrBlock' --output text
env -i PATH="$PATH" aws s3api list-buckets 2>&1 | grep -o AccessDenied
for i in $(seq 600); do aws sts get-caller-identity --query Arn --output text | grep ROLE && break; done
""".replace("ROLE", role)
    instance = lab.run(script, IamInstanceProfile={"Name": first})
    lab.wait(instance)
    console = lab.until_console(instance, "AccessDenied")
    assert f"assumed-role/{first}/{instance}" in console
    assert "172.31.0.0/16" in console
    filters = [{"Name": "instance-id", "Values": [instance]}]
    found = lab.ec2.describe_iam_instance_profile_associations(Filters=filters)["IamInstanceProfileAssociations"]
    lab.ec2.replace_iam_instance_profile_association(
        AssociationId=found[0]["AssociationId"], IamInstanceProfile={"Name": second}
    )
    lab.until_console(instance, f"assumed-role/{role}/{instance}")
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_what_the_shims_refuse(lab: Lab) -> None:
    script = """#!/bin/bash
dnf install -y python3 no-such-package; echo "dnf $?"
systemctl start nothing; echo "start $?"
printf '[Service]\\nType=forking\\nExecStart=/bin/true\\n' > /etc/systemd/system/fork.service
systemctl start fork; echo "fork $?"
systemctl mask fork; echo "mask $?"
"""
    instance = lab.run(script)
    lab.wait(instance)
    console = lab.until_console(instance, "user data ended")
    assert "Unable to find a match: no-such-package" in console
    for line in ("dnf 1", "start 5", "fork 1", "mask 1"):
        assert line in console.splitlines(), console
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_a_killed_chamber_finds_its_instances_again(own_chamber: Any) -> None:
    lab = lab_of(own_chamber)
    script = APP + "\nfor i in 1 2 3; do aws sts get-caller-identity > /dev/null && echo called $i; sleep 0.5; done\n"
    profile, _ = lab.profile()
    instance = lab.run(script, SecurityGroupIds=[lab.group(80)], IamInstanceProfile={"Name": profile})
    lab.wait(instance)
    lab.until(lambda: get(lab, instance)[0] == 200, "an answer of the app")
    before = get(lab, instance)[1]["runs"]
    own_chamber.kill()
    own_chamber.start()
    lab = lab_of(own_chamber)
    assert lab.view(instance)["State"]["Name"] == "running"
    assert get(lab, instance)[1]["runs"] == before, "the app must not have been restarted"
    console = lab.until_console(instance, "user data ended")
    assert "called 3" in console
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
