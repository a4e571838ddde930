"""Teacher scores: likelihood by a real model, a judge behind a real server, and both while candidates are executed."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch

from engine.client import Job, Problem, Verdict
from tests.trainer import small
from tests.trainer.fakes import FakeExecutor, problem
from tests.trainer.sampling.completions_server import CompletionsServer, Failure, serving
from trainer.errors import SamplerError
from trainer.execution import sample_and_execute
from trainer.journal import journal
from trainer.progress import Progress
from trainer.recipe import Engine
from trainer.records import Candidate, Outcome, Request, read_lines, write_lines
from trainer.sampling.sampler import Emit
from trainer.servers import Servers
from trainer.teachers.judge import Judge, parse, question
from trainer.teachers.likelihood import Likelihood
from trainer.teachers.settings import Teacher

MODEL = small.model()
TASK = problem("t")


@pytest.fixture
def server() -> Iterator[CompletionsServer]:
    with serving(CompletionsServer(MODEL, says="It is short. Score: 7")) as found:
        yield found


def judge(server: CompletionsServer, completion: str = "    return x\n") -> float | None:
    async def judging() -> float | None:
        settings = Teacher(addresses=(server.address,), score="judge")
        async with Servers(settings, "teacher") as servers:
            return await Judge(servers, "tiny", settings).score(TASK, completion)

    return asyncio.run(judging())


def test_likelihood_is_the_geometric_mean_of_the_tokens_probabilities() -> None:
    """Computed token by token here."""
    completion = "    return x\n"
    prompt, response = MODEL.prompt_ids(TASK.prompt), MODEL.response_ids(completion)
    ids = [*prompt, *response]
    with torch.no_grad():
        probabilities = MODEL.network(input_ids=torch.tensor([ids])).logits[0].softmax(-1)
    of_tokens = [probabilities[len(prompt) + n - 1, token] for n, token in enumerate(response)]
    wanted = torch.stack(of_tokens).prod() ** (1 / len(response))
    found = asyncio.run(Likelihood(MODEL, lambda task: task.prompt).score(TASK, completion))
    assert found == pytest.approx(float(wanted), rel=1e-4)


def test_a_long_program_is_not_less_likely_for_its_length() -> None:
    """Of a model that finds all tokens equally likely, every program has the same score."""
    uniform = small.model(3)
    with torch.no_grad():
        for weights in uniform.network.parameters():
            weights.zero_()
    teacher = Likelihood(uniform, lambda task: task.prompt)
    short, long = (asyncio.run(teacher.score(TASK, "    return x\n" * n)) for n in (1, 8))
    assert short == pytest.approx(long)
    assert short == pytest.approx(1 / uniform.network.config.vocab_size)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Score: 7", 0.7),
        ("score is 7.5/10", 0.75),
        ("**Score:** 10", 1.0),
        ("First I thought score 2, but it is correct.\nScore: 9\n", 0.9),
        ("8", 0.8),
        (" 8.\n", 0.8),
        ("Score (0-10): 8", 0.8),
        ("**Score (0 to 10):** 8", 0.8),
        ("Score (out of 10): 8", 0.8),
        ("Score: 8 out of 10", 0.8),
        ("I would give it a score of 8", 0.8),
        ("8/10", 0.8),
        ("**8**", 0.8),
        ("It is right. Overall: 8 / 10.", 0.8),
        ("On a scale from 0 to 10, I'd rate it 8.5.", 0.85),
        ("Rating: 8", 0.8),
        ("Score: 7. I rate its style 3.", 0.7),
        ("Score: 7-8", None),
        ("Score: 7 or 8", None),
        ("Score: 7,5", None),
        ("Score: 8/100", None),
        ("Score: 8%", None),
        ("Score (0-5): 4", None),
        ("Score 2? No. Score: 40 out of 100", None),
        ("Style 8/10, speed 5/10", None),
        ("Score: 11", None),
        ("Score: -1", None),
        ("It has 3 lines and is good.", None),
        ("", None),
    ],
)
def test_a_judges_number_is_found(answer: str, wanted: float | None) -> None:
    """As a share of the best; what is no score is none."""
    assert parse(answer, 10) == pytest.approx(wanted)


def test_a_judge_reads_rubric_task_and_program(server: CompletionsServer) -> None:
    """In one message."""
    assert judge(server) == 0.7
    [body] = server.requests
    content = body["messages"][0]["content"]
    assert content == question(TASK, "    return x\n", Teacher(addresses=(server.address,), score="judge"))
    assert "from 0 to 10" in content
    assert "def solve(x):\n    return x\n" in content


def test_a_judge_without_a_number_is_asked_once_more_and_then_gives_no_score(server: CompletionsServer) -> None:
    """The second time with some chance, since the first answer would come again."""
    server.says = "I like it."
    assert judge(server) is None
    assert [body["temperature"] > 0 for body in server.requests] == [False, True]


def test_a_judge_that_throttles_scores_in_the_end(server: CompletionsServer) -> None:
    """After the rest that it asks for."""
    server.failures.extend([Failure(status=429, headers={"Retry-After": "0"})] * 3)
    assert judge(server) == 0.7


def test_what_a_judge_refuses_to_read_has_no_score(server: CompletionsServer) -> None:
    """Which is not a score of 0."""
    server.failures.append(Failure(status=400, message="too long"))
    assert judge(server) is None


def test_a_judge_that_nobody_may_ask_ends_the_run(server: CompletionsServer) -> None:
    """A wrong key is not the candidates' fault."""
    server.failures.append(Failure(status=401, message="wrong key"))
    with pytest.raises(SamplerError, match="answers 401: wrong key"):
        judge(server)


