"""Footnote's bundled decoder. It answers one question at a time, so a batch is one after the other."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from generation.decoder import Decoder as BundledDecoder
from generation.prompt import build_prompt, encode_texts


class Decoder:
    """Only `read` is measured: its prompts are none of other decoders'."""

    def __init__(self, model: Path, variant: str, threads: int) -> None:
        self._decoder = BundledDecoder.load(model, threads)

    def read(self, questions: str, new_tokens: int) -> Mapping[str, object]:
        """Prefill and decode for each of the questions ({question, passages}); the tokens are the likeliest,
        and none ends an answer. first_s: of each; decode_s: of each, for the tokens behind the first.
        """
        layout, first_s, decode_s, lengths = self._decoder.spec.layout, [], [], []
        for asked in json.loads(Path(questions).read_text(encoding="utf-8")):
            question, *passages = encode_texts(
                self._decoder.tokenizer, [asked["question"], *asked["passages"]]
            )
            started = time.perf_counter()
            prompt = build_prompt(layout, question, passages)
            state = self._decoder.start(prompt)
            first = time.perf_counter()
            for _ in range(new_tokens - 1):
                state = self._decoder.advance(state, int(state.log_probs.argmax()))
            first_s.append(first - started)
            decode_s.append(time.perf_counter() - first)
            lengths.append(len(prompt))
        return {"first_s": first_s, "decode_s": decode_s, "prompt_tokens": lengths}
