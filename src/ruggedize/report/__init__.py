"""Say what was gained, where, and how surely, from files alone: no model, no torch."""

from ruggedize.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {"load_summary_rows": "compare", "summary_rows": "compare", "write_report": "page"},
)