class EchoSampler:
    """Each request's code is its id; those of one task are all alike."""

    def sample(self, requests: Sequence[Request], emit: Emit, stop: threading.Event) -> None:
        for request in requests:
            code = f"return {request.task_id}"
            cut_off = request.id.endswith("2")
            emit(
                Candidate(
                    id=request.id, task_id=request.task_id, completion=code, temperature=1, seed=0, tokens=1, truncated=cut_off
                )
            )


class FakeScorer:
    """Scores by a function, and remembers what it was asked."""

    workers = 2

    def __init__(self, score_of: Callable[[str], Awaitable[float | None]]) -> None:
        self._score_of = score_of
        self.asked: list[str] = []

    async def score(self, problem: Problem, completion: str) -> float | None:
        self.asked.append(problem.task_id)
        return await self._score_of(problem.task_id)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["FakeScorer"]:
        yield self


PROBLEMS = {name: problem(name) for name in ("a", "b")}
REQUESTS = [Request(id=f"r/samples/{name}/{n}", task_id=name, prompt="", temperature=1.0) for name in PROBLEMS for n in range(3)]


async def of_task(task_id: str) -> float | None:
    return 0.25 if task_id == "a" else None


def outcomes(scorer: FakeScorer, executor: FakeExecutor | None = None, progress: Progress | None = None) -> list[Outcome]:
    connect = (executor or FakeExecutor(lambda _: Verdict.PASSED)).connect
    return sample_and_execute(EchoSampler(), REQUESTS, PROBLEMS, connect, Engine(), progress=progress, open_scorer=scorer.opened)


def test_every_candidate_that_is_whole_has_its_teacher_score() -> None:
    """None where the teacher gave none, and where the candidate was cut off."""
    assert [outcome.teacher_score for outcome in outcomes(FakeScorer(of_task))] == [0.25, 0.25, None, None, None, None]


def test_equal_code_is_scored_once() -> None:
    """A judge costs money."""
    scorer = FakeScorer(of_task)
    outcomes(scorer)
    assert sorted(scorer.asked) == ["a", "b"]


def test_what_was_scored_before_an_interruption_is_not_scored_again(tmp_path: Path) -> None:
    """Nor executed; candidates that were executed and not scored are."""
    with journal(tmp_path / "progress.jsonl") as lines:
        first = outcomes(FakeScorer(of_task), progress=Progress(lines))
    kept = [line for line in read_lines(tmp_path / "progress.jsonl") if line.get("scored", [""])[0] != "r/samples/b/0"]
    write_lines(tmp_path / "progress.jsonl", kept)
    scorer, executor = FakeScorer(of_task), FakeExecutor(lambda _: Verdict.PASSED)
    with journal(tmp_path / "progress.jsonl") as lines:
        assert outcomes(scorer, executor, Progress(lines)) == first
    assert (scorer.asked, executor.ids) == (["b"], [])


def test_scoring_overlaps_with_execution() -> None:
    """The engine gets every job while the teacher has not given a single score."""
    came: list[str] = []
    all_are_there = asyncio.Event()

    def take(job: Job) -> Verdict:
        came.append(job.id)
        if len(came) == len(REQUESTS):
            all_are_there.set()
        return Verdict.PASSED

    async def once_all_are_there(_: str) -> float | None:
        await all_are_there.wait()
        return 0.5

    assert [o.teacher_score for o in outcomes(FakeScorer(once_all_are_there), FakeExecutor(take))][:2] == [0.5, 0.5]


def test_a_teacher_that_breaks_ends_the_stage_with_its_error() -> None:
    """And leaves nobody waiting."""

    async def broken(_: str) -> float | None:
        raise SamplerError("the judge is gone")

    with pytest.raises(SamplerError, match="the judge is gone"):
        outcomes(FakeScorer(broken))
