"""What ferrocnn sets out to reach, as ratios within one run. Pure functions of the results."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Target:
    """The ratio of each round; the median is judged."""

    title: str
    ratios: list[float]
    bound: float
    at_least: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    @property
    def median(self) -> float:
        return median(self.ratios)


def dense_limit(gflops, multiply_adds):
    """Images a second of a dense computation at the peak: two operations a multiply-add."""
    return gflops * 1e9 / 2 / multiply_adds


def dense_limits(job):
    """The limit in each round of a job."""
    return [dense_limit(peak["fma_gflops"], job["multiply_adds"]) for peak in job["machine"]]


def fastest_peer(job):
    """The module of the fastest other than ferrocnn, or None."""
    others = [module for module in job["peers"] if module != "ferrocnn"]
    return max(
        others, key=lambda module: median(job["peers"][module]["images_per_second"]), default=None
    )


def targets(results):
    """All targets that these results can judge."""
    jobs = results["jobs"]
    found = []

    def add(title, numerators, denominators, bound, **options):
        ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
        found.append(Target(title, ratios, bound, **options))

    def rates(key, module="ferrocnn"):
        return jobs[key]["peers"][module]["images_per_second"]

    for name in ("reference", "deep", "wide"):
        key = f"training-{name}"
        add(f"training, {name}, of the dense limit", rates(key), dense_limits(jobs[key]), 1.75)
    for size in (1, 8):
        key = f"training-batch-{size}"
        peer = fastest_peer(jobs[key])
        if peer:
            title = f"training step, batch {size}, against {jobs[key]['peers'][peer]['name']}"
            add(title, rates(key), rates(key, peer), 3)
    if "onnxruntime" in jobs["inference"]["peers"]:
        title = "inference, against ONNX Runtime"
        add(title, rates("inference"), rates("inference", "onnxruntime"), 1.6)
    if "onnxruntime" in jobs["inference-batch-1"]["peers"]:
        theirs, own = rates("inference-batch-1", "onnxruntime"), rates("inference-batch-1")
        title = "inference, batch 1, time against ONNX Runtime"
        add(title, theirs, own, 0.6, at_least=False)

    folder = {module: [sum(run) for run in runs] for module, runs in results["folder"].items()}
    others = {module: times for module, times in folder.items() if module != "ferrocnn"}
    if "ferrocnn" in folder and others:
        peer = min(others, key=lambda module: median(others[module]))
        name = jobs["training-reference"]["peers"][peer]["name"]
        add(f"folder to a trained model, against {name}", others[peer], folder["ferrocnn"], 3)

    scaling = results["scaling"]
    title = f"training on {scaling['threads']} threads, against one"
    both = scaling["images_per_second"], scaling["images_per_second_one_thread"]
    add(title, *both, 1.85)
    few, many = scaling["seconds_per_image"].values()
    add("time an image, 20,000 images against 2,000", many, few, 1.1, at_least=False)
    for network, times in results["augmentation"].items():
        for name in ("flip and shift", "crop and colours"):
            title = f"training step, {network}, with {name}, against none"
            add(title, times[name], times["none"], 1.1, at_least=False)
    if "ferrocnn" in results["memory"]:
        title = "memory, training on 20,000 images"
        found.append(Target(title, [results["memory"]["ferrocnn"]], 600, False, "MB"))
    return found
