# SPDX-License-Identifier: Apache-2.0
"""The serverless transform, in a process of its own: ``python -m cloudchamber.services.cloudformation.sam``.

Reads ``{"template", "parameters"}`` from its input, writes ``{"template"}`` or ``{"error"}`` to its output.
Why a process: the translator costs 50 MB and more than a second to import, once per deployment is often enough.
"""

from __future__ import annotations

import json
import sys
from typing import Any


class _Bundled:
    """AWS's managed policies by name, from the translator's own list: no call to anywhere."""

    def load(self) -> dict[str, str]:
        from samtranslator.internal.managed_policies import get_bundled_managed_policy_map

        return get_bundled_managed_policy_map("aws") or {}


def main() -> None:
    """Translate one template."""
    from samtranslator.model.exceptions import ExceptionWithMessage, InvalidDocumentException
    from samtranslator.translator.transform import transform

    job: dict[str, Any] = json.load(sys.stdin)
    loader: Any = _Bundled()
    try:
        answer = {"template": transform(job["template"], job["parameters"], loader)}
    except InvalidDocumentException as error:
        causes = " ".join(sorted(cause.message for cause in error.causes))
        answer = {"error": f"{error.message} {causes}"}
    except ExceptionWithMessage as error:
        answer = {"error": error.message}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
