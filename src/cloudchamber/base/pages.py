# SPDX-License-Identifier: Apache-2.0
"""Page tokens: the key of the last row that was shown, opaque to clients.

A page begins after a key, not at a number, so that rows which come or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64


def token(key: str) -> str:
    """The token of the page that begins after `key`."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def after(text: str) -> str:
    """The key that a token holds; the empty token, of the first page, holds the empty key.

    Raises:
        ValueError: it is none of ours; the service says so in its own words.
    """
    return base64.b64decode(text.encode(), b"-_", validate=True).decode()
