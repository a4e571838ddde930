"""A family of programming tasks that is generated, in the fields of HumanEval.

A task is a pipeline of two or three primitives (trainer.primitives): the docstring says them in words, in one of several
orders of telling, and the canonical solution has one line for each. A *combination* is the set of primitives of a task.
Combinations are dealt to the parts (start, train, held_out), so no set of primitives of a held-out task occurs in another part:
whoever solves it has composed what it saw.

A drawn task is kept only if its tests bite: the outputs differ from test to test, are not simply the inputs, and leaving out
any one of the steps changes some output. Expected values come from running the pipeline on the test inputs; only programs from
the table of primitives run here, never a candidate.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.primitives import PRIMITIVES, Kind, Primitive

ENTRY_POINT = "solve"
_TESTS_PER_TASK = 6
_LONGEST_OUTPUT = 160
_FRAMES: Mapping[int, tuple[str, ...]] = {
    2: ("{0}, then {1}.", "First {0}. Then {1}.", "Before you {1}, {0}.", "Return what you get when you {0} and {1}."),
    3: (
        "{0}, then {1}, then {2}.",
        "First {0}. Then {1}. Finally {2}.",
        "Before you {2}, {0} and {1}.",
        "After you {0}, {1}, and in the end {2}.",
        "As the last step {2}, but before that {0}, then {1}.",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One primitive with its number and the phrase chosen for it."""

    primitive: Primitive
    k: int
    phrase: int

    @property
    def words(self) -> str:
        return self.primitive.phrases[self.phrase].format(k=self.k)

    @property
    def expression(self) -> str:
        return self.primitive.expression.replace("{k}", str(self.k))


def combination(steps: Sequence[Step]) -> tuple[str, ...]:
    """The set of primitives, as sorted names: what is dealt to the parts."""
    return tuple(sorted(step.primitive.name for step in steps))


def generate(counts: Mapping[str, int], seed: int) -> list[dict[str, str]]:
    """Tasks in HumanEval's fields plus `part`; `counts` says how many each part gets.

    The same counts and seed give the same tasks. Parts share primitives and never a combination.
    """
    rng = random.Random(seed)
    part_of: dict[tuple[str, ...], str] = {}
    missing = dict(counts)
    tasks: list[dict[str, str]] = []
    prompts: set[str] = set()
    while any(missing.values()):
        steps = _draw_pipeline(rng)
        part = part_of.setdefault(combination(steps), _draw_part(counts, rng))
        task = _write_task(steps, rng) if missing[part] > 0 else None
        if task is None or task["prompt"] in prompts:
            continue
        prompts.add(task["prompt"])
        missing[part] -= 1
        tasks.append({"task_id": f"{part}/{counts[part] - missing[part]}", "part": part, **task})
    return tasks


def _draw_part(counts: Mapping[str, int], rng: random.Random) -> str:
    parts = list(counts)
    return rng.choices(parts, weights=[counts[part] for part in parts])[0]


def _draw_pipeline(rng: random.Random) -> tuple[Step, ...]:
    length = rng.choice((2, 3, 3))
    kind = rng.choice((Kind.NUMBERS, Kind.NUMBERS, Kind.TEXT, Kind.TEXT, Kind.NUMBER))
    steps: list[Step] = []
    for _ in range(length):
        names = {step.primitive.name for step in steps}
        choice = rng.choice([p for p in PRIMITIVES if p.takes is kind and p.name not in names])
        steps.append(Step(primitive=choice, k=rng.choice(choice.values_of_k or (0,)), phrase=rng.randrange(len(choice.phrases))))
        kind = choice.gives
    return tuple(steps)


def _write_task(steps: Sequence[Step], rng: random.Random) -> dict[str, str] | None:
    """The task of a pipeline, or None where no fair tests for it were drawn."""
    source = steps[0].primitive.takes
    inputs = [_draw_input(source, rng) for _ in range(_TESTS_PER_TASK)]
    outputs = _run(steps, source, inputs)
    if not _tests_bite(steps, source, inputs, outputs):
        return None
    asserts = "".join(f"    assert candidate({given!r}) == {wanted!r}\n" for given, wanted in zip(inputs, outputs, strict=True))
    frame = rng.choice(_FRAMES[len(steps)])
    words = frame.format(*(step.words for step in steps))
    return {
        "prompt": f'def {ENTRY_POINT}({source.value}):\n    """{words[0].upper()}{words[1:]}"""\n',
        "entry_point": ENTRY_POINT,
        "canonical_solution": write_body(steps),
        "test": f"def check(candidate):\n{asserts}",
    }


def write_body(steps: Sequence[Step]) -> str:
    """The body of the function: a line for each step."""
    *before, last = steps
    lines = [f"    {step.primitive.gives.value} = {step.expression}\n" for step in before]
    return "".join([*lines, f"    return {last.expression}\n"])


def _draw_input(kind: Kind, rng: random.Random) -> object:
    if kind is Kind.NUMBER:
        return rng.randint(-300, 999)
    if kind is Kind.NUMBERS:
        numbers = [rng.randint(-12, 20) for _ in range(rng.randint(6, 12))]
        return numbers + rng.sample(numbers, 2)
    return " ".join(_draw_word(rng) for _ in range(rng.randint(3, 6)))


def _draw_word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdeiorstuABEMT", k=rng.randint(1, 8))) + rng.choice(("", "", "7", "3"))


def _run(steps: Sequence[Step], source: Kind, inputs: Sequence[object]) -> list[object]:
    space: dict[str, object] = {}
    exec(f"def {ENTRY_POINT}({source.value}):\n{write_body(steps)}", space)  # noqa: S102  # the table's own text, never a candidate
    solve = space[ENTRY_POINT]
    assert callable(solve)
    return [solve(given) for given in inputs]


def _tests_bite(steps: Sequence[Step], source: Kind, inputs: Sequence[object], outputs: Sequence[object]) -> bool:
    texts = [repr(output) for output in outputs]
    if len(set(texts)) < _TESTS_PER_TASK // 2 or max(map(len, texts)) > _LONGEST_OUTPUT:
        return False
    without = [[step for step in steps if step is not left_out] for left_out in steps]
    fitting = [rest for rest in without if rest and _kinds_meet(rest, source)]
    return list(inputs) != list(outputs) and all(_run(rest, source, inputs) != list(outputs) for rest in fitting)


def _kinds_meet(steps: Sequence[Step], source: Kind) -> bool:
    kinds = [source, *(step.primitive.gives for step in steps)]
    return all(step.primitive.takes is kind for step, kind in zip(steps, kinds, strict=False))
