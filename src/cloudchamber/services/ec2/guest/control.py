# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Small programs of an instance: systemctl, service, shutdown, reboot, dnf, yum, sudo, cloud-init.

Standard library only. What they cannot do they refuse by name; they never say that something was done which was not.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import privilege  # pyright: ignore[reportMissingImports] - beside this file, found by the line above

CONTROL = os.environ.get("CLOUDCHAMBER_CONTROL", "/run/cloudchamber/init.sock")
_COMMANDS = {
    "python3-pip": "pip3",
    "python": "python3",
    "awscli": "aws",
    "awscli-2": "aws",
    "aws-cli": "aws",
    "curl-minimal": "curl",
    "nodejs": "node",
    "procps-ng": "ps",
    "findutils": "find",
    "postgresql15": "psql",
    "postgresql16": "psql",
    "coreutils": "ls",
}
"""Package -> the program that it is asked for; others have the name of their program."""


def ask(verb: str, units: list[str], *, now: bool = False) -> tuple[int, str]:
    """Send one request to the instance's first program."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(CONTROL)
        connection.sendall(json.dumps({"verb": verb, "units": units, "now": now}).encode() + b"\n")
        with connection.makefile() as file:
            answer = json.loads(file.readline() or "{}")
    except PermissionError:
        return 1, "Access denied: only root may do that."
    except (OSError, ValueError) as error:
        return 1, f"Failed to connect to the instance's first program: {error}"
    return int(answer.get("code", 1)), str(answer.get("text", ""))


def systemctl(args: list[str]) -> int:
    """`systemctl VERB [UNIT...]`."""
    flags = [a for a in args if a.startswith("-")]
    words = [a for a in args if not a.startswith("-")]
    verb, units = (words[0], words[1:]) if words else ("list-units", [])
    for flag in flags:
        if flag not in (
            "--now",
            "--quiet",
            "-q",
            "--no-pager",
            "--system",
            "--force",
            "-f",
            "--no-block",
            "-l",
            "--full",
            "--all",
            "-a",
            "--no-legend",
        ):
            print(f"systemctl: the option {flag} is not supported in this instance", file=sys.stderr)
            return 1
    if (
        verb in ("start", "stop", "restart", "reload", "enable", "disable", "status", "is-active", "is-enabled", "cat")
        and not units
    ):
        print("Too few arguments.", file=sys.stderr)
        return 1
    if verb == "start" and units and units[0].removesuffix(".target") in ("poweroff", "reboot", "halt"):
        verb, units = units[0].removesuffix(".target"), []
    code, text = ask(verb, units, now="--now" in flags)
    if text and not ({"--quiet", "-q"} & set(flags)):
        spoken = verb in ("status", "cat", "list-units", "is-active", "is-enabled", "is-failed")
        print(text, file=sys.stdout if spoken or code == 0 else sys.stderr)
    return code


def service(args: list[str]) -> int:
    """`service UNIT VERB`."""
    if len(args) < 2:
        print("Usage: service < option > | --status-all | [ service_name [ command ] ]", file=sys.stderr)
        return 1
    return systemctl([args[1], args[0]])


def shutdown(args: list[str]) -> int:
    """`shutdown [-h|-r] [now]`: at once, as every other time is refused."""
    times = [a for a in args if not a.startswith("-")]
    if times and times[0] not in ("now", "+0"):
        print("shutdown: only 'now' is supported in this instance", file=sys.stderr)
        return 1
    return ask("reboot" if "-r" in args or "--reboot" in args else "poweroff", [])[0]


def packages(args: list[str]) -> int:
    """`dnf install NAME...`: what is there is there; nothing can be fetched."""
    words = [a for a in args if not a.startswith("-")]
    verb, wanted = (words[0], words[1:]) if words else ("", [])
    if verb in ("update", "upgrade", "check-update", "makecache", "clean", "autoremove") and not wanted:
        print(
            "Dependencies resolved.\nNothing to do: an instance here has the programs of the machine that it "
            "runs on.\nComplete!"
        )
        return 0
    if verb in ("install", "reinstall", "update", "upgrade"):
        missing = [n for n in wanted if shutil.which(_COMMANDS.get(n, n)) is None]
        for name in wanted:
            if name not in missing:
                print(f"Package {name} is already installed ({shutil.which(_COMMANDS.get(name, name))}).")
        for name in missing:
            print(f"No match for argument: {name}", file=sys.stderr)
        if missing:
            print(f"Error: Unable to find a match: {' '.join(missing)}", file=sys.stderr)
            print(
                "(instances of cloudchamber share this machine's programs: install it there, or bundle it with "
                "your app)",
                file=sys.stderr,
            )
            return 1
        print("Dependencies resolved.\nNothing to do.\nComplete!")
        return 0
    print(f"dnf: the command '{verb}' is not supported in this instance", file=sys.stderr)
    return 1


def sudo(args: list[str]) -> int:
    """`sudo COMMAND`: this is root already; another user only where the sandbox has more than one."""
    if os.geteuid() != 0:
        return _asked_for(args)
    env = dict(os.environ)
    while args and (args[0].startswith("-") or "=" in args[0]):
        flag = args.pop(0)
        if flag in ("-u", "--user"):
            name = args.pop(0) if args else ""
            if name not in ("root", "0"):
                return _as_user(name, args)
        elif flag in ("-E", "-n", "-H", "-i", "-s", "--"):
            continue
        elif not flag.startswith("-"):
            key, _, value = flag.partition("=")
            env[key] = value
        else:
            print(f"sudo: the option {flag} is not supported in this instance", file=sys.stderr)
            return 1
    return _become(args or ["/bin/bash"], env)


def _asked_for(args: list[str]) -> int:
    """`sudo` of who is not root: the instance's first program decides, and runs it."""
    user, setting, cwd, shell = "root", {}, os.getcwd(), False
    while args and (args[0].startswith("-") or "=" in args[0]):
        flag = args.pop(0)
        if flag in ("-u", "--user"):
            user = args.pop(0) if args else ""
        elif flag in ("-i", "-s"):
            shell, cwd = True, "/" if flag == "-i" else cwd
        elif flag == "--":
            break
        elif not flag.startswith("-"):
            key, _, value = flag.partition("=")
            setting[key] = value
        elif flag not in ("-E", "-n", "-H"):
            print(f"sudo: the option {flag} is not supported in this instance", file=sys.stderr)
            return 1
    if not args and not shell:
        print("usage: sudo [-u user] [-i | -s] [VAR=value] command", file=sys.stderr)
        return 1
    if shell:
        args = ["/bin/bash", "-l", *(["-c", shlex.join(args)] if args else [])]
    return privilege.ask(args, user, setting, cwd)


