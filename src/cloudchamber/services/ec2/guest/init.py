# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""The first program of an instance: boots it, runs user data once, keeps its services.

It runs inside the sandbox and uses nothing but the standard library. It carries out what a program meets of
cloud-init (user data scripts, at the first boot only) and of systemd (simple unit files, driven by our `systemctl`).
The instance runs until this ends: 0 for a shutdown from inside, 64 for a reboot.
Sources: cloud-init documentation, user data scripts; systemd.service(5), systemd.exec(5), systemctl(1).
"""

from __future__ import annotations

import base64
import gzip
import heapq
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import units  # pyright: ignore[reportMissingImports] - beside this file, found by the line above

CONTROL = os.environ.get("CLOUDCHAMBER_CONTROL", "/run/cloudchamber/init.sock")
MESSAGE_MAX = 64 * 1024
USER_DATA_MAX = 1024 * 1024
REBOOT, POWEROFF = 64, 0
TERM_GRACE_S = 8.0


def say(text: str) -> None:
    """Write a line of ours to the console."""
    print(f"[cloudchamber] {text}", flush=True)


def open_way(path: str) -> None:
    """Let every user of the instance pass through the folders above `path`, as far as they are the instance's own.

    Why: an interpreter may be installed below the home folder of the machine's user, and services run as others.
    """
    folder = os.path.dirname(path)
    while folder != "/":
        try:
            mode = os.stat(folder).st_mode & 0o7777
            if not mode & 0o001:
                os.chmod(folder, mode | 0o011)
        except OSError:
            pass
        folder = os.path.dirname(folder)


class Init:
    """The loop: children that end, timers, and requests of `systemctl`."""

    def __init__(self) -> None:
        self.boot = json.loads(base64.b64decode(os.environ.pop("CLOUDCHAMBER_BOOT", "") or b"{}"))
        self.env = dict(os.environ)
        self.services = units.Services(self)
        self.children: dict[int, Any] = {}
        self.timers: list[tuple[float, int, Any]] = []
        self.chosen = selectors.DefaultSelector()
        self.ending: int | None = None
        self._count = 0
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Boot and stay."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)
        self.chosen.register(self._woken, selectors.EVENT_READ, self._drain)
        self.prepare()
        self.listen()
        self.services.start_enabled()
        self.per_boot_scripts()
        self.user_data()
        while self.ending is None:
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else None
            for key, _ in self.chosen.select(wait):
                key.data()
            self.collect()
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()
        self.end()
        return self.ending

    def _heard(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self.ending = POWEROFF

    def _drain(self) -> None:
        try:
            os.read(self._woken, 512)
        except BlockingIOError:
            pass

    def after(self, delay_s: float, action: Any) -> None:
        """Call `action` later."""
        self._count += 1
        heapq.heappush(self.timers, (time.monotonic() + delay_s, self._count, action))

    def child(self, pid: int, ended: Any) -> None:
        """Call `ended(code)` when a child is gone."""
        self.children[pid] = ended

    def collect(self) -> None:
        """Hear of children that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self.children.pop(pid, None)
            if ended is not None:
                ended(os.waitstatus_to_exitcode(status))

    def prepare(self) -> None:
        """Folders, and the configuration by which every SDK finds the endpoint even with an empty environment."""
        for folder in (
            "/var/log",
            "/var/tmp",
            "/var/lib/cloud/scripts/per-boot",
            "/etc/systemd/system",
            "/opt",
            "/srv",
        ):
            os.makedirs(folder, exist_ok=True)
        endpoint = self.env.get("AWS_ENDPOINT_URL", "")
        config = f"[default]\nregion = {self.boot.get('region', '')}\nendpoint_url = {endpoint}\n"
        owner = next((line.split(":")[2:4] for line in open("/etc/passwd") if line.startswith("ec2-user:")), None)
        for home in ("/root", "/home/ec2-user"):
            os.makedirs(f"{home}/.aws", exist_ok=True)
            path = f"{home}/.aws/config"
            if not os.path.exists(path) or "endpoint_url = http://127.0.0.1" in open(path).read():
                with open(path, "w") as file:
                    file.write(config)
            if owner and home != "/root":
                for one in (home, f"{home}/.aws", path):
                    try:
                        os.chown(one, int(owner[0]), int(owner[1]))
                    except OSError:
                        break
        open_way(os.path.realpath(sys.executable))
        cpus, memory = os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        say(
            "{instance_id} boots: {type}, {private_ip}, Python {python}".format(
                **self.boot, python=sys.version.split()[0]
            )
        )
        if self.boot.get("vcpus", 0) > cpus or self.boot.get("memory_mib", 0) > memory:
            say(
                f"this machine has {cpus} CPUs and {memory} MiB; "
                f"the type has {self.boot['vcpus']} and {self.boot['memory_mib']} MiB"
            )

    def listen(self) -> None:
        """The socket that our `systemctl` talks to."""
        os.makedirs(os.path.dirname(CONTROL), exist_ok=True)
        try:
            os.unlink(CONTROL)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(CONTROL)
        os.chmod(CONTROL, 0o600)
        listener.listen(16)
        self.chosen.register(listener, selectors.EVENT_READ, lambda: self.accept(listener))

    def accept(self, listener: socket.socket) -> None:
        """One request: a JSON line in; a JSON line out, when it is done."""
        connection, _ = listener.accept()
        connection.settimeout(2.0)
        try:
            data = b""
            while not data.endswith(b"\n") and len(data) < MESSAGE_MAX:
                part = connection.recv(MESSAGE_MAX)
                if not part:
                    break
                data += part
            request = json.loads(data)
        except (OSError, ValueError):
            connection.close()
            return

        def answer(code: int, text: str = "") -> None:
            try:
                connection.sendall(json.dumps({"code": code, "text": text}).encode() + b"\n")
            except OSError:
                pass
            connection.close()

        verb = request.get("verb")
        if verb in ("poweroff", "halt", "reboot"):
            answer(0)
            self.ending = REBOOT if verb == "reboot" else POWEROFF
            return
        self.services.handle(verb, request.get("units") or [], bool(request.get("now")), answer)

    def per_boot_scripts(self) -> None:
        """What cloud-init runs at every boot."""
        folder = "/var/lib/cloud/scripts/per-boot"
        for name in sorted(os.listdir(folder)):
            path = f"{folder}/{name}"
            if os.access(path, os.X_OK) and os.path.isfile(path):
                self.script(path, f"per-boot script {name}")

    def user_data(self) -> None:
        """Run user data, once in the life of the instance."""
        data = base64.b64decode(self.boot.get("user_data") or "")
        folder = f"/var/lib/cloud/instances/{self.boot.get('instance_id', 'i-0')}"
        done = f"{folder}/sem/config_scripts_user"
        if not data or os.path.exists(done):
            return
        os.makedirs(f"{folder}/sem", exist_ok=True)
        os.makedirs(f"{folder}/scripts", exist_ok=True)
        with open(done, "w") as file:
            file.write(f"{os.getpid()}: {time.time()}\n")
        if data[:2] == b"\x1f\x8b":
            try:
                data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(USER_DATA_MAX + 1)
            except (OSError, EOFError) as error:
                say(f"user data is not readable gzip: {error}")
                return
        if len(data) > USER_DATA_MAX:
            say("user data is longer than 1 MiB when unpacked: not run")
            return
        if not data.startswith(b"#!"):
            say("user data does not begin with '#!' and was not run (cloud-config and MIME are not supported here)")
            return
        path = f"{folder}/scripts/part-001"
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o700)
        self.script(path, "user data")

    def script(self, path: str, what: str) -> None:
        """Run a script as root; its output goes to the console and to cloud-init's log."""
        began = time.monotonic()
        log = open("/var/log/cloud-init-output.log", "ab", buffering=0)
        env = {**self.env, "HOME": "/root", "INSTANCE_ID": str(self.boot.get("instance_id", ""))}
        try:
            process = subprocess.Popen(
                [path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            say(f"{what} could not be run: {error}")
            return
        output: Any = process.stdout
        pipe = output.fileno()
        os.set_blocking(pipe, False)

        def copy() -> None:
            try:
                data = os.read(pipe, 65536)
            except BlockingIOError:
                return
            if data:
                os.write(1, data)
                log.write(data)
            else:
                self.chosen.unregister(pipe)
                output.close()
                log.close()

        def ended(code: int) -> None:
            process.returncode = code
            say(f"{what} ended with exit code {code} after {time.monotonic() - began:.1f} s")

        self.chosen.register(pipe, selectors.EVENT_READ, copy)
        self.child(process.pid, ended)

    def end(self) -> None:
        """Shut down: everything gets SIGTERM and a while to end."""
        say("shutting down" if self.ending == POWEROFF else "rebooting")
        self.services.stopping = True
        others = self.others()
        for pid in others:
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        ends = time.monotonic() + TERM_GRACE_S
        while time.monotonic() < ends and self.others():
            self.collect()
            for key, _ in self.chosen.select(0.02):
                if key.data != self._drain or not self.children:
                    key.data()

    def others(self) -> list[int]:
        """Processes of this instance besides its first ones; only where /proc is the instance's own."""
        if os.getppid() != 1:
            return list(self.children)
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in (1, os.getpid()):
                try:
                    with open(f"/proc/{name}/stat") as file:
                        fields = file.read().rpartition(")")[2].split()
                except OSError:
                    continue
                if fields[0] not in "ZX":
                    found.append(int(name))
        return found


if __name__ == "__main__":
    if (
        not json.loads(base64.b64decode(os.environ.get("CLOUDCHAMBER_BOOT") or "e30="))
        .get("mode", "")
        .startswith("ns-")
    ):
        # Why: it writes to /etc, /root and /var, which must be the instance's own.
        sys.exit("this program boots an instance in a sandbox with files of its own; it does nothing elsewhere")
    os.umask(0o022)
    sys.exit(Init().run())
