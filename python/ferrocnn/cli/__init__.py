"""The command line: `ferrocnn train`, `find-lr`, `evaluate`, `predict`, `info` and `demo`.

Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 interrupted.
Results go to stdout; progress and notes go to stderr wherever stdout may be piped on.
"""

import click

import ferrocnn
from ferrocnn.cli.common import Commands
from ferrocnn.cli.demo import demo_command
from ferrocnn.cli.evaluate import evaluate_command
from ferrocnn.cli.find_lr import find_lr_command
from ferrocnn.cli.info import info_command
from ferrocnn.cli.predict import predict_command
from ferrocnn.cli.train import train_command

__all__ = ["main"]


@click.group(
    name="ferrocnn",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(ferrocnn.__version__, prog_name="ferrocnn", message="%(prog)s %(version)s")
def main() -> None:
    """Train and run small image classifiers on an ordinary CPU.

    \b
    See it work:     ferrocnn demo
    With your own:   ferrocnn train PetImages
                     ferrocnn predict model.npz photo.jpg
    """


for command in (
    train_command,
    find_lr_command,
    evaluate_command,
    predict_command,
    info_command,
    demo_command,
):
    main.add_command(command)
