"""What the commands share: failures and exit codes, JSON, the program's own name."""

import json
import math
import shlex
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset, SkippedFile
    from ferrocnn.model import CNN
    from ferrocnn.preprocessing import Preprocessing

# What a folder is searched for. A file that is named outright is judged by decoding it.
SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
SHOWN_REASONS = 20  # skipped files that are named; the rest are counted


class Failure(click.ClickException):
    """A command that failed: one line on stderr, exit code 1."""

    prefix = "ferrocnn: error: "

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on one line, whatever line breaks it came with."""
        click.echo(self.prefix + " ".join(self.message.split()), file=file or sys.stderr)


class Interrupted(Failure):
    """Ctrl-C: one line on stderr, and the exit code that shells give to SIGINT.

    command: what goes on from there, on a line of its own.
    """

    exit_code = 130
    prefix = "ferrocnn: "

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, and the command where there is one."""
        super().show(file)
        if self.command is not None:
            click.echo(f"What to type next:\n  {self.command}", file=file or sys.stderr)


class Commands(click.Group):
    """A group of commands that turns the faults a user can mend into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exceptions that carry a message for the user become a `Failure`."""
        if hasattr(sys.stdout, "reconfigure"):
            # A file name that the terminal's encoding cannot show must not stop the command.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error
        except BrokenPipeError:
            raise  # the reader has seen enough (`| head`): click ends quietly
        except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
            name = getattr(error, "filename", None)
            raise Failure(f"{name}: {reason(error)}" if name else reason(error)) from error


no_cache_option = click.option(
    "--no-cache",
    is_flag=True,
    help="Decode every picture anew, and keep none in the cache.",
)


class FiniteRange(click.FloatRange):
    """A float option within bounds that is neither NaN nor infinite."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the checked number; a usage error otherwise."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


threshold_option = click.option(
    "--threshold",
    type=FiniteRange(min=0, max=1, min_open=True, max_open=True),
    help="Name the second class from this probability on; for models of two classes.  "
    "[default: 0.5]",
)


def check_threshold(threshold: float | None, model: "CNN") -> float:
    """Return the threshold, 0.5 where none was given.

    Raises ValueError where one was given and the model has more than one output.
    """
    units = model.fc_layers[-1]
    if threshold is not None and units > 1:
        raise ValueError(
            f"--threshold: expected a model of two classes with one output, got one with {units} "
            "outputs, which names the most probable class; leave --threshold out"
        )
    return 0.5 if threshold is None else threshold


def reason(error: Exception) -> str:
    """What went wrong, for a person: no errno numbers, no file name, never empty."""
    if isinstance(error, MemoryError):
        return ": ".join(filter(None, ["out of memory", str(error)]))
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def note(text: str) -> None:
    """Print a line beside the result: on stderr, so that stdout stays pure."""
    click.echo(text, err=True)


def echo_json(value: object) -> None:
    """Print `value` as strict JSON; NaN and infinities become null."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def command_line(*words: str | Path) -> str:
    """A command that the user can paste, started the way this one was.

    An installed script that is not on the PATH is named by the path it was started by.
    """
    program = click.get_current_context().find_root().info_name or "ferrocnn"
    started = Path(sys.argv[0])
    if started.name == program and shutil.which(program) is None:
        program = shlex.quote(str(started))
    return " ".join([program, *(shlex.quote(str(word)) for word in words)])


def check_writable(out: Path) -> None:
    """Raise ValueError unless a file can be made at `out`; leaves nothing behind."""
    if out.is_dir():
        raise ValueError(f"--out: expected a file, got the folder {out}; try {out / 'model.npz'}")
    if out.is_file() and out.stat().st_size and not _is_archive(out):
        raise ValueError(
            f"--out: expected a new file or an older model, got {out}, which is neither"
        )
    folder = out.parent
    if not folder.is_dir():
        raise ValueError(f"--out: expected a file in an existing folder, got {out}; make {folder}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"--out: expected a folder that can be written to, got {folder} "
            f"({error.strerror}); choose another"
        ) from error


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "record.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def check_model_path(path: Path) -> None:
    """Raise ValueError where a folder or a picture stands in the place of MODEL."""
    if path.is_dir():
        best = path / "best.npz"
        hint = f"; did you mean {best}?" if best.is_file() else ""
        raise ValueError(f"MODEL: expected a model file, got the folder {path}{hint}")
    if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_archive(path):
        raise ValueError(
            f"MODEL: expected a model file, got the picture {path}; the model comes first"
        )


def load_classifier(path: Path) -> "tuple[CNN, tuple[str, ...], Preprocessing]":
    """Load a model that can name what it sees, with its class names and preprocessing.

    Raises ValueError when the file holds no class names or no preprocessing (a model that was
    trained on bare arrays), besides what `ferrocnn.load` raises.
    """
    import ferrocnn

    check_model_path(path)
    model = ferrocnn.load(path)
    if model.class_names is None or model.preprocessing is None:
        raise ValueError(
            f"{path}: expected a model that knows its class names and preprocessing, got one "
            "trained on bare arrays; train it on a folder, or on what load_images returns"
        )
    return model, model.class_names, model.preprocessing


def describe_dataset(dataset: "ImageDataset", folder: Path) -> list[str]:
    """Lines that say what was found in `folder`, and what was skipped and why."""
    counts = ", ".join(
        f"{name} {int((dataset.labels == label).sum()):,}"
        for label, name in enumerate(dataset.class_names)
    )
    cached = "all" if dataset.cached == len(dataset) else f"{dataset.cached:,}"
    return [
        f"{folder}: {plural(len(dataset), 'image')} of {len(dataset.class_names)} classes "
        f"({counts}), {len(dataset.skipped):,} skipped"
        + (f", {cached} from the cache" if dataset.cached else ""),
        *_describe_skipped(dataset.skipped),
    ]


def _describe_skipped(skipped: "Sequence[SkippedFile]") -> list[str]:
    lines = [f"  skipped {file.path}: {file.reason}" for file in skipped[:SHOWN_REASONS]]
    if len(skipped) > SHOWN_REASONS:
        lines.append(f"  ... and {len(skipped) - SHOWN_REASONS:,} more")
    return lines


def plural(count: int, noun: str) -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
