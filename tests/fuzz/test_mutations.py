"""What honest processes write, with bytes changed, cut out, put in and doubled: every way of reading it stays total."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.reading import READERS, seeds

SEEDS = list(seeds())
TOKENS = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"null",
    b"1e999",
    b"NaN",
    b"-",
    b"\\ud800",
    b"9" * 5000,
    b"[0]",
    b'"rows":',
    b"\xff",
    b"\n",
]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[int, bytes]:
    """A reader, and a seed of its with up to eight changes."""
    reader, said = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(said)))
        end = min(len(said), at + draw(st.integers(0, 20)))
        between = draw(st.binary(max_size=4) | st.sampled_from(TOKENS) | st.just(said[at:end] * 2))
        said = said[:at] + between + said[end:]
    return reader, said


def test_what_honest_processes_write_is_read():
    for reader, said in SEEDS:
        READERS[reader](said)


@settings(max_examples=1_000, deadline=None)
@given(mutated())
def test_whatever_a_hostile_one_writes_is_read(case):
    """There is a report or a refusal, and nothing passes that nobody could have computed."""
    reader, said = case
    READERS[reader](said)
