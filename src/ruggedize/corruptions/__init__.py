"""Common corruptions: nineteen ways in which pictures go wrong, five severities of each."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "CORRUPTIONS": "catalogue",
        "Corruption": "catalogue",
        "Suite": "suites",
        "Unpaired": "suites",
        "chosen_names": "suites",
        "corrupt": "corrupting",
        "corruption_sheet": "sheet",
        "export_suite": "export",
        "fetch_frost": "photographs",
        "find_suite": "stored",
        "generated_suite": "suites",
        "parsed_names": "names",
        "refuse_incomplete": "stored",
        "resolve_preset": "corrupting",
        "stored_suite": "stored",
    },
)
