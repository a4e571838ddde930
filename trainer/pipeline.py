"""The stages of a run. Each reads what earlier ones wrote and makes a folder of its own; where that exists it is skipped.

    tasks              problems.jsonl gold.jsonl parts.json metrics.json
    start/model        the supervised start, in Hugging Face format, with steps.jsonl
    start/evaluation   outcomes.jsonl metrics.json
    round-N/teacher    outcomes.jsonl metrics.json, where a teacher model answers too
    round-N/samples    outcomes.jsonl ranked.jsonl pairs.jsonl metrics.json
    round-N/model      as above; with LoRA, adapter/ beside it
    round-N/evaluation as above

Every stage draws its chance from the run's seed and its own name, and takes up what it had done before an interruption:
outcomes from its journal, a training from its checkpoint. So a run that was interrupted ends as one that was not. What decides
a stage is in `trainer.inputs`.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from engine.client import Problem
from trainer import language_model, lora, ranking, tasks
from trainer.checkpoint import Checkpoints
from trainer.errors import TrainingError
from trainer.evaluation import left_out, mean_pass_at_k
from trainer.execution import Connect, sample_and_execute
from trainer.inputs import StageInputs
from trainer.journal import journal
from trainer.language_model import LanguageModel
from trainer.objectives.settings import Sft
from trainer.orders import ALONE, Crew, Order, set_up_torch, untrained
from trainer.progress import Progress
from trainer.prompts import Prompt, prompt_of, requests_for
from trainer.recipe import Lora, Recipe, Training
from trainer.recipe import Sft as SftSettings
from trainer.records import Outcome, RankedTask, Request, read_outcomes, read_ranked, write_lines
from trainer.run_folder import THERE, UNFINISHED, Inputs, RunFolder, write_json
from trainer.sampling.assembly import Samplers
from trainer.sampling.sampler import Sampler
from trainer.screen import Screen, note_of_step, note_of_verdicts
from trainer.seeds import derive_seed
from trainer.teachers.assembly import Teachers
from trainer.teachers.scorer import OpenScorer
from trainer.trackers import Tracker
from trainer.training import Schedule

START = "start"


def round_name(number: int) -> str:
    """The folder of a round, the first being 1."""
    return f"round-{number}"


class Pipeline:
    """The stages of one run as methods, in the order in which they are called."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        connect: Connect,
        screen: Screen,
        samplers: Samplers,
        crew: Crew = ALONE,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self._trackers = trackers
        self._recipe, self._folder, self._connect, self._screen, self._samplers = recipe, folder, connect, screen, samplers
        self._crew = crew
        self._teachers = Teachers(recipe, samplers)
        self._in_memory: tuple[str, LanguageModel] | None = None
        self._inputs = StageInputs(recipe, folder)
        set_up_torch(recipe.run)

    def make_tasks(self) -> None:
        """Deals the tasks and runs every gold solution through the engine."""
        inputs = self._inputs.of_tasks()
        if self._is_done("tasks", inputs):
            return
        with self._folder.stage("tasks", inputs) as folder, journal(folder / UNFINISHED / "gold.jsonl") as lines:
            tasks.write_generated(self._recipe, folder / tasks.PROBLEMS)
            parts = tasks.deal(self._recipe, folder / tasks.PROBLEMS)
            if parts.like_held_out:
                self._screen.say(f"  {parts.like_held_out} tasks that read like held-out ones train nothing")
            total, progress = len(parts.start) + len(parts.train) + len(parts.held_out), Progress(lines)
            with self._screen.bars(("checked", total, "gold solutions"), there=[len(progress.outcomes)]) as [on_executed]:
                tasks.check(parts, self._recipe, self._connect, folder, on_executed, progress)
            write_json(folder / "metrics.json", {"like_held_out": parts.like_held_out})

    @cached_property
    def parts(self) -> tasks.Parts:
        """The tasks whose own solution passed."""
        dealt = tasks.deal(self._recipe, self._folder.path / "tasks" / tasks.PROBLEMS)
        return tasks.keep(dealt, self._folder.read("tasks", "parts.json"))

    @property
    def problems(self) -> dict[str, Problem]:
        """All usable tasks by id."""
        parts = self.parts
        return {problem.task_id: problem for part in (parts.start, parts.train, parts.held_out) for problem in part}

    @cached_property
    def _prompt(self) -> Prompt:
        """How a problem is put to the model, in sampling as in training."""
        settings = self._recipe.model
        return prompt_of(settings.prompt, language_model.look(settings.path) if settings.prompt == "chat" else None)

    def train_start(self) -> None:
        """The supervised start: fine-tuning on the gold solutions of its tasks. Without epochs it is the model as it came."""
        sft = self._recipe.sft
        inputs = self._inputs.of_start()
        if sft.epochs == 0 or self._is_done(f"{START}/model", inputs):
            return
        examples = [ranking.gold_only(problem.task_id, self._prompt(problem), problem.gold or "") for problem in self.parts.start]
        order = Order(
            source=self._recipe.model.path,
            examples=tuple(examples),
            objective=Sft(),
            schedule=self._schedule(sft),
            lora=self._lora if self._recipe.model.path else None,
            seed=derive_seed(self._recipe.run.seed, START, "train"),
        )
        self._train(START, inputs, order, untrained(self._recipe, order.examples))

    def ask_teacher(self, number: int) -> None:
        """The teacher model's responses to the round's tasks, executed as they come; nothing where the recipe has none."""
        name = f"{round_name(number)}/teacher"
        if not self._teachers.answers:
            return
        inputs = self._inputs.of_teacher(number)
        if self._is_done(name, inputs):
            return
        problems = self._problems_of(number)
        requests = self._teachers.requests(problems, name)
        with self._folder.stage(name, inputs) as folder, journal(folder / UNFINISHED / "progress.jsonl") as lines:
            outcomes = self._execute(self._teachers.sampler(name), requests, problems, Progress(lines))
            write_lines(folder / "outcomes.jsonl", outcomes)
            write_json(folder / "metrics.json", {"verdicts": ranking.verdict_mix(outcomes), "left_out": left_out(outcomes)})

    def sample(self, number: int) -> None:
        """Candidates of the round's tasks from the latest model, executed while they come, scored and ranked."""
        name = f"{round_name(number)}/samples"
        inputs = self._inputs.of_samples(number, self._model_before(number))
        if self._is_done(name, inputs):
            return
        problems = self._problems_of(number)
        with self._folder.stage(name, inputs) as folder, journal(folder / UNFINISHED / "progress.jsonl") as lines:
            started, progress = time.monotonic(), Progress(lines)
            earlier = len(progress.outcomes)
            temperatures = self._recipe.sampling.temperatures_of_task()
            outcomes = self._outcomes(name, number - 1, problems, temperatures, progress, self._teachers.scorer())
            seconds = time.monotonic() - started
            ranked = self._rank(problems, [*self._taught(number), *outcomes])
            pairs = [pair for task in ranked for pair in ranking.pairs(task)]
            write_lines(folder / "outcomes.jsonl", outcomes)
            write_lines(folder / "ranked.jsonl", ranked)
            write_lines(folder / "pairs.jsonl", pairs)
            metrics = {
                "verdicts": ranking.verdict_mix(outcomes),
                "tasks": len(ranked),
                "pairs": len(pairs),
                "left_out": left_out(outcomes),
                "programs": len(outcomes),
                "programs_per_second": (len(outcomes) - earlier) / seconds,
                "tokens": sum(outcome.candidate.tokens for outcome in outcomes),
                "teacher_scores": sum(outcome.teacher_score is not None for outcome in outcomes),
            }
            write_json(folder / "metrics.json", metrics)
        shares = {name: count / len(outcomes) for name, count in ranking.verdict_mix(outcomes).items()}
        self._track(name, number, {"pairs": len(pairs), "tasks": len(ranked), **shares})

    def train_round(self, number: int) -> None:
        """The recipe's objective on the round's ranked tasks."""
        name = round_name(number)
        inputs = self._inputs.of_round(number, self._model_before(number))
        if self._is_done(f"{name}/model", inputs):
            return
        rounds = self._recipe.training.rounds
        order = Order(
            source=str(self._model_path(number - 1)),
            examples=tuple(read_ranked(self._folder.path / name / "samples" / "ranked.jsonl")),
            objective=self._recipe.objective,
            schedule=self._schedule(self._recipe.training, falls_from=1 - (number - 1) / rounds, falls_to=1 - number / rounds),
            lora=self._lora,
            seed=derive_seed(self._recipe.run.seed, name, "train"),
        )
        self._train(name, inputs, order, self._model(number - 1))

    def evaluate(self, number: int) -> None:
        """Greedy pass@1 of the model after round `number` (0: the supervised start) on the held-out tasks."""
        name = f"{self._name(number)}/evaluation"
        inputs = self._inputs.of_evaluation(self._model_before(number + 1))
        if not self._is_done(name, inputs):
            problems = {problem.task_id: problem for problem in self.parts.held_out}
            with self._folder.stage(name, inputs) as folder, journal(folder / UNFINISHED / "progress.jsonl") as lines:
                outcomes = self._outcomes(name, number, problems, (0.0,), Progress(lines))
                write_lines(folder / "outcomes.jsonl", outcomes)
                metrics = {"pass_at_1": mean_pass_at_k(outcomes, 1), "tasks": len(outcomes), "left_out": left_out(outcomes)}
                write_json(folder / "metrics.json", {**metrics, "verdicts": ranking.verdict_mix(outcomes)})
        metrics = self._folder.read(name, "metrics.json")
        self._track("held-out", number, {"pass_at_1": metrics["pass_at_1"]})
        tasks_that_count = metrics["tasks"] - metrics["left_out"]
        self._screen.say(f"  held-out pass@1 [bold]{metrics['pass_at_1']:.1%}[/bold] of {tasks_that_count} tasks")

    # -- what the stages share

    def _is_done(self, stage: str, inputs: Inputs) -> bool:
        found = self._folder.take_up(stage, inputs)
        if found:
            self._screen.say(f"  {stage} is {'there already' if found == THERE else f'taken over from {found}'}")
        return bool(found)

    def _name(self, number: int) -> str:
        return round_name(number) if number else START

    @property
    def _lora(self) -> Lora | None:
        return self._recipe.lora if self._recipe.lora.rank else None

    def _schedule(self, stage: SftSettings | Training, **falls: float) -> Schedule:
        training = self._recipe.training
        return Schedule(
            epochs=stage.epochs,
            batch_tasks=stage.batch_tasks,
            learning_rate=stage.learning_rate,
            warmup_steps=stage.warmup_steps,
            weight_decay=training.weight_decay,
            max_gradient_norm=training.max_gradient_norm,
            micro_batch_tokens=training.micro_batch_tokens,
            skip_not_finite=training.skip_not_finite,
            adam_betas=training.adam_betas,
            precision=training.precision,
            dropout=training.dropout,
            recompute_activations=training.recompute_activations,
            **falls,
        )

    def _model(self, number: int) -> LanguageModel:
        """The model after round `number`, from memory where it was just trained."""
        name = self._name(number)
        if self._in_memory is None or self._in_memory[0] != name:
            settings = self._recipe.model
            self._in_memory = (name, language_model.load(self._model_path(number), settings.dtype, self._recipe.run.device))
        return self._in_memory[1]

    def _model_path(self, number: int) -> str | Path:
        stage = self._model_before(number + 1)
        return self._folder.path / stage if stage else self._recipe.model.path

    def _model_before(self, number: int) -> str:
        """The stage that made the model from which round `number` starts; empty where it is the model as it came."""
        is_own = number > 1 or self._recipe.sft.epochs > 0
        return f"{self._name(number - 1)}/model" if is_own else ""

    def _train(self, name: str, inputs: Inputs, order: Order, model: LanguageModel) -> None:
        steps = order.schedule.steps(len(order.examples))
        stage, bar = self._folder.stage(f"{name}/model", inputs), self._screen.bars(("trained", steps, "steps"))
        with stage as folder, bar as [on_step], journal(folder / UNFINISHED / "steps.jsonl") as lines:
            metrics = {int(step["step"]): step for step in lines.earlier}
            try:
                for step in self._crew.carry_out(order, model, self._checkpoints(folder)):
                    metrics[int(step["step"])] = step
                    lines.add(step)
                    on_step(note_of_step(step))
                    self._track(name, int(step["step"]), step)
            except TrainingError as error:
                kept = f"run.take_over={self._folder.path} keeps the stages before it"
                raise TrainingError(f"{name}/model, {error}; {kept}") from error
            if order.lora:
                lora.merge(model, folder / "adapter")
            model.save(folder)
            write_lines(folder / "steps.jsonl", [metrics[number] for number in range(steps)])
        self._in_memory = (name, model)

    def _track(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(stage, step, numbers)

    def _checkpoints(self, folder: Path) -> Checkpoints:
        run = self._recipe.run
        path = folder / UNFINISHED / "checkpoint.pt"
        return Checkpoints(path=path, every_ms=run.checkpoint_ms, every_steps=run.checkpoint_steps)

    def _problems_of(self, number: int) -> dict[str, Problem]:
        return {p.task_id: p for p in tasks.share(self.parts.train, number, self._recipe.training.rounds)}

    def _outcomes(
        self,
        stage: str,
        number: int,
        problems: Mapping[str, Problem],
        temperatures: Sequence[float],
        progress: Progress,
        open_scorer: OpenScorer | None = None,
    ) -> list[Outcome]:
        requests = requests_for(problems, self._prompt, temperatures, stage)
        sampler = self._samplers.of_model(self._model_path(number), lambda: self._model(number), stage)
        return self._execute(sampler, requests, problems, progress, open_scorer)

    def _execute(
        self,
        sampler: Sampler,
        requests: Sequence[Request],
        problems: Mapping[str, Problem],
        progress: Progress,
        open_scorer: OpenScorer | None = None,
    ) -> list[Outcome]:
        bars = ("sampled", len(requests), "candidates"), ("executed", len(requests), "programs")
        engine = self._recipe.engine
        there = len(progress.candidates), len(progress.outcomes)
        with self._screen.bars(*bars, there=there) as [on_sampled, executed]:

            def on_executed() -> None:
                executed(note_of_verdicts(progress.verdicts))

            return sample_and_execute(
                sampler, requests, problems, self._connect, engine, on_sampled, on_executed, progress, open_scorer
            )

    def _taught(self, number: int) -> list[Outcome]:
        """What teachers answered to the round's tasks."""
        gold = self._folder.path / "tasks" / "gold.jsonl"
        answers = self._folder.path / round_name(number) / "teacher" / "outcomes.jsonl"
        return [
            *(read_outcomes(gold) if self._recipe.teacher.gold else []),
            *(read_outcomes(answers) if self._teachers.answers else []),
        ]

    def _rank(self, problems: Mapping[str, Problem], outcomes: Sequence[Outcome]) -> list[RankedTask]:
        by_task: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            by_task[outcome.candidate.task_id].append(outcome)
        ranked = [ranking.rank(name, self._prompt(p), by_task[name], self._recipe.scoring) for name, p in problems.items()]
        return [task for task in ranked if task is not None]
