"""Chains of token ids against two templates: ChatML, and one that strips thinking."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from hone_worker.errors import WorkerError
from hone_worker.chat_template import Chain, ChatTemplate, common_length, demonstrate

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% set c = m['content'] %}"
    "{% if m['role'] == 'assistant' and not loop.last %}{% set c = c.split('</think>')[-1] %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMING = CHATML.replace("message['content']", "message['content'] | trim")


def byte_tokenizer() -> Tokenizer:
    """One token per byte, merges of "ab" and "\\n\\n", and the ChatML tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: i for i, text in enumerate([*alphabet, "ab", "ĊĊ"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b"), ("Ċ", "Ċ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_end|>", "<|im_start|>"])
    return tokenizer


def make(source: str) -> ChatTemplate:
    tokenizer = byte_tokenizer()
    return ChatTemplate(
        source,
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
        eos_ids=[tokenizer.token_to_id("<|im_end|>")],
    )


SYSTEM = {"role": "system", "content": "S"}
USER = {"role": "user", "content": "hi"}


def said(content: str) -> dict:
    return {"role": "assistant", "content": content}


def tool(content: str) -> dict:
    return {"role": "tool", "content": content}


def test_prompt_extends_sampled_ids_without_rendering_them_again() -> None:
    template = make(CHATML)
    chain = Chain(template)
    first, extended = chain.prompt([SYSTEM, USER])
    assert not extended and template.decode(first).endswith("<|im_start|>assistant\n")
    # "a", "b" sampled as two tokens, where encoding would merge them.
    sampled = [*template.encode("a"), *template.encode("b"), template.eos_ids[0]]
    assert template.encode("ab") != sampled[:-1]
    chain.reply(sampled, "ab")
    second, extended = chain.prompt([SYSTEM, USER, said("ab"), tool("ok")])
    assert extended and second[: len(first) + 3] == first + sampled
    assert template.decode(second) == template.text([SYSTEM, USER, said("ab"), tool("ok")])


def test_prompt_gives_the_end_token_as_context_when_the_answer_was_cut() -> None:
    template = make(CHATML)
    chain = Chain(template)
    first, _ = chain.prompt([SYSTEM, USER])
    cut = template.encode("xyz")
    chain.reply(cut, "xyz")
    second, extended = chain.prompt([SYSTEM, USER, said("xyz"), USER])
    assert extended and second[: len(first) + 4] == [*first, *cut, template.eos_ids[0]]
    assert second.count(template.eos_ids[0]) == 4


def test_prompt_extends_over_a_trimming_template() -> None:
    template = make(TRIMMING)
    chain = Chain(template)
    first, _ = chain.prompt([SYSTEM, USER])
    sampled = [*template.encode("  x\n"), template.eos_ids[0]]
    chain.reply(sampled, "  x\n")
    second, extended = chain.prompt([SYSTEM, USER, said("  x\n"), USER])
    assert extended and second[: len(first) + len(sampled)] == first + sampled
    third = template.text([SYSTEM, USER, said("  x\n"), USER])
    assert template.decode(second).replace("  x\n<", "x<") == third


def test_prompt_forks_when_the_template_strips_thinking() -> None:
    template = make(THINKING)
    chain = Chain(template)
    chain.prompt([USER])
    content = "<think>t</think>x"
    chain.reply([*template.encode(content), template.eos_ids[0]], content)
    messages = [USER, said(content), USER]
    ids, extended = chain.prompt(messages)
    assert not extended and ids == template.encode(template.text(messages))
    assert "think" not in template.decode(ids)


@pytest.mark.parametrize(
    "messages",
    [
        [SYSTEM, USER, said("edited"), tool("ok")],
        [SYSTEM, USER, said("xy"), tool("ok")],
        [{"role": "system", "content": "other"}, USER, said("x"), tool("ok")],
        [SYSTEM, USER],
    ],
)
def test_prompt_forks_when_history_was_edited(messages: list[dict]) -> None:
    template = make(CHATML)
    chain = Chain(template)
    chain.prompt([SYSTEM, USER])
    chain.reply([*template.encode("x"), template.eos_ids[0]], "x")
    ids, extended = chain.prompt(messages)
    assert not extended and ids == template.encode(template.text(messages))


def test_prompt_extends_an_empty_answer() -> None:
    template = make(CHATML)
    chain = Chain(template)
    first, _ = chain.prompt([USER])
    chain.reply([template.eos_ids[0]], "")
    second, extended = chain.prompt([USER, said(""), USER])
    assert extended and second[: len(first) + 1] == [*first, template.eos_ids[0]]


def test_shared_ids_end_where_users_differ() -> None:
    template = make(CHATML)
    ids = template.encode(template.text([SYSTEM, USER]))
    shared = template.shared_ids([SYSTEM, USER], None, ids)
    assert template.decode(shared) == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n"
    assert ids[: len(shared)] == shared
    assert template.shared_ids([SYSTEM], None, ids) == []


def test_demonstrate_gives_the_ids_that_the_chain_holds() -> None:
    template = make(CHATML)
    messages = [SYSTEM, USER, said("ab"), tool("ok"), said("done")]
    turns = demonstrate(template, messages)
    assert len(turns) == 2
    held = turns[0]["prompt_ids"] + turns[0]["output_ids"]
    assert turns[1]["prompt_ids"][: len(held)] == held
    assert turns[1]["output_ids"][-1] == template.eos_ids[0]
    whole = turns[1]["prompt_ids"] + turns[1]["output_ids"]
    assert template.decode(whole) + "\n" == template.text(messages, add_generation_prompt=False)


def test_text_reports_a_refusing_template() -> None:
    template = make("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(WorkerError) as caught:
        template.text([USER])
    assert caught.value.to_json() == {
        "code": "TEMPLATE_FAILED",
        "message": "The chat template refused the messages: roles must alternate",
        "hint": "Check the roles, their order, and that every content is a string.",
    }


def test_renders_tools_tries_it() -> None:
    assert not make(CHATML).renders_tools()
    assert make("{{ tools | tojson }}" + CHATML).renders_tools()


def test_common_length_stops_at_the_first_difference() -> None:
    assert common_length([1, 2, 3], [1, 2, 4]) == 2
    assert common_length([], [1]) == 0


CALLS = {
    "hermes": "{{ '<tool_call>\\n{\"name\": \"' + f.name + '\", \"arguments\": ' + (f.arguments | tojson) + '}\\n</tool_call>' }}",
    "qwen_xml": "<tool_call>\n<function={{ f.name }}>\n{% for k, v in f.arguments | items %}<parameter={{ k }}>\n{{ v }}\n"
    "</parameter>\n{% endfor %}</function>\n</tool_call>",
    "llama_json": "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' + (f.arguments | tojson) + '}' }}",
    "pythonic": "[{{ f.name }}({% for k, v in f.arguments | items %}{{ k }}=\"{{ v }}\"{% endfor %})]",
    "mistral": "[TOOL_CALLS] [{{ f | tojson }}]",
    None: "<tool_call>{{ f.name }}\n<arg_key>hone_key</arg_key>",
}


@pytest.mark.parametrize(("format", "call"), CALLS.items())
def test_tool_format_is_what_the_template_prints_of_a_call(format: str | None, call: str) -> None:
    source = "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    source += "{% set f = c.function %}" + call + "{% endfor %}{% endfor %}"
    assert make(source).tool_format() == format


def test_tool_format_is_none_where_the_template_knows_no_tools_or_refuses_calls() -> None:
    assert make(CHATML).tool_format() is None
    assert make("{{ tools | tojson }}{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}").tool_format() is None
