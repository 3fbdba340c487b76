"""An evaluation in memory: results, what was lost against a baseline, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from emo_prune.artifacts import data_frame, html_table
from emo_prune.errors import Parameter, SettingsError
from emo_prune.evaluation.compare import Flip, compare, flips
from emo_prune.evaluation.figures import against_controls, rows, titles
from emo_prune.evaluation.gates import Gates, gate_line, gate_outcome, judge
from emo_prune.evaluation.results import Comparison, Control, Results, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one evaluation came to.

    results: the document, with the comparison and the gates that were judged. flips:
    the questions that only one of model and baseline has right. file: where the results
    were written; None if they were not.
    """

    results: Results
    flips: tuple[Flip, ...] = ()
    file: Path | None = None

    @property
    def comparison(self) -> Comparison | None:
        """The results against the baseline's, if there was one."""
        return self.results.comparison or None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """A verdict for each gate that was set."""
        return self.results.gates or ()

    def against(
        self, baseline: Results, controls: tuple[Control, ...] = ()
    ) -> Evaluation:
        """Return the same, compared with a baseline on the same questions.

        Raises:
            EvaluationError: the two answered other prompts.
        """
        comparison = msgspec.structs.replace(
            compare(self.results, baseline), controls=controls
        )
        return replace(
            self,
            results=msgspec.structs.replace(self.results, comparison=comparison),
            flips=flips(self.results, baseline),
        )

    def judged(self, gates: Gates) -> Evaluation:
        """Return the same with a verdict for each gate; none without a baseline.

        Raises:
            EvaluationError: the figure is none that a gate can judge.
        """
        if self.comparison is None or not gates.any:
            return self
        verdicts = judge(self.comparison, gates)
        return replace(
            self, results=msgspec.structs.replace(self.results, gates=verdicts)
        )

    def save(self, path: str | Path | None = None) -> Path:
        """Write results.json, by default where it was written; return its path.

        Raises:
            SettingsError: no place is known.
            NotEnoughDisk, ExportError: the disk is full, or it cannot be written.
        """
        file = path or self.file
        if file is None:
            raise SettingsError(
                "there is no place for the results",
                where=Parameter("path"),
                expected="a file",
                hint=("give one: ", Parameter("path", "results.json")),
            )
        return self.results.save(file)

    def to_pandas(self) -> DataFrame:
        """Return a line for each category: its figures, and those of its difference.

        Raises:
            ReportError: pandas is not installed.
        """
        comparison = self.comparison
        known = {} if comparison is None else {d.name: d for d in comparison.categories}
        lines = []
        for category in self.results.categories:
            line: dict[str, object] = category.to_dict()
            if found := known.get(category.name):
                line |= {
                    "baseline": found.baseline,
                    "difference": found.difference,
                    "low": found.interval[0] if found.interval else None,
                    "high": found.interval[1] if found.interval else None,
                    "recovery": found.recovery,
                    "lost": found.lost,
                    "won": found.won,
                    "mcnemar_p": found.mcnemar_p,
                }
            lines.append(line)
        return data_frame(lines)

    def __repr__(self) -> str:
        said = [repr(self.results)[len("Results(") : -1]]
        if comparison := self.comparison:
            head = comparison.headline
            said.append(
                f"{head.difference:+.2f} {comparison.unit} against "
                f"{comparison.baseline}"
            )
        said += (f"{one.gate} {gate_outcome(one)}" for one in self.verdicts)
        return f"Evaluation({', '.join(said)})"

    def _repr_html_(self) -> str:
        import html

        body = [(row.name, *row.cells) for row in rows(self.results)]
        said = [*map(gate_line, self.verdicts)]
        if self.comparison is not None:
            said += against_controls(self.comparison)
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in said)
        return html_table(titles(self.results), body) + lines
