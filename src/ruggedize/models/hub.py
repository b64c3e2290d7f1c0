"""Locations of models: files, folders and the Hugging Face Hub. Does not import torch."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruggedize.core.errors import UserError
from ruggedize.core.extras import require_extra
from ruggedize.core.places import user_path
from ruggedize.core.reading import read_json, reject_outside

PREFIX = "hf:"
MODEL = "model.safetensors"  # name of the weights, locally and on the Hub
CARD_FILES = ("README.md", "assessment.json", MODEL, "recipe.toml", "report.html")
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def model_file(place: Path | str, *, download: bool = False) -> Path:
    """Return the path of a model in a file, in a folder that contains one, or at `hf:ORG/NAME`.

    For a run folder, it is the model of the main stage, see `main_stage`.
    `hf:ORG/NAME@REVISION` names a branch, tag or commit.

    Raises:
        UserError: the folder contains no model, or the file on the Hub is not in the local cache or
            cannot be downloaded.
    """
    if os.fspath(place).startswith(PREFIX):
        return hub_file(os.fspath(place).removeprefix(PREFIX), download=download)
    if download:
        raise UserError(f"download=True requires {PREFIX}ORG/NAME, got {place};\nomit download")
    path = user_path(place)
    if not path.is_dir():
        return path
    if (path / MODEL).is_file():
        return path / MODEL
    file = path / main_stage(path) / MODEL
    if file.is_file():
        return file
    raise UserError(
        f"{path} contains no {MODEL};\nuse the folder of a run, of one of its stages or of a card"
    )


def main_stage(run: Path) -> str:
    """Return the stage whose model a run folder stands for.

    It is the last model of the assessment: the student, a later generation, or the interpolated
    weights (WiSE-FT). Without an assessment it is the student.

    Raises:
        UserError: the assessment is damaged.
    """
    path = run / "assessment.json"
    if not path.is_file():
        return "student"
    content = read_json(path)
    models = content.get("models") if isinstance(content, dict) else None
    last = next(reversed(models), "student") if isinstance(models, dict) else "student"
    reject_outside(run / last / MODEL, run)
    return last


def hub_file(name: str, file: str = MODEL, *, download: bool) -> Path:
    """Return the path of a Hub repository's file in the local cache.

    `hf_hub_download(..., local_files_only=True)` is not used, because it may still connect to
    determine its user agent.

    Args:
        name: `ORG/NAME`, with `@REVISION` for a branch, tag or commit.
        file: the name of the file.
        download: download the file if it is not in the cache; a named revision is looked up on
            the Hub even so, because a branch may have moved.

    Raises:
        UserError: huggingface_hub is not installed, the file is not in the cache, or it cannot be
            downloaded.
    """
    require_extra("hub", PREFIX + name)
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, _, revision = name.partition("@")
    reject_other_name(repository)
    with naming_hub_errors(repository):
        found = try_to_load_from_cache(repository, file, revision=revision or None)
        if download and not (isinstance(found, str) and not revision):
            return Path(hf_hub_download(repository, file, revision=revision or None))
    if not isinstance(found, str):
        option = f" --revision {revision}" if revision else ""
        raise UserError(
            f"{file} of {name} is not in the local Hub cache;\nrun `hf download {repository} "
            f"{file}{option}` (in assess, --download does this; in Python, download=True)"
        )
    return Path(found)


def push_folder(folder: Path, name: str, *, private: bool = False, dry_run: bool = False) -> str:
    """Upload the folder of a model card to the Hugging Face Hub as `ORG/NAME`; return its URL.

    Only the files of a card are uploaded. A dry run checks the folder without using the network.

    Raises:
        UserError: the folder is not that of a card, the name is invalid, the repository is public
            although `private` is set, or the Hub cannot be reached or denies access.
    """
    require_extra("hub", "the Hugging Face Hub")
    from huggingface_hub import HfApi

    reject_other_name(name)
    missing = [file for file in CARD_FILES if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {', '.join(missing)};\ncreate it with `ruggedize card RUN --out DIR`"
        )
    for file in CARD_FILES:  # a link could publish a private file
        reject_outside(folder / file, folder)
    api = HfApi()
    if dry_run:
        return f"{api.endpoint}/{name}"
    with naming_hub_errors(name):
        api.create_repo(name, private=private, exist_ok=True)
        if private and not api.model_info(name).private:
            raise UserError(
                f"{name} already exists and is public, so nothing was uploaded;\n"
                "make it private in its settings, or omit --private"
            )
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=list(CARD_FILES),
            commit_message="Upload the model and its card",
        )
    return f"{api.endpoint}/{name}"


def reject_other_name(name: str) -> None:
    """Raise UserError unless a name can be that of a Hub repository."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"the name of a model on the Hub must be ORG/NAME, got {name!r};\n"
            "use letters, digits and . _ - in both"
        )


@contextmanager
def naming_hub_errors(repository: str) -> Iterator[None]:
    """Convert errors of the Hub into a UserError with the fix."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{error};\nuse a name that the Hub allows") from None
    except errors.LocalEntryNotFoundError:
        raise UserError(
            f"{repository} is not in the local Hub cache, and the Hub could not be reached;\n"
            "check the connection, and that HF_HUB_OFFLINE is not set"
        ) from None
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{repository} lacks a file ({str(error).partition(chr(10))[0]}), and pickles are "
            "never read;\nuse a model that is published as safetensors"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{repository} does not exist on the Hub, or you may not access it;\n"
            "check the name, and log in with `hf auth login`"
        ) from None
    except errors.HTTPError as error:  # pyright: ignore[reportPrivateImportUsage]
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{repository}: {reason};\ncheck the connection, and log in with `hf auth login`"
        ) from None
