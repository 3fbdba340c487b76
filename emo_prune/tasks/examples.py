"""A user's own examples: read from a file, and as an lm-eval task that is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emo_prune.errors import BadExamples
from emo_prune.files import strict_json
from emo_prune.tasks.documents import document_sha256, question_sha256
from emo_prune.tasks.text_files import open_text, reading

Messages = list[dict[str, Any]]
RenderMessages = Callable[[Messages], str]
Form = Literal["text", "completion", "choices"]

_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_KEYS = "`text`; or `prompt` and `completion`; or `messages`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One calibration example; what the model reads is `context + completion`.

    `completion` is the gold answer just as lm-eval would score it (" B"), or the whole
    text where there is no answer, and then `context` is empty.
    """

    context: str
    completion: str
    document_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleRow(Example):
    """A row of a user's file. With `choices`, `answer` is the index of the right one.

    `completion` is what is scored; a row of text (or messages) has no context.
    """

    form: Form
    choices: tuple[str, ...] = ()
    answer: int = 0


def read_examples(
    path: Path, render_messages: RenderMessages | None = None
) -> tuple[ExampleRow, ...]:
    """Read a whole examples file; all its rows have one form.

    `.jsonl`, `.ndjson` and `.json` hold one JSON object a line, with `text`; or
    `prompt` and `completion`, joined with nothing in between; or `prompt`, `choices`
    (a list of continuations) and `answer` (an index or one of them); or `messages`
    (role and content), which `render_messages` turns into text. Other keys are
    ignored, blank lines too. Any other file is plain text: an example is a paragraph,
    ended by a blank line. `.gz` behind the suffix is unpacked.

    Raises:
        BadExamples: naming the file and line: no such file, not UTF-8, nothing in it,
            bad JSON, keys missing or mixed, wrong types, empty strings.
    """
    reader = _json_rows if _is_json(path) else _paragraphs
    with reading(path, BadExamples):
        rows = tuple(reader(path, render_messages))
    if not rows:
        raise _bad("there are no examples", path, expected="at least one")
    return rows


def example_config(name: str, form: Form) -> dict[str, Any]:
    """Return the lm-eval config that scores rows of one form.

    "choices" by accuracy; "completion" and "text" by bits per byte (and perplexity per
    byte), over the completion's or the whole text's UTF-8 bytes.
    """
    config: dict[str, Any] = {
        "task": name,
        "test_split": "test",
        "target_delimiter": "",
        "metadata": {"version": 1.0},
    }
    if form == "choices":
        return config | {
            "output_type": "multiple_choice",
            "doc_to_text": "prompt",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": [
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
            ],
        }
    per_byte = [
        {
            "metric": "bits_per_byte",
            "aggregation": "bits_per_byte",
            "higher_is_better": False,
        },
        {
            "metric": "byte_perplexity",
            "aggregation": "weighted_perplexity",
            "higher_is_better": False,
        },
    ]
    if form == "text":
        return config | {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "completion",
            "metric_list": per_byte,
        }
    return config | {
        "output_type": "loglikelihood",
        "doc_to_text": "prompt",
        "doc_to_target": "completion",
        "process_results": _per_byte,
        "metric_list": per_byte,
    }


def example_document(row: ExampleRow) -> dict[str, Any]:
    """Return the columns the config reads."""
    return {
        "prompt": row.context,
        "completion": row.completion,
        "choices": list(row.choices),
        "answer": row.answer,
        "document_sha256": row.document_sha256,
    }


def _per_byte(
    document: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, tuple[float, int]]:
    log_likelihood, _ = results[0]
    size = len(document["completion"].encode())
    return {
        "bits_per_byte": (log_likelihood, size),
        "byte_perplexity": (log_likelihood, size),
    }


