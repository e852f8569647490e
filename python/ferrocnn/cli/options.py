"""A command whose help shows its options in groups, and whose errors name them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import click

from ferrocnn.cli.common import Failure


class GroupedOption(click.Option):
    """An option that help shows under the heading `group`."""

    def __init__(self, *arguments: Any, group: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group


class GroupedCommand(click.Command):
    """A command of grouped options.

    An error that names an argument of the Python function (`batch_size: expected ...`) names the
    option instead; `aliases` are those whose option has another name.
    """

    aliases: ClassVar[Mapping[str, str]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order of the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                group = parameter.group if isinstance(parameter, GroupedOption) else "Help"
                sections.setdefault(group, []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (ValueError, TypeError, OSError) as error:
            name, colon, rest = str(error).partition(":")
            options = {p.name: p.opts[0] for p in self.params if isinstance(p, click.Option)}
            option = self.aliases.get(name) or options.get(name)
            if not colon or option is None:
                raise
            raise Failure(f"{option}:{rest}") from error
