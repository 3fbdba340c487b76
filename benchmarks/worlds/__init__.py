"""Small made-up worlds: texts and questions that the project owns.

A world is a table of facts, with many ways to state and to ask for each. `documents`
writes texts to train a small model on, `questions` asks with four choices. Both repeat
exactly from a seed, and their splits share no question. `checkpoint` is the folder of a
model that was trained on them. Import it from the repository's root.
"""

from __future__ import annotations

from benchmarks.worlds.checkpoint import checkpoint
from benchmarks.worlds.documents import document, documents
from benchmarks.worlds.question import Question, write_questions
from benchmarks.worlds.questions import count_questions, questions
from benchmarks.worlds.splits import SPLITS, Split, split_of
from benchmarks.worlds.table import WORLDS, find_world
from benchmarks.worlds.world import World

__all__ = [
    "SPLITS",
    "WORLDS",
    "Question",
    "Split",
    "World",
    "checkpoint",
    "count_questions",
    "document",
    "documents",
    "find_world",
    "questions",
    "split_of",
    "write_questions",
]
