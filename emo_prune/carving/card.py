"""The model card of a carved checkpoint."""

from __future__ import annotations

from emo_prune.carving.record import CarvingRecord


def carving_card(record: CarvingRecord, *, has_source_card: bool) -> str:
    """Return README.md for a carved checkpoint: what it is and how it was made."""
    name = record.model["name"]
    front_matter = ["---", "library_name: transformers", "tags:", "- emo-prune"]
    front_matter += ["- moe", "- emoe"]
    if "/" in name:
        front_matter.append(f"base_model: {name}")
    carved = f"{len(record.layers)} of {record.num_layers}"
    lines = [
        *front_matter,
        "---",
        "",
        f"# {name}, carved into {record.num_experts} experts",
        "",
        f"`{name}` with the feed-forward layers of {carved} layers carved into "
        f"{record.num_experts} experts of {record.expert_size} neurons, after EMoE "
        "(arXiv 2310.10908). No weight was changed and none was added: a token picks "
        f"{record.top_k} experts by the mean of their own keys. With "
        f"{record.num_experts} it is the dense model.",
        "",
        "Load it with transformers; `import emo_prune` first, which registers the "
        "`emoe` architecture.",
        "",
        "| | |",
        "|---|---|",
        f"| source | `{name}`, revision `{record.model['revision'] or 'unknown'}` |",
        f"| source fingerprint | `{record.model['fingerprint']}` |",
        f"| neurons grouped by | {record.method}, seed {record.seed} |",
        f"| experts scored by | {record.gate_source} |",
        f"| parameters | {record.num_parameters:,} |",
        f"| parameters of the source | {record.dense_num_parameters:,} |",
        f"| carved layers | {', '.join(str(one.layer) for one in record.layers)} |",
        "",
        "Made with emo-prune; `carving.json` holds the whole record.",
    ]
    if has_source_card:
        lines.append("The card of the source is in `README.source.md`.")
    return "\n".join(lines) + "\n"
