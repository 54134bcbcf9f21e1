"""transformers' `generate` on torch, as its documentation shows. Variants: fp32, bf16."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from decoder_contract import Arrival, Timeline, TokenIds
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList


class _Noting(StoppingCriteria):  # type: ignore[misc]
    """Asked after every token: the time of it is noted, and nothing stopped."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self._timeline.note()
        return torch.zeros(len(input_ids), dtype=torch.bool)


class Decoder:
    """As in decoder_contract.py."""

    def __init__(self, model: Path, variant: str, threads: int) -> None:
        torch.set_num_threads(threads)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[variant]
        self._model = AutoModelForCausalLM.from_pretrained(
            str(model), dtype=dtype, local_files_only=True
        ).eval()

    def generate(self, prompts: Sequence[TokenIds], new_tokens: int) -> Timeline:
        ids = torch.tensor(prompts)
        timeline = Timeline.begin(len(prompts))
        with torch.inference_mode():
            found = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                stopping_criteria=StoppingCriteriaList([_Noting(timeline)]),
            )
        timeline.tokens = found[:, ids.shape[1] :].tolist()
        return timeline

    def serve(self, arrivals: Sequence[Arrival]) -> list[float]:
        raise NotImplementedError("transformers' generate takes no requests while it runs")
