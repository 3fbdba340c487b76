"""The categories of MMLU (17) and MMLU-Pro (14), as the EMO authors group them.

A category's accuracy is over its questions, so its subjects weigh by their size. The
headline is the unweighted mean over all categories but `other`: 16, or 13.
"""

from __future__ import annotations

MMLU_CATEGORIES: dict[str, tuple[str, ...]] = {
    "biology": ("college_biology", "high_school_biology"),
    "business": ("business_ethics", "management", "marketing"),
    "chemistry": ("college_chemistry", "high_school_chemistry"),
    "computer_science": (
        "college_computer_science",
        "computer_security",
        "high_school_computer_science",
        "machine_learning",
    ),
    "culture": ("human_sexuality", "sociology"),
    "economics": (
        "econometrics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
    ),
    "engineering": ("electrical_engineering",),
    "geography": ("high_school_geography",),
    "health": (
        "anatomy",
        "clinical_knowledge",
        "college_medicine",
        "human_aging",
        "medical_genetics",
        "nutrition",
        "professional_medicine",
        "virology",
    ),
    "history": (
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "prehistory",
    ),
    "law": ("international_law", "jurisprudence", "professional_law"),
    "math": (
        "abstract_algebra",
        "college_mathematics",
        "elementary_mathematics",
        "high_school_mathematics",
        "high_school_statistics",
    ),
    "other": ("global_facts", "miscellaneous", "professional_accounting"),
    "philosophy": (
        "formal_logic",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "world_religions",
    ),
    "physics": (
        "astronomy",
        "college_physics",
        "conceptual_physics",
        "high_school_physics",
    ),
    "politics": (
        "high_school_government_and_politics",
        "public_relations",
        "security_studies",
        "us_foreign_policy",
    ),
    "psychology": ("high_school_psychology", "professional_psychology"),
}
"""Category to subjects; "philosophy" is the authors' `philosophy_cat`."""

MMLU_PRO_CATEGORIES: tuple[str, ...] = (
    "biology",
    "business",
    "chemistry",
    "computer_science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
)
"""The data write "computer science"; everywhere else here it is one word."""

OUTSIDE_THE_HEADLINE = "other"
