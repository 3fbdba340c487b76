"""Small made-up worlds: texts and questions that the project owns.

A world is a table of facts, with many ways to state and to ask for each. `documents`
writes texts to train a small model on, `questions` asks with four choices. Both repeat
exactly from a seed, and their splits share no question. `checkpoint` is the folder of a
model that was trained on them. Needs the standard library alone.
"""

from __future__ import annotations

from emo_prune.worlds.checkpoint import checkpoint
from emo_prune.worlds.documents import document, documents
from emo_prune.worlds.question import Question
from emo_prune.worlds.question_file import write_questions
from emo_prune.worlds.questions import count_questions, questions
from emo_prune.worlds.splits import SPLITS, Split, split_of
from emo_prune.worlds.table import WORLDS, find_world
from emo_prune.worlds.world import World

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
