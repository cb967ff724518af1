# SPDX-License-Identifier: Apache-2.0
"""S3 side by side with other servers: rclone, SeaweedFS, ministack, moto, and nginx on the same files.

``python -m tools bench s3`` prints each work with all servers that are installed, in interleaved rounds, with valid
signatures, and the bar that it should reach. None of the peers syncs what it stores; cloudchamber does.
``--memory``: what cloudchamber holds with a million keys and during 100 uploads of 1 GiB. ``--latency``: GETs of 1 KiB
while 5 GiB are uploaded. What to trust on a busy machine: the processor time of a request, then ratios, then rates.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools import s3_strain, s3_work
from tools.s3_servers import OURS, Server, ours, servers
from tools.s3_work import Sample, Unfit

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDED = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table: what is done, at how many connections, and how often the best peer's rate it should be."""

    told: str
    do: Callable[[Server, int, float], Sample]
    connections: int
    bar: float
    nginx: float = 0.0
    """Of nginx's rate."""
    cpu_us: float = 0.0
    """At most so much processor time."""


WORKS = {
    "get1k": Work("GET 1 KiB, 16 connections", s3_work.get_small, 16, 2.5, cpu_us=35),
    "put1k": Work("PUT 1 KiB, 16 connections, durable", s3_work.put_small, 16, 3),
    "put1k1": Work("PUT 1 KiB, 1 connection, durable", s3_work.put_small, 1, 1),
    "get64m": Work("GET 64 MiB", s3_work.get_large, 1, 1, nginx=0.8),
    "put64m": Work("PUT 64 MiB, durable", s3_work.put_large, 1, 1.2),
    "parts64m": Work("64 MiB in 8 parts, durable", s3_work.put_parts, 1, 1.2),
    "list": Work(f"LIST 1,000 of {SEEDED:,} keys", s3_work.list_keys, 1, 4),
}
_FOR_READS = ("get1k", "get64m")
"""What nginx can do."""


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tools bench s3", description=__doc__)
    parser.add_argument("--works", default=",".join(WORKS), help="which, by comma")
    parser.add_argument("--only", default="", help="these peers, by comma")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=2.0)
    parser.add_argument("--seed-secs", type=float, default=120.0, help="how long a peer may take to get its keys")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--gib", type=float, default=5.0, help="size of the upload of --latency")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(sys.argv[3:])
    if not given.apart and subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode == 0:
        # Why a network of its own: some of the peers listen on every address, whatever they are told
        again = [sys.executable, "-m", "tools", "bench", "s3", *sys.argv[3:], "--apart"]
        words = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "-", *again]
        return subprocess.run(words, check=False).returncode
    with tempfile.TemporaryDirectory(prefix="bench-s3-", ignore_cleanup_errors=True) as folder:
        if given.memory or given.latency:
            server = ours(Path(folder))
            try:
                return max(
                    s3_strain.memory(server) if given.memory else 0,
                    s3_strain.latency(server, given.gib) if given.latency else 0,
                )
            finally:
                server.stop()
        wanted = [name for name in given.only.split(",") if name]
        return table(servers(Path(folder), wanted), given.works.split(","), given.rounds, given.secs, given.seed_secs)


def table(found: list[Server], works: list[str], rounds: int, for_s: float, seed_s: float) -> int:
    """Start all, measure, print; 1 if a bar was missed."""
    try:
        running = [server for server in found if _ready(server, seed_s if "list" in works else 0)]
        missed = [name for name in works if not _measure(name, WORKS[name], running, rounds, for_s)]
        for server in running:
            print(f"{server.name}: {server.memory_mib()[1]:.0f} MiB afterwards")
    finally:
        for server in found:
            server.stop()
    print(f"\nbars missed: {', '.join(missed)}" if missed else "\nevery bar was reached")
    return int(bool(missed))


def _ready(server: Server, seed_s: float) -> bool:
    try:
        took_s = server.start()
        idle = server.memory_mib()[1]
        s3_work.prepare(server)
        print(f"{server.name}: answered after {took_s:.2f} s, {idle:.0f} MiB", flush=True)
    except (Unfit, RuntimeError, OSError) as error:
        print(f"{server.name}: left out, {error}", flush=True)
        server.stop()
        return False
    server.seeded = False
    if seed_s and server.name != "nginx":
        try:
            s3_work.seed(server, SEEDED, seed_s)
            server.seeded = True
        except (Unfit, OSError) as error:
            print(f"{server.name}: no LIST, {error}", flush=True)
    return True


def _measure(name: str, work: Work, running: list[Server], rounds: int, for_s: float) -> bool:
    """One work with all, in turn; whether its bar was reached."""
    doing = [one for one in running if (one.name != "nginx" or name in _FOR_READS) and (name != "list" or one.seeded)]
    samples: dict[str, list[Sample]] = {}
    for number in range(rounds):
        for server in doing if number % 2 == 0 else doing[::-1]:
            try:
                samples.setdefault(server.name, []).append(work.do(server, work.connections, for_s))
            except (Unfit, OSError) as error:
                print(f"! {work.told}: {server.name}: {error}", flush=True)
    print(f"\n## {work.told}\n")
    print("| server | each second, median (least-most) | MiB/s | p50 ms | p99 ms | CPU us each | errors | ours is |")
    print("|---|---|---|---|---|---|---|---|")
    mine = _rate(samples[OURS]) if samples.get(OURS) else 0.0
    for server, found in samples.items():
        print(_row(server, found, mine), flush=True)
    return _judge(work, samples, mine)


def _row(server: str, found: list[Sample], mine: float) -> str:
    rates = [one.rate for one in found]
    speed = statistics.median(one.rate * one.octets for one in found) / s3_work.MIB
    p50, p99 = (statistics.median(getattr(one, name) for one in found) for name in ("p50_ms", "p99_ms"))
    return (
        f"| {server} | {_short(_rate(found))} ({_short(min(rates))}-{_short(max(rates))}) "
        f"| {f'{speed:.0f}' if speed else ''} | {p50:.2f} | {p99:.2f} | {_cpu_us(found):,.0f} "
        f"| {sum(one.errors for one in found)} | {'' if server == OURS else f'{mine / _rate(found):.2f} x'} |"
    )


def _judge(work: Work, samples: dict[str, list[Sample]], mine: float) -> bool:
    """Print what the bar says, and what was reached."""
    peers = {name: _rate(found) for name, found in samples.items() if name not in (OURS, "nginx")}
    told: list[tuple[str, bool]] = []
    if peers:
        best = max(peers, key=lambda name: peers[name])
        told.append(
            (f"{mine / peers[best]:.2f} x {best}, the best peer (bar {work.bar})", mine >= work.bar * peers[best])
        )
    if work.nginx and "nginx" in samples:
        beside = _rate(samples["nginx"])
        told.append((f"{mine / beside:.2f} x nginx (bar {work.nginx})", mine >= work.nginx * beside))
    if work.cpu_us and samples.get(OURS):
        cost = _cpu_us(samples[OURS])
        told.append((f"{cost:.0f} us of processor time (bar {work.cpu_us:.0f})", cost <= work.cpu_us))
    print()
    for text, reached in told:
        print(f"{'reached' if reached else 'MISSED'}: {text}", flush=True)
    return all(reached for _, reached in told)


def _rate(found: list[Sample]) -> float:
    return statistics.median(one.rate for one in found)


def _cpu_us(found: list[Sample]) -> float:
    return statistics.median(one.cpu_s / one.count for one in found) * 1e6


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2f}"


if __name__ == "__main__":
    sys.exit(main())
