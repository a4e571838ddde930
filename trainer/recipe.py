"""Every number of a run, with its default: the embedded recipe is `Recipe()`.

One frozen class per stage, in the order in which the stages run. Nothing is read from anywhere else: a run is repeated
by its resolved recipe, which lies in the run folder. This module needs no torch. trainer.recipe_file reads recipes from TOML.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Frozen, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Run(Section):
    name: str = "embedded"
    """Name of the run's folder; a finished run is never overwritten, the next one gets a number."""
    folder: str = "runs"
    """Where run folders are made."""
    seed: int = 0
    """Every random choice follows from it."""
    device: str = "auto"
    """Where torch computes: auto, cpu, cuda, cuda:1, ..."""
    threads: CountOrNone = 0
    """Threads of torch on a CPU; 0: all cores but one. That one is the engine's: threads that wait for it are slow."""


class Tasks(Section):
    problems: str = "generated"
    """`generated`, or a problems file: HumanEval, MBPP, LeetCodeDataset or stdin/stdout JSONL(.gz)."""
    held_out_problems: str = ""
    """A second problems file to evaluate on; empty: held-out tasks are split off `problems`."""
    start: CountOrNone = 700
    """Tasks of the supervised start."""
    train: CountOrNone = 4200
    """Tasks of the ranking rounds; with a problems file, 0 means all that remain."""
    held_out: Count = 200
    """Tasks that only evaluation sees; with `held_out_problems`, at most this many of them."""


class Model(Section):
    path: str = ""
    """A Hugging Face causal LM, local folder or hub id; empty: a new small Llama with a tokenizer of its own."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    vocabulary_tokens: Count = 768
    """Of a new model, as are all that follow."""
    width: Count = 192
    layers: Count = 2
    heads: Count = 4
    context_tokens: Count = 256


class Sft(Section):
    """The supervised start, on the gold solutions of its own tasks. 0 epochs: start from the model as it is."""

    epochs: CountOrNone = 8
    batch_tasks: Count = 16
    learning_rate: Positive = 3e-3
    """At its highest; it falls linearly after the warm-up."""
    warmup_steps: CountOrNone = 20


class Sampling(Section):
    temperatures: tuple[Positive, ...] = (0.4, 0.8, 1.2)
    samples_per_temperature: Count = 1
    """Candidates of one task at each temperature."""
    top_p: Share = 1.0
    max_response_tokens: Count = 80
    """A candidate that reaches it is cut off, and so is not ranked."""
    batch_rows: Count = 128
    """Candidates sampled at once."""
    stop_at: tuple[str, ...] = ("\ndef ", "\nclass ", "\nif ", "\nprint(", "\nassert ", "\n#", "\n@", "\n```")
    """A response ends before the first of these: what follows is not part of the function."""

    def temperatures_of_task(self) -> tuple[float, ...]:
        """The temperature of each candidate of a task."""
        return tuple(t for t in self.temperatures for _ in range(self.samples_per_temperature))


class Scoring(Section):
    compile_error: float = -1.0
    runtime_error: float = -0.6
    wrong_answer: float = -0.3
    passed: float = 1.0
    limit: float = -0.6
    """Score of a program that exceeds its time, memory or another limit."""
    teacher_bonus: Positive = 0.2
    """Added to a teacher's score, so that it ranks above a student with the same verdict."""

    @model_validator(mode="after")
    def _levels_ascend(self) -> "Scoring":
        if not self.compile_error < self.runtime_error < self.wrong_answer < self.passed:
            raise ValueError("the levels must ascend: compile_error < runtime_error < wrong_answer < passed")
        return self


class Objective(Section):
    """L = rank_weight * L_rank + L_ft; see trainer.objectives.rrtf."""

    rank_weight: NotNegative = 0.1
    """The paper sums L_ft over tokens, so for a response of 30 tokens its weight is 1/30 of a mean's."""
    ft_reduction: Literal["mean", "sum"] = "mean"
    """Fine-tuning loss of a response: mean over its tokens, or the paper's sum, which drowns the ranking."""
    pair_reduction: Literal["sum", "mean"] = "sum"
    """Ranking loss of a task: the paper's sum over its pairs, or their mean."""


class Training(Section):
    """The ranking rounds: each samples from the model of the round before, on tasks of its own."""

    rounds: Count = 3
    epochs: Count = 2
    """Passes over the pairs of a round."""
    batch_tasks: Count = 16
    learning_rate: Positive = 1.5e-3
    """Of the first round; it falls linearly over all rounds, since each one that starts high again forgets."""
    warmup_steps: CountOrNone = 10
    """Of each round, whose optimizer is new."""
    weight_decay: NotNegative = 0.01
    max_gradient_norm: Positive = 1.0


class Engine(Section):
    address: str = ""
    """host:port or unix:PATH of a running engine; empty: the run starts one of its own."""
    cpu_time_ms: Count = 2_000
    wall_time_ms: Count = 10_000
    memory_bytes: Count = 256 * 1024 * 1024


class Recipe(Section):
    run: Run = Run()
    tasks: Tasks = Tasks()
    model: Model = Model()
    sft: Sft = Sft()
    sampling: Sampling = Sampling()
    scoring: Scoring = Scoring()
    objective: Objective = Objective()
    training: Training = Training()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _new_models_start_supervised(self) -> "Recipe":
        if not self.model.path and not (self.sft.epochs and self.tasks.start):
            raise ValueError("a new model needs a supervised start: set sft.epochs and tasks.start above 0, or model.path")
        return self
