# SPDX-License-Identifier: Apache-2.0
"""Transforms: only ``AWS::Serverless-2016-10-31``, by AWS's own translator in a child process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.errors import TransformFailed
from cloudchamber.services.cloudformation.template import SERVERLESS

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 120.0
_MODULE = "cloudchamber.services.cloudformation.sam"


def check_transforms(names: tuple[str, ...]) -> None:
    """Refuse transforms that are not supported.

    Raises:
        ValidationError: the first of them, by name.
    """
    for name in names:
        if name != SERVERLESS:
            raise ValidationError(f"No transform named {name} found.")


async def serverless(body: Mapping[str, Any], parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The template without serverless resources.

    Raises:
        TransformFailed: what the translator says is wrong.
    """
    job = json.dumps({"template": body, "parameters": dict(parameters)}).encode()
    # Why this environment and no other: no credentials and no proxy of ours may reach it.
    environment = {
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, problem = await process.communicate(job)
    except TimeoutError:
        raise TransformFailed(f"Transform {SERVERLESS} failed with: it took longer than {TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = problem.decode(errors="replace").strip().rpartition("\n")[2]
        raise TransformFailed(f"Transform {SERVERLESS} failed with: {last[:500]}")
    answer: dict[str, Any] = json.loads(out)
    if "error" in answer:
        raise TransformFailed(f"Transform {SERVERLESS} failed with: {answer['error']}")
    found: dict[str, Any] = answer["template"]
    found.pop("Transform", None)
    return found
