"""The cores that a process may use, and threads that leave a core while they wait.

Threads of one computation wait for each other at each of its steps. By default they do so in a loop that keeps the core
busy. Where other work needs it, the thread they wait for makes no progress: beside other jobs on two cores, a training
step of two threads took 20 times as long as with threads that sleep.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container


def count_cores() -> int:
    """Cores that affinity, a container's quota and ``LOKY_MAX_CPU_COUNT`` leave to this process."""
    from joblib import cpu_count  # takes as long to import as a command may take to start

    return cpu_count()


def share_cores() -> None:
    """Let torch's threads sleep while they wait, and be no more than the quota of a container.

    It sets ``OMP_WAIT_POLICY`` and, under a quota, ``OMP_NUM_THREADS``, where they are not set; torch reads both when
    it is imported. It respects affinity by itself.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if QUOTA.exists() and (cores := count_cores()) < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def make_session_options(severity: int = 4) -> onnxruntime.SessionOptions:
    """Options of a session of ONNX Runtime whose threads sleep while they wait, and that logs from this severity on; 4
    is what is raised too."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = severity
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
