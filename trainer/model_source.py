"""Whether there is a model at a path or behind a hub id, before it is loaded.

transformers asks the hub for each file, again and again where nobody answers. Here it is asked once for the one file that every
model has, so that the cause is known at once; a model that lies in the cache already is not asked for at all.
"""

from pathlib import Path

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RemoteEntryNotFoundError, RepositoryNotFoundError

from trainer.errors import ModelError

_WEIGHTS = ("*.safetensors", "*.bin")
_CONFIGURATION = "config.json"
_PATIENCE_S = 10.0
_ELSEWHERE = "give the path of a local folder, set HF_HOME to a folder that holds it, or HF_ENDPOINT to a mirror that answers"


def check(path: str, key: str, endpoint: str = constants.ENDPOINT) -> None:
    """Raises ModelError in one line, which names the setting `key`, where no model is found."""
    if Path(path).is_dir():
        if not any(found for pattern in _WEIGHTS for found in Path(path).glob(pattern)):
            raise ModelError(f"{key}: no causal LM at {path!r}: the folder has no weights, such as model.safetensors")
    elif path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ModelError(f"{key}: no causal LM at {path!r}: there is no such folder")
    elif (fault := _fault_of_hub(path, endpoint)) is not None:
        raise ModelError(f"{key}: no causal LM at {path!r}: there is no such folder here, and {fault}")


def _fault_of_hub(name: str, endpoint: str) -> str | None:
    """Why a model cannot come from the hub, with the cure."""
    try:
        if isinstance(try_to_load_from_cache(name, _CONFIGURATION), str):
            return None
        get_hf_file_metadata(hf_hub_url(name, _CONFIGURATION, endpoint=endpoint), timeout=_PATIENCE_S)
    except OfflineModeIsEnabled:
        return f"HF_HUB_OFFLINE forbids to ask the hub; {_ELSEWHERE}"
    except GatedRepoError:
        return f"{endpoint} gives it only to those who were granted it; ask there, and set HF_TOKEN"
    except RepositoryNotFoundError:
        return f"{endpoint} has no model of that name; correct it, or set HF_TOKEN where it is private"
    except RemoteEntryNotFoundError:
        return f"what {endpoint} has of that name is no model of transformers: it has no {_CONFIGURATION}"
    except (httpx2.HTTPError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return f"{endpoint} cannot be asked ({reason}); {_ELSEWHERE}"
    except ValueError:
        return "it cannot be the name of one on a hub; correct model and owner, as in owner/model"
    return None
