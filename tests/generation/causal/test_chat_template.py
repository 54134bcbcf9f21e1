import pytest

from embeddings.errors import InvalidInput, ModelDamaged
from generation.causal.chat import ChatMessage
from generation.causal.chat_template import ChatTemplate

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# As Gemma's and Mistral's.
STRICT = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}"
)
CHAT = [ChatMessage("system", "Be brief."), ChatMessage("user", "Когда сажают томаты? 番茄")]


def test_a_conversation_becomes_the_text_that_the_decoder_continues() -> None:
    assert ChatTemplate(CHATML).render(CHAT) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nКогда сажают томаты? 番茄<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_text_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    source = (
        "{{- bos_token }}\n{%- for message in messages %}\n"
        "    {%- if loop.first and message.role == 'system' %}"
        "\n        {%- continue %}\n    {%- endif %}\n{% set x = namespace(n=1) %}{% set x.n = x.n + 1 %}\n"
        "  <{{ x.n }}>{{ message | tojson }}\n{%- endfor %}\n{% if add_generation_prompt %}\n>>\n{% endif %}"
    )
    turns = [{"role": message.role, "content": message.content} for message in CHAT]
    (expected,), _ = transformers.render_jinja_template(
        [turns], chat_template=source, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    assert ChatTemplate(source, bos="<s>", eos="</s>").render(CHAT) == expected
    assert "番茄" in expected


def test_a_model_without_a_template_gets_plain_turns_and_ends_at_the_next_one() -> None:
    template = ChatTemplate(None)
    chat = [*CHAT, ChatMessage("assistant", "In May."), ChatMessage("user", "And roses?")]
    assert template.render(chat) == (
        "Be brief.\n\nUser: Когда сажают томаты? 番茄\n\nAssistant: In May.\n\nUser: And roses?\n\nAssistant:"
    )
    assert template.stop == ("\nUser:",)
    assert ChatTemplate(CHATML).stop == ()


def test_a_template_without_system_messages_gets_the_system_text_with_the_first_question() -> None:
    rendered = ChatTemplate(STRICT, bos="<s>").render(CHAT)
    assert rendered == "<s>[user] Be brief.\n\nКогда сажают томаты? 番茄\n"


@pytest.mark.parametrize(
    "chat",
    [[], [ChatMessage("assistant", "Hello.")], [*CHAT, ChatMessage("user", "Again?")], [CHAT[0]]],
)
def test_messages_that_the_template_refuses_are_the_client_s_fault(chat: list[ChatMessage]) -> None:
    with pytest.raises(InvalidInput) as caught:
        ChatTemplate(STRICT).render(chat)
    assert caught.value.field == "messages"


@pytest.mark.parametrize("source", ["{% for m in messages %}", "{{ messages |nofilter }}", "{{ 1 + }}"])
def test_a_template_that_is_not_jinja_is_damage_at_once(source: str) -> None:
    with pytest.raises(ModelDamaged):
        ChatTemplate(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[9].content.x }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 1 // 0 }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_a_template_that_fails_or_leaves_its_sandbox_is_damage(source: str) -> None:
    with pytest.raises(ModelDamaged):
        ChatTemplate(source).render(CHAT)
