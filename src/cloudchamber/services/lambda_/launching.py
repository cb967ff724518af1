# SPDX-License-Identifier: Apache-2.0
"""What an execution environment is made of: its program, its variables, its files.

Source: Lambda Developer Guide, "Defined runtime environment variables", "Lambda execution environment", "Building a
custom runtime for AWS Lambda", "Packaging your layer content".
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudchamber.sandbox.etc import OWN_AUTHORITY
from cloudchamber.sandbox.spec import Limits, Listener, Mount, SandboxSpec
from cloudchamber.services.lambda_ import runtimes
from cloudchamber.services.lambda_.archive import elf_machine

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.archive import Files
    from cloudchamber.services.lambda_.run_logs import Stream
    from cloudchamber.services.lambda_.runtimes import Runtime
    from cloudchamber.services.lambda_.tables import Function

ANSWERS_HOST = "cloudformation-custom-resource-response.s3.amazonaws.com"
"""Where custom resources answer, by HTTPS on port 443, which AWS's own helpers insist on: a name like AWS's, which
only functions can resolve, to a socket of their own."""
WARM = "cloudchamber.sandbox.warm_lambda"
_HTTPS = 443
_NODE_MODULES = "/var/runtime/node_modules"
_PATHS = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"


@dataclass(frozen=True, slots=True)
class Given:
    """What differs from one environment of a function to the next."""

    id: str
    folder: Path
    initialization: str
    stream: Stream
    credentials: dict[str, str]


class NoEntrypoint(Exception):  # noqa: N818 - AWS's word for it
    """A custom runtime's package has nothing that can be started."""


def program(runtime: Runtime, files: Files) -> tuple[tuple[str, ...], bool]:
    """What is executed, and whether it is a fork of a warm Python instead.

    Raises:
        NoEntrypoint: `provided.*` without a bootstrap that this machine can run.
    """
    if runtime.kind == "python":
        # Why: only an exec reads LD_LIBRARY_PATH; a fork of the warm Python would not find the package's own libraries.
        if _has_libraries(files):
            return (runtime.program or sys.executable, "-I", *runtimes.script()), False
        return (WARM,), True
    if runtime.kind == "nodejs":
        return (runtime.program, str(runtimes.client())), False
    for folder, mark in ((files.code, "${mount:/var/task}"), (files.layers, "${mount:/opt}")):
        if folder is not None and (folder / "bootstrap").exists():
            _check_bootstrap(folder / "bootstrap", mark.removeprefix("${mount:").removesuffix("}"))
            return (f"{mark}/bootstrap",), False
    raise NoEntrypoint("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")


def _has_libraries(files: Files) -> bool:
    return any(
        next((folder / "lib").glob("*.so*"), None) is not None
        for folder in (files.code, files.layers)
        if folder is not None
    )


def _check_bootstrap(path: Path, shown: str) -> None:
    if not path.is_file() or not path.stat().st_mode & 0o111:
        raise NoEntrypoint(f"fork/exec {shown}/bootstrap: permission denied")
    machine, here = elf_machine(path), os.uname().machine
    if machine and machine != here:
        raise NoEntrypoint(
            f"fork/exec {shown}/bootstrap: exec format error (it is built for {machine}, this machine is {here})"
        )


def answered_inside(doors: Doors) -> bool:
    """Whether functions reach `ANSWERS_HOST`: where sandboxes have names and ports of their own."""
    return doors.sandboxes.mode.startswith("ns-") and urlsplit(doors.endpoint).port != _HTTPS


def _listeners(doors: Doors) -> tuple[Listener, ...]:
    port = urlsplit(doors.endpoint).port or 80
    always = Listener("api", "127.0.0.1", 9001), Listener("endpoint", "127.0.0.1", port)
    return (*always, Listener("answers", "127.0.0.1", _HTTPS)) if answered_inside(doors) else always


def kind(doors: Doors) -> SandboxSpec:
    """What the sandboxes of all functions on the chamber's own Python have in common."""
    return SandboxSpec(
        id="lambda",
        folder=Path("/"),
        program=(WARM,),
        warm=True,
        console="pipe",
        hostname="localhost",
        hosts={ANSWERS_HOST: "127.0.0.1"} if answered_inside(doors) else {},
        listeners=_listeners(doors),
        limits=Limits(open_files=1024),
        ca_pem=doors.authority.certificate_pem,
    )


