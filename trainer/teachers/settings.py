"""What the teachers of a recipe can be told: plain data. Needs no torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from trainer.sampling.settings import Ask, PromptForm, SamplerName, Sampling, Server
from trainer.section import Count, NotNegative, Positive

_RUBRIC = (
    "Rate this Python program as a solution of the task, from {lowest} to {highest}: does it do what the task says, in every "
    "case; is it as simple and as fast as it can be; is it easy to read? Think briefly, then end with one line: Score: NUMBER"
)


def _has_places(rubric: str) -> str:
    try:
        rubric.format(lowest=0, highest=10)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError("a rubric may name {lowest} and {highest}; other braces are doubled") from error
    return rubric


Rubric = Annotated[str, AfterValidator(_has_places)]


class Teacher(Server):
    """Addresses and what belongs to them are for a sampler or a score that asks a server."""

    gold: bool = True
    """The problems' own solutions teach."""
    sampler: Literal["none", "transformers", "vllm", "openai"] = "none"
    """Whether a teacher model answers each task as well, and through what."""
    path: str = ""
    """Teacher model in this process, a local folder or hub id: samples, or scores by likelihood."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of its weights."""
    prompt: PromptForm = "completion"
    """How a teacher model in this process is asked; as model.prompt."""
    ask: Ask = "chat"
    """How a teacher behind a server is asked; as openai.ask."""
    samples: Count = 1
    """Its responses to one task; those that fail the tests teach nothing that passes."""
    temperature: NotNegative = 0.2
    """At which it samples."""
    max_response_tokens: Count = 1024
    """Of a teacher's response or a judge's; chat models explain before and after the code."""
    score: Literal["none", "likelihood", "judge"] = "none"
    """How it scores the student's candidates: how likely it finds them, or as a judge behind a server with a rubric."""
    rubric: Rubric = _RUBRIC
    """What the judge is told above the task and the program."""
    highest: Positive = 10
    """Best score that the rubric speaks of; the lowest is 0."""

    @model_validator(mode="after")
    def _is_complete(self) -> "Teacher":
        if self.path == "" and (self.sampler in ("transformers", "vllm") or self.score == "likelihood"):
            raise ValueError("the teacher model is missing: set teacher.path")
        if not self.addresses and (self.sampler == "openai" or self.score == "judge"):
            raise ValueError("the teacher's server is missing: set teacher.addresses")
        if not self.gold and self.sampler == "none":
            raise ValueError("nobody teaches: set teacher.gold to true, or teacher.sampler")
        return self

    def sampling(self, student: Sampling) -> Sampling:
        """How it samples; a chat's response is prose and code, which no mark may cut."""
        name: SamplerName = "transformers" if self.sampler == "none" else self.sampler
        changes = {
            "sampler": name,
            "temperatures": (self.temperature,),
            "samples_per_temperature": self.samples,
            "max_response_tokens": self.max_response_tokens,
        }
        no_marks = {"stop_at": (), "stop_programs_at": ()} if name == "openai" and self.ask == "chat" else {}
        return student.model_copy(update=changes | no_marks)
