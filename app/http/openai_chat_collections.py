"""Chat requests that a collection answers."""

from app.db.collections import no_such_collection
from app.http.openai_chat_messages import question_of, read_messages, said_before
from app.http.openai_chat_sampling import read_format, read_sampling
from app.http.openai_chat_schemas import ChatRequest
from app.http.openai_models import COLLECTION_PREFIX, ModelNotFound, resolve
from app.resources import Resources
from app.services.follow_ups import MAX_HISTORY
from app.services.types import AnswerInput, Principal
from embeddings.errors import InvalidInput, NotFound
from generation.sampling import SamplingSettings
from retrieval.types import SearchMode

# What answers from a collection take of the sampling settings; the rest has to be off.
_TAKEN = ("temperature", "top_k", "top_p", "seed", "max_tokens", "stop")
_COLLECTION_FIELDS = ("passages", "filter", "mode", "rerank")


async def collection_named(asked: ChatRequest, resources: Resources, caller: Principal) -> str | None:
    """The collection that a request names in its model or in a field of its own; None for no collection.

    Raises ModelNotFound for one that is not there, or not for the caller to see; InvalidInput for two, or
    for none and a field that needs one.
    """
    in_model = asked.model.startswith(COLLECTION_PREFIX)
    name = asked.model.removeprefix(COLLECTION_PREFIX) if in_model else asked.collection
    if name is None:
        _refuse_collection_fields(asked)
        return None
    if asked.collection not in {None, name}:
        raise InvalidInput(
            f"the model names the collection {name}, and collection is {asked.collection}",
            field="collection",
            found=asked.collection,
            expected=f"{name}, or no such field",
        )
    if not in_model:
        _resolve_decoder(asked.model, resources)
    await _check_is_there(name, asked, resources, caller)
    return name


def collection_question(asked: ChatRequest, can_rewrite: bool) -> AnswerInput:
    """The last message as a question, with the turns before it where the decoder can take them up.

    Raises InvalidInput for what answers from a collection can't do.
    """
    messages = read_messages(asked.messages)
    tokens = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    sampling = read_sampling(asked, tokens, None)
    _check_sampling(sampling)
    if asked.logprobs or asked.top_logprobs:
        raise _not_from_collection("logprobs")
    if read_format(asked) is not None:
        raise _not_from_collection("response_format")
    default = AnswerInput("")
    return AnswerInput(
        question_of(messages),
        default.passages if asked.passages is None else asked.passages,
        asked.filter,
        asked.mode or SearchMode.HYBRID,
        sampling,
        bool(asked.rerank),
        said_before(messages)[-MAX_HISTORY:] if can_rewrite else (),
    )


def _resolve_decoder(wanted: str, resources: Resources) -> None:
    """Raise ModelNotFound for a model that is not the decoder; a typing mistake is never ignored."""
    reader = resources.reader
    if reader is None:
        raise ModelNotFound(
            f"The model `{wanted}` does not exist here: no decoder is installed",
            field="model",
            found=wanted,
            expected=f"{COLLECTION_PREFIX}COLLECTION",
            next_step="see GET /v1/models",
        )
    resolve(wanted, [reader.model_id])


async def _check_is_there(name: str, asked: ChatRequest, resources: Resources, caller: Principal) -> None:
    try:
        if not caller.may_see(name):
            raise no_such_collection(name)
        await resources.collections.get(name)
    except NotFound as error:
        raise ModelNotFound(
            error.message,
            field="collection" if asked.collection is not None else "model",
            found=name,
            expected="the name of a collection",
            next_step="see GET /v1/models",
        ) from error


def _refuse_collection_fields(asked: ChatRequest) -> None:
    for field in _COLLECTION_FIELDS:
        if getattr(asked, field) is not None:
            raise InvalidInput(
                f"{field} is about a collection, and the request names none",
                field=field,
                found=field,
                expected="a collection beside it",
                next_step=f"set collection, or the model {COLLECTION_PREFIX}COLLECTION",
            )


def _check_sampling(sampling: SamplingSettings) -> None:
    """Refuse settings that would be without effect: the answer is one, read out of passages."""
    off = SamplingSettings()
    for field in SamplingSettings.__dataclass_fields__:
        if field not in _TAKEN and getattr(sampling, field) != getattr(off, field):
            raise _not_from_collection(field)


def _not_from_collection(field: str) -> InvalidInput:
    return InvalidInput(
        f"{field} has no effect on answers from a collection",
        field=field,
        found=field,
        expected="only " + ", ".join(_TAKEN) + " beside the messages",
        next_step="leave it out, or name no collection",
    )
