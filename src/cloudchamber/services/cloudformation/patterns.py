# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of templates, in a process of their own.

Why: Python's `re` can take for ever over a hostile pattern, and nothing can interrupt it from outside.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from cloudchamber.base.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 5.0
_CHECK = """
import json, re, sys
found = []
for pattern, text in json.load(sys.stdin):
    try:
        found.append(bool(re.fullmatch(pattern, text)))
    except re.error:
        found.append(None)
json.dump(found, sys.stdout)
"""


async def matches(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each pattern matches the whole of its text.

    Raises:
        ValidationError: a pattern is no regular expression, or took too long.
    """
    if not pairs:
        return []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _CHECK),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, _ = await process.communicate(json.dumps(list(pairs)).encode())
    except TimeoutError:
        raise ValidationError("Template format error: an AllowedPattern takes too long to check") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ValidationError("Template format error: an AllowedPattern cannot be checked")
    found: list[bool | None] = json.loads(out)
    for (pattern, _), matched in zip(pairs, found, strict=True):
        if matched is None:
            raise ValidationError(f"Template format error: AllowedPattern {pattern} is not valid")
    return [bool(matched) for matched in found]
