"""Files of the Hugging Face Hub: from its local cache, or fetched where that is asked for."""

from pathlib import Path

from ruggedize.core.errors import UserError

WEIGHTS = "model.safetensors"


def hub_file(repository: str, name: str, *, download: bool) -> Path:
    """Return the place of a repository's file in the Hub's cache.

    Args:
        repository: `ORG/NAME`.
        name: the file.
        download: fetch it if it is not there; without it nothing is sent.

    Raises:
        UserError: huggingface_hub is not installed, the file is not in the cache, or it cannot be
            downloaded.
    """
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError
    except ImportError as error:
        raise UserError(
            "models of the Hugging Face Hub need the package huggingface_hub;\n"
            "pip install 'ruggedize[hub]'"
        ) from error
    try:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
        if download:
            return Path(hf_hub_download(repository, name))
    except HFValidationError as error:
        raise UserError(
            f"{repository} is no name of a model of the Hugging Face Hub;\ngive hf:ORG/NAME"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(
            f"{repository} has no file {name} on the Hugging Face Hub, and pickles are not read;\n"
            "take a model that is published as safetensors"
        ) from error
    except Exception as error:  # of the network: HTTP errors, names, certificates, time-outs
        raise UserError(
            f"{name} of {repository} cannot be downloaded: {str(error).partition(chr(10))[0]};\n"
            "try again, or download it elsewhere into the Hub's cache (HF_HOME)"
        ) from error
    raise UserError(
        f"{name} of {repository} is not in the cache of the Hugging Face Hub;\n"
        "give --download, or download it first: hf download "
        f"{repository} {name}"
    )
