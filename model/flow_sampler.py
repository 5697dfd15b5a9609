# SPDX-License-Identifier: Apache-2.0
"""Samples the flow head on a GPU: one copy there, one CUDA graph, one copy back.

Dims: B blocks (one), L letters, C columns of a letter, P past frames, T frames, F features,
W width, M memory, N everything one behind the other.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional

from interaction_node.kernels.flow_step import flow_step, pack
from interaction_node.model import speech_features as sf
from interaction_node.model.captured import Captured, put
from interaction_node.model.flow_head import PAST_FRAMES, FlowHead
from interaction_node.model.speech_text import COLUMNS, MAX_LETTERS


class FlowSampler:
    """`FlowHead.condition` and `FlowHead.make` in one, for one block of one stream.

    Args:
        head: Its weights are copied.
        steps: Euler steps.
        device: Where it runs; off CUDA nothing is captured, and the kernel's reference runs.
        dtype: Of the weights in the kernel.
    """

    def __init__(
        self,
        head: FlowHead,
        steps: int,
        device: torch.device,
        dtype: torch.dtype = torch.bfloat16,
    ):
        self._head = copy.deepcopy(head).to(device).eval()
        self._steps, self._device, self._dtype = steps, device, dtype
        config = head.config
        self._weights = pack(self._head.state_dict(), config.layers, config.heads, dtype)
        # In the order of the arguments of `make`.
        self._shapes = [
            torch.Size(shape)
            for shape in (
                (1, sf.FRAMES_PER_BLOCK, sf.N_FEATURES),
                (1, MAX_LETTERS, COLUMNS),
                (1, PAST_FRAMES, sf.N_FEATURES),
                (1,),
                (1,),
                (1, config.hidden_width),
            )
        ]
        self._sizes = [shape.numel() for shape in self._shapes]
        self._made = Captured(self._make, torch.zeros(sum(self._sizes), device=device))

    def make(
        self,
        noise_BTF: Tensor,
        letters_BLC: Tensor,
        past_BPF: Tensor,
        begun_B: Tensor,
        past_noise_B: Tensor,
        hidden_BW: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Makes a block.

        Args:
            noise_BTF: (1, 10, 82) what the flow starts from.
            letters_BLC: See `FlowHead.condition`, as the others; all on the host.
            past_BPF: (1, 10, 82).
            begun_B: (1,).
            past_noise_B: (1,).
            hidden_BW: (1, hidden_width) or None.

        Returns:
            On the host: (1, 10, 82) normalised features; (1,) probability that this was the last
            block.
        """
        # What is empty is masked: with it, all blocks have the same shape.
        letters_BLC = functional.pad(letters_BLC, (0, 0, MAX_LETTERS - letters_BLC.shape[1], 0))
        if hidden_BW is None:
            hidden_BW = noise_BTF.new_zeros(self._shapes[-1])
        parts = (noise_BTF, letters_BLC, past_BPF, begun_B, past_noise_B, hidden_BW)
        # Letters and counts are whole numbers that fp32 holds.
        x_N = torch.cat([part.float().flatten() for part in parts])
        made_N = self._made.read(put(x_N, self._device))
        return made_N[:-1].view(noise_BTF.shape), made_N[-1:]

    def _make(self, x_N: Tensor) -> Tensor:
        parts = zip(x_N.split(self._sizes), self._shapes, strict=True)
        x_BTF, letters, past, begun, past_noise, hidden = (x.view(shape) for x, shape in parts)
        head = self._head
        condition = head.condition(letters, past, begun.long(), past_noise, hidden)
        memory_BLMX = head.remember(condition).to(self._dtype)
        for step in range(self._steps):
            time_B = x_N.new_full((1,), step / self._steps)
            modulation_B6W = head.modulate(time_B, condition).unflatten(-1, (6, -1))
            x_BTF, end_B = flow_step(
                x_BTF,
                modulation_B6W,
                memory_BLMX,
                condition.mask_BM,
                self._weights,
                1 / self._steps,
            )
        return torch.cat([x_BTF.flatten(), torch.sigmoid(end_B)])
