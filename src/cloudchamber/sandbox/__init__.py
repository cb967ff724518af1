# SPDX-License-Identifier: Apache-2.0
"""Processes behind walls: EC2 instances and Lambda environments.

    sandboxes = open_sandboxes(state / "sandbox")            # from cloudchamber.sandbox.spawner
    await sandboxes.start()                                  # before any secret is in this process; finds the mode
    folder = state / "sandbox" / "i-0123456789abcdef0"
    sandbox = await sandboxes.launch(SandboxSpec(
        id=folder.name, folder=folder, volume=folder / "volume", detached=True,
        program=("/bin/bash", "-c", "/var/lib/cloud/user-data; exec sleep infinity"),
        env={"AWS_ENDPOINT_URL": "http://${listener:endpoint}"},   # becomes address:port
        hostname="ip-172-31-0-5", private_ip="172.31.0.5", hosts={"db.example": "127.0.5.6"},
        listeners=(Listener("imds", "169.254.169.254", 80, side="router"), Listener("endpoint", "127.0.0.1", 4566)),
        limits=Limits(memory_bytes=1 << 30, vcpus=2), ca_pem=ca))
    server = await asyncio.start_server(serve, sock=sandbox.listeners["endpoint"])   # the socket says who calls
    app = await sandbox.connect(80)                          # OSError until the program listens on its eth0
    database = await sandbox.listen(Listener("db", "127.0.5.6", 5432))               # later ones
    code = await sandbox.run(["/bin/bash"], fds=(pty, pty, pty), env={"PATH": "/usr/bin:/bin"}, tty=True)
    end = await sandbox.stop(grace_s=5)                      # Exit(code, out_of_memory, detail); listeners are closed
    again = await sandboxes.attach(folder) or sandboxes.ended(folder)                # after a restart of the chamber

The sandbox ends when its program ends. Nobody follows links on your behalf in a volume: hand files in by `mounts`.
A function: no volume, no private_ip, `warm=True, program=("a.module.with.main",)`, `console="pipe"` (then read
`sandbox.output`), `freeze()` and `thaw()` between invocations, `mounts=(Mount(code, "/var/task"),)`.
"""
