# SPDX-License-Identifier: Apache-2.0
"""Hold our decisions against another implementation's, case by case: ``python -m tools differential FOLDER``.

FOLDER has ``iam_fuzz.py``, whose generator makes the cases and whose oracle is a process of its own. Every difference
must be one of `explained.json`, where each says what AWS documents; any other fails the run.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

from tools.oracle import decide

EXPLAINED: list[dict[str, str]] = json.loads((Path(__file__).parent / "explained.json").read_text(encoding="utf-8"))


def _ipv6_against_ipv4(case: dict[str, Any]) -> bool:
    """A negative operator of addresses, and an address of the other version."""
    address = case["context"].get("aws:SourceIp", "")
    return ":" in address and "NotIpAddress" in json.dumps(case)


def _excluded_by_a_variable(case: dict[str, Any]) -> bool:
    """NotResource with a variable that has no value."""
    has = {key.lower() for key, value in case["context"].items() if value not in ("", [])}
    read = re.findall(r'"NotResource": (\[[^]]*\]|"[^"]*")', json.dumps(case))
    return any(name.lower() not in has for text in read for name in re.findall(r"\$\{([a-z]+:[^},]+)\}", text))


SHAPES = {"ipv6-against-ipv4": _ipv6_against_ipv4, "not-resource-without-value": _excluded_by_a_variable}


def explained(case: dict[str, Any]) -> str:
    """The name of the explanation of a difference; empty if there is none."""
    return next((one["shape"] for one in EXPLAINED if SHAPES[one["shape"]](case)), "")


def main(arguments: list[str]) -> int:
    """Run the seeds; 1 if any difference is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tools differential", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args(arguments)
    spec = importlib.util.spec_from_file_location("iam_fuzz", given.folder / "iam_fuzz.py")
    if spec is None or spec.loader is None:
        print(f"no iam_fuzz.py in {given.folder}", file=sys.stderr)
        return 2
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    failed = 0
    for seed in given.seeds:
        oracle = fuzz.Oracle()
        made = fuzz.Gen(seed)
        why: collections.Counter[str] = collections.Counter()
        for number in range(given.cases):
            case = made.case(number)
            want, got = oracle(case)["decision"], decide(case)
            if want == got:
                why["agree"] += 1
                continue

            def differs(one: dict[str, Any], oracle: Any = oracle) -> bool:
                return oracle(one)["decision"] != decide(one)

            shape = explained(fuzz.shrink(case, differs))
            why[shape or "UNEXPLAINED"] += 1
            if not shape:
                failed += 1
                print(json.dumps({"oracle": want, "ours": got, "case": case}))
        print(json.dumps({"seed": seed, "cases": given.cases, **why}), flush=True)
        oracle.close()
    return int(failed > 0)
