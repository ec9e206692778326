"""Uploads an exported folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from likewise.errors import ConfigError, ModelError
from likewise.export.open_clip import name_on_hub
from likewise.messages import first_line

__all__ = ["check_hub_name", "push"]


def check_hub_name(name: str) -> None:
    """Raise ConfigError unless it names a repository: OWNER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(f"--push {name}: {first_line(error)}") from error
    if name.count("/") != 1:
        raise ConfigError(f"--push {name}: expected OWNER/NAME, such as your-name/{name}.")


def push(folder: Path, name: str) -> str:
    """Upload a folder; a repository that does not exist is made, private until its owner opens it.

    Args:
        folder: an exported one.
        name: OWNER/NAME.

    Returns:
        The address of the upload.

    Raises:
        ModelError: the hub refuses or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    name_on_hub(folder, name)
    try:
        api = HfApi()
        api.create_repo(name, private=True, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message="Model of Likewise")
    except LocalTokenNotFoundError as error:
        raise ModelError(f"--push {name}: no login to the hub is known here; run hf auth login.") from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        login = " Log in with hf auth login, with a token that may write." if code in (401, 403) else ""
        raise ModelError(f"--push {name}: the hub refused ({first_line(error)}).{login}") from error
    except Exception as error:  # of the HTTP library that the hub's client uses
        raise ModelError(f"--push {name}: the upload failed ({first_line(error)}).") from error
    return str(commit.commit_url)
