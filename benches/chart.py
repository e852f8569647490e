"""Bar charts of the results.

python -m benches.chart docs      draws again from docs/benchmarks.json
"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from benches.targets import dense_limits

# Okabe and Ito's colours, which those who see fewer colours can tell apart as well.
_COLORS = {
    "ferrocnn": "#D55E00",
    "tensorflow": "#56B4E9",
    "pytorch": "#0072B2",
    "jax": "#009E73",
    "onnxruntime": "#CC79A7",
    "numpy_im2col": "#999999",
}


def draw(results, out):
    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    training = ("training-reference", "training-deep", "training-wide")
    _rates(results, training, out / "benchmarks-training.png")
    small = ("training-batch-1", "training-batch-8", "inference", "inference-batch-1")
    _rates(results, small, out / "benchmarks-small.png")
    _costs(results, out / "benchmarks-costs.png")


def _rates(results, keys, path):
    figure, axes = _panels([len(results["jobs"][key]["peers"]) for key in keys])
    for axis, key in zip(axes, keys, strict=True):
        job = results["jobs"][key]
        rates = {module: peer["images_per_second"] for module, peer in job["peers"].items()}
        _bars(axis, results, rates, "{:,.0f}")
        axis.set_title(job["title"], loc="left", fontweight="bold")
        axis.set_xlabel("images a second")
        if key in ("training-reference", "training-deep", "training-wide", "inference"):
            limit = median(dense_limits(job))
            axis.axvline(limit, color="black", linewidth=1, linestyle="--")
            # At the slowest, where bars are short.
            axis.text(limit, len(rates) - 1, "dense limit ", ha="right", va="center", fontsize=8)
    _save(figure, results, path)


def _costs(results, path):
    panels = [("Peak memory, training on 20,000 images", "MB", results["memory"])]
    if results["folder"]:
        seconds = {module: list(map(sum, runs)) for module, runs in results["folder"].items()}
        panels.insert(0, ("20,000 JPEG files to five trained epochs", "seconds", seconds))
    figure, axes = _panels([len(values) for _, _, values in panels])
    for axis, (title, unit, values) in zip(axes, panels, strict=True):
        values = {m: v if isinstance(v, list) else [v] for m, v in values.items()}
        _bars(axis, results, values, "{:,.1f}" if unit == "seconds" else "{:,.0f}", ascending=True)
        axis.set_title(title, loc="left", fontweight="bold")
        axis.set_xlabel(f"{unit} (less is better)")
    _save(figure, results, path)


def _panels(bars):
    """A figure with a panel for each number of bars, all bars of one thickness."""
    heights = [count + 2.5 for count in bars]
    figure, axes = pyplot.subplots(
        len(bars),
        1,
        figsize=(7, 0.28 * sum(heights)),
        height_ratios=bars,
        layout="constrained",
        squeeze=False,
    )
    return figure, axes[:, 0]


def _bars(axis, results, values, form, ascending=False):
    """One horizontal bar a peer, best on top: the median, with a line from least to most."""
    middles = {module: median(series) for module, series in values.items()}
    order = sorted(middles, key=middles.get, reverse=not ascending)
    for place, module in enumerate(order):
        middle, series = middles[module], values[module]
        axis.barh(place, middle, color=_COLORS[module], height=0.7)
        axis.plot([min(series), max(series)], [place, place], color="black", linewidth=1)
        label = "  " + form.format(middle)
        backing = {"facecolor": "white", "edgecolor": "none", "pad": 0}  # over the dense limit
        axis.text(max(series), place, label, va="center", bbox=backing)
    axis.set_yticks(range(len(order)), [results["names"][module] for module in order])
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlim(0, 1.15 * max(max(series) for series in values.values()))


def _save(figure, results, path):
    about = results["machine"]
    figure.supxlabel(
        f"{about['processor']} (family {about['family']}, model {about['model']}), "
        f"{results['threads']} threads, {results['date']}; medians, lines from least to most",
        fontsize=7,
    )
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    draw(json.loads((folder / "benchmarks.json").read_text()), folder)
