"""The results as Markdown tables, as printed and as written. Pure functions of the results."""

from statistics import median

from benches.networks import NETWORKS
from benches.targets import dense_limits, targets


def report(results):
    """The whole page."""
    parts = [
        "# Benchmarks",
        machine_line(results),
        _intro(results),
        "## Targets",
        target_table(targets(results)),
    ]
    for job in results["jobs"].values():
        parts += [f"## {job['title']}", job_table(job)]
    parts += ["## Layers of ferrocnn", _LAYERS, layer_table(results["layers"])]
    parts += ["## Augmentation", _AUGMENTATION, augmentation_table(results["augmentation"])]
    parts += ["## A folder of photographs to a trained model", _FOLDER, folder_table(results)]
    parts += ["## Memory", _MEMORY, memory_table(results)]
    parts += ["## Scaling", scaling_table(results["scaling"])]
    return "\n\n".join(part for part in parts if part) + "\n"


_LAYERS = (
    "Batch 64. Share of the machine's multiply-add peak, where each layer counts with the "
    "multiply-adds of its dense computation; a kernel that skips products can exceed 100 %."
)
_AUGMENTATION = (
    "Training steps of ferrocnn at batch 64, as `train` takes them, in turns. *Flip and shift*: up "
    "to 6 pixels. *Crop and colours*: flip, random crops of half the area and more out of 96x96 "
    "images, resized to 64x64, then brightness, contrast and saturation. The deep network is that "
    "of the recipe `fast`."
)
_FOLDER = (
    "20,000 JPEG files of 96x96, decoded to 64x64, then five epochs of the reference network at "
    "batch 64 with plain gradient descent. The files are in the system's cache for all. Seconds."
)
_MEMORY = (
    "The most that a fresh process holds while it trains the reference network for an epoch on "
    "20,000 images, which are 246 MB themselves."
)


def machine_line(results):
    about = results["machine"]
    peaks = [peak for job in results["jobs"].values() for peak in job["machine"]]

    def middle(key):
        return median(peak[key] for peak in peaks)

    spread = sorted(peak["fma_gflops"] for peak in peaks)
    return (
        f"{about['processor']} (family {about['family']}, model {about['model']}), "
        f"{results['threads']} of {about['processors']} processors, {peaks[0]['isa']}, "
        f"{about['memory_gb']:.0f} GB. Measured between the runs: float32 multiply-adds "
        f"{middle('fma_gflops'):.0f} GFLOP/s ({spread[0]:.0f}-{spread[-1]:.0f}), of one thread "
        f"{middle('fma_gflops_one_thread'):.0f}; memory {middle('read_gb_s'):.0f} GB/s read, "
        f"{middle('triad_gb_s'):.0f} GB/s triad; shared cache "
        f"{middle('shared_cache_read_gb_s'):.0f} GB/s."
    )


def _intro(results):
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{results['date']}. {versions}.",
        "Medians of rounds in which all peers take turns, with the smallest and the largest. All "
        "are given the same uint8 images and the same weights, and compute the same loss, "
        "gradients and probabilities as float64 NumPy; each runs with the layout, compiler and "
        "batch size that a search found best for it.",
    ]
    lines.append(
        "Networks, on 64x64x3 images: blocks of convolution 3x3 same -> max pool 2x2 -> [batch "
        "norm] -> ReLU, then dense layers, one logit. "
        + " ".join(
            f"*{network.name.capitalize()}*: {', '.join(map(str, network.filters))} filters, "
            f"{'batch norm' if network.batch_norm else 'no batch norm'}, dense "
            f"{', '.join(map(str, network.dense))}; {network.training_multiply_adds / 1e6:.1f} "
            "million multiply-adds an image of training."
            for network in NETWORKS
        )
    )
    lines.append(
        "*Dense limit*: the images a second of a computation that does all these multiply-adds at "
        "the peak of the machine, as measured in the same round. ferrocnn leaves many of them out."
    )
    busiest = max(results["idle_share"].values())
    lines.append(f"A waiting peer used at most {100 * busiest:.0f} % of a processor.")
    if results["skipped"]:
        lines.append(f"Left out: {', '.join(results['skipped'])}.")
    return "\n\n".join(lines)


