"""Every number of a run, with its default: the embedded recipe is `Recipe()`.

One frozen class per stage, in the order in which the stages run. Nothing is read from anywhere else: a run is repeated
by its resolved recipe, which lies in the run folder. This module needs no torch. trainer.recipe_file reads recipes from TOML.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from trainer.objectives.settings import Objective, Rrtf
from trainer.sampling.settings import Openai, PromptForm, Ray, Sampling, Vllm
from trainer.section import BelowOne, Count, CountOrNone, Level, NotNegative, Positive, Section
from trainer.teachers.settings import Teacher

Precision = Literal["float32", "bfloat16"]
TrackerName = Literal["tensorboard", "wandb", "trackio"]

GENERATED = "generated"
"""In place of a problems file: tasks are made up."""

_NAME_BYTES = 200


def _name_of_one_folder(name: str) -> str:
    if not name.strip() or name.startswith(".") or not name.isprintable() or "/" in name or len(name.encode()) > _NAME_BYTES:
        raise ValueError("a run's name is that of one folder; give a short one without / that does not begin with a dot")
    return name


class Run(Section):
    name: Annotated[str, AfterValidator(_name_of_one_folder)] = "embedded"
    """Name of the run's folder; a finished run is never overwritten, the next one gets a number."""
    folder: str = "runs"
    """Where run folders are made."""
    seed: int = 0
    """Every random choice follows from it."""
    device: str = "auto"
    """Where torch computes: auto, cpu, cuda, cuda:1, ..."""
    threads: CountOrNone = 0
    """Threads of torch on a CPU; 0: all cores but one, shared by the processes of a machine. That one is the engine's."""
    deterministic: bool = False
    """On a GPU: only operations that give the same bits each time, which are slower. On a CPU all of them do."""
    checkpoint_ms: Count = 300_000
    """How often a training under way is saved; what came after is repeated by a run that was interrupted."""
    checkpoint_steps: CountOrNone = 0
    """It is saved after so many steps as well; 0: by time alone."""
    trackers: tuple[TrackerName, ...] = ()
    """Where its numbers are shown while it works, such as ["tensorboard"]; each is to be installed first."""
    take_over: str = ""
    """Another run's folder: its stages are taken over where they were made from the same settings and the same earlier stages."""


class Tasks(Section):
    problems: str = GENERATED
    """`generated`, or a problems file: HumanEval, MBPP, LeetCodeDataset or stdin/stdout JSONL(.gz)."""
    held_out_problems: str = ""
    """A second problems file to evaluate on; empty: held-out tasks are split off `problems`."""
    start: CountOrNone = 700
    """Tasks of the supervised start; not used where sft.epochs is 0."""
    train: CountOrNone = 4200
    """Tasks of the ranking rounds; with a problems file, 0 means all that remain."""
    held_out: Count = 200
    """Tasks that only evaluation sees; with `held_out_problems`, at most this many of them."""


class Model(Section):
    path: str = ""
    """A Hugging Face causal LM, local folder or hub id; empty: a new small Llama with a tokenizer of its own."""
    dtype: Precision = "float32"
    """Of the weights of a model that is loaded."""
    prompt: PromptForm = "completion"
    """How it is asked: the problem's prompt as it is, the paper's docstring before the signature, or its own chat template."""
    vocabulary_tokens: Count = 768
    """Size of the new tokenizer; this and all that follow are of a new model."""
    width: Count = 192
    """Size of the hidden states; an even number for each head."""
    layers: Count = 2
    """Transformer layers."""
    heads: Count = 4
    """Attention heads of each layer."""
    context_tokens: Count = 256
    """Longest prompt and response together."""

    @model_validator(mode="after")
    def _a_new_model_knows_no_chat(self) -> "Model":
        if self.prompt == "chat" and not self.path:
            raise ValueError('a new model has no chat template; set model.prompt to "completion", or model.path')
        return self

    @model_validator(mode="after")
    def _a_new_model_has_whole_weights(self) -> "Model":
        if self.dtype != "float32" and not self.path:
            raise ValueError("a new model has float32 weights; leave model.dtype at float32, or set model.path")
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "Model":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} cannot be shared by {self.heads} heads; take a multiple of {2 * self.heads}")
        return self


