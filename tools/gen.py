# SPDX-License-Identifier: Apache-2.0
"""Generate what derives from botocore's models: the slices in ``wire/models`` and the types in ``_api.py``.

    python -m tools gen              every service folder
    python -m tools gen s3 lambda    only these
    python -m tools gen --check      write nothing; say whether the files are up to date

The operations are those that ``@operation("Name", ...)`` names in the service's folder. Safe to run at any time and
by several people at once: a file is replaced as a whole, and only when its text changes.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import gen_api, gen_slice

ROOT = Path(__file__).resolve().parent.parent / "src" / "cloudchamber"
MODELS = ROOT / "wire" / "models"


@dataclass(frozen=True)
class Folder:
    """One service folder: botocore's name of the service, and the operations that its modules define."""

    path: Path
    service: str
    operations: tuple[str, ...]


def called(node: ast.Call) -> str:
    """Name of what a call calls: ``operation`` for ``operation(...)`` and ``contract.operation(...)``."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def first_string(node: ast.Call) -> str:
    """First argument, if it is a literal string."""
    if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
        return node.args[0].value
    return ""


def scan(path: Path) -> Folder:
    """Read a service folder without importing it; a file that does not parse yet is left out, with a word."""
    name = path.name.rstrip("_")
    operations: set[str] = set()
    for file in sorted(path.rglob("*.py")):
        if file.name == "_api.py":
            continue
        try:
            tree = ast.parse(file.read_text(), str(file))
        except SyntaxError as error:
            print(
                f"gen: {file.relative_to(ROOT)} does not parse yet: {error.msg}, line {error.lineno}", file=sys.stderr
            )
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) == "operation" and first_string(node):
                operations.add(first_string(node))
            elif isinstance(node, ast.Call) and called(node) == "service" and file.name == "__init__.py":
                name = first_string(node) or name
    return Folder(path, name, tuple(sorted(operations)))


def folders() -> list[Folder]:
    """Every folder below ``services``."""
    return [
        scan(p) for p in sorted((ROOT / "services").iterdir()) if (p / "__init__.py").exists() or list(p.glob("*.py"))
    ]


def formatted(text: str, path: Path) -> str:
    """Python text as the formatter leaves it, so that formatting a folder changes nothing."""
    command = [f"{sys.prefix}/bin/ruff", "format", "--stdin-filename", str(path), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def publish(path: Path, text: str, *, check: bool) -> bool:
    """Replace a file as a whole if its text changed; says whether it did (or would)."""
    if path.exists() and path.read_text() == text:
        return False
    if not check:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".gen-")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    return True


def main(arguments: list[str]) -> int:
    """Generate, or check; 1 if a check found something out of date or an operation is unknown."""
    check = "--check" in arguments
    wanted = {a for a in arguments if not a.startswith("-")}
    status = 0
    for folder in folders():
        if wanted and not {folder.service, folder.path.name} & wanted:
            continue
        model: dict[str, Any] = gen_slice.load(folder.service)
        unknown = [o for o in folder.operations if o not in model["operations"]]
        if unknown:
            print(f"gen: {folder.service} has no operation {', '.join(unknown)}", file=sys.stderr)
            status = 1
        operations = [o for o in folder.operations if o in model["operations"]]
        files = {
            MODELS / f"{folder.service}.json": gen_slice.text(gen_slice.cut(model, operations)),
            folder.path / "_api.py": formatted(
                gen_api.module(folder.service, model, operations), folder.path / "_api.py"
            ),
        }
        for path, text in files.items():
            if publish(path, text, check=check):
                print(f"gen: {path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
                status |= check
    return int(status)
