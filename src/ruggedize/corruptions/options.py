"""The options of corruptions. Does not import torch."""

from collections.abc import Iterable, Mapping

from ruggedize.core.errors import UserError
from ruggedize.corruptions.names import ALL, unknown

Options = Mapping[str, tuple[str, ...]]  # allowed values by option; the first is the default
Chosen = Mapping[str, Mapping[str, str]]  # values of the options, by corruption and option

OPTIONS: dict[str, Options] = {"frost": {"textures": ("photographs", "procedural")}}
PUBLISHED: dict[str, Options] = {name: OPTIONS.get(name, {}) for name in ALL}


def complete_options(given: Chosen, table: Mapping[str, Options]) -> dict[str, dict[str, str]]:
    """Return the values of all options of the corruptions in a table, filling in defaults.

    Raises:
        ValueError: a corruption, option or value is unknown; the message lists the allowed ones.
    """
    for name in given:
        if name not in table:
            raise ValueError(unknown(name, table))
    return {
        name: complete(name, options, given.get(name, {}))
        for name, options in table.items()
        if options or given.get(name)
    }


def complete(corruption: str, options: Options, given: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all options of a corruption, filling in defaults.

    Raises:
        ValueError: an option or value is unknown; the message lists the allowed ones.
    """
    for option, value in given.items():
        if option not in options:
            known = f"it has {', '.join(options)}" if options else "it has none"
            raise ValueError(f"{corruption} has no option {option}; {known}")
        if value not in options[option]:
            allowed = " or ".join(options[option])
            raise ValueError(f"{corruption}.{option} must be {allowed}, got {value!r}")
    return {option: given.get(option, values[0]) for option, values in options.items()}


def parsed_options(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Parse command-line options of the form CORRUPTION.OPTION=VALUE.

    Raises:
        UserError: an option has the wrong form, or an unknown name or value.
    """
    parsed: dict[str, dict[str, str]] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        corruption, dot, option = key.partition(".")
        if not (sign and dot):
            raise UserError(f"--option must be {allowed_texts()}, got {text[:80]}")
        parsed.setdefault(corruption.strip(), {})[option.strip()] = value.strip()
    try:
        complete_options(parsed, PUBLISHED)
    except ValueError as error:
        raise UserError(f"--option {error}") from None
    return parsed


def allowed_texts() -> str:
    """Return the allowed command-line options in the form "frost.textures=a|b"."""
    return ", ".join(
        f"{name}.{option}={'|'.join(values)}"
        for name, options in OPTIONS.items()
        for option, values in options.items()
    )


def reject_idle_options(given: Chosen, corruptions: tuple[str, ...] | None) -> None:
    """Raise UserError if an option is for a corruption that is not selected (None: all are)."""
    for name, options in given.items():
        if options and corruptions is not None and name not in corruptions:
            raise UserError(
                f"--option {name}.{next(iter(options))} has no effect without the corruption "
                f"{name};\nomit the option"
            )