def _as_user(name: str, args: list[str]) -> int:
    import pwd

    try:
        who = pwd.getpwnam(name)
        os.initgroups(name, who.pw_gid)
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
    except KeyError:
        print(f"sudo: unknown user {name}", file=sys.stderr)
        return 1
    except OSError:
        print(f"sudo: this sandbox has one user only: it cannot become {name}", file=sys.stderr)
        return 1
    return _become([a for a in args if a != "--"], {**os.environ, "HOME": who.pw_dir, "USER": name, "LOGNAME": name})


def _become(args: list[str], env: dict[str, str]) -> int:
    try:
        os.execvpe(args[0], args, env)
    except OSError as error:
        print(f"sudo: {args[0]}: {error.strerror}", file=sys.stderr)
    return 127


def cloud_init(args: list[str]) -> int:
    """`cloud-init status [--wait] [--long] [--format json]`: how far user data is."""
    flags, verb = [a for a in args if a.startswith("-")], next((a for a in args if not a.startswith("-")), "")
    if verb == "--version" or "--version" in flags or "-v" in flags:
        print("cloud-init of cloudchamber")
        return 0
    if verb != "status" or set(flags) - {"--wait", "-w", "--long", "-l", "--format", "--format=json"}:
        print(f"cloud-init: only 'status [--wait] [--long]' is supported in this instance, not {args}", file=sys.stderr)
        return 1
    while True:
        status = _cloud_status()
        if status["status"] != "running" or not ({"--wait", "-w"} & set(flags)):
            break
        time.sleep(0.1)
    if "--format=json" in flags or ("--format" in flags and "json" in args):
        print(json.dumps(status, indent=1))
    else:
        print(f"status: {status['status']}")
        if {"--long", "-l"} & set(flags):
            print(f"detail: {status['detail']}\nerrors: {status['errors']}")
    return 1 if status["status"] == "error" else 0


def _cloud_status() -> dict[str, object]:
    try:
        with open("/run/cloud-init/status.json") as file:
            found = json.load(file)["v1"]
    except (OSError, ValueError, KeyError):
        return {"status": "running", "detail": "", "errors": []}
    done = found.get("stage") is None
    status = "running" if not done else "error" if found["errors"] else "done"
    return {"status": status, "detail": found["datasource"], "errors": found["errors"], "stage": found.get("stage")}


PROGRAMS = {
    "cloud-init": cloud_init,
    "systemctl": systemctl,
    "service": service,
    "shutdown": shutdown,
    "poweroff": lambda _args: ask("poweroff", [])[0],
    "halt": lambda _args: ask("poweroff", [])[0],
    "reboot": lambda _args: ask("reboot", [])[0],
    "dnf": packages,
    "yum": packages,
    "sudo": sudo,
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](sys.argv[2:]))