def table(header, rows):
    """A Markdown table whose columns line up as plain text; all but the first to the right."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells):
        first, *others = zip(map(str, cells), widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def target_table(found):
    rows = []
    for target in found:
        digits = 0 if target.unit == "MB" else 2
        low, high = min(target.ratios), max(target.ratios)
        bound = f"{'at least' if target.at_least else 'at most'} {target.bound:g} {target.unit}"
        rows.append(
            (
                target.title,
                f"{target.median:.{digits}f} {target.unit}",
                f"{low:.{digits}f}-{high:.{digits}f}",
                bound,
                "met" if target.met else "not met",
            )
        )
    return table(("what", "measured", "spread", "target", ""), rows)


def job_table(job):
    limits = dense_limits(job)
    own = median(job["peers"]["ferrocnn"]["images_per_second"])
    rows = []
    for peer in sorted(job["peers"].values(), key=lambda p: -median(p["images_per_second"])):
        rates = peer["images_per_second"]
        rate = median(rates)
        share = median(a / b for a, b in zip(rates, limits, strict=True))
        rows.append(
            (
                peer["name"],
                peer["variant"],
                peer["batch_size"],
                f"{rate:,.0f}",
                f"{min(rates):,.0f}-{max(rates):,.0f}",
                f"{1e3 * peer['batch_size'] / rate:.3f}",
                f"{100 * share:.0f} %",
                f"{own / rate:.2f} x",
            )
        )
    header = ("", "how", "batch", "images/s", "spread", "ms a batch", "of dense limit", "ferrocnn")
    text = table(header, rows)
    if job["failed"]:
        reasons = [f"- {module} is left out: {why}" for module, why in job["failed"].items()]
        text += "\n\n" + "\n".join(reasons)
    return text


def layer_table(layers):
    peak = median(p["fma_gflops"] for p in layers["machine"])
    rows = []
    for network in NETWORKS:
        rounds = layers["networks"][network.name]
        counts = network.layer_multiply_adds()
        for name in rounds[0]:
            cells = [network.name, name]
            for direction, factor in ((0, 1), (1, 1 if name == "conv1" else 2)):
                seconds = median(times[name][direction] for times in rounds)
                cells.append(f"{1e6 * seconds:.1f}")
                if name in counts:
                    share = 2 * factor * counts[name] / seconds / 1e9 / peak
                    cells.append(f"{100 * share:.0f} %")
                else:  # a batch norm
                    cells.append("")
            rows.append(cells)
    header = ("network", "layer", "forward, us an image", "of peak")
    return table((*header, "backward, us an image", "of peak"), rows)


def augmentation_table(steps):
    rows = []
    for network, times in steps.items():
        for name, seconds in times.items():
            ratio = median(a / b for a, b in zip(seconds, times["none"], strict=True))
            rows.append((network, name, f"{1e3 * median(seconds):.2f}", f"{ratio:.2f} x"))
    return table(("network", "augmentation", "ms a step", "against none"), rows)


def folder_table(results):
    if not results["folder"]:
        return "Not measured: no folder of photographs was given."
    names = results["names"]
    rows = [
        (
            names[module],
            f"{median(decode for decode, _ in runs):.1f}",
            f"{median(train for _, train in runs):.1f}",
            f"{median(map(sum, runs)):.1f}",
            f"{min(map(sum, runs)):.1f}-{max(map(sum, runs)):.1f}",
        )
        for module, runs in results["folder"].items()
    ]
    return table(("", "decode", "train", "together", "spread"), rows)


def memory_table(results):
    names = results["names"]
    rows = [(names[module], f"{size:,.0f} MB") for module, size in results["memory"].items()]
    return table(("", "peak memory"), rows)


def scaling_table(scaling):
    few, many = (1e6 * median(times) for times in scaling["seconds_per_image"].values())
    one = median(scaling["images_per_second_one_thread"])
    several = median(scaling["images_per_second"])
    rows = [
        ("training, one thread", f"{one:,.0f} images/s"),
        (f"training, {scaling['threads']} threads", f"{several:,.0f} images/s"),
        ("an epoch of 2,000 images", f"{few:.1f} us an image"),
        ("an epoch of 20,000 images", f"{many:.1f} us an image"),
    ]
    return table(("reference network, batch 64", "ferrocnn"), rows)
