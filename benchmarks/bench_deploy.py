"""Do the same 20 steps on the same sshd by Tenfold's host port, ansible-core and pyinfra. Edge."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hosts.sshd import Keyring, Sshd, hosts

from benchmarks.report import alternate, heading, spread

STEPS = 20
ROUNDS = 3
BIN = Path(sys.executable).parent
# What a deploy does on a host: looks, directories, links, small files; a shell is started for each by all three.
COMMANDS = [
    command
    for number in range(STEPS // 4)
    for command in (
        f"test -d {{path}}/releases/{number} || mkdir -p {{path}}/releases/{number}",
        f"echo {number} > {{path}}/releases/{number}/marker",
        f"ln -sfn releases/{number} {{path}}/current",
        "df -Pk {path} | tail -1",
    )
]

# pyinfra lives in its own process: it patches the standard library when it is imported.
PYINFRA = """
import gevent.monkey; gevent.monkey.patch_all()
import sys
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.operations import server
address, port, user, key, known, *commands = sys.argv[1:]
inventory = Inventory(([(address, {"ssh_port": int(port), "ssh_user": user, "ssh_key": key,
    "ssh_known_hosts_file": known, "ssh_strict_host_key_checking": "yes"})], {}))
state = State(inventory=inventory, config=Config())
connect_all(state)
for command in commands:
    add_op(state, server.shell, commands=[command])
run_ops(state)
assert not state.failed_hosts, state.failed_hosts
"""
TENFOLD = """
import asyncio, sys
from pathlib import Path
from tenfold.hosts.dial import Login
from tenfold.hosts.ssh import SshHost
address, port, user, key, known, *commands = sys.argv[1:]
async def steps():
    host = SshHost("web_1", Login(address, user, int(port), Path(key), Path(known)))
    for command in commands:
        ran = await host.run(["sh", "-c", command])
        assert ran.code == 0, ran
    await host.close()
asyncio.run(steps())
"""


def main() -> None:
    """Print wall times of whole processes, start to end: what a person waits for."""
    with tempfile.TemporaryDirectory(prefix="tenfold-") as root, hosts(Path(root), 1) as (keyring, (machine,)):
        sides = _sides(Path(root), keyring, machine)
        figures = alternate(ROUNDS, sides)
        heading(f"How long do the same {STEPS} steps take on the same sshd?")
        print("whole process, start of the interpreter included; one host, steps one after the other\n")
        ours = statistics.median(figures["Tenfold"])
        for name, values in figures.items():
            print(f"{name:<28} {spread(values, 's', 2):<28} {statistics.median(values) / ours:5.1f} × Tenfold")


def _sides(root: Path, keyring: Keyring, machine: Sshd) -> dict[str, Callable[[], float]]:
    commands = [command.format(path=machine.path) for command in COMMANDS]
    given = [machine.address, str(machine.port), machine.user, str(keyring.key), str(keyring.known_hosts)]
    tasks = "".join(f"    - ansible.builtin.shell: {_yaml(command)}\n" for command in commands)
    (root / "play.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
    (root / "inventory").write_text(
        f"web_1 ansible_host={machine.address} ansible_port={machine.port} ansible_user={machine.user} "
        f"ansible_ssh_private_key_file={keyring.key} ansible_python_interpreter=/usr/bin/python3\n"
    )
    ssh = f"-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={keyring.known_hosts}"

    def ansible(pipelining: bool) -> Callable[[], float]:
        more = {
            "ANSIBLE_PIPELINING": str(pipelining), "ANSIBLE_SSH_ARGS": ssh, "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_LOCAL_TEMP": str(root / "ansible"), "ANSIBLE_HOME": str(root / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(root / "cp"), "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        return lambda: _timed([str(BIN / "ansible-playbook"), "-i", "inventory", "play.yml"], root, more)

    return {
        "Tenfold": lambda: _timed([sys.executable, "-c", TENFOLD, *given, *commands], Path.cwd(), {}),
        "pyinfra": lambda: _timed([sys.executable, "-W", "ignore", "-c", PYINFRA, *given, *commands], root, {}),
        "ansible-core, pipelining": ansible(True),
        "ansible-core": ansible(False),
    }


def _yaml(command: str) -> str:
    return "'" + command.replace("'", "''") + "'"


def _timed(argv: list[str], directory: Path, more: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=directory, env={**os.environ, **more}, capture_output=True, text=True)
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return took


if __name__ == "__main__":
    main()
