# SPDX-License-Identifier: Apache-2.0
"""What runs in a warm sandbox that is a Lambda environment: AWS's own runtime client, with a function's surroundings.

It lives here, and not with the Lambda service, because the fork must load nothing of the chamber's services.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import resource
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NATIVE_ADDRESS = "127.0.0.1:9001"
"""Where the native client looks, fixed when it was loaded."""
_GIVEN = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
"""What AWS's Python runtimes have beside the standard library. Source: Lambda Developer Guide, runtime dependencies."""
_OWN = ("debugpy", "awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")


class RuntimePackages:
    """Finds the runtime's own packages, and nothing else of the chamber's: an import that fails on AWS fails here."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = list(folders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a top-level package of the runtime; None for all others."""
        if path is None and name in (*_GIVEN, *_OWN):
            return importlib.machinery.PathFinder.find_spec(name, self._folders, target)
        return None


def main() -> None:
    """Run the function that the environment describes, until the sandbox ends."""
    root = os.environ["LAMBDA_TASK_ROOT"]  # noqa: TID251 - this process is the function's, not the chamber's
    sys.path += [path for path in sys.argv[1:] if path not in sys.path]
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":  # noqa: TID251 - as above
        importlib.reload(bootstrap)  # Why: it reads the log format when it is loaded, which the warm process has done
    client = _client(os.environ["AWS_LAMBDA_RUNTIME_API"])  # noqa: TID251 - as above
    _arrange_imports(root)
    os.chdir(root)
    if port := os.environ.get("CLOUDCHAMBER_DEBUG_PORT"):  # noqa: TID251 - as above
        _listen_for_debugger(int(port))
    sys.dont_write_bytecode = True  # the package is read-only, and stays as it came also where nothing enforces that
    bootstrap.run(os.environ["_HANDLER"], client)  # noqa: TID251 - as above


def _listen_for_debugger(port: int) -> None:
    """Let a debugger in, if the package, a layer or the chamber has debugpy; say so where there is none."""
    try:
        debugpy: Any = importlib.import_module("debugpy")
    except ImportError:
        sys.stderr.write("CLOUDCHAMBER_DEBUG_PORT is set, but there is no debugpy: put it into the package\n")
        return
    debugpy.listen(("127.0.0.1", port))
    sys.stderr.write(f"a debugger can attach at port {port}: cloudchamber debug\n")


def _arrange_imports(root: str) -> None:
    """The function's files first, then the standard library, then the runtime's packages."""
    given = [path for path in sys.argv[1:] if os.path.isdir(path)]  # where the runtime was started, and not forked
    outside = given or [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    standard = [path for path in sys.path if _standard(path)]
    extra = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]  # noqa: TID251 - as above
    sys.path[:] = [root, *extra, *standard]
    finder: Any = RuntimePackages(outside)
    sys.meta_path.append(finder)
    # Why: a function that brings its own boto3 gets that one, though ours is loaded already.
    for name in _GIVEN:
        if any(os.path.exists(f"{path}/{name}") or os.path.exists(f"{path}/{name}.py") for path in (root, *extra)):
            for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                del sys.modules[loaded]
    for loaded in [m for m in sys.modules if m == "cloudchamber" or m.startswith("cloudchamber.")]:
        del sys.modules[loaded]


def _standard(path: str) -> bool:
    if path.endswith(("site-packages", "dist-packages")):
        return False
    return path.endswith((".zip", "lib-dynload")) or os.path.exists(f"{path}/argparse.py")


def _client(address: str) -> Any:
    """The runtime client: the native one where it looks at the right address, else one in Python."""
    module = importlib.import_module("awslambdaric.lambda_runtime_client")
    if address == NATIVE_ADDRESS and module.runtime_client is not None:
        return _reporting(module.LambdaRuntimeClient)(address)
    return _reporting(_in_python(module))(address)


def _used() -> str:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"maxrss-kb={used if sys.platform == 'linux' else used // 1024}"


def _reporting(base: Any) -> Any:
    """The client, saying with each answer how much memory the process has used at most."""

    class Reporting(base):
        """The same client with a longer content type."""

        def post_invocation_result(
            self, invoke_id: str, result_data: Any, content_type: str = "application/json", invocation_id: Any = None
        ) -> None:
            base.post_invocation_result(self, invoke_id, result_data, f"{content_type}; {_used()}", invocation_id)

        def post_invocation_error(
            self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: Any = None
        ) -> None:
            said = f"{xray_fault[:100_000]} {_used()}" if xray_fault else ""
            base.post_invocation_error(self, invoke_id, error_response_data, said, invocation_id)

    return Reporting


def _in_python(module: Any) -> Any:
    """awslambdaric's client without its native part, which has no build for macOS and one fixed address."""
    import http.client

    class InPython(module.LambdaRuntimeClient):
        _connection: http.client.HTTPConnection | None = None

        def _call(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Any:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self.lambda_runtime_address)
            self._connection.request(method, f"/2018-06-01/runtime/{path}", body, headers or {})
            answer = self._connection.getresponse()
            return answer.read(), answer.headers

        def wait_next_invocation(self) -> Any:
            body, headers = self._call("GET", "invocation/next")
            return module.InvocationRequest(
                invoke_id=headers["Lambda-Runtime-Aws-Request-Id"],
                x_amzn_trace_id=headers["Lambda-Runtime-Trace-Id"],
                invoked_function_arn=headers["Lambda-Runtime-Invoked-Function-Arn"],
                deadline_time_in_ms=int(headers["Lambda-Runtime-Deadline-Ms"]),
                client_context=headers["Lambda-Runtime-Client-Context"],
                cognito_identity=headers["Lambda-Runtime-Cognito-Identity"],
                tenant_id=headers["Lambda-Runtime-Aws-Tenant-Id"],
                content_type=headers["Content-Type"],
                event_body=body,
                invocation_id=headers["Lambda-Runtime-Invocation-Id"],
            )

        def post_invocation_result(
            self, invoke_id: str, result_data: Any, content_type: str = "application/json", invocation_id: Any = None
        ) -> None:
            data = result_data if isinstance(result_data, bytes) else result_data.encode()
            self._call("POST", f"invocation/{invoke_id}/response", data, {"Content-Type": content_type})

        def post_invocation_error(
            self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: Any = None
        ) -> None:
            headers = {"Lambda-Runtime-Function-XRay-Error-Cause": xray_fault}
            self._call("POST", f"invocation/{invoke_id}/error", error_response_data.encode(), headers)

    return InPython


if __name__ == "__main__":
    main()
