# SPDX-License-Identifier: Apache-2.0
"""The /etc of a sandbox: made by us, because the host's own is not for its eyes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cloudchamber.sandbox import trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.sandbox.spec import SandboxSpec

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_COPIED = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "services", "protocols",
    "bash.bashrc", "inputrc", "login.defs", "os-release", "debian_version", "ssl/openssl.cnf", "crypto-policies",
)  # fmt: skip
_BUNDLE_NAMES = ("ssl/certs/ca-certificates.crt", "ssl/cert.pem", "pki/tls/certs/ca-bundle.crt")
OWN_AUTHORITY = "ssl/cloudchamber.pem"
"""The chamber's own CA alone, for programs that bring the public ones with them and want to be told of more."""
_PAM_NAMES = ("pam.d/su", "pam.d/su-l", "pam.d/runuser", "pam.d/runuser-l", "pam.d/sudo", "pam.d/other")
_PAM = b"auth required pam_rootok.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
"""Root may become anybody (`su ec2-user` in user data); nobody else may, having no password."""
_SECRET = frozenset({"shadow", "sudoers"})
MADE_ONCE = frozenset({"passwd", "group", "environment", "profile", "nsswitch.conf", *_SECRET, *_PAM_NAMES})
"""Files that an instance may change for good."""

Owner = tuple[int, int]


def path_variable(prefix: str) -> str:
    """PATH inside: the chamber's own interpreter first, then what the host has."""
    own = [] if prefix == "/usr" else [f"{prefix}/bin"]
    return ":".join([*own, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])


def generated(spec: SandboxSpec, *, many_uids: bool, path: str) -> dict[str, bytes]:
    """The files that are ours, by name below /etc, written anew at every start."""
    user = "1000:1000" if many_uids else "0:0"
    hosts = "".join(f"{address}\t{name}\n" for name, address in spec.hosts.items())
    own = f"{spec.private_ip or '127.0.1.1'}\t{spec.hostname}\n"
    resolver = next((listener.address for listener in spec.listeners if listener.port == 53), "")
    texts = {
        "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{own}{hosts}",
        "hostname": f"{spec.hostname}\n",
        # Why: where nobody answers names, asking 127.0.0.1 fails at once; a router that drops would take ten seconds.
        "resolv.conf": f"nameserver {resolver or '127.0.0.1'}\noptions timeout:2 attempts:1\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n",
        "environment": f'PATH="{path}"\n',
        "profile": f'export PATH="{path}"\n[ "$PS1" ] && [ -f /etc/bash.bashrc ] && . /etc/bash.bashrc\n',
    }
    files = {name: text.encode() for name, text in texts.items()}
    files["passwd"] = (
        "root:x:0:0:root:/root:/bin/bash\n"
        f"ec2-user:x:{user}:EC2 Default User:/home/ec2-user:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    ).encode()
    groups = "root:x:0:\nec2-user:x:1000:\ntty:x:5:\n" if many_uids else "root:x:0:\n"
    files["group"] = f"{groups}nogroup:x:65534:\n".encode()
    files["shadow"] = b"root:*:19000:0:99999:7:::\nec2-user:*:19000:0:99999:7:::\n"
    files["sudoers"] = b"root ALL=(ALL:ALL) NOPASSWD: ALL\n"
    files |= dict.fromkeys(_PAM_NAMES, _PAM)
    bundle = host_bundle() + spec.ca_pem
    files |= dict.fromkeys(_BUNDLE_NAMES, bundle)
    files[OWN_AUTHORITY] = spec.ca_pem
    return files


def host_bundle() -> bytes:
    """The host's certificate authorities; empty when it has none."""
    for name in _BUNDLES:
        with contextlib.suppress(OSError):
            data = Path(name).read_bytes()
            return data if data.endswith(b"\n") else data + b"\n"
    return b""


def fill(folder: Path, files: dict[str, bytes], owner: Owner | None, *, once: frozenset[str] = frozenset()) -> None:
    """Write `files` below `folder`, and on the first time copies of what programs need of the host's /etc.

    What is there is replaced, never followed: an instance may have put links where our files belong.
    `once` are files that stay as they are when they exist.
    """
    if not folder.exists():
        # Why: only into a folder that nothing inside has seen; copying follows links.
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
        fresh.mkdir(mode=0o755, parents=True)
        _copy_host(fresh, owner)
        fresh.rename(folder)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name, data in files.items():
            _replace(top, name, data, owner, keep=name in once)
    finally:
        os.close(top)


def _copy_host(folder: Path, owner: Owner | None) -> None:
    for name in _COPIED:
        source, target = Path("/etc", name), folder / name
        with contextlib.suppress(OSError, shutil.Error):
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                _copy_folder(source, target)
            elif source.exists():
                shutil.copyfile(source, target)
    if owner:
        change_owner(folder, lambda _uid, _gid: owner)


def _copy_folder(source: Path, target: Path) -> None:
    """Files, folders and links as links; neither times nor modes matter here."""
    target.mkdir()
    for entry in os.scandir(source):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target / entry.name)
        elif entry.is_dir():
            _copy_folder(Path(entry.path), target / entry.name)
        elif entry.is_file():
            with contextlib.suppress(PermissionError):
                shutil.copyfile(entry.path, target / entry.name)


def _replace(top: int, name: str, data: bytes, owner: Owner | None, *, keep: bool) -> None:
    *parents, last = name.split("/")
    folder = os.dup(top)
    for parent in parents:
        with contextlib.suppress(IsADirectoryError, PermissionError, FileNotFoundError):
            os.unlink(parent, dir_fd=folder)  # a link or file where our folder belongs; a folder stays
        folder = step_into(folder, parent, owner)
    try:
        if keep and last in os.listdir(folder):
            return
        fresh = f".{last}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(fresh, flags, 0o440 if last in _SECRET else 0o644, dir_fd=folder)
        with open(descriptor, "wb") as out:
            out.write(data)
            if owner:
                os.fchown(descriptor, *owner)
        os.rename(fresh, last, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def step_into(folder: int, name: str, owner: Owner | None = None) -> int:
    """The descriptor of a folder inside `folder` (which is closed), made if it is not there; links are not followed.

    Raises:
        NotADirectoryError: something else has that name.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=folder)
            if owner:
                os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def change_owner(folder: Path, new: Callable[[int, int], Owner]) -> None:
    """Give everything below `folder`, and itself, the owner that `new(uid, gid)` says; links are not followed.

    Raises:
        OSError: `folder` is a link, is not there, or goes deeper than `trees.DEPTH_MAX`.
    """
    for handle, entries in trees.walk(folder):
        for name, seen in ((".", os.fstat(handle)), *entries):
            owner = new(seen.st_uid, seen.st_gid)
            if owner != (seen.st_uid, seen.st_gid):
                os.chown(name, *owner, dir_fd=handle, follow_symlinks=False)


def shared_folder(parent: Path, files: dict[str, bytes], owner: Owner | None) -> Path:
    """One ready /etc for all sandboxes whose files are the same, bound read-only: functions start by the hundred."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    ready = parent / f"etc-{digest.hexdigest()[:16]}"
    if ready.is_dir():
        return ready
    fresh = parent / f"{ready.name}.{os.getpid()}"
    fill(fresh, files, owner)
    try:
        fresh.rename(ready)
    except OSError:  # another shim was quicker
        shutil.rmtree(fresh)
    return ready
