# SPDX-License-Identifier: Apache-2.0
"""How the command line talks to a running chamber: the small API below `/_cloudchamber/`."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from cloudchamber.base.errors import ChamberError
from cloudchamber.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_WITHIN_S = 60.0
STOP_WITHIN_S = 60.0


class Refused(Exception):  # noqa: N818 - AWS's word for no, with AWS's code
    """A service answered an error."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Client:
    """A chamber that runs."""

    state: Path
    about: Mapping[str, Any]

    @property
    def endpoint(self) -> str:
        """URL of the endpoint."""
        return self.about["endpoint"]

    @property
    def token(self) -> str:
        """The console's token."""
        return (self.state / "console-token").read_text(encoding="ascii").strip()

    @property
    def console(self) -> str:
        """Address of the console for a browser."""
        return f"{self.endpoint}/_cloudchamber/?token={self.token}"

    @property
    def root_key(self) -> tuple[str, str]:
        """The root access key and its secret."""
        name = "root-given.json" if self.about["root_key_given"] else "root-credentials.json"
        found = json.loads((self.state / name).read_text(encoding="utf-8"))
        return found["AccessKeyId"], found["SecretAccessKey"]

    def get(self, path: str) -> Any:
        """A JSON value of the API; None for what does not exist."""
        try:
            return self._send(path, None)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def ask(self, service: str, operation: str, **request: Any) -> Any:
        """Call an operation as the account's root.

        Raises:
            Refused: the service's error.
        """
        asked = {"service": service, "operation": operation, "request": request}
        return self._send("api/ask", json.dumps(asked, default=_octets).encode())

    def post(self, path: str, value: Any) -> Any:
        """Hand over what only the command line may set: accounts, the organization.

        Raises:
            Refused: it is not right.
        """
        return self._send(path, json.dumps(value).encode())

    def put_object(self, bucket: str, key: str, path: Path) -> None:
        """Store a file as an object, as the account's root.

        Raises:
            Refused: the service's error.
        """
        where = f"api/objects/{urllib.parse.quote(f'{bucket}/{key}')}"
        with path.open("rb") as file, self._open(where, file, timeout_s=900, size=path.stat().st_size) as reply:
            reply.read()

    def follow(self) -> Iterator[dict[str, Any]]:
        """Segments as they happen, until the chamber ends."""
        with self._open("api/follow", None, timeout_s=None) as reply:
            for line in reply:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def scrub(self, bucket: str, octets_per_s: int) -> Iterator[dict[str, Any]]:
        """Scrub what is stored; what the chamber tells meanwhile."""
        asked = urllib.parse.urlencode({"bucket": bucket, "octets_per_s": octets_per_s})
        with self._open(f"api/scrub?{asked}", b"", timeout_s=None) as reply:
            told: dict[str, Any] = {}
            for line in reply:
                told = json.loads(line)
                yield told
        if told.get("kind") != "done":
            raise ChamberError("the scrub was cut short", "see 'cloudchamber logs'")

    def _send(self, path: str, body: bytes | None) -> Any:
        with self._open(path, body, timeout_s=900) as reply:
            return json.loads(reply.read(), object_hook=_unoctets)

    def _open(self, path: str, body: bytes | BinaryIO | None, timeout_s: float | None, size: int | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        if size is not None:
            headers["Content-Length"] = str(size)
        request = urllib.request.Request(f"{self.endpoint}/_cloudchamber/{path}", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                told = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                raise Refused(str(error.code), text.strip(), error.code) from error
            raise Refused(told["code"], told["message"], error.code) from error
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            raise ChamberError(
                f"the chamber at {self.endpoint} does not answer: {error}", "see 'cloudchamber logs', or start it again"
            ) from error


def find(state: Path) -> Client | None:
    """The chamber that runs on a state folder, if one does."""
    try:
        about = json.loads((state / "chamber.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Client(state, about) if _held(state) else None


def need(state: Path) -> Client:
    """The chamber that runs on a state folder.

    Raises:
        ChamberError: none does.
    """
    found = find(state)
    if found is None:
        raise ChamberError(f"no chamber runs on {state}", "start one with 'cloudchamber start'")
    return found


def start(state: Path, arguments: list[str]) -> Client:
    """Start a chamber in the background; returns when it answers.

    Raises:
        ChamberError: it ended instead; the message has the end of its log.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_path = state / "chamber.log"
    with log_path.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "cloudchamber", "start", "--foreground", "--state", str(state), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=child_environment(),
        )
    ends = time.monotonic() + START_WITHIN_S
    while time.monotonic() < ends:
        found = find(state)
        if found is not None and found.about["pid"] == process.pid:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.02)
    with log_path.open("rb") as log:
        log.seek(began)
        tail = log.read()[-3000:].decode("utf-8", "replace")
    _, told, after = tail.strip().rpartition("cloudchamber: ")
    if told and "\n  next: " in after:
        reason, _, hint = after.partition("\n  next: ")
        raise ChamberError(reason.strip(), hint.strip())
    raise ChamberError(f"the chamber did not start:\n{tail.strip()}", f"the whole log is {log_path}")


def stop(client: Client) -> None:
    """End a chamber in good order; returns when its process is gone.

    Raises:
        ChamberError: it does not end.
    """
    pid = client.about["pid"]
    os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + STOP_WITHIN_S
    while time.monotonic() < ends:
        if not _held(client.state):
            return
        time.sleep(0.02)
    raise ChamberError(
        f"process {pid} does not end", f"see {client.state / 'chamber.log'}; 'kill -9 {pid}' loses nothing"
    )


def _held(state: Path) -> bool:
    """Whether a living chamber holds the state folder's lock; it is gone with its process, however that ended."""
    try:
        descriptor = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _octets(value: object) -> Any:
    if isinstance(value, bytes):
        return {"$octets": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _unoctets(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$octets"]) if set(value) == {"$octets"} else value
