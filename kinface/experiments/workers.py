"""Runs in parallel, each in a process of its own and on a device or core of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from itertools import cycle, islice
from queue import SimpleQueue
from threading import Thread

import torch

from kinface.experiments.runner import LOG, Job
from swinface.files import InputError, working_alone

STOPPED = 143  # exit status of a command that was told to end


def find_devices() -> list[str]:
    """CUDA devices, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def assign_devices(workers: int | None, devices: Sequence[str], cores: int) -> list[str | None]:
    """The device of each worker, or None for a core.

    By default there are as many workers as devices, or cores where there are none. More than there are devices share
    them.

    >>> assign_devices(None, ["0", "1"], cores=8)
    ['0', '1']
    >>> assign_devices(3, ["0", "1"], cores=8)
    ['0', '1', '0']
    >>> assign_devices(None, [], cores=2)
    [None, None]
    """
    return list(islice(cycle(devices or [None]), workers or len(devices) or cores))


def carry_out_all(jobs: Sequence[Job], devices: Sequence[str | None], tell: Callable[[Job, str | None], None]) -> None:
    """Carry out jobs, as many at a time as there are devices. When stopped, end the processes that are running.

    Other processes, also of other machines, may carry out the same jobs: a job that one of them has is left to it.
    ``devices`` are as of ``assign_devices``; ``tell`` is called when a job has ended, with what went wrong, or None.
    """
    waiting, free, running, ended = [*reversed(jobs)], [*devices], {}, SimpleQueue()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # so that a scheduler stops the processes too
    try:
        while waiting or running:
            while waiting and free:
                job, taken = waiting.pop(), ExitStack()
                if not taken.enter_context(job.take()):
                    taken.close()
                    continue
                device = free.pop(0)
                process = _start(job, device)
                running[process] = job, device, taken
                Thread(target=lambda it: ended.put((it, _explain(it))), args=[process], daemon=True).start()
            if running:
                process, problem = ended.get()
                job, device, taken = running.pop(process)
                taken.close()
                free.append(device)
                tell(job, problem)
    finally:
        for process, (job, _, taken) in running.items():
            _stop(process, job)
            taken.close()
        signal.signal(signal.SIGTERM, before)


def _start(job: Job, device: str | None) -> subprocess.Popen[str]:
    """Start a process that ends when its standard input is closed, so that it ends with this one in any case."""
    job.write()
    arguments = [str(job.folder), str(job.out), json.dumps(asdict(job.protocol)), *map(str, job.run.files)]
    command = [sys.executable, "-m", "kinface.experiments.runner", *arguments]
    pinned = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    with (job.folder / LOG).open("a") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **pinned},
            start_new_session=True,  # Ctrl-C in a terminal is for the parent alone
        )


def _stop(process: subprocess.Popen[str], job: Job) -> None:
    """Kill a process and the processes it started, and remove its partial files.

    A run can be killed at any time. An exception raised in it could be swallowed by code that catches everything.
    """
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with suppress(InputError), working_alone(job.folder):
        pass


def _explain(process: subprocess.Popen[str]) -> str | None:
    """Wait for the end of a process, and return what went wrong."""
    with process:
        said = process.stdout.read()
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"ended by {name}" + (", as where memory runs out" if name == "SIGKILL" else "")
    return (said or f"exit status {process.returncode}") if process.returncode else None