class Sft(Section):
    """The supervised start, on the gold solutions of its own tasks. 0 epochs: start from the model as it is."""

    epochs: CountOrNone = 8
    """Passes over the tasks of the start; 0: no supervised start."""
    batch_tasks: Count = 16
    """Tasks of one optimizer step."""
    learning_rate: Positive = 3e-3
    """From the first step on it falls linearly to a twentieth; the warm-up is a factor on top, so the peak is a little lower."""
    warmup_steps: CountOrNone = 20
    """Steps in which the rate grows from nothing."""


class Scoring(Section):
    compile_error: Level = -1.0
    """Score of a program that cannot be compiled."""
    runtime_error: Level = -0.6
    """Score of a program that raises an exception or crashes."""
    wrong_answer: Level = -0.3
    """Score of a program that runs and fails a test."""
    passed: Level = 1.0
    """Score of a program that passes all tests."""
    limit: Level = -0.6
    """Score of a program that exceeds its time, memory or another limit."""
    teacher_bonus: Positive = 0.2
    """Added to a teacher's score, so that it ranks above a student with the same verdict."""
    teacher_weight: NotNegative = 0.1
    """How far apart teacher.score can put two students with the same verdict; less than what lies between two verdicts."""
    delegated_passes: bool = False
    """Whether a student's pass counts where objects of its program spoke for themselves; if not, such a candidate is left out."""

    @model_validator(mode="after")
    def _levels_ascend(self) -> "Scoring":
        if not self.compile_error < self.runtime_error < self.wrong_answer < self.passed:
            raise ValueError("the levels must ascend: compile_error < runtime_error < wrong_answer < passed")
        return self

    @model_validator(mode="after")
    def _a_solution_is_worth_most(self) -> "Scoring":
        if not self.limit < self.passed:
            raise ValueError(f"scoring.limit is {self.limit:g}: set it below scoring.passed, or time-outs rank above solutions")
        return self


class Training(Section):
    """The ranking rounds: each samples from the model of the round before, on tasks of its own."""

    rounds: Count = 3
    """How often the model is sampled and trained."""
    epochs: Count = 2
    """Passes over the pairs of a round."""
    batch_tasks: Count = 16
    """Tasks of one optimizer step, each with all its responses."""
    micro_batch_tokens: Count = 16_384
    """Tokens computed at once, in the supervised start as well; a step with more goes in parts. Less takes less memory."""
    precision: Precision = "float32"
    """Of matrix products while training; weights stay in model.dtype, and those that are trained should be float32."""
    shard_weights: bool = False
    """Several processes share out weights, gradients and moments (FSDP2) instead of holding a copy each."""
    recompute_activations: bool = False
    """Keep each layer's input only and compute the rest again (activation checkpointing): a third slower, far less memory."""
    learning_rate: Positive = 1.5e-3
    """Of the first round; it falls linearly over all rounds, since each one that starts high again forgets."""
    warmup_steps: CountOrNone = 10
    """Of each round, whose optimizer is new."""
    weight_decay: NotNegative = 0.01
    """AdamW's, of matrices only, in the supervised start as well."""
    adam_betas: tuple[BelowOne, BelowOne] = (0.9, 0.98)
    """How slowly AdamW forgets gradients and their squares, in the supervised start as well."""
    dropout: bool = False
    """Whether the model's own dropout (StarCoder's 0.1) is on while training, in the supervised start as well."""
    max_gradient_norm: Positive = 1.0
    """Longer gradients are shortened to it, in the supervised start as well."""
    skip_not_finite: CountOrNone = 0
    """So many steps in a row whose loss or gradient is no number are left out before the run stops, in the start as well."""


class Lora(Section):
    """Low-rank adapters, in all training but the supervised start of a new model."""

    rank: CountOrNone = 0
    """Rank of the adapters, such as 16; 0: all weights are trained. Adapters like ten times the learning rate."""
    alpha: Count = 32
    """What an adapter gives is multiplied by alpha / rank."""
    dropout: BelowOne = 0.0
    """Share of an adapter's inputs that is left out while training."""
    target_modules: tuple[str, ...] = ()
    """Names of the layers that get one, such as ["q_proj", "v_proj"]; empty: all linear layers but the head."""


class Engine(Section):
    address: str = ""
    """host:port or unix:PATH of a running engine; empty: the run starts one of its own."""
    cpu_time_ms: Count = 2_000
    """CPU time that one program may use."""
    wall_time_ms: Count = 10_000
    """Wall time that one program may use; bounds programs that sleep."""
    memory_bytes: Count = 256 * 1024 * 1024
    """Memory that one program may use."""
    retry_ms: Count = 300_000
    """How long an engine that went away is waited for; then the run ends, and can be continued."""


