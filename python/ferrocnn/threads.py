"""How many processor threads the kernels use. Results do not depend on it."""

from ferrocnn import _kernels
from ferrocnn.checks import check_positive_int


def set_num_threads(count: int) -> None:
    """Run all later kernels on `count` threads.

    The number at the start is that of the environment variable FERROCNN_NUM_THREADS, or of the
    processors that the affinity mask and the container's quota leave to this process.
    """
    count = check_positive_int("count", count)
    if count > _kernels.MOST_THREADS:
        raise ValueError(f"count: expected at most {_kernels.MOST_THREADS}, got {count}")
    _kernels.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that kernels run on."""
    return _kernels.get_num_threads()
