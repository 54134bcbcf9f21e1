"""What clients ask to embed: one text or many, and never token ids of somebody else's tokenizer."""

from embeddings.errors import InvalidInput

MAX_INPUTS = 2048  # OpenAI's limit, which its clients' batch sizes respect

# The ids are in the type only so that they can be refused with the way out.
TextInput = str | list[str | int | list[int]]


class EmptyInput(InvalidInput):
    code = "empty_input"


class TooManyInputs(InvalidInput):
    code = "too_many_inputs"


class ContextLengthExceeded(InvalidInput):
    """TextTooLong in the words of the API that was called."""

    code = "context_length_exceeded"


def read_texts(field: str, given: TextInput, most: int = MAX_INPUTS) -> list[str]:
    """The texts in what was sent as `field`, `most` at most.

    Raises EmptyInput for nothing or a blank text, TooManyInputs, InvalidInput for token ids.
    """
    if isinstance(given, str):
        return [_text(field, given)]
    if not given:
        raise EmptyInput(
            f"{field} is an empty list; it needs at least one text",
            field=field,
            found="[]",
            expected="at least one text",
        )
    if isinstance(given[0], int):
        raise _token_ids(field)
    if len(given) > most:
        raise TooManyInputs(
            f"{field} has {len(given)} items; one request takes at most {most} items",
            field=field,
            found=f"{len(given)} items",
            expected=f"at most {most} items",
            next_step="send several smaller requests",
        )
    return [_text(f"{field}[{index}]", item) for index, item in enumerate(given)]


def _text(field: str, item: str | int | list[int]) -> str:
    if not isinstance(item, str):
        raise _token_ids(field)
    if not item.strip():
        raise EmptyInput(
            f"{field} is blank; it needs at least one visible character",
            field=field,
            found="a blank text",
            expected="at least one visible character",
            next_step="leave it out",
        )
    return item


def _token_ids(field: str) -> InvalidInput:
    return InvalidInput(
        f"{field} holds token ids: another model's tokenizer made them, and here they would mean other words",
        field=field,
        found="token ids",
        expected="text",
        next_step="send the text; LangChain does with OpenAIEmbeddings(check_embedding_ctx_length=False)",
    )
