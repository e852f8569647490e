"""Everything, once: `make bench`, or `python -m benches.run --help`."""

import argparse
import datetime
import json
import sys
from contextlib import ExitStack
from pathlib import Path

from benches import jobs, machine, runs
from benches.peers import MODULES, OPTIONAL
from benches.report import report
from benches.worker import PeerError, Worker


def main():
    options = parse()
    machine.pin(options.threads)
    effort = jobs.QUICK if options.quick else jobs.FULL
    started = datetime.datetime.now(datetime.UTC)
    with ExitStack() as stack:
        sides, versions, skipped = enter(options, stack)
        own = sides[0].worker
        results = {
            "date": f"{started:%Y-%m-%d}",
            "machine": machine.describe(),
            "threads": options.threads,
            "versions": versions,
            "skipped": skipped,
            "names": {side.module: side.name for side in sides},
            "jobs": {job.key: jobs.race(job, sides, options.threads, effort) for job in jobs.JOBS},
        }
        print("\nLayers, scaling, augmentation", flush=True)
        results["layers"] = runs.layers(own, options.threads, effort.few_rounds)
        results["scaling"] = runs.scaling(own, options.threads, effort)
        results["augmentation"] = runs.augmentation(own, effort.rounds)
        results["idle_share"] = {side.name: side.worker.idle_share for side in sides}
    choices = results["jobs"]["training-reference"]["peers"]
    print("\nMemory", flush=True)
    results["memory"] = runs.memory(choices, options.threads)
    results["folder"] = {}
    if options.photos is None:
        results["skipped"].append("folder of photographs (none was given)")
    else:
        print("\nFolder of photographs: decode + train", flush=True)
        results["folder"] = runs.folder(options.photos, choices, options.threads, effort.few_rounds)
    results["seconds"] = (datetime.datetime.now(datetime.UTC) - started).seconds
    write(results, options.out)


def parse():
    parser = argparse.ArgumentParser(prog="python -m benches.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--peers", default=",".join(OPTIONAL), help="of " + ", ".join(OPTIONAL))
    parser.add_argument("--photos", type=Path, help="folder with a folder of JPEG files per class")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the results")
    options = parser.parse_args()
    options.peers = [name for name in options.peers.split(",") if name]
    unknown = set(options.peers) - set(OPTIONAL)
    if unknown:
        parser.error(f"--peers: expected some of {', '.join(OPTIONAL)}, got {', '.join(unknown)}")
    if options.photos and not options.photos.is_dir():
        parser.error(f"--photos: expected a folder, got {options.photos}")
    return options


def enter(options, stack):
    """Start a worker for each peer that is wanted and installed: (sides, versions, skipped)."""
    sides, versions, skipped = [], {"python": sys.version.split()[0]}, []
    for module in MODULES:
        if module in OPTIONAL and module not in options.peers:
            continue
        worker = stack.enter_context(Worker(module, options.threads))
        try:
            name, its_versions, variants = worker.describe()
        except PeerError as error:
            reason = str(error).strip().splitlines()[-1]
            print(f"skipped: {module} ({reason})")
            skipped.append(f"{module} ({reason})")
            continue
        versions |= its_versions
        sides.append(jobs.Side(module, name, variants, worker))
    return sides, versions, skipped


def write(results, out):
    """The page and the JSON; the charts are drawn from the JSON."""
    from benches import chart  # matplotlib has no place in the workers, which import this module

    out.mkdir(parents=True, exist_ok=True)
    text = report(results)
    (out / "benchmarks.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "benchmarks.md").write_text(text)
    chart.draw(results, out)
    print(f"\n{text}\n{out}/benchmarks.json, .md and .png, in {results['seconds']} s")


if __name__ == "__main__":
    main()
