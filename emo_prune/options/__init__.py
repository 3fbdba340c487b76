"""Every option of every verb, declared once.

`declare` is how, `groups` are those that several verbs share, `verbs` has a dataclass
for each verb. The command line makes its flags of them, `emo_prune.select(...)` and its
like their parameters.
"""

from emo_prune.options.declare import (
    Declared,
    Options,
    Verb,
    declared,
    option,
    several,
    verb,
)
from emo_prune.options.groups import (
    BudgetOptions,
    CalibrationOptions,
    ChoiceOptions,
    PlacementOptions,
    PromptOptions,
    RemoteOptions,
    ScoringOptions,
    StreamOptions,
    needed_model,
)
from emo_prune.options.values import number_of_examples
from emo_prune.options.verbs import (
    CarveOptions,
    EvaluateOptions,
    ExportAllOptions,
    ExportOptions,
    ExtractOptions,
    InspectOptions,
    PretrainOptions,
    QuickstartOptions,
    ReportOptions,
    ReselectOptions,
    RestoreOptions,
    SelectOptions,
    SweepOptions,
    VerifyOptions,
)

__all__ = [
    "BudgetOptions",
    "CalibrationOptions",
    "CarveOptions",
    "ChoiceOptions",
    "Declared",
    "EvaluateOptions",
    "ExportAllOptions",
    "ExportOptions",
    "ExtractOptions",
    "InspectOptions",
    "Options",
    "PlacementOptions",
    "PretrainOptions",
    "PromptOptions",
    "QuickstartOptions",
    "RemoteOptions",
    "ReportOptions",
    "ReselectOptions",
    "RestoreOptions",
    "ScoringOptions",
    "SelectOptions",
    "StreamOptions",
    "SweepOptions",
    "Verb",
    "VerifyOptions",
    "declared",
    "needed_model",
    "number_of_examples",
    "option",
    "several",
    "verb",
]
