"""A dataset of the Hub as a source of documents, read as a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emo_prune.pretraining.rows import Document, bad_corpus, document_of
from emo_prune.pretraining.sources import Tally
from emo_prune.tasks import quiet

_NAME = re.compile(
    r"(?P<path>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<split>\w+))?"
)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its name; whatever it holds when it is read counts."""

    path: str
    config: str | None
    split: str

    @classmethod
    def named(cls, source: str) -> Dataset | None:
        """Return the dataset that NAME, NAME:CONFIG or NAME@SPLIT means, if one."""
        match = _NAME.fullmatch(source)
        if match is None or source.startswith("."):
            return None
        return cls(match["path"], match["config"], match["split"] or "train")

    @property
    def name(self) -> str:
        """Name, configuration and split, as `named` takes them."""
        config = f":{self.config}" if self.config else ""
        return f"{self.path}{config}@{self.split}"

    def identity(self) -> list[Any]:
        """Return name, configuration and split: a change on the Hub goes unseen."""
        return [self.path, self.config, self.split]

    def size(self) -> int:
        """Return 0: a stream does not say how long it is."""
        return 0

    def documents(self, tally: Tally) -> Iterator[Document]:
        """Yield the documents of the column `text`, those without text left out.

        Raises:
            BadCorpus: there is no such dataset, configuration or split, it cannot be
                fetched, or a row has no `text`.
        """
        domain = self.config or self.path
        for number, row in enumerate(self._rows(), start=1):
            document = document_of(row, domain, f"{self.name}, row {number}")
            if document.text:
                tally.add_text(document.text)
                yield document

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        import datasets  # slow, and files do without it
        from huggingface_hub.errors import HTTPError

        failures = (
            datasets.exceptions.DatasetsError,
            HTTPError,
            ImportError,
            LookupError,
            OSError,
            RuntimeError,
            ValueError,
        )
        try:
            with quiet():
                rows = datasets.load_dataset(
                    self.path, self.config, split=self.split, streaming=True
                )
            yield from rows
        except failures as failure:
            raise bad_corpus(
                "there is no such file or folder, and no such dataset can be read",
                self.name,
                got=str(failure).strip().split("\n")[0] or type(failure).__name__,
                expected="a file, a folder, a glob pattern or a dataset's name",
                hint="check the path; for a dataset, its name, its configuration, its "
                "split and the network",
            ) from None
