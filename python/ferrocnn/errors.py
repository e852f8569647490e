"""Errors that have a name of their own. All others are plain ValueError and TypeError."""


class ModelFileError(ValueError):
    """A model file cannot be used: damaged, of another kind, or of another architecture."""


class DivergedError(ValueError):
    """Training left the finite numbers. The model keeps its last good weights."""


class StopTraining(Exception):  # noqa: N818 - no fault, as StopIteration is none
    """Raised by a callback to end training after the present epoch."""
