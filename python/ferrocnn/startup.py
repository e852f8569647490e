"""Loads the kernels before all else: a wrong environment variable is one line for a command."""

import sys
from pathlib import Path


def _is_command() -> bool:
    # While `python -m ferrocnn` looks for the module, its own name is "-m".
    return Path(sys.argv[0]).stem == "ferrocnn" or (
        sys.argv[0] == "-m" and "ferrocnn" in sys.orig_argv
    )


try:
    import ferrocnn._kernels  # noqa: F401 - its start reads FERROCNN_NUM_THREADS and FERROCNN_ISA
except ValueError as error:
    if not (sys.argv and _is_command()):
        raise
    sys.exit(f"ferrocnn: error: {error}")