_OF_SERVERS = {"addresses", "key_variable", "requests_at_once", "timeout_ms", "retry_ms"}
_HOW: dict[str, set[str]] = {
    "run": {"name", "folder", "device", "threads", "checkpoint_ms", "checkpoint_steps", "take_over", "trackers"},
    "vllm": set(Vllm.model_fields),
    "openai": _OF_SERVERS,
    "ray": set(Ray.model_fields) - {"sampler"},
    "teacher": _OF_SERVERS,
    "training": {"shard_weights"},
    "engine": {"address", "retry_ms"},
}
"""Settings that say how a run is done and decide nothing about its end: a run may be continued with others."""


class Recipe(Section):
    run: Run = Run()
    tasks: Tasks = Tasks()
    model: Model = Model()
    sft: Sft = Sft()
    sampling: Sampling = Sampling()
    vllm: Vllm = Vllm()
    openai: Openai = Openai()
    ray: Ray = Ray()
    teacher: Teacher = Teacher()
    scoring: Scoring = Scoring()
    objective: Objective = Rrtf()
    training: Training = Training()
    lora: Lora = Lora()
    engine: Engine = Engine()

    def deciding(self) -> dict[str, dict[str, Any]]:
        """All settings that decide what a run comes to, by section."""
        return self.model_dump(mode="json", exclude=_HOW)

    @model_validator(mode="after")
    def _the_start_has_tasks(self) -> "Recipe":
        if not self.model.path and not (self.sft.epochs and self.tasks.start):
            raise ValueError("a new model needs a supervised start: set sft.epochs and tasks.start above 0, or model.path")
        if self.sft.epochs and not self.tasks.start:
            raise ValueError("a supervised start needs tasks: set tasks.start above 0, or sft.epochs to 0")
        return self

    @model_validator(mode="after")
    def _servers_follow_the_model(self) -> "Recipe":
        if self.sampling.sampler != "openai":
            return self
        if not self.openai.addresses:
            raise ValueError('openai.addresses is empty: say where the servers are, such as ["http://localhost:8000/v1"]')
        if self.openai.ask == "chat":
            raise ValueError(
                'openai.ask is "chat": the server would put tasks into a template, and the training would not see it; '
                'set openai.ask to "tokens", and model.prompt to "chat" for the model\'s own template'
            )
        if not self.openai.reload and (self.sft.epochs or self.training.rounds > 1):
            raise ValueError(
                "servers that keep their weights can sample only one round, from the model as it came: "
                "set openai.reload to true, or sft.epochs to 0 and training.rounds to 1"
            )
        return self

    @model_validator(mode="after")
    def _verdicts_come_before_teacher_scores(self) -> "Recipe":
        scoring = self.scoring
        values = sorted({scoring.compile_error, scoring.runtime_error, scoring.wrong_answer, scoring.passed, scoring.limit})
        apart = min(above - below for below, above in pairwise(values))
        weight = scoring.teacher_weight if self.teacher.score != "none" else 0.0
        if weight and not weight < min(apart, 2 * scoring.teacher_bonus):
            raise ValueError(
                f"scoring.teacher_weight is {weight}: it must be less than the {apart:g} between two verdicts, "
                f"and than twice scoring.teacher_bonus, or a teacher's score would count more than a verdict"
            )
        if self.teacher.sampler != "none" and not scoring.teacher_bonus + weight / 2 < apart:
            raise ValueError(
                f"scoring.teacher_bonus is {scoring.teacher_bonus}: with half of scoring.teacher_weight it must be less than the "
                f"{apart:g} between two verdicts, or a teacher model that fails would rank above a student that fails less"
            )
        return self

    @model_validator(mode="after")
    def _every_round_has_tasks(self) -> "Recipe":
        train, rounds, is_generated = self.tasks.train, self.training.rounds, self.tasks.problems == GENERATED
        if train < rounds and (train or is_generated):
            raise ValueError(f"tasks.train is {train}, too few for {rounds} rounds: set it higher, or training.rounds lower")
        if is_generated and self.tasks.held_out_problems:
            raise ValueError("tasks.held_out_problems goes with a problems file: set tasks.problems as well, or leave it empty")
        return self
