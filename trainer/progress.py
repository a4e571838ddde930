"""What is done of a stage that samples and executes: in memory, and where there is a journal, in lines that outlive the process.

{"sampled": candidate}      as the sampler gave it
{"executed": outcome}       with the candidate as it was executed
{"scored": [id, score]}     by a teacher; null where it gave none
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from engine.client import Verdict
from trainer.journal import Journal
from trainer.ranking import NO_VERDICT
from trainer.records import Candidate, Outcome, read_outcome


class Progress:
    """`sampled` may be called from any thread."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self.candidates: dict[str, Candidate] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.verdicts: Counter[str] = Counter()
        self.scores: dict[str, float | None] = {}
        for line in journal.earlier if journal else ():
            if "sampled" in line:
                candidate = Candidate(**line["sampled"])
                self.candidates[candidate.id] = candidate
            elif "scored" in line:
                name, score = line["scored"]
                self.scores[name] = score
            else:
                outcome = read_outcome(line["executed"])
                self.outcomes[outcome.candidate.id] = outcome
                self.verdicts[outcome.verdict] += 1

    def sampled(self, candidate: Candidate) -> None:
        self.candidates[candidate.id] = candidate
        if self._journal:
            self._journal.add({"sampled": asdict(candidate)})

    def executed(self, outcome: Outcome) -> None:
        self.outcomes[outcome.candidate.id] = outcome
        self.verdicts[outcome.verdict] += 1
        if self._journal and Verdict(outcome.verdict) not in NO_VERDICT:  # what the engine failed at is tried again
            self._journal.add({"executed": asdict(outcome)})

    def scored(self, name: str, score: float | None) -> None:
        self.scores[name] = score
        if self._journal:
            self._journal.add({"scored": [name, score]})

    def unexecuted(self, names: Iterable[str]) -> list[Candidate]:
        """Those of these candidates that were sampled, and not executed."""
        return [self.candidates[name] for name in names if name in self.candidates and name not in self.outcomes]
