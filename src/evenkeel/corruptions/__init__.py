"""Common corruptions: nineteen ways in which pictures go wrong, five severities of each."""

from evenkeel.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "CORRUPTIONS": "catalogue",
        "Corruption": "catalogue",
        "Suite": "suites",
        "check_photographs": "photographs",
        "corrupt": "corrupting",
        "fetch_frost": "photographs",
        "frost_folder": "photographs",
        "generated_suite": "suites",
        "resolve_preset": "corrupting",
    },
)
