"""What processes used, their children counted: CPU seconds and proportional memory."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

from tests.stack import Stack

Processes = Iterable[subprocess.Popen[bytes]]


def named(stack: Stack, *prefixes: str) -> list[subprocess.Popen[bytes]]:
    """The processes of a stack whose names begin with one of these."""
    return [process for name, process in stack.processes.items() if name.startswith(prefixes)]


def cpu_s(processes: Processes) -> float:
    """CPU seconds of processes that still run, with those of their children, ended ones included."""
    spent = 0.0
    for member in _members(processes):
        with_gone = member.cpu_times()
        spent += with_gone.user + with_gone.system + with_gone.children_user + with_gone.children_system
    return spent


def pss_mib(processes: Processes) -> float:
    """Memory in MiB; pages shared by several processes are counted once."""
    return sum(_pss(member) for member in _members(processes)) / 2**20


def forget_peak(process: subprocess.Popen[bytes]) -> None:
    """Let the peak of the resident memory count from now on."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    """The most resident memory that a process ever had."""
    return _status_mib(process, "VmHWM")


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """The resident memory that a process has now."""
    return _status_mib(process, "VmRSS")


def _status_mib(process: subprocess.Popen[bytes], field: str) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def _members(processes: Processes) -> list[psutil.Process]:
    roots = [psutil.Process(process.pid) for process in processes]
    return [member for root in roots for member in (root, *root.children(recursive=True))]


def _pss(member: psutil.Process) -> int:
    try:
        return int(member.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
