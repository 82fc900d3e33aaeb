"""Chat templates as token ids, and chains whose ids only ever grow.

`ChatTemplate` renders messages with the tokenizer's own template. A `Chain` is one rollout's
conversation: when a new request's rendered text begins with the text the chain already holds,
only the text that follows is tokenised and appended, so that sampled ids are never rendered
again. When the template changed history (stripped thinking, another system prompt, edited
messages), the chain forks: it is rendered anew. The endpoint and `demonstrate` share this path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hone_worker.errors import WorkerError

Message = dict[str, Any]
_PROBE = {"type": "function", "function": {
    "name": "hone_probe_tool", "description": "d", "parameters": {"type": "object", "properties": {}}}}
# A call of hone_call as families print it, by hone's names of formats.
_CALLS = (
    ("qwen_xml", r"<function=hone_call>"),
    ("pythonic", r"\bhone_call\(\s*hone_key\s*="),
    ("mistral", r"\[TOOL_CALLS\].*hone_call"),
    ("hermes", r"<tool_call>\s*\{[^<]*hone_call"),
    ("llama_json", r'\{"name": ?"hone_call", ?"parameters":'),
)


class ChatTemplate:
    """Text and ids of conversations, by a model's Jinja template and its tokenizer.

    ``encode`` recognises special tokens and adds none; ``decode`` writes them out. ``variables``
    are what the template may name besides messages and tools (bos_token, eos_token).
    """

    def __init__(
        self,
        source: str,
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int]], str],
        eos_ids: list[int],
        variables: dict[str, str] | None = None,
    ) -> None:
        if not eos_ids:
            raise WorkerError(
                "NO_EOS_TOKEN",
                "The model names no end token.",
                "Set eos_token_id in its config.json or generation_config.json.",
            )
        if not source:
            raise WorkerError(
                "NO_CHAT_TEMPLATE",
                "The model has no chat template.",
                "Use an instruct model, or add chat_template.jinja to its folder.",
            )
        self.encode, self.decode = encode, decode
        self.eos_ids = list(eos_ids)
        self.sha256 = hashlib.sha256(source.encode()).hexdigest()
        self._variables = {"eos_token": decode([eos_ids[0]]), **(variables or {})}
        self._template = _environment().from_string(source)
        self._shared: dict[str, list[int]] = {}

    def text(
        self, messages: list[Message], tools: list[Any] | None = None, add_generation_prompt: bool = True
    ) -> str:
        """The rendered conversation; a template's refusal is a TEMPLATE_FAILED error."""
        try:
            return self._template.render(
                messages=messages,
                tools=tools or None,
                add_generation_prompt=add_generation_prompt,
                **self._variables,
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise WorkerError(
                "TEMPLATE_FAILED",
                f"The chat template refused the messages: {error}",
                "Check the roles, their order, and that every content is a string.",
            ) from error

    def renders_tools(self) -> bool:
        """Whether the template shows tools to the model, tried with one."""
        try:
            return "hone_probe_tool" in self.text([{"role": "user", "content": "x"}], [_PROBE])
        except WorkerError:
            return False

    def tool_format(self) -> str | None:
        """The format in which the template prints calls, by the name that hone has for it; None where it knows no
        tools, or prints calls in a way that hone has no name for."""
        if not self.renders_tools():
            return None
        for arguments in ({"hone_key": "v"}, '{"hone_key": "v"}'):
            function = {"name": "hone_call", "arguments": arguments}
            call = {"id": "honeprobe", "type": "function", "function": function}
            try:
                text = self.text([{"role": "user", "content": "x"},
                                  {"role": "assistant", "content": "", "tool_calls": [call]}], [_PROBE])
            except WorkerError:
                continue
            return next((name for name, pattern in _CALLS if re.search(pattern, text)), None)
        return None

    def shared_ids(self, messages: list[Message], tools: list[Any] | None,
                   ids: list[int]) -> list[int]:
        """The leading part of `ids` that any conversation with this system prompt and these
        tools begins with: everything up to where the first message that is not the system's
        makes a difference."""
        split = next((i for i, m in enumerate(messages) if m.get("role") != "system"), None)
        if split is None:
            return []
        key = repr((messages[:split], messages[split].get("role"), tools))
        common = self._shared.get(key)
        if common is None:
            probes = [{**messages[split], "content": text} for text in ("A", "7 b")]
            try:
                first, second = (self.encode(self.text([*messages[:split], probe], tools))
                                 for probe in probes)
            except WorkerError:
                return []
            common = first[:common_length(first, second)]
            if len(self._shared) >= 64:
                self._shared.clear()
            self._shared[key] = common
        return common[:min(common_length(common, ids), len(ids) - 1)]


@dataclass
class Chain:
    """One conversation's ids: prompts and sampled answers in the order the model saw them."""

    template: ChatTemplate
    ids: list[int] = field(default_factory=list)
    text: str = ""
    length: int = 0
    answer: str | None = None
    stopped: str | None = None

    def prompt(self, messages: list[Message], tools: list[Any] | None = None) -> tuple[list[int], bool]:
        """Moves to the prompt of ``messages``. Returns its ids and whether they extend the old
        ones. The chain is changed only when rendering succeeded."""
        text = self.template.text(messages, tools)
        following = self._following(text, messages)
        if following is None:
            self.ids, extended = self.template.encode(text), False
        else:
            self.ids, extended = self.ids + self.template.encode(following), True
        self.text, self.length, self.answer, self.stopped = text, len(messages), None, None
        return self.ids, extended

    def reply(self, ids: list[int], content: str) -> None:
        """Records the sampled ids (end token included) that were reported as `content`."""
        self.ids = self.ids + ids
        self.answer = content
        ended = bool(ids) and ids[-1] in self.template.eos_ids
        self.stopped = self.template.decode(ids[-1:]) if ended else None

    def _following(self, text: str, messages: list[Message]) -> str | None:
        """What `text` adds to the ids held, or None where it does not begin with them.

        An end token that the template writes but the model did not sample (cut at the length
        limit) stays part of what follows; one that was sampled is not repeated. Templates that
        only trim white space around an answer still extend.
        """
        reply = messages[self.length] if len(messages) > self.length else {}
        same = reply.get("role") == "assistant" and (reply.get("content") or "") == self.answer
        if not same or not text.startswith(self.text):
            return None
        rest = text[len(self.text):]
        if rest.startswith(self.answer):
            rest = rest[len(self.answer):]
        elif rest.lstrip().startswith(self.answer.strip()):
            rest = rest.lstrip()[len(self.answer.strip()):]
        else:
            return None
        if self.stopped is not None:
            rest = rest.removeprefix(self.stopped)
        return rest


def demonstrate(template: ChatTemplate, messages: list[Message],
                tools: list[Any] | None = None) -> list[dict[str, list[int]]]:
    """For each assistant message, the prompt ids that the endpoint would hold before it and the
    ids of its content with the end token: what supervised training takes as a turn."""
    chain = Chain(template)
    turns = []
    for index, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        prompt_ids, _ = chain.prompt(messages[:index], tools)
        content = message.get("content") or ""
        output_ids = [*template.encode(content), template.eos_ids[0]]
        chain.reply(output_ids, content)
        turns.append({"prompt_ids": list(prompt_ids), "output_ids": output_ids})
    return turns


def common_length(a: list[int], b: list[int]) -> int:
    """The length of the longest common prefix."""
    length = 0
    for x, y in zip(a, b):
        if x != y:
            break
        length += 1
    return length


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)
