# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Users, groups and authorized keys of an instance, as cloud-config names them. Standard library only.

Source: cloud-init documentation, Module reference, Users and Groups.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
FORCED = (
    "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as the user "
    '\\"ec2-user\\" rather than the user \\"root\\".\';echo;sleep 10;exit 142"'
)
"""What stands before root's key on Amazon Linux."""
_KNOWN = {
    "name", "gecos", "groups", "primary_group", "sudo", "ssh_authorized_keys", "ssh-authorized-keys", "shell",
    "homedir", "lock_passwd", "lock-passwd", "no_create_home", "no_user_group", "uid", "system", "doas", "inactive",
    "expiredate",
}  # fmt: skip


def has_uid(uid: int) -> bool:
    """Whether the user namespace knows this uid."""
    try:
        with open("/proc/self/uid_map") as file:
            rows = [line.split() for line in file]
        return any(int(first) <= uid < int(first) + int(count) for first, _, count in rows)
    except (OSError, ValueError):
        return True


def _add(path: str, line: str) -> None:
    """Add a line to a file of /etc, which appears whole."""
    with open(path) as file:
        text = file.read()
    mode = os.stat(path).st_mode & 0o777
    with open(f"{path}.new", "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text if text.endswith("\n") or not text else text + "\n")
        file.write(line + "\n")
    os.replace(f"{path}.new", path)


def _free(taken: set[int], first: int) -> int:
    return next(number for number in range(first, 60000) if number not in taken)


def names(value: Any) -> list[str]:
    """Names of a list, or of a text with commas."""
    found = value if isinstance(value, list) else str(value or "").split(",")
    return [str(one).strip() for one in found if str(one).strip()]


def groups_of(given: Any) -> dict[str, list[str]]:
    """`groups`: name -> members."""
    if isinstance(given, dict):
        return {str(name): names(members) for name, members in given.items()}
    found: dict[str, list[str]] = {}
    for one in given if isinstance(given, list) else names(given):
        found.update(groups_of(one) if isinstance(one, dict) else {str(one): []})
    return found


def users_of(given: Any, default: Any) -> list[dict[str, Any]]:
    """`users` and `user` as a list of users; `default` is ec2-user, which is there without being named."""
    entries = [given] if isinstance(given, (str, dict)) else given if isinstance(given, list) else []
    found: list[dict[str, Any]] = []
    for one in entries:
        if isinstance(one, str):
            found += [{"name": name} for name in names(one) if name != "default"]
        elif isinstance(one, dict):
            found.append(one)
    if default:
        found.append(default if isinstance(default, dict) else {"name": str(default)})
    return found


def add_group(name: str, members: list[str]) -> int:
    """Make a group, and put members into it; its number."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a name of a group")
    try:
        number = grp.getgrnam(name).gr_gid
    except KeyError:
        number = _free({one.gr_gid for one in grp.getgrall()}, 1001)
        _add("/etc/group", f"{name}:x:{number}:")
    for member in members:
        _join(name, member)
    return number


def _join(group: str, user: str) -> None:
    with open("/etc/group") as file:
        lines = file.read().splitlines()
    for index, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == group and user not in fields[3].split(","):
            fields[3] = ",".join([*filter(None, fields[3].split(",")), user])
            lines[index] = ":".join(fields)
    with open("/etc/group.new", "w") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write("\n".join(lines) + "\n")
    os.replace("/etc/group.new", "/etc/group")


def add_user(one: dict[str, Any], say: Any) -> None:
    """Make a user, or change what an existing one has. Raises ValueError, OSError."""
    name = str(one.get("name") or "")
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a name of a user")
    other = sorted(set(one) - _KNOWN)
    if other:
        say(f"cloud-config: user {name}: not carried out here: {', '.join(other)}")
    try:
        who = pwd.getpwnam(name)
    except KeyError:
        who = _make(name, one, say)
    for group in names(one.get("groups")):
        add_group(group, [name])
    if one.get("sudo"):
        rules = one["sudo"] if isinstance(one["sudo"], list) else [one["sudo"]]
        os.makedirs("/etc/sudoers.d", mode=0o750, exist_ok=True)
        path = "/etc/sudoers.d/90-cloud-init-users"
        with open(path, "a") as file:
            os.fchmod(file.fileno(), 0o440)
            file.writelines(f"{name} {rule}\n" for rule in rules if rule)
    keys = one.get("ssh_authorized_keys") or one.get("ssh-authorized-keys") or []
    authorize(who.pw_name, [str(key) for key in (keys if isinstance(keys, list) else [keys])])


def _make(name: str, one: dict[str, Any], say: Any) -> Any:
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    number = int(one["uid"]) if one.get("uid") is not None else _free(taken, 100 if one.get("system") else 1001)
    home = str(one.get("homedir") or f"/home/{name}")
    shell, gecos = str(one.get("shell") or "/bin/bash"), str(one.get("gecos") or "")
    if any(mark in field for field in (home, shell, gecos) for mark in ":\n") or not 0 < number < 60000:
        raise ValueError("a value of it has a colon or a line break, or its uid is none")
    if not has_uid(number):
        say(f"user {name}: this sandbox has one user only; {name} is its root under another name")
        number = group = 0
    elif one.get("primary_group"):
        group = add_group(str(one["primary_group"]), [])
    elif one.get("no_user_group"):
        group = 1000
    else:
        group = number
        if all(entry.gr_name != name for entry in grp.getgrall()):
            _add("/etc/group", f"{name}:x:{group}:")
    _add("/etc/passwd", f"{name}:x:{number}:{group}:{gecos}:{home}:{shell}")
    _add("/etc/shadow", f"{name}:!:19000:0:99999:7:::")
    who = pwd.getpwnam(name)
    if not one.get("no_create_home") and not os.path.lexists(home):
        os.makedirs(home, mode=0o700)
        os.chown(home, who.pw_uid, who.pw_gid)
    return who


def own(path: str, user: str, group: str) -> None:
    """Change the owner of a file, not of what it links to. Raises ValueError for a name that nobody has."""
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else -1
        gid = -1
        if group:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ValueError(f"there is no such user or group: {error}") from None
    os.chown(path, uid, gid, follow_symlinks=False)


def authorize(name: str, keys: list[str]) -> None:
    """Let keys log in as a user; keys that may already are left."""
    keys = [key.strip() for key in keys if key.strip() and "\n" not in key.strip()]
    if not keys:
        return
    who = pwd.getpwnam(name)
    folder = f"{who.pw_dir}/.ssh"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/authorized_keys"
    known = set()
    if os.path.exists(path):
        with open(path, errors="replace") as file:
            known = {line.strip() for line in file}
    with open(path, "a") as file:
        os.fchmod(file.fileno(), 0o600)
        file.writelines(f"{key}\n" for key in keys if key not in known)
    for one in (folder, path):
        os.chown(one, who.pw_uid, who.pw_gid, follow_symlinks=False)