def _is_json(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return bool(suffixes) and suffixes[-1] in _JSON_SUFFIXES


def _paragraphs(
    path: Path, _render_messages: RenderMessages | None
) -> Iterator[ExampleRow]:
    with open_text(path) as file:
        lines: list[str] = []
        for line in (*file, "\n"):
            if line.strip():
                lines.append(line)
            elif lines:
                yield _text("".join(lines).strip("\n"))
                lines = []


def _json_rows(
    path: Path, render_messages: RenderMessages | None
) -> Iterator[ExampleRow]:
    first: Form | None = None
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            row = _row(_object(line, where), where, render_messages)
            first = first or row.form
            if row.form != first:
                raise _bad(
                    "the rows are of several forms", where, got=row.form, expected=first
                )
            yield row


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = strict_json(line)
    except ValueError as error:
        raise _bad("the line is not JSON", where, got=str(error)) from None
    if not isinstance(value, dict):
        raise _bad("the row is not a JSON object", where, got=type(value).__name__)
    return value


def _row(
    row: dict[str, Any], where: str, render_messages: RenderMessages | None
) -> ExampleRow:
    forms = [key for key in ("text", "prompt", "messages") if key in row]
    if len(forms) != 1:
        raise _bad(
            "the row's keys say no form" if not forms else "the row mixes forms",
            where,
            got=", ".join(sorted(map(str, row))) or "no keys",
        )
    if forms == ["text"]:
        return _text(_string(row, "text", where))
    if forms == ["messages"]:
        return _messages(row, where, render_messages)
    prompt = _string(row, "prompt", where, may_be_empty=True)
    if "choices" in row or "answer" in row:
        return _choices(row, prompt, where)
    completion = _string(row, "completion", where)
    return ExampleRow(
        form="completion",
        context=prompt,
        completion=completion,
        document_sha256=question_sha256(prompt, completion),
    )


def _text(text: str) -> ExampleRow:
    digest = question_sha256("", text)
    return ExampleRow(form="text", context="", completion=text, document_sha256=digest)


def _messages(
    row: dict[str, Any], where: str, render_messages: RenderMessages | None
) -> ExampleRow:
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise _bad("`messages` is not a list of messages", where, got=repr(messages))
    for message in messages:
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise _bad(
                "a message lacks `role` or `content`", where, got=repr(message)[:80]
            )
        if not isinstance(message["role"], str):
            raise _bad("a message's `role` is not a text", where, got=message["role"])
    if render_messages is None:
        raise _bad(
            "messages need the chat template of a tokenizer, and there is none",
            where,
            hint="use a checkpoint whose tokenizer has a chat template, or write the "
            "text out under `text`",
        )
    return ExampleRow(
        form="text",
        context="",
        completion=_rendered(messages, where, render_messages),
        document_sha256=document_sha256({"messages": messages}),
    )


def _rendered(messages: Messages, where: str, render_messages: RenderMessages) -> str:
    from jinja2 import TemplateError  # of transformers, which renders with it

    hint = "write the messages as the model's chat template wants them, or as `text`"
    try:
        text = render_messages(messages)
    except (TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _bad(
            "the tokenizer's chat template refuses the messages",
            where,
            got=str(error),
            expected="messages that it can render",
            hint=hint,
        ) from None
    if not text.strip():
        raise _bad(
            "the tokenizer's chat template makes nothing of the messages",
            where,
            expected="some text",
            hint=hint,
        )
    return text


def _choices(row: dict[str, Any], prompt: str, where: str) -> ExampleRow:
    choices: Any = row.get("choices")
    usable = isinstance(choices, list) and len(choices) > 1
    if not usable or not all(isinstance(c, str) and c for c in choices):
        raise _bad(
            "`choices` is not a list of two or more texts", where, got=repr(choices)
        )
    answer: Any = row.get("answer")
    if isinstance(answer, str) and answer in choices:
        answer = choices.index(answer)
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise _bad(
            "`answer` names none of the choices",
            where,
            got=repr(row.get("answer")),
            expected=f"an index below {len(choices)} or one of the choices",
        )
    return ExampleRow(
        form="choices",
        context=prompt,
        completion=choices[answer],
        document_sha256=question_sha256(prompt, choices),
        choices=tuple(choices),
        answer=answer,
    )


def _string(
    row: dict[str, Any], key: str, where: str, *, may_be_empty: bool = False
) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        got = "nothing" if key not in row else type(value).__name__
        raise _bad(f"`{key}` is not a text", where, got=got)
    if not value.strip() and not may_be_empty:
        raise _bad(f"`{key}` is empty", where, expected="some text")
    return value


def _bad(
    what: str,
    where: object,
    *,
    got: object = None,
    expected: object = None,
    hint: str = "",
) -> BadExamples:
    return BadExamples(
        what,
        where=where,
        got=got,
        expected=expected or f"rows with {_KEYS}",
        hint=hint
        or "give one JSON object a line, or a .txt file with blank lines "
        "between examples",
    )
