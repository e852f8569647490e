"""Objects from their settings: a name, and the arguments of a constructor."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def build(argument: str, known: Mapping[str, Callable[..., T]], config: Mapping[str, Any]) -> T:
    """Return what `config()` of an object of a known name describes.

    Raises:
        ValueError, TypeError: the name or an argument is unknown or missing; or the constructor
            refuses an argument. `argument` is what an error calls the config.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"{argument}: expected a dictionary, got {config!r}")
    settings = dict(config)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{argument}: expected a name of {', '.join(known)}, got {name!r}")
    parameters = inspect.signature(known[name]).parameters
    for key in settings:
        if key not in parameters:
            raise ValueError(
                f"{argument}: expected the settings {', '.join(parameters)} of {name}, got {key!r}"
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in settings:
            raise ValueError(
                f"{argument}: expected {key} for {name}, got {', '.join(settings) or 'no others'}"
            )
    return known[name](**settings)
