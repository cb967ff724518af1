# SPDX-License-Identifier: Apache-2.0
"""Run a tool: ``python -m tools gen``, ``policies``, ``namespaces``, ``check``, ``test``, ``bench NAME``,
``churn``, ``soak``, ``lying-disk``, ``clients``,
``differential``."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from tools import gen, gen_policies

CHECKS = (
    ("ruff", "check", "src", "tools", "tests", "examples"),
    ("lint-imports",),
    ("basedpyright",),
)


def check() -> int:
    """Everything that needs no running chamber: generated files, style, layers, types."""
    failed = gen.main(["--check"])
    for command in CHECKS:
        print("$", *command, flush=True)
        failed |= subprocess.run([f"{sys.prefix}/bin/{command[0]}", *command[1:]], check=False).returncode
    return int(bool(failed))


def main() -> int:
    """Dispatch on the first argument."""
    name, *rest = sys.argv[1:] or [""]
    if name == "gen":
        return gen.main(rest)
    if name == "namespaces":
        return importlib.import_module("tools.gen_namespaces").main()
    if name == "policies":
        return gen_policies.main(rest)
    if name == "check":
        return check()
    if name == "test":
        return subprocess.run([sys.executable, "-m", "pytest", *rest], check=False).returncode
    if name == "bench" and rest and (Path(__file__).parent / f"bench_{rest[0]}.py").exists():
        return importlib.import_module(f"tools.bench_{rest[0]}").main()
    if name in ("churn", "soak", "lying-disk", "clients"):
        return importlib.import_module(f"tools.{name.replace('-', '_')}").main(rest)
    if name == "differential":
        return importlib.import_module("tools.differential").main(rest)
    if name == "conformance":
        return importlib.import_module("tools.conformance").main(rest)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
