"""What an engine can be told. Loadable without starting anything; a TOML file may set any of these fields.

listen = "unix:/run/rrtf/engine.sock"
slots = 8
[default_limits]
cpu_time_ms = 5000
"""

import dataclasses
import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from engine.errors import BadConfig, reason
from engine.nearest import nearest
from engine.records import MIB, MINIMUM_MEMORY_BYTES, Limits

_BESIDE_THE_PROJECT = Path(__file__).parent.parent / ".candidate-venv" / "bin" / "python"


def default_candidate_python() -> Path:
    """RRTF_CANDIDATE_PYTHON, else the environment that the set-up made for programs, else the engine's own interpreter."""
    import sys

    named = os.environ.get("RRTF_CANDIDATE_PYTHON")
    if named:
        return Path(named)
    return _BESIDE_THE_PROJECT if _BESIDE_THE_PROJECT.exists() else Path(sys.executable)


class EngineConfig(BaseModel):
    """Settings of one engine. Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = "localhost:50051"
    """host:port or unix:PATH. There is no authentication: whoever can connect can run programs in the jail."""
    slots: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=lambda: len(os.sched_getaffinity(0)) + 1)
    """Programs that run at once. One more than there are cores keeps them busy while the engine thinks; more helps no further."""
    candidate_python: Path = Field(default_factory=default_candidate_python)
    """The interpreter of the programs, with the packages that they may import."""
    preload: tuple[str, ...] = (
        "bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools", "json",
        "math", "operator", "random", "re", "statistics", "string", "typing",
    )  # fmt: skip
    """Modules that every program finds imported already."""
    cgroups: Literal["auto", "required"] = "auto"
    """Where a host gives no cgroups: fall back to resource limits of each process, or refuse to start."""
    default_limits: Limits = Limits()
    maximum_limits: Limits = Limits(
        cpu_time_ms=300_000,
        wall_time_ms=900_000,
        memory_bytes=8192 * MIB,
        output_bytes=24 * MIB,
        processes=512,
        open_files=4096,
        file_size_bytes=1024 * MIB,
    )
    queue_size: Annotated[int, Field(ge=0)] = 4096
    """Programs that may wait. Beyond that, RESOURCE_EXHAUSTED."""
    deduplication_bytes: Annotated[int, Field(ge=0)] = 64 * MIB
    """Reports kept for jobs that ask for deduplication; 0: only jobs under way at the same time share one."""
    stream_window: Annotated[int, Field(ge=1)] = 256
    """Programs of one stream under way at once."""
    metrics: str = ""
    """host:port where Prometheus reads what the engine counts; nowhere where it is empty."""
    drain_time_ms: Annotated[int, Field(ge=0)] = 30_000
    """How long programs may finish after SIGTERM."""

    @pydantic.model_validator(mode="after")
    def _limits_fit(self) -> Self:
        for field in dataclasses.fields(Limits):
            default, maximum = getattr(self.default_limits, field.name), getattr(self.maximum_limits, field.name)
            if not 0 < default <= maximum:
                raise ValueError(f"default_limits.{field.name} is {default}; give 1 to {maximum}, which maximum_limits allows")
        if self.default_limits.memory_bytes < MINIMUM_MEMORY_BYTES:
            raise ValueError(
                f"default_limits.memory_bytes is {self.default_limits.memory_bytes};"
                f" give at least the {MINIMUM_MEMORY_BYTES} that an interpreter needs"
            )
        return self

    @classmethod
    def load(cls, file: Path | None, **overrides: object) -> "EngineConfig":
        """From a TOML file and overrides; an override of None counts as absent. Raises BadConfig with one clear line."""
        values: dict[str, object] = {}
        if file is not None:
            try:
                values = tomllib.loads(file.read_text())
            except OSError as error:
                raise BadConfig(f"cannot read {file}: {reason(error)}; name a TOML file") from None
            except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise BadConfig(f"{file}: not TOML: {error}") from None
        values |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise BadConfig(f"{file or 'settings'}: {_first(error)}") from None


def _first(error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = EngineConfig.model_fields if len(first["loc"]) == 1 else Limits.__slots__
        return f"there is no setting {key!r}{nearest(str(first['loc'][-1]), known)}"
    return f"{key}: {first['msg']}"
