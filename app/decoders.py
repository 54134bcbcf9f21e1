"""The decoder that the settings name: the bundled kind, a causal one, or one on another server."""

import logging
from dataclasses import dataclass

from app.settings import MIB, Settings
from embeddings.artifact import MANIFEST, load_manifest
from embeddings.errors import InvalidInput
from generation.answering import CHAT_DEPTH, NEVER_REFUSE, Answerer
from generation.artifact import BUNDLED_DECODER
from generation.causal.chat import ChatModel
from generation.causal.chat_reader import ChatReader
from generation.causal.chat_template import ChatTemplate
from generation.causal.constraints import ConstraintCompiler
from generation.causal.engine import CausalEngine
from generation.causal.local import LocalChatModel
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from generation.causal.remote import RemoteAddress, RemoteChatModel
from generation.causal.spec import CausalSpec, is_causal
from generation.decoder import Decoder
from generation.reader import GroundedReader

# A server batches by itself; this only bounds the threads that wait for it.
REMOTE_AT_ONCE = 16
# Of the memory for keys and values, for beginnings of prompts that came before.
PREFIX_SHARE = 0.25

logger = logging.getLogger("footnote.decoders")


@dataclass(frozen=True, slots=True)
class LoadedDecoder:
    """What answers, and what chats where the decoder can.

    at_once: questions that it reads at a time. engine: to be closed at the end; None where there is none.
    """

    answerer: Answerer
    chat: ChatModel | None = None
    at_once: int = 1
    engine: CausalEngine | None = None


def load_decoder(settings: Settings) -> LoadedDecoder:
    """The decoder that the settings name. Raises ModelDamaged, and InvalidInput for settings that misfit."""
    if settings.decoder_url is not None:
        return _chatting(_remote_model(settings, settings.decoder_url), REMOTE_AT_ONCE)
    if settings.decoder == BUNDLED_DECODER and not (settings.decoder / MANIFEST).is_file():
        logger.warning("no decoder is bundled with this copy of Footnote: answers will be passages only")
        return LoadedDecoder(Answerer(None, refuse_below=NEVER_REFUSE))
    if not is_causal(load_manifest(settings.decoder).graph):
        reader = GroundedReader(Decoder.load(settings.decoder, settings.threads))
        return LoadedDecoder(Answerer(reader, refuse_below=reader.refuse_below))
    return _load_causal(settings)


def _load_causal(settings: Settings) -> LoadedDecoder:
    model = CausalModel.load(settings.decoder, settings.threads)
    template = chat_template(model)
    engine = CausalEngine(model, engine_options(settings, model.spec))
    compiler = ConstraintCompiler(model.tokenizer, model.spec.vocabulary_size, model.spec.eos)
    return _chatting(LocalChatModel(engine, compiler, template), settings.decoder_slots, engine)


def engine_options(settings: Settings, spec: CausalSpec) -> EngineOptions:
    """How much the engine takes on."""
    longest = min(settings.decoder_context_tokens, spec.context_tokens)
    if settings.decoder_kv_mb == 0:
        return EngineOptions(slots=settings.decoder_slots, max_tokens=longest)
    prefix_bytes = int(settings.decoder_kv_mb * MIB * PREFIX_SHARE)
    return EngineOptions(
        slots=settings.decoder_slots,
        max_tokens=longest,
        kv_bytes=settings.decoder_kv_mb * MIB - prefix_bytes,
        prefix_bytes=prefix_bytes,
    )


def chat_template(model: CausalModel) -> ChatTemplate:
    """The model's own, or the plain one. Raises ModelDamaged for one that is not Jinja."""
    bos, eos = model.spec.bos, model.spec.eos[0] if model.spec.eos else None
    texts = {name: _text_of(model, token) for name, token in (("bos", bos), ("eos", eos))}
    return ChatTemplate(model.chat_template, **texts)


def _text_of(model: CausalModel, token_id: int | None) -> str:
    return "" if token_id is None else model.tokenizer.id_to_token(token_id) or ""


def _chatting(chat: ChatModel, at_once: int, engine: CausalEngine | None = None) -> LoadedDecoder:
    """Its confidence is not calibrated, so it refuses nothing on its own account."""
    answerer = Answerer(ChatReader(chat), refuse_below=NEVER_REFUSE, depth=CHAT_DEPTH)
    return LoadedDecoder(answerer, chat, at_once, engine)


def _remote_model(settings: Settings, url: str) -> RemoteChatModel:
    if settings.decoder_model is None:
        raise InvalidInput(
            "FOOTNOTE_DECODER_URL names a server, but nothing names a model of it",
            field="FOOTNOTE_DECODER_MODEL",
            found="nothing",
            expected="the name of a model, as that server has it",
            next_step=f"set FOOTNOTE_DECODER_MODEL; GET {url.rstrip('/')}/models lists what there is",
        )
    return RemoteChatModel(
        RemoteAddress(
            url,
            settings.decoder_model,
            settings.decoder_key,
            settings.decoder_timeout_s,
            settings.decoder_context_tokens,
        )
    )
