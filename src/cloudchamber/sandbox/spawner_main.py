# SPDX-License-Identifier: Apache-2.0
"""The spawner: a small process that forks a shim for every sandbox.

Started by exec with an empty environment before the chamber has any secret in memory, so that no fork carries one.
Single-threaded; loads awslambdaric and boto3 only for the first warm sandbox.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.sandbox import cgroups, landlock, linux, messages, nft
from cloudchamber.sandbox.shim import Shim, Walls, only_log_to
from cloudchamber.sandbox.spec import Limits, SandboxSpec, from_json

if TYPE_CHECKING:
    from cloudchamber.sandbox.spec import Mode

_WARM = (
    "awslambdaric", "awslambdaric.bootstrap", "awslambdaric.lambda_runtime_client", "boto3", "botocore.client",
    "botocore.regions", "botocore.endpoint", "botocore.signers", "botocore.retries.standard", "s3transfer",
    "http.client", "ssl", "json", "logging", "cloudchamber.sandbox.namespaces", "cloudchamber.sandbox.warm_lambda",
)  # fmt: skip
SPARE_FOLDERS = "spares"
_LADDER: tuple[Mode, ...] = ("ns-root", "ns-user", "landlock", "plain")


class Spawner:
    """Answers the chamber over one socket until it closes."""

    def __init__(self, chamber: socket.socket, folder: Path) -> None:
        self._chamber = chamber
        self._folder = folder
        self._hierarchy = cgroups.Hierarchy("rlimits")
        self._mode: Mode = "plain"
        self._warm = False

    def serve(self, wanted: Mode | None) -> None:
        """Find the mode, say so, then fork until the chamber is gone."""
        if sys.platform == "linux":
            self._hierarchy = cgroups.find()
            cgroups.sweep(self._hierarchy)
        shutil.rmtree(self._folder / SPARE_FOLDERS, ignore_errors=True)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._mode, refused = self._find_mode(wanted)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        gc.freeze()
        ready = {"mode": self._mode, "limits_by": self._hierarchy.by, "refused": refused}
        messages.send(self._chamber, ready | {"landlock": landlock.version(), "nft": nft.program() is not None})
        while (got := messages.receive(self._chamber)) is not None:
            message, descriptors = got
            if message.get("op") == "launch":
                self._fork(*descriptors, warm=bool(message.get("warm")))
            elif message.get("op") == "spare":
                self._fork_spare(*descriptors)
            elif message.get("op") == "warm":
                self._preload()

    def _find_mode(self, wanted: Mode | None) -> tuple[Mode, dict[str, str]]:
        """The first mode in which a real sandbox starts, and why the others do not."""
        refused: dict[str, str] = {}
        for mode in (wanted,) if wanted else _LADDER:
            if mode == "plain":
                return mode, refused
            why = self._refuses(mode)
            if not why:
                return mode, refused
            refused[mode] = why
        raise SystemExit(f"mode {wanted} does not work here: {refused}")

    def _refuses(self, mode: Mode) -> str:
        """Empty when a trial sandbox of this mode starts; else the reason."""
        if not linux.supported():
            return f"not on {sys.platform} {os.uname().machine}"
        if mode.startswith("ns-") and (mode == "ns-root") != (os.geteuid() == 0):
            return "needs root" if mode == "ns-root" else "root has ns-root"
        trial = self._folder / f".trial-{os.getpid()}"
        eth0 = "172.31.0.9" if mode.startswith("ns-") else ""
        spec = SandboxSpec("trial", trial, ("/bin/true",), private_ip=eth0, limits=Limits(pids=64))
        ours, theirs = messages.pair()
        child = os.fork()
        if child == 0:
            ours.close()
            self._chamber.close()
            self._shim(spec, mode, theirs)
            os._exit(0)
        theirs.close()
        answer = messages.receive(ours)
        ours.close()
        os.waitpid(child, 0)
        shutil.rmtree(trial, ignore_errors=True)
        return str(answer[0].get("error", "")) if answer else "the trial's shim died"

    def _fork(self, end: int, written: int, *, warm: bool) -> None:
        """Fork a shim. The spec is read in the fork only: this memory must never have held a credential."""
        chamber = socket.socket(fileno=end)
        if warm:
            self._preload()
        try:
            child = os.fork()
        except OSError as error:
            with contextlib.suppress(OSError):
                messages.send(chamber, {"id": 0, "errno": error.errno or errno.EAGAIN, "error": f"fork: {error}"})
            child = -1
        if child == 0:
            self._chamber.close()
            with open(written, encoding="utf-8") as text:
                spec = from_json(json.load(text))
            self._shim(spec, self._mode, chamber)
            os._exit(0)
        chamber.close()
        os.close(written)

    def _fork_spare(self, end: int, written: int) -> None:
        """Fork a shim that makes all that can be made of a sandbox before anybody says whose it is to be."""
        chamber = socket.socket(fileno=end)
        child = -1
        if self._mode == "ns-root" and self._hierarchy.by != "rlimits":
            self._preload()
            with contextlib.suppress(OSError):  # then there is no spare: whoever wants one hears the socket close
                child = os.fork()
        if child == 0:
            self._chamber.close()
            try:
                with open(written, encoding="utf-8") as text:
                    kind = from_json(json.load(text))
                self._wait_as_spare(kind, chamber)
            except BaseException:  # noqa: BLE001 - the edge of a process
                traceback.print_exc()
            os._exit(0)
        chamber.close()
        os.close(written)

    def _wait_as_spare(self, kind: SandboxSpec, chamber: socket.socket) -> None:
        from cloudchamber.sandbox.namespaces import Namespaces

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.umask(0o022)  # as in every shim
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        folder = self._folder / SPARE_FOLDERS / name
        folder.mkdir(mode=0o700, parents=True)
        group = cgroups.Group(self._hierarchy, f"spare-{name}")
        walls = Namespaces(replace(kind, folder=folder), self._mode, group, by_rlimits=False, shared=self._folder)
        ours, theirs = messages.pair()
        walls.wait_for(theirs)
        try:
            Shim(replace(kind, folder=folder), chamber, walls, group).wait(ours, walls.become)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _shim(self, spec: SandboxSpec, mode: Mode, chamber: socket.socket) -> None:
        """In the fork: become the shim of this sandbox. Never returns with an exception."""
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            spec.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            only_log_to(spec.folder / "shim.log")
            os.umask(0o022)  # what is made from here on is for the sandbox's eyes; our own files name their mode
            group = cgroups.Group(self._hierarchy, _group_name(spec))
            Shim(spec, chamber, self._walls(spec, mode, group), group).run()
        except BaseException:  # noqa: BLE001 - the edge of a process
            traceback.print_exc()
        os._exit(0)

    def _walls(self, spec: SandboxSpec, mode: Mode, group: cgroups.Group) -> Walls:
        by_rlimits = self._hierarchy.by == "rlimits"
        if mode in {"ns-root", "ns-user"}:
            from cloudchamber.sandbox.namespaces import Namespaces

            return Namespaces(spec, mode, group, by_rlimits=by_rlimits, shared=self._folder)
        from cloudchamber.sandbox.shared_host import SharedHost

        return SharedHost(spec, mode, group, by_rlimits=by_rlimits)

    def _preload(self) -> None:
        """Load what every Python function loads. Only AWS's libraries and ours, never a user's code."""
        if self._warm:
            return
        self._warm = True
        # Why: the native client reads the address once, when imported; inside it is always this one.
        os.environ["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:9001"  # noqa: TID251 - the library has no other way
        for name in _WARM:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _keep_parsed_models()
        os.environ.clear()  # noqa: TID251 - as above
        gc.collect()
        gc.freeze()


def _keep_parsed_models() -> None:
    """Remember botocore's parsed model files, so that a function's first client need not parse them again."""
    try:
        loaders: Any = importlib.import_module("botocore.loaders")
    except ImportError:
        return
    load: Any = loaders.JSONFileLoader.load_file
    parsed: dict[str, Any] = {}

    def load_file(self: Any, path: str) -> Any:
        if path not in parsed:
            parsed[path] = load(self, path)
        return parsed[path]

    loaders.JSONFileLoader.load_file = load_file
    data = importlib.import_module("botocore").__path__[0] + "/data"
    loader = loaders.JSONFileLoader()
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        with contextlib.suppress(Exception):
            loader.load_file(f"{data}/{name}")


def _group_name(spec: SandboxSpec) -> str:
    return f"{spec.id[:40]}-{hashlib.sha256(os.fsencode(spec.folder)).hexdigest()[:12]}".replace("/", "_")


def main() -> None:
    """Entry of the process: descriptor of the chamber's socket, folder, wanted mode or empty."""
    descriptor, folder, wanted = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    os.set_inheritable(descriptor, False)
    only_log_to(folder / "spawner.log")
    Spawner(socket.socket(fileno=descriptor), folder).serve(wanted or None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
