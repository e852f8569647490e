"""The machine under the run: what it is, and what it can do at this moment."""

import json
import os
import subprocess
import time
from pathlib import Path

# Built by `make bench` from rust/kernels/examples/machine.rs.
_PROGRAM = Path("target/release/examples/machine")


def pin(threads):
    """Keep this process and its children on `threads` processors, each a core of its own."""
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.exists() else cpu, cpu)
    if len(cores) < threads:
        raise SystemExit(f"--threads: expected at most {len(cores)}, the cores here, got {threads}")
    os.sched_setaffinity(0, list(cores.values())[:threads])


def describe():
    """Model, family, cores and memory as /proc names them."""
    processor = dict(
        (part.strip() for part in line.split(":", 1))
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    )
    kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": processor["model name"],
        "family": processor["cpu family"],
        "model": processor["model"],
        "processors": os.cpu_count(),
        "memory_gb": round(kilobytes / 1e6, 1),
    }


# Threads of NumPy's OpenBLAS and of OpenMP spin for a while after their last work.
_SETTLE_SECONDS = 1.0


def measure(threads):
    """float32 GFLOP/s and GB/s, in a quarter of a second, once idle threads have gone to sleep."""
    time.sleep(_SETTLE_SECONDS)
    # Whatever instruction set the kernels are told to use, the machine has its best.
    environment = {name: v for name, v in os.environ.items() if name != "FERROCNN_ISA"}
    command = [_PROGRAM, str(threads)]
    return json.loads(subprocess.check_output(command, env=environment))