def spec(doors: Doors, function: Function, runtime: Runtime, files: Files, given: Given) -> SandboxSpec:
    """The sandbox of one environment; raises as `program`."""
    storage = int(function.configuration["EphemeralStorage"]["Size"])
    argv, warm = program(runtime, files)
    mounts = [Mount(files.code, "/var/task"), *(Mount(path, str(path)) for path in runtime.mounts)]
    if files.layers is not None:
        mounts.append(Mount(files.layers, "/opt"))
    if runtime.kind == "nodejs" and modules(doors).is_dir():
        mounts.append(Mount(modules(doors), _NODE_MODULES))
    if runtime.kind == "python" and runtime.program and not warm:
        places = {Path(os.path.realpath(runtime.program)).parent.parent, Path(runtime.program).parent.parent}
        mounts += [Mount(path, str(path)) for path in places if path != Path("/usr")]
    return replace(
        kind(doors),
        id=f"lambda-{given.id}",
        folder=given.folder,
        program=argv,
        env=_of_node(doors, runtime, variables(function, runtime, files, given)),
        warm=warm,
        interpreter=runtime.program if warm else "",
        mounts=tuple(mounts),
        workdir="/var/task",
        limits=Limits(
            memory_bytes=function.memory_mb << 20,
            vcpus=max(1.0, function.memory_mb / 1769),
            pids=1024,
            tmp_bytes=storage << 20,
            open_files=1024,
            tmp_apart=True,
        ),
    )


def modules(doors: Doors) -> Path:
    """Where modules lie that every function on Node.js finds, as it finds the AWS SDK on AWS: a chamber brings none."""
    return doors.folder / "lambda" / "node" / "node_modules"


def _of_node(doors: Doors, runtime: Runtime, variables: dict[str, str]) -> dict[str, str]:
    """What only Node.js must be told: the chamber's CA, since it brings its own with it, and the shared modules."""
    if runtime.kind != "nodejs":
        return variables
    made = {"NODE_EXTRA_CA_CERTS": f"/etc/{OWN_AUTHORITY}"} if answered_inside(doors) else {}
    made |= variables
    if modules(doors).is_dir():
        before = f"{made['NODE_PATH']}:" if made.get("NODE_PATH") else ""
        made["NODE_PATH"] = f"{before}${{mount:{_NODE_MODULES}}}"
    return made


def variables(function: Function, runtime: Runtime, files: Files, given: Given) -> dict[str, str]:
    """The environment variables of an environment."""
    own = dict(function.configuration.get("Environment", {}).get("Variables", {}))
    logging = function.configuration["LoggingConfig"]
    made = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": _PATHS.replace("/opt/bin", "${mount:/opt}/bin") if files.layers is not None else _PATHS,
        "HOME": "/tmp",
        **_search(runtime, files),
        **own,
        "_HANDLER": function.configuration.get("Handler", ""),
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.configuration['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": given.initialization,
        "AWS_LAMBDA_LOG_GROUP_NAME": given.stream.group,
        "AWS_LAMBDA_LOG_STREAM_NAME": given.stream.name,
        "AWS_LAMBDA_RUNTIME_API": "${listener:api}",
        **given.credentials,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://${listener:endpoint}",
        "LAMBDA_TASK_ROOT": "${mount:/var/task}",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
    }
    if logging.get("LogFormat") == "JSON":
        made |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": logging["ApplicationLogLevel"]}
    return made


def _search(runtime: Runtime, files: Files) -> dict[str, str]:
    """Where a runtime looks for libraries: the function's own folder first, then its layers."""
    task, opt = "${mount:/var/task}", "${mount:/opt}"
    libraries = ["/lib64", "/usr/lib64", "/var/runtime", "/var/runtime/lib", task, f"{task}/lib"]
    if files.layers is None:
        return {"LD_LIBRARY_PATH": ":".join(libraries)} if runtime.kind != "nodejs" else _node("", libraries)
    libraries.append(f"{opt}/lib")
    if runtime.kind == "python":
        minor = ".".join(runtime.version.split(".")[:2])
        return {
            "LD_LIBRARY_PATH": ":".join(libraries),
            "PYTHONPATH": f"{opt}/python/lib/python{minor}/site-packages:{opt}/python",
        }
    if runtime.kind == "nodejs":
        major = runtime.version.partition(".")[0]
        return _node(f"{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules", libraries)
    return {"LD_LIBRARY_PATH": ":".join(libraries)}


def _node(modules: str, libraries: list[str]) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": ":".join(libraries), **({"NODE_PATH": modules} if modules else {})}
