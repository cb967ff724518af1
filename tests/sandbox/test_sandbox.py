# SPDX-License-Identifier: Apache-2.0
"""One sandbox: sockets in and out, console, limits, its end, and that nothing is left of it."""

# ruff: noqa: ASYNC110, ASYNC230, ASYNC240 - waiting for another process, whose files are small

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import pty
import signal
from pathlib import Path

import pytest

from cloudchamber.sandbox.spawner import SandboxError
from cloudchamber.sandbox.spec import Limits, Listener, Mount, Rule, SandboxSpec

SHELL = "/bin/sh"
ENDPOINT = Listener("endpoint", "127.0.0.1", 4566)
SERVER = (
    "import http.server,os,sys\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "  def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(b'from '+s.client_address[0].encode())\n"
    "http.server.HTTPServer(('0.0.0.0', int(sys.argv[1])), H).serve_forever()\n"
)


def spec(state: Path, name: str, *program: str, **further) -> SandboxSpec:
    folder = state / "sandbox" / name
    return SandboxSpec(id=name, folder=folder, program=program or ("sleep", "1000"), **further)


async def answered(sandbox, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await sandbox.connect(port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        with connection:
            await loop.sock_sendall(connection, b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while got := await loop.sock_recv(connection, 65536):
                data += got
            return data


async def accepted(listener) -> tuple[bytes, str]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        connection, address = await loop.sock_accept(listener)
        with connection:
            request = await loop.sock_recv(connection, 65536)
            await loop.sock_sendall(connection, b"HTTP/1.0 200 OK\r\n\r\nhello")
            return request.split(b"\r\n")[0], address[0]


def traces(folder: Path) -> list[str]:
    """What on this machine still speaks of that folder."""
    found = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    found += [f"socket {line}" for line in Path("/proc/net/unix").read_text().splitlines() if str(folder) in line]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in process.joinpath("cmdline").read_bytes():
                found.append(f"process {process.name}")
            if str(folder) in os.readlink(process / "fd/1"):
                found.append(f"shim {process.name}")
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    # Why not glob: it raises when a group goes while it looks.
    for where, groups, _ in os.walk("/sys/fs/cgroup"):
        found += [f"group {where}/{group}" for group in groups if group == f"cc-{folder.name}-{digest}"]
    return found


async def nothing_left(folder: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while traces(folder):
                await asyncio.sleep(0.01)
    assert traces(folder) == []


async def test_calls_of_the_program_arrive_at_its_own_listeners(sandboxes, state):
    sandbox = await sandboxes.launch(
        spec(state, "i-a", SHELL, "-c", "curl -s http://${listener:endpoint}/x; exit 7", listeners=(ENDPOINT,))
    )
    assert (await accepted(sandbox.listeners["endpoint"]))[0] == b"GET /x HTTP/1.1"
    end = await sandbox.exited()
    assert (end.code, end.out_of_memory) == (7, False)
    assert sandbox.console() == b"hello"
    assert sandboxes.ended(sandbox.spec.folder) == end


async def test_connect_reaches_the_program_and_refuses_when_nobody_listens(sandboxes, state):
    port = "18431"
    sandbox = await sandboxes.launch(spec(state, "i-b", "python3", "-c", SERVER, port, volume=state / "v"))
    assert b"from " in await answered(sandbox, int(port))
    with pytest.raises(ConnectionRefusedError):
        await sandbox.connect(18432)
    assert (await sandbox.stop(5)).code == -signal.SIGTERM
    await nothing_left(sandbox.spec.folder)


async def test_an_instance_has_eth0_a_metadata_address_and_a_name(walled, state):
    imds = Listener("imds", "169.254.169.254", 80, side="router")
    script = 'hostname; cat /etc/hosts; curl -s http://169.254.169.254/latest/; exec python3 -c "$0" 80'
    sandbox = await walled.launch(
        spec(
            state,
            "i-c",
            SHELL,
            "-c",
            script,
            SERVER,
            private_ip="172.31.0.5",
            hostname="ip-172-31-0-5",
            hosts={"db.example": "127.0.5.6"},
            listeners=(imds, ENDPOINT),
            volume=state / "v",
            ca_pem=b"MY CA\n",
        )
    )
    assert await accepted(sandbox.listeners["imds"]) == (b"GET /latest/ HTTP/1.1", "172.31.0.5")
    assert b"from 172.31.0.1" in await answered(sandbox, 80)
    written = sandbox.console().decode()
    assert written.startswith("ip-172-31-0-5\n")
    assert "127.0.5.6\tdb.example" in written
    bundle = await printed(sandbox, "tail -1 /etc/ssl/certs/ca-certificates.crt; whoami")
    assert bundle == b"MY CA\nroot\n"
    away = "python3 -c \"import socket; print(socket.socket().connect_ex(('198.51.100.7', 443)))\""
    assert int(await printed(sandbox, away)) == errno.ENETUNREACH
    if walled.mode == "ns-root":  # an ordinary user has one id to give away, and it is root's
        assert await printed(sandbox, "su ec2-user -c 'whoami; touch ~/mine'") == b"ec2-user\n"


async def printed(sandbox, script: str, code: int = 0) -> bytes:
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        assert await sandbox.run([SHELL, "-c", script], fds=(null, write, write), env={}) == code
    finally:
        os.close(write)
        os.close(null)
    with open(read, "rb") as out:
        return out.read()


async def test_a_listener_may_come_later(sandboxes, state):
    sandbox = await sandboxes.launch(spec(state, "i-d"))
    made = await sandbox.listen(Listener("db", "127.0.7.8", 5432))
    address, port = sandbox.address("db")
    answer = asyncio.ensure_future(printed(sandbox, f"curl -s http://{address}:{port}/later"))
    assert (await accepted(made))[0] == b"GET /later HTTP/1.1"
    assert await answer == b"hello"


async def test_a_volume_lasts_and_links_in_it_lead_nowhere(walled, state):
    outside = state / "outside"
    outside.write_text("untouched")
    trap = (
        f"echo kept > /opt/file; rm /etc/hosts; ln -s {outside} /etc/hosts; rm -rf /etc/ssl/certs;"
        f" ln -s {state} /srv/trap; chown 1000 /opt/file || true"
    )
    first = await walled.launch(spec(state, "i-e", SHELL, "-c", trap, volume=state / "v"))
    await first.exited()
    again = spec(state, "i-e", SHELL, "-c", "cat /opt/file; head -1 /etc/hosts", volume=state / "v")
    second = await walled.launch(again)
    await second.exited()
    assert second.console().endswith(b"kept\n127.0.0.1\tlocalhost\n")
    assert outside.read_text() == "untouched"
    trapped = Mount(outside, "/srv/trap/new/file")
    with pytest.raises(SandboxError, match="Not a directory"):
        await walled.launch(spec(state, "i-e", "true", volume=state / "v", mounts=(trapped,)))
    assert not (state / "new").exists()


@pytest.mark.parametrize("trap", ["home", "root", "var", "var/tmp", "etc"])
async def test_a_volume_that_another_instance_wrote_leads_nowhere(walled, state, trap):
    """Its top too: what was another instance's further volume may become a root, by itself or by a snapshot."""
    victim = state / "victim"
    victim.mkdir(mode=0o755)
    (victim / "secret").write_text("SECRET")
    (victim / "file").write_text("kept")
    volume = state / "v"
    (volume / trap).parent.mkdir(parents=True)
    (volume / trap).symlink_to(victim)
    reads = f"cat /{trap}/secret; cat /{trap}/file; echo mine > /{trap}/new; echo done"
    with contextlib.suppress(SandboxError):
        sandbox = await walled.launch(spec(state, "i-t", SHELL, "-c", reads, volume=volume))
        await sandbox.exited()
        assert b"SECRET" not in sandbox.console()
    assert sorted(os.listdir(victim)) == ["file", "secret"]
    assert (victim.stat().st_mode & 0o7777, victim.stat().st_uid) == (0o755, os.geteuid())


async def test_memory_beyond_the_limit_ends_the_program(sandboxes, state):
    if sandboxes.limits_by == "rlimits":
        pytest.skip("no control group may be made here; the limit is per process, see test_rlimits")
    eater = "b=bytearray(400<<20)\nfor i in range(0,len(b),4096): b[i]=1"
    sandbox = await sandboxes.launch(spec(state, "i-f", "python3", "-c", eater, limits=Limits(memory_bytes=128 << 20)))
    end = await sandbox.exited()
    assert (end.code, end.out_of_memory) == (-signal.SIGKILL, True)


async def test_rlimits_stop_a_process_that_wants_too_much(sandboxes, state):
    if sandboxes.limits_by != "rlimits":
        pytest.skip(f"limits are by {sandboxes.limits_by} here")
    sandbox = await sandboxes.launch(
        spec(state, "i-f", "python3", "-c", "b=bytearray(800<<20)", limits=Limits(memory_bytes=128 << 20))
    )
    assert (await sandbox.exited()).code == 1
    assert b"MemoryError" in sandbox.console()


async def test_a_fork_bomb_stops_at_its_limit_and_dies_at_once(walled, state):
    bomb = (
        "import os,time,sys\nn=0\n"
        "while True:\n  try:\n    if os.fork()==0: time.sleep(1000)\n    n+=1\n"
        "  except BlockingIOError: print(n, flush=True); time.sleep(1000)\n"
    )
    sandbox = await walled.launch(spec(state, "i-g", "python3", "-c", bomb, limits=Limits(pids=40)))
    async with asyncio.timeout(20):
        while not sandbox.console():
            await asyncio.sleep(0.01)
    assert 30 <= int(sandbox.console()) < 40
    assert (await sandbox.kill()).code == -signal.SIGKILL
    await nothing_left(sandbox.spec.folder)


async def test_what_left_the_session_dies_too(sandboxes, state):
    script = f"setsid sleep 987 & echo started; exec sleep 986 {state.name} 0"
    script = "setsid sh -c 'trap \"\" TERM; sleep 987; sleep 987' & echo started; exec sleep 986"
    sandbox = await sandboxes.launch(spec(state, "i-h", SHELL, "-c", script))
    async with asyncio.timeout(20):
        while b"started" not in sandbox.console():
            await asyncio.sleep(0.01)
    await sandbox.stop(0.2)
    await nothing_left(sandbox.spec.folder)
    alive = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x00987" in _read(path)]
    assert alive == []


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


async def test_frozen_it_answers_only_after_the_thaw(sandboxes, state):
    port = "18433"
    sandbox = await sandboxes.launch(spec(state, "i-j", "python3", "-c", SERVER, port))
    await answered(sandbox, int(port))
    await sandbox.freeze()
    answer = asyncio.ensure_future(answered(sandbox, int(port)))
    done, _ = await asyncio.wait({answer}, timeout=0.3)
    assert not done
    await sandbox.thaw()
    assert b"from " in await answer
    await sandbox.freeze()
    assert (await sandbox.kill()).code == -signal.SIGKILL


UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)
for text in (b"one", b"two"):
    s.sendto(text, ("203.0.113.7", 53)); print(*s.recvfrom(100), flush=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(("0.0.0.0", 7)); server.settimeout(20)
print("listens", flush=True)
data, peer = server.recvfrom(100); print(data, peer, flush=True); server.sendto(b"back", peer)
"""


async def test_datagrams_say_their_destination_and_come_as_anybody(walled, state):
    if any("nft" in line for line in walled.not_blocked):
        pytest.skip("without nft no datagram leaves a sandbox")
    rules = (Rule("out", "udp", 53, 53, "203.0.113.0/24"), Rule("in", "udp", 7, 7, "0.0.0.0/0"))
    listener = Listener("datagrams", "0.0.0.0", 15002, "router", "datagrams")
    sandbox = await walled.launch(
        spec(
            state, "i-u", "python3", "-c", UDP, private_ip="172.31.0.5", listeners=(listener,), datagram_port=15002,
            outbound_port=15001, rules=rules,
        )
    )  # fmt: skip
    loop, heard = asyncio.get_running_loop(), sandbox.listeners["datagrams"]
    readable = asyncio.Event()
    loop.add_reader(heard.fileno(), readable.set)
    async with asyncio.timeout(30):
        await readable.wait()
        data, further, _, source = heard.recvmsg(100, 100)
        loop.remove_reader(heard.fileno())
        assert (data, source[0]) == (b"one", "172.31.0.5")
        assert further[0][2][2:8] == b"\0\x35" + bytes((203, 0, 113, 7))
        # What answers has the destination's address; what follows comes to it, and no more to the listener.
        with await sandbox.datagrams(("203.0.113.7", 53), source[1]) as flow:
            flow.send(b"first")
            assert await loop.sock_recv(flow, 100) == b"two"
            flow.send(b"second")
        while b"listens" not in sandbox.console():
            await asyncio.sleep(0.01)
        with await sandbox.datagrams(("172.31.0.9", 999), 7) as other:
            other.send(b"hello")
            assert await loop.sock_recv(other, 100) == b"back"
        await sandbox.exited()
    said = sandbox.console().decode()
    assert "b'first' ('203.0.113.7', 53)" in said and "b'second' ('203.0.113.7', 53)" in said
    assert "b'hello' ('172.31.0.9', 999)" in said


async def test_security_groups_filter_both_ways(walled, state):
    other = Listener("other", "169.254.169.254", 8080, side="router")
    sandbox = await walled.launch(
        spec(
            state,
            "i-k",
            "python3",
            "-c",
            SERVER,
            "80",
            private_ip="172.31.0.5",
            listeners=(other,),
            rules=(Rule("in", "tcp", 80, 80, "0.0.0.0/0"), Rule("out", "-1", 0, 65535, "0.0.0.0/0")),
        )
    )
    assert b"from " in await answered(sandbox, 80)
    call = "curl -s -m 1 http://169.254.169.254:8080/"
    answer = asyncio.ensure_future(printed(sandbox, call))
    await accepted(sandbox.listeners["other"])
    assert await answer == b"hello"
    await sandbox.set_rules([])
    with pytest.raises(TimeoutError):
        await sandbox.connect(80, timeout_s=1)
    if not any("nft" in line for line in walled.not_blocked):
        await printed(sandbox, call, code=28)
    await sandbox.set_rules([Rule("in", "tcp", 79, 81, "0.0.0.0/0")])
    assert b"from " in await answered(sandbox, 80)


async def test_a_warm_program_is_forked_with_boto3_loaded(sandboxes, state):
    statement = "import sys, os; print(sorted(os.environ), 'ssl' in sys.modules)"
    sandbox = await sandboxes.launch(
        spec(state, "f-a", "timeit", "-n", "1", "-r", "1", statement, warm=True, env={"X": "1"}, console="pipe")
    )
    end = await sandbox.exited()
    with open(sandbox.output, "rb") as out:
        written = out.read().decode()
    assert end.code == 0, written
    assert "'X'" in written
    assert "True" in written


async def test_a_shell_has_a_terminal(sandboxes, state):
    sandbox = await sandboxes.launch(spec(state, "i-l", env={"FROM": "spec"}))
    ours, theirs = pty.openpty()
    try:
        script = 'test -t 0 && test "$FROM" = spec && exit 5'
        code = await sandbox.run([SHELL, "-c", script], fds=(theirs, theirs, theirs), env={"TERM": "xterm"}, tty=True)
        assert code == 5
    finally:
        os.close(ours)
        os.close(theirs)
    null = os.open(os.devnull, os.O_RDWR)
    assert await sandbox.run(["/no/such"], fds=(null, null, null), env={}) == 127
    os.close(null)


async def test_a_program_that_is_not_there_fails_the_launch(sandboxes, state):
    folder = state / "sandbox" / "i-m"
    with pytest.raises(SandboxError, match="no-such-program"):
        await sandboxes.launch(spec(state, "i-m", "/no-such-program"))
    assert sandboxes.ended(folder).code == 127
    await nothing_left(folder)


async def test_console_on_disk_has_an_end(sandboxes, state):
    sandbox = await sandboxes.launch(spec(state, "i-n", SHELL, "-c", "head -c 30000000 /dev/zero; echo last"))
    await sandbox.exited()
    assert sum(path.stat().st_size for path in sandbox.spec.folder.glob("console.log*")) <= 16 << 20
    assert sandbox.console(5) == b"last\n"


async def test_the_end_of_the_chamber_ends_it(state, sandboxes):
    sandbox = await sandboxes.launch(spec(state, "i-o"))
    await sandboxes.stop()
    assert (await sandbox.exited()).code == -signal.SIGKILL
    await nothing_left(sandbox.spec.folder)
