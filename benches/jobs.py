"""What is raced: for each job, a search for each peer's best way, then rounds of all in turn."""

import statistics
import sys
from dataclasses import dataclass

from benches import check, machine
from benches.networks import DEEP, REFERENCE, WIDE, Network, parameters
from benches.worker import PeerError

_SEARCH_SECONDS = 0.2
_SEARCH_TURNS = 5


@dataclass(frozen=True)
class Effort:
    rounds: int
    seconds: float  # of a slice
    few_rounds: int  # of what takes long
    batch_sizes: tuple[int, ...]  # that are tried where a job leaves the choice


FULL = Effort(9, 0.6, 3, (32, 64, 128, 256))
QUICK = Effort(3, 0.3, 1, (64,))


@dataclass(frozen=True)
class Job:
    key: str
    title: str
    kind: str  # "training" or "inference"
    network: Network
    batch_size: int | None = None  # None: each peer has its own
    peers: tuple[str, ...] = ("ferrocnn", "tensorflow", "pytorch", "jax", "onnxruntime")

    @property
    def multiply_adds(self):
        """Of one image, dense."""
        if self.kind == "training":
            return self.network.training_multiply_adds
        return self.network.inference_multiply_adds


_ALL = (*Job.peers, "numpy_im2col")  # which is so slow that large batches show it well enough
JOBS = (
    Job("training-reference", "Training, reference network", "training", REFERENCE, peers=_ALL),
    Job("training-deep", "Training, deep network", "training", DEEP, peers=_ALL),
    Job("training-wide", "Training, wide network", "training", WIDE, peers=_ALL),
    Job("training-batch-1", "Training, reference network, batch 1", "training", REFERENCE, 1),
    Job("training-batch-8", "Training, reference network, batch 8", "training", REFERENCE, 8),
    Job("inference", "Inference, reference network", "inference", REFERENCE, peers=_ALL),
    Job("inference-batch-1", "Inference, reference network, batch 1", "inference", REFERENCE, 1),
)


@dataclass
class Side:
    """A peer that takes part."""

    module: str
    name: str
    variants: dict[str, tuple[str, ...]]
    worker: object


def race(job, sides, threads, effort):
    """Run a job: for each peer its choice and its images a second of each round."""
    print(f"\n{job.title}", flush=True)
    results, failed = {}, {}
    for side in sides:
        if side.module not in job.peers or not side.variants[job.kind]:
            continue
        try:
            variant, batch_size, errors = choose(job, side, effort)
            side.worker.prepare(
                job.kind, job.key, job.network, parameters(job.network), variant, batch_size
            )
        except PeerError as error:
            print(error, file=sys.stderr)
            failed[side.module] = str(error).strip().splitlines()[-1]
            print(f"  {side.name} is left out: {failed[side.module]}")
            continue
        print(f"  {side.name} takes {variant}, batch {batch_size}", flush=True)
        results[side.module] = {
            "name": side.name,
            "variant": variant,
            "batch_size": batch_size,
            "errors": errors,
            "images_per_second": [],
        }
    takers = [side for side in sides if side.module in results]
    peaks = []
    for _ in range(effort.rounds):
        for side in takers:
            result = results[side.module]
            rate = result["batch_size"] / side.worker.run(job.key, effort.seconds)
            result["images_per_second"].append(rate)
        peaks.append(machine.measure(threads))
    for side in takers:
        side.worker.forget(job.key)
    return {
        "title": job.title,
        "kind": job.kind,
        "multiply_adds": job.multiply_adds,
        "peers": results,
        "failed": failed,
        "machine": peaks,
    }


def choose(job, side, effort):
    """(variant, batch size, errors): the fastest of those that compute the same.

    All variants at one batch size, then the best of them with larger and smaller batches, for as
    long as that helps. Each is compared with the best so far in turns, as the machine drifts.
    """
    sizes = (job.batch_size,) if job.batch_size else effort.batch_sizes
    first = 64 if 64 in sizes else sizes[0]
    errors, best = {}, None
    for variant in side.variants[job.kind]:
        errors[variant] = value, gradient = check.errors(
            side.worker, job.kind, job.network, variant
        )
        if value > check.TOLERANCE or gradient > check.GRADIENT_TOLERANCE:
            print(f"  {side.name}, {variant}: off by {value:.1e} and {gradient:.1e}, not timed")
        elif best is None or _is_faster(job, side, (variant, first), best):
            best = variant, first
    if best is None:
        raise PeerError("does not compute the same")
    larger = [size for size in sizes if size > first]
    smaller = [size for size in reversed(sizes) if size < first]
    for direction in (larger, smaller):
        for size in direction:
            if not _is_faster(job, side, (best[0], size), best):
                break
            best = best[0], size
    return *best, errors[best[0]]


def _is_faster(job, side, one, other):
    """Whether one (variant, batch size) takes more images a second than another, in most turns."""
    weights = parameters(job.network)
    contest = {"one": one, "other": other}
    for key, (variant, batch_size) in contest.items():
        side.worker.prepare(job.kind, key, job.network, weights, variant, batch_size)
    # Untimed: PyTorch compiles anew what it had compiled before the other was prepared.
    for key in (*contest, *contest):
        side.worker.run(key, _SEARCH_SECONDS)
    ratios, rates = [], {}
    for turn in range(_SEARCH_TURNS):
        for key in contest if turn % 2 else reversed(contest):
            rates[key] = contest[key][1] / side.worker.run(key, _SEARCH_SECONDS)
        ratios.append(rates["one"] / rates["other"])
    for key in contest:
        side.worker.forget(key)
    ratio = statistics.median(ratios)
    one, other = (f"{variant}, batch {batch_size}" for variant, batch_size in contest.values())
    print(f"  {side.name}: {one}: {ratio:.2f} times as fast as {other}", flush=True)
    return ratio > 1
