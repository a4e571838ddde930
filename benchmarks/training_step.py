"""One training step against TRL's DPO trainer: the same model, pairs, objective and hardware, eight responses to each prompt.

    .venv/bin/uv pip install --python .venv/bin/python --no-deps trl==1.16.0    # all that it needs is there already
    .venv/bin/python -m benchmarks.training_step

A teacher's response is held up against seven students': seven pairs for each prompt. TRL computes each pair by itself; here a
prompt is computed once, and so is each response. Both get the reference's log-probabilities beforehand, take all pairs of a step
at once, and keep their activations. Each side runs in a process of its own, in turns; CPU time is that of the process on
one thread, which other programs on the machine disturb least. Tokens are counted once: prompts and responses of the data.
"""

import argparse
import importlib
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import command_line
from benchmarks.gpu.measuring import by_turns
from benchmarks.gpu.meters import WARM_UP_STEPS, StepMeter
from trainer import language_model
from trainer.forward import tokens_of
from trainer.language_model import LanguageModel
from trainer.objectives.chosen import loss_of
from trainer.objectives.settings import Dpo
from trainer.recipe import Model
from trainer.records import RankedResponse, RankedTask
from trainer.training import Schedule, train

RESPONSES = 8
_BETA = 0.1
_LEARNING_RATE = 1e-5


def make_model(options: argparse.Namespace) -> LanguageModel:
    """A Llama with random weights; its tokenizer uses few of the vocabulary's tokens, which costs the same."""
    tokenizer = language_model.new(Model(width=32, layers=1, heads=2), ["def solve(xs):\n    return xs\n"], seed=0).tokenizer
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.width,
        intermediate_size=options.width * 3,
        num_hidden_layers=options.layers,
        num_attention_heads=options.width // 64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    network: Any = LlamaForCausalLM(config)
    return LanguageModel(network=network.to(options.device), tokenizer=tokenizer)


def make_tasks(options: argparse.Namespace) -> list[RankedTask]:
    """Of random letters, so that no two responses begin alike: their lengths are spread by half around the mean."""
    rng = random.Random(0)

    def text(characters: float) -> str:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(int(characters)))

    def response(number: int) -> RankedResponse:
        reward = 0.0 if number else 1.0
        return RankedResponse(
            completion=text(options.response * rng.uniform(0.5, 1.5)),
            score=reward,
            reward=reward,
            verdict="",
            passed=not number,
            teacher=not number,
            samples=min(number, 1),
        )

    return [
        RankedTask(task_id=str(i), prompt=text(options.prompt), responses=tuple(response(n) for n in range(RESPONSES)))
        for i in range(options.tasks)
    ]


def schedule(options: argparse.Namespace) -> Schedule:
    """All tasks in each step, at once; the first steps are not measured."""
    return Schedule(
        epochs=options.steps + WARM_UP_STEPS,
        batch_tasks=options.tasks,
        learning_rate=_LEARNING_RATE,
        warmup_steps=0,
        weight_decay=0.0,
        max_gradient_norm=1.0,
        micro_batch_tokens=10**9,
        falls_to=1.0,
    )


def steps_of_ours(options: argparse.Namespace) -> Iterator[float]:
    """Loss after each step."""
    loss = loss_of(Dpo(beta=_BETA))
    for metrics in train(make_model(options), make_tasks(options), loss, schedule(options), 0, needs_reference=True):
        yield metrics["loss"]


def run_trl(options: argparse.Namespace, folder: str, on_step: Callable[[float], None]) -> None:
    """TRL's trainer, with all pairs of the tasks as one batch."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class Steps(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                on_step(logs["loss"])

    model = make_model(options)
    pairs = [
        {"prompt": task.prompt, "chosen": task.responses[0].completion, "rejected": student.completion}
        for task in make_tasks(options)
        for student in task.responses[1:]
    ]
    settings = DPOConfig(
        output_dir=folder,
        per_device_train_batch_size=len(pairs),
        per_device_eval_batch_size=len(pairs),
        max_steps=options.steps + WARM_UP_STEPS,
        learning_rate=_LEARNING_RATE,
        lr_scheduler_type="constant",
        beta=_BETA,
        max_length=None,
        gradient_checkpointing=False,
        precompute_ref_log_probs=True,
        bf16=False,
        use_cpu=options.device == "cpu",
        optim="adamw_torch",
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
    )
    dataset = Dataset.from_list(pairs)
    trainer = DPOTrainer(
        model.network, args=settings, train_dataset=dataset, processing_class=model.tokenizer, callbacks=[Steps()]
    )
    trainer.train()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    torch.set_num_threads(1)
    if options.measure == "trl":  # its libraries are not what is measured
        importlib.import_module("trl.trainer.dpo_trainer")
        importlib.import_module("datasets")
    meter, losses = StepMeter(options.device), []

    def on_step(loss: float) -> None:
        meter.step()
        losses.append(loss)

    with tempfile.TemporaryDirectory() as folder:
        if options.measure == "trl":
            run_trl(options, folder, on_step)
        else:
            for loss in steps_of_ours(options):
                on_step(loss)
    return {**meter.found(), "first_loss": losses[0]}


def tokens_in(model: LanguageModel, tasks: Sequence[RankedTask]) -> int:
    """Prompts and responses, each once."""
    prompted = [tokens_of(model, task) for task in tasks]
    return sum(len(p.prompt) + sum(map(len, p.responses)) for p in prompted)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turns, and the ratios of their medians."""
    found, failed = by_turns("benchmarks.training_step", sys.argv[1:], ("ours", "trl"), options.rounds)
    if failed:
        sys.exit(f"without a result: {failed}")
    model = make_model(argparse.Namespace(**{**vars(options), "device": "cpu"}))
    tokens = tokens_in(model, make_tasks(options))

    return {
        "parameters": model.network.num_parameters(),
        "tokens": tokens,
        **{f"{side}_tokens_per_second": tokens / found[side]["seconds"] for side in found},
        **{f"{side}_peak_mib": found[side]["peak_bytes"] / 2**20 for side in found},
        **{f"{side}_first_loss": found[side]["first_loss"] for side in found},
        "speed_ratio": found["trl"]["seconds"] / found["ours"]["seconds"],
        "memory_ratio": found["ours"]["peak_bytes"] / found["trl"]["peak_bytes"],
        "targets": {"speed_ratio": 2.0, "memory_ratio": 0.5},
    }


def main() -> None:
    """Prints one line of JSON."""
    parser = command_line("training_step", __doc__)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--width", type=int, default=256, help="hidden size, a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tasks", type=int, default=2, help="prompts of a step")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt")
    parser.add_argument("--response", type=int, default=128, help="mean tokens of a response")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--measure", choices=["ours", "trl"], help="only this side, in this process")
    options = parser.parse_args()
    print(json.dumps(measure(options) if options.measure else compare(options)))


if __name__ == "__main__":
    main()
