"""Stands in for ``nvidia-cuda-mps-control`` where there is no GPU.

Options, commands, answers, exit statuses and log lines are those of driver 580.159 as
``benchmarks/gpu/mps_faults.py`` saw them (``docs/results/mps-faults.md``); what the commands mean
is in NVIDIA's MPS documentation, "Legacy MPS v2 Interface". Clients cannot connect by themselves:
a test says ``fake connect SERVER PID DEVICE NAMESPACE`` and the like on standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PIPES = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
LOGS = Path(os.environ["CUDA_MPS_LOG_DIRECTORY"])
STATE = PIPES / "fake.json"
PROCESS = PIPES / "nvidia-cuda-mps-control.pid"
HEADER = f"{'PID':10}{'ID':10}{'SERVER':15}{'DEVICE':26}{'NAMESPACE':15}{'COMMAND':15}"

State = dict[str, Any]


def alive(process: int) -> bool:
    """Whether a process runs."""
    return Path(f"/proc/{process}/stat").exists() and "Z" not in stat_of(process)


def stat_of(process: int) -> str:
    """Return the state letter of a process."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        )
    return "Z"


def running() -> bool:
    """Whether a daemon serves these folders."""
    with contextlib.suppress(OSError, ValueError):
        return alive(int(PROCESS.read_text(encoding="ascii")))
    return False


def start() -> int:
    """Start a daemon that does nothing but live."""
    if running():
        print("An instance of this daemon is already running")
        return 1
    quiet = subprocess.DEVNULL
    sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
    streams = {"stdin": quiet, "stdout": quiet, "stderr": quiet}
    daemon = subprocess.Popen(sleeper, **streams, start_new_session=True)
    daemon.returncode = 0  # it outlives us: nobody is to be warned of that
    PROCESS.write_text(f"{daemon.pid}\n", encoding="ascii")
    leads = os.getsid(0) == os.getpid()
    save({"servers": {}, "percentage": 100.0, "options": sys.argv[1:], "leads": leads})
    return 0


def save(state: State) -> None:
    """Write the state whole."""
    fresh = STATE.with_suffix(".new")
    fresh.write_text(json.dumps(state), encoding="utf-8")
    fresh.rename(STATE)


def log(server: str, *lines: str) -> None:
    """Append to the servers' log."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    with (LOGS / "server.log").open("a", encoding="utf-8") as file:
        for line in lines:
            file.write(f"[{now}.000 Server {server:>5}] {line}\n")


def fake(state: State, words: list[str]) -> None:
    """Let clients and faults happen."""
    what, server, *rest = words
    clients = state["servers"].setdefault(server, {"status": "ACTIVE", "clients": []})["clients"]
    if what == "connect":
        pid, device, namespace = rest
        clients.append([pid, device, namespace])
        log(server, f"Status of client {{PID: {pid}, Context ID: 1}} is ACTIVE")
    elif what == "leave":
        clients[:] = [client for client in clients if client[0] != rest[0]]
        log(server, f"Client process {rest[0]} disconnected")
        if not clients:
            state["servers"][server]["status"] = "ACTIVE"
    elif what == "fault":
        state["servers"][server]["status"] = "FAULT"
        if rest != ["silent"]:
            broken = [client[0] for client in clients if not rest or client[1] == rest[0]]
            log(server, "Server is handling a fatal GPU error.")
            log(server, "The following devices will be reset:", "0")
            log(server, "The following client process have a sticky error set:", *broken)
    elif what == "percentage":
        state["percentage"] = float(server)
        del state["servers"][server]


def ps(state: State) -> str:
    """Return the table of clients."""
    rows = [
        f"{pid:10}{index:<10}{server:15}{device:26}{namespace:15}/usr/bin/python3"
        for server, about in state["servers"].items()
        for index, (pid, device, namespace) in enumerate(about["clients"], 1)
    ]
    return "\n".join([HEADER, *rows]) if state["servers"] else "Server not found"


def terminate(state: State, server: str, pid: str) -> str:
    """Take a client off the GPU; the answer is CUDA's error code."""
    clients = state["servers"].get(server, {"clients": []})["clients"]
    if not any(client[0] == pid for client in clients):
        return "CUDA_ERROR_INVALID_VALUE"
    fake(state, ["leave", server, pid])
    return "0"


def obey(state: State, words: list[str]) -> str:
    """Return the answer to a command."""
    servers = state["servers"]
    match words:
        case ["get_server_list"]:
            return "\n".join(servers)
        case ["get_server_status", server]:
            return (
                str(servers[server]["status"])
                if server in servers
                else (f"Server {server} not found")
            )
        case ["get_client_list", server]:
            return "\n".join(client[0] for client in servers[server]["clients"])
        case ["get_default_active_thread_percentage"]:
            return str(state["percentage"])
        case ["ps"]:
            return ps(state)
        case ["terminate_client", server, pid]:
            return terminate(state, server, pid)
        case ["quit", *_]:
            os.kill(int(PROCESS.read_text(encoding="ascii")), signal.SIGKILL)
            PROCESS.unlink()
            return ""
        case ["fake", *rest]:
            fake(state, rest)
            return ""
    return f'Unknown command "{words[0]}"'


def main() -> int:
    """Start a daemon with -d, else obey the commands on standard input."""
    if "-d" in sys.argv:
        return start()
    if not running():
        print("Cannot find MPS control daemon process")
        return 1
    state: State = json.loads(STATE.read_text(encoding="utf-8"))
    for line in sys.stdin:
        if line.split():
            answer = obey(state, line.split())
            if answer:
                print(answer)
            save(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
