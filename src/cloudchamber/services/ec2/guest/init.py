# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""The first program of an instance: boots it, runs user data once, keeps its services.

It runs inside the sandbox and uses nothing but the standard library. It carries out what a program meets of
cloud-init (`cloudinit.py`) and of systemd (`units.py`: simple unit files, driven by our `systemctl`).
The instance runs until this ends: 0 for a shutdown from inside, 64 for a reboot.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cloudinit  # pyright: ignore[reportMissingImports] - beside this file, found by the line above
import privilege  # pyright: ignore[reportMissingImports] - as above
import units  # pyright: ignore[reportMissingImports] - as above

CONTROL = os.environ.get("CLOUDCHAMBER_CONTROL", "/run/cloudchamber/init.sock")
MESSAGE_MAX = 64 * 1024
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
        self.cloud_init = cloudinit.CloudInit(self)
        self.sudo = privilege.Sudo(self)
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
        self._try("sudo", self.sudo.listen)
        self.cloud_init.begin(self.services.start_enabled)
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
        for folder in ("/var/log", "/var/tmp", "/etc/systemd/system", "/opt", "/srv"):
            self._try(folder, lambda folder=folder: os.makedirs(folder, exist_ok=True))
        for home in ("/root", "/home/ec2-user"):
            self._try(home, lambda home=home: self._configure(home))
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

    def _try(self, what: str, work: Any) -> None:
        """Do what boots well without: programs of the instance may have put anything anywhere."""
        try:
            work()
        except (OSError, ValueError) as error:
            say(f"{what}: {error}")

    def _configure(self, home: str) -> None:
        endpoint = self.env.get("AWS_ENDPOINT_URL", "")
        path = f"{home}/.aws/config"
        os.makedirs(f"{home}/.aws", exist_ok=True)
        if not os.path.exists(path) or "endpoint_url = http://127.0.0.1" in open(path).read():
            with open(path, "w") as file:
                file.write(f"[default]\nregion = {self.boot.get('region', '')}\nendpoint_url = {endpoint}\n")
        with open("/etc/passwd") as file:
            owner = next((line.split(":")[2:4] for line in file if line.startswith("ec2-user:")), None)
        if owner and home != "/root":
            for one in (home, f"{home}/.aws", path):
                os.chown(one, int(owner[0]), int(owner[1]))

    def listen(self) -> None:
        """The socket that our `systemctl` talks to."""
        os.makedirs(os.path.dirname(CONTROL), mode=0o755, exist_ok=True)
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

    def power(self, verb: str) -> None:
        """Shut down, or boot again."""
        self.ending = REBOOT if verb == "reboot" else POWEROFF
        os.write(self._wake, b"\0")

    def spawn(self, argv: list[str], what: str, then: Any) -> None:
        """Run a program as root; its output goes to the console and to cloud-init's log; `then(code)` at its end."""
        began = time.monotonic()
        log: Any = None
        try:
            log = open(cloudinit.LOG, "ab", buffering=0)
        except OSError as error:
            say(f"{cloudinit.LOG}: {error.strerror}")
        env = {**self.env, "HOME": "/root", "INSTANCE_ID": str(self.boot.get("instance_id", ""))}
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            say(f"{what} could not be run: {error}")
            self.after(0.0, lambda: then(127))
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
                self._try(cloudinit.LOG, lambda: log and log.write(data))
            else:
                self.chosen.unregister(pipe)
                output.close()
                if log:
                    log.close()

        def ended(code: int) -> None:
            process.returncode = code
            while not output.closed and self._readable(pipe):  # what it wrote comes before what is said of its end
                copy()
            say(f"{what} ended with exit code {code} after {time.monotonic() - began:.1f} s")
            then(code)

        self.chosen.register(pipe, selectors.EVENT_READ, copy)
        self.child(process.pid, ended)

    @staticmethod
    def _readable(descriptor: int) -> bool:
        return bool(select.select([descriptor], [], [], 0)[0])

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
