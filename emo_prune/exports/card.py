"""The model card of an export."""

from __future__ import annotations

from emo_prune.exports.formats import find_format
from emo_prune.exports.record import ExportRecord


def model_card(record: ExportRecord, *, has_source_card: bool) -> str:
    """Return README.md for an export: what it is, what was kept, how it was chosen."""
    selection = record.selection
    model, calibration = selection.model, selection.calibration
    kept, total = selection.budget.num_experts, model.num_experts
    layout = find_format(record.layout)
    front_matter = [
        "---",
        "library_name: transformers",
        "tags:",
        "- emo-prune",
        "- moe",
    ]
    if "/" in model.name:
        front_matter.append(f"base_model: {model.name}")
    front_matter.append("---")
    lines = [
        *front_matter,
        "",
        f"# {model.name}, {kept} of {total} experts",
        "",
        f"The part of `{model.name}` that the task `{calibration.task}` uses: "
        f"{kept} of {total} experts in each layer, "
        f"{record.num_bytes / 1e9:.2f} GB of {record.source_bytes / 1e9:.2f} GB. "
        f"No weight was changed{layout.changes}. {layout.card_line(model.model_type)}",
        "",
        "Outside that task, expect it to be worse than the model it comes from.",
        "",
        "| | |",
        "|---|---|",
        f"| source | `{model.name}`, revision `{model.revision or 'unknown'}` |",
        f"| source fingerprint | `{model.fingerprint}` |",
        f"| chosen by | {selection.method.score}"
        + (", layer by layer (greedy)" if selection.method.greedy else "")
        + " |",
        f"| chosen on | {calibration.num_examples} examples of "
        f"`{calibration.task}`, {calibration.num_tokens:,} tokens |",
        f"| experts per token | {selection.top_k} |",
        "",
        "Share of the routing that the kept experts held on those examples:",
        "",
        "| layer | top-k picks | probability |",
        "|---|---|---|",
        *(
            f"| {row.layer} | {row.retained_picks:.1%} | {row.retained_mass:.1%} |"
            for row in selection.layers
        ),
        "",
        "Made with emo-prune; `emo_prune.json` holds the whole record.",
    ]
    if has_source_card:
        lines.append("The card of the source is in `README.source.md`.")
    return "\n".join(lines) + "\n"
