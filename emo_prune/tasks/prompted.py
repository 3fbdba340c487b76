"""lm-eval's task object over documents that we hand in: prompts for both uses.

Importing this module imports lm-eval and datasets; import it inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from lm_eval.api.samplers import FirstNSampler
from lm_eval.api.task import ConfigurableTask

from emo_prune.errors import Parameter, TaskError
from emo_prune.tasks.documents import question_sha256

FEWSHOT_SEED = 1234
"""lm-eval's own default for drawing demonstrations."""


class PromptedTask(ConfigurableTask):  # type: ignore[misc]
    """An lm-eval task whose data set is given instead of downloaded.

    What is scored is built by lm-eval's own methods. Calibration prompts come from the
    same methods of the same object, applied to other documents, with the gold answer
    appended.

    Args:
        config: an lm-eval task config, functions resolved.
        splits: split name to `datasets.Dataset`, for every split the config names.
        num_fewshot: demonstrations per prompt.
    """

    def __init__(
        self, *, config: dict[str, Any], splits: Mapping[str, Any], num_fewshot: int
    ) -> None:
        self._splits = dict(splits)
        self._pool: frozenset[int] = frozenset()
        self._remembered: dict[tuple[str, int, int], Any] = {}
        self._scored: Any = None
        self.sampler: Any  # set by lm-eval
        super().__init__(config=deepcopy(config))
        self.set_config("num_fewshot", num_fewshot)
        self._pool = frozenset(id(shown) for shown in self.sampler.fewshot_docs())
        if num_fewshot and num_fewshot > (pool := len(self.sampler.fewshot_docs())):
            raise TaskError(
                "more demonstrations are asked for than there are",
                where=self.task_name,
                got=num_fewshot,
                expected=f"at most {pool}",
                hint=("give ", Parameter("num_fewshot", pool)),
            )

    def download(self, *_args: Any, **_kwargs: Any) -> None:
        """Take the splits handed in; nothing is fetched."""
        self.dataset = self._splits

    @property
    def eval_docs(self) -> Any:
        """The scored documents, processed once."""
        if self._scored is None:
            self._scored = super().eval_docs
        return self._scored

    def doc_to_text(self, doc: Any, doc_to_text: Any = None) -> Any:
        """Return the prompt's text; that of a demonstration is rendered once."""
        return self._once("text", super().doc_to_text, doc, doc_to_text)

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
        """Return the answer; that of a demonstration is rendered once."""
        return self._once("target", super().doc_to_target, doc, doc_to_target)

    def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> Any:
        """Return the options; those of a demonstration are rendered once."""
        return self._once("choice", super().doc_to_choice, doc, doc_to_choice)

    def _once(self, what: str, render: Any, document: Any, template: Any) -> Any:
        if id(document) not in self._pool:  # lm-eval compiles templates every time
            return render(document, template)
        key = (what, id(document), id(template))
        if key not in self._remembered:
            self._remembered[key] = render(document, template)
        return self._remembered[key]

    def documents(self, split: str) -> Any:
        """Return a split's documents as lm-eval would process them."""
        rows = self.dataset[split]
        process = self.config.process_docs
        return rows if process is None else process(rows)

    def document_sha256(self, document: Mapping[str, Any]) -> str:
        """Return the hash of what the document asks, whatever the prompt's style."""
        if "document_sha256" in document:
            return str(document["document_sha256"])
        question = document.get("question")
        choices = document.get("choices") or document.get("options")
        if isinstance(question, str) and choices:
            return question_sha256(question, choices)
        if self.config.doc_to_choice is not None:
            # with several inputs the choices are whole sentences, the text an index
            text = "" if self.multiple_input else self.doc_to_text(document)
            return question_sha256(text, self.doc_to_choice(document))
        return question_sha256(
            str(self.doc_to_text(document)), self.doc_to_target(document)
        )

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        **_unused: Any,
    ) -> None:
        """Build the scored requests as lm-eval does, without a bar on stderr."""
        self.set_fewshot_seed(FEWSHOT_SEED)
        self._instances = []
        for number, document in self.doc_iterator(
            rank=rank, limit=limit, world_size=world_size
        ):
            requests = self.construct_requests(
                doc=document,
                ctx=self._context(document, self.config.num_fewshot),
                metadata=(self.task_name, number, self.config.repeats),
            )
            self._instances += requests if isinstance(requests, list) else [requests]

    def answered(self, document: Mapping[str, Any]) -> tuple[str, str]:
        """Return (context, completion): the prompt lm-eval makes, and the gold answer.

        A document is never its own demonstration: where it is in the pool, the others
        remain. Which are drawn depends on the document alone.
        """
        context = self._context_of_others(document)
        if self.OUTPUT_TYPE == "generate_until":
            return context, self._demonstrated_answer(document)
        requests = self.construct_requests(
            doc=document, ctx=context, metadata=(self.task_name, 0, 1)
        )
        if self.OUTPUT_TYPE == "multiple_choice":
            requests = requests[self._gold(document)]
        if self.OUTPUT_TYPE == "loglikelihood_rolling":
            return "", str(requests.args[0])
        return str(requests.args[0]), str(requests.args[1])

    def _context(self, document: Mapping[str, Any], num_fewshot: int) -> Any:
        return self.fewshot_context(
            document, num_fewshot=num_fewshot, gen_prefix=self.doc_to_prefix(document)
        )

    def _context_of_others(self, document: Mapping[str, Any]) -> Any:
        wanted = self.config.num_fewshot
        if wanted == 0:
            return self._context(document, 0)
        sampler = self.sampler
        pool = sampler.fewshot_docs()
        if len(pool) <= wanted:
            chosen = [other for other in pool if other != document]
        else:
            sampler.set_rnd(int(self.document_sha256(document)[-8:], 16))
            chosen = sampler.sample(wanted, eval_doc=document)
        self.sampler = FirstNSampler(chosen)
        try:
            return self._context(document, len(chosen))
        finally:
            self.sampler = sampler

    def _gold(self, document: Mapping[str, Any]) -> int:
        gold = (
            self.doc_to_text(document)
            if self.multiple_input
            else self.doc_to_target(document)
        )
        gold = gold[0] if isinstance(gold, list) else gold
        if isinstance(gold, str):
            choices = self.doc_to_choice(document)
            if gold not in choices:
                raise self._no_gold(gold)
            return int(choices.index(gold))
        if gold < 0:  # hidden answers are -1 on the Hub
            raise self._no_gold(gold)
        return int(gold)

    def _no_gold(self, gold: object) -> TaskError:
        return TaskError(
            "a calibration document has no answer",
            where=self.task_name,
            got=gold,
            hint="choose a task whose training or validation answers are public",
        )

    def _demonstrated_answer(self, document: Mapping[str, Any]) -> str:
        """Return the answer as a demonstration shows it, reasoning included."""
        own = self.fewshot_cfg
        turn = self.build_qa_turn(
            q="",
            c=self.doc_to_choice(document) if self.config.doc_to_choice else None,
            a=self.doc_to_target(document, own.doc_to_target),
            tgt_delim=own.target_delimiter,
            few_delim="",
        )
        return "".join(message.to_text() for message in turn)
