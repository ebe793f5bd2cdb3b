"""What a report is about."""

from __future__ import annotations

from dataclasses import dataclass, replace

from analysis.cells import Parameter, parameters
from analysis.compare import Question, check_metrics
from scenarios.store import Results


@dataclass(frozen=True)
class Subject:
    """An experiment, and what is asked of it.

    Attributes
    ----------
    results : Results
        The experiment.
    question : Question, optional
        What is compared with what; none where no list is swept.
    metrics : tuple of str
        Columns of the rounds table, the one that matters most first.
    """

    results: Results
    question: Question | None
    metrics: tuple[str, ...]

    @classmethod
    def of(cls, results: Results, question: Question | None, metrics: tuple[str, ...] = ()) -> Subject:
        """An experiment with the metrics of a question, or those asked for, or its scenario's."""
        return cls(results, question, check_metrics(results, metrics) if question is None else question.metrics)

    @property
    def by(self) -> Parameter | None:
        """The parameter that is compared, with the values that have finished runs."""
        if self.question is None:
            return None
        parameter = parameters(self.results.experiment)[self.question.by]
        done = set(self.results.plan.loc[self.results.plan["status"] == "done", parameter.name])
        return replace(parameter, levels=tuple(value for value in parameter.levels if value in done))

    @property
    def others(self) -> list[Parameter]:
        """Other lists of several values, of zipped ones the first."""
        compared = () if self.by is None else self.by.together
        lists = [p for p in parameters(self.results.experiment).values() if len(p.levels) > 1]
        first = {p.together: p for p in reversed(lists) if p.name not in compared}
        return list(first.values())[::-1]

    @property
    def ranges(self) -> list[Parameter]:
        """Parameters that are sampled from ranges."""
        return [parameter for parameter in parameters(self.results.experiment).values() if parameter.is_range]
