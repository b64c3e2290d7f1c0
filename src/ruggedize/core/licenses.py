"""Licences of models by the identifiers of the Hugging Face Hub."""

KNOWN_LICENSES = (
    *(
        "apache-2.0",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc0-1.0",
        "isc",
        "mit",
        "mpl-2.0",
        "unlicense",
    ),
    *("cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0"),
    *("agpl-3.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "odbl", "openrail", "unlicense"),
)
"""The usual ones of the identifiers that the Hub knows; any other licence is "other" there.

Source: huggingface.co/docs/hub/repositories-licenses.
"""
