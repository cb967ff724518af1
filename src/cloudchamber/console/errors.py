# SPDX-License-Identifier: Apache-2.0
"""What the console's own questions are answered with when they cannot be."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class BadQuestion(ServiceError):
    """The question is none."""

    code = "BadRequest"
    status = 400


class NoSuchEntity(ServiceError):
    """There is no such role or user, or there are several."""

    code = "NoSuchEntity"
    status = 400
