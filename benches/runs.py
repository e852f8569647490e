"""What is measured outside the races: layers, scaling, augmentation, memory, folder to model."""

import sys

from benches import machine
from benches.networks import DEEP, NETWORKS, REFERENCE, parameters
from benches.peers import BATCH_SIZE
from benches.worker import PeerError, Worker

# Of 64x64x3 pixels: 246 MB as bytes.
IMAGES = 20_000
FOLDER_EPOCHS = 5
AUGMENTATIONS = ("none", "flip and shift", "crop and colours")


def layers(worker, threads, rounds):
    """Seconds an image of each layer of each network, forward and backward, with the peaks."""
    results = {network.name: [] for network in NETWORKS}
    peaks = []
    for _ in range(rounds):
        for network in NETWORKS:
            times = worker.call("layer_seconds", network, parameters(network), BATCH_SIZE)
            results[network.name].append(
                {name: (forward / BATCH_SIZE, back / BATCH_SIZE) for name, forward, back in times}
            )
        peaks.append(machine.measure(threads))
    return {"networks": results, "machine": peaks}


def scaling(worker, threads, effort):
    """ferrocnn's training on one thread and on all, and epochs of 2,000 and of 20,000 images."""
    weights = parameters(REFERENCE)
    one, all_threads, epochs = [], [], {IMAGES // 10: [], IMAGES: []}
    with Worker("ferrocnn", 1) as single:
        for each in (single, worker):
            each.prepare("training", "scaling", REFERENCE, weights, "default", BATCH_SIZE)
        for _ in range(effort.rounds):
            one.append(BATCH_SIZE / single.run("scaling", effort.seconds))
            all_threads.append(BATCH_SIZE / worker.run("scaling", effort.seconds))
    for _ in range(effort.rounds):
        for count, times in epochs.items():
            times.append(worker.call("epoch_seconds", weights, count) / count)
    return {
        "threads": threads,
        "images_per_second_one_thread": one,
        "images_per_second": all_threads,
        "seconds_per_image": epochs,
    }


def augmentation(worker, rounds):
    """Seconds of a training step of ferrocnn in each round, by network and augmentation.

    The deep network is that of the recipe `fast`.
    """
    results = {network.name: {name: [] for name in AUGMENTATIONS} for network in (REFERENCE, DEEP)}
    for _ in range(rounds):
        for network in (REFERENCE, DEEP):
            weights = parameters(network)
            for name, times in results[network.name].items():
                seconds = worker.call("step_seconds", network, weights, name, 40 * BATCH_SIZE)
                times.append(seconds)
    return results


def memory(choices, threads):
    """Megabytes at most of a fresh process that trains an epoch, for each peer."""
    results = {}
    for module, choice in choices.items():
        with Worker(module, threads, keep_memory=False) as worker:
            try:
                results[module] = worker.peak_memory(
                    REFERENCE, parameters(REFERENCE), choice["variant"], IMAGES
                )
            except PeerError as error:
                print(error, file=sys.stderr)
                continue
        print(f"  {choice['name']}: {results[module]:,.0f} MB", flush=True)
    return results


def folder(path, choices, threads, rounds):
    """Seconds from a folder of photographs to a model, for each peer that reads folders."""
    results = {}
    for _ in range(rounds):
        for module, choice in choices.items():
            if module not in ("ferrocnn", "tensorflow", "pytorch"):
                continue
            # A compiler would take longer than it saves here.
            variant = choice["variant"].replace("compiled", "eager").replace("XLA", "oneDNN")
            with Worker(module, threads) as worker:
                worker.describe()
                try:
                    seconds = worker.folder(
                        path, REFERENCE, parameters(REFERENCE), variant, FOLDER_EPOCHS
                    )
                except PeerError as error:
                    print(error, file=sys.stderr)
                    continue
            results.setdefault(module, []).append(seconds)
            print(f"  {choice['name']}: {seconds[0]:.1f} s + {seconds[1]:.1f} s", flush=True)
    return results
