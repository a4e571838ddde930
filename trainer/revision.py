"""Which model it was: the hub's commit, or a hash of what lies in a folder. It stands on every sample."""

import hashlib
from pathlib import Path

from transformers import AutoConfig

_FILES = (
    *("*.safetensors", "*.bin", "config.json", "generation_config.json", "adapter_config.json"),
    *("tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
)
_AT_ONCE_BYTES = 1 << 24


def revision(path: str | Path) -> str:
    """Of the model at a local path or hub id: `sha256:...` of weights, configuration and tokenizer, or `commit:...`."""
    if not Path(path).is_dir():
        return f"commit:{getattr(AutoConfig.from_pretrained(path), '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in Path(path).glob(pattern)}):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(_AT_ONCE_BYTES):
                digest.update(block)
    return f"sha256:{digest.hexdigest()[:32]}"
