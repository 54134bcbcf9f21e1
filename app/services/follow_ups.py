"""Follow-up questions: their history checked, and the question rewritten as one that stands by itself."""

from dataclasses import replace

from app.services.metadata import check_text
from app.services.types import AnswerInput
from embeddings.errors import InvalidInput
from embeddings.stages import stage
from generation.causal.rewriting import QuestionRewriter

MAX_HISTORY = 100


def check_history(wanted: AnswerInput, can_rewrite: bool) -> None:
    """Raise InvalidInput for a history that is too long or no text, and where nothing can rewrite."""
    turns = len(wanted.history)
    if turns and not can_rewrite:
        raise cannot_rewrite(turns)
    if turns > MAX_HISTORY:
        raise InvalidInput(
            f"history has {turns} turns, at most {MAX_HISTORY} are taken",
            field="history",
            found=f"{turns} turns",
            expected=f"at most {MAX_HISTORY} turns",
            next_step="leave the oldest out",
        )
    for place, turn in enumerate(wanted.history):
        check_text(turn.content, f"history[{place}].content")


async def standalone(
    rewriter: QuestionRewriter | None, wanted: AnswerInput, max_question_chars: int
) -> AnswerInput:
    """The question by itself, without its history; itself where it has none.

    What is longer than a question may be is left as it was asked.
    """
    said = tuple(turn for turn in wanted.history if turn.content.strip())
    if rewriter is None or not said:
        return wanted
    with stage("rewrite"):
        question = await rewriter.rewrite(said, wanted.question)
    fits = len(question) <= max_question_chars
    return replace(wanted, question=question if fits else wanted.question, history=())


def cannot_rewrite(turns: int) -> InvalidInput:
    """The refusal where the installed decoder only copies, with the ways out."""
    return InvalidInput(
        "the decoder that is installed here copies answers out of passages; it cannot take up a follow-up "
        "question",
        field="history",
        found=f"{turns} earlier turn{'' if turns == 1 else 's'}",
        expected="a question that stands by itself, or a decoder that chats",
        next_step="ask in full, without a history; or convert a decoder with `footnote models convert --kind "
        "decoder` and set FOOTNOTE_DECODER, or set FOOTNOTE_DECODER_URL",
    )
