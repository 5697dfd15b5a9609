# SPDX-License-Identifier: Apache-2.0
"""What attention remembers between appends: preallocated rings, written in place.

The first S slots hold the sink and are never overwritten; the others form a ring.

Dims: B batch, t appended tokens, K kv heads, R slots, F head size, P conv taps less one,
X channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class AttentionState:
    """Memory of one layer's attention.

    Attributes:
        k_BKRF: Keys.
        v_BKRF: Values.
        conv_BPX: Last inputs of the convolution of keys and values.
    """

    k_BKRF: torch.Tensor
    v_BKRF: torch.Tensor
    conv_BPX: torch.Tensor


@dataclass(frozen=True)
class Visibility:
    """What one append may see, the same for all layers of a type.

    Attributes:
        positions_t: (t,) int64, positions of the new tokens, counted from the first.
        slots_t: (t,) int64, where the new tokens are written.
        distance_tR: (t, R) int64, tokens from a slot's to the new one.
        mask_tR: (t, R), 0 where a slot is visible, -inf elsewhere.
    """

    positions_t: torch.Tensor
    slots_t: torch.Tensor
    distance_tR: torch.Tensor
    mask_tR: torch.Tensor


class Ring:
    """Maps positions to slots for one type of layer.

    Args:
        window: Most recent tokens that are visible, the newest included.
        sink: First tokens that stay visible.
        max_append: Most tokens appended at once.
        device: Where index tensors are made.
    """

    def __init__(self, window: int, sink: int, max_append: int, device: torch.device) -> None:
        self.window = window
        self.sink = sink
        # The oldest key that the first of the new tokens sees must outlive the last one's write.
        ring = window + max_append - 1
        self.ring = -(-ring // 8) * 8
        self.slots = sink + self.ring
        self.slot_R = torch.arange(self.slots, device=device)
        self.offset_t = torch.arange(max_append, device=device)

    def look(self, position: torch.Tensor, length: int, dtype: torch.dtype) -> Visibility:
        """Finds where the next tokens go and what they see.

        Args:
            position: () int64, number of tokens appended before.
            length: t, number of tokens now appended.
            dtype: Of the mask.

        Returns:
            Slots, distances and mask.
        """
        positions_t = position + self.offset_t[:length]
        slots_t = (positions_t - self.sink) % self.ring + self.sink
        # Slot s holds the newest position that maps to it; negative if there is none yet.
        newest = positions_t[-1]
        held_R = newest - (newest - self.slot_R) % self.ring
        if self.sink:
            slots_t = torch.where(positions_t < self.sink, positions_t, slots_t)
            is_sink_R = self.slot_R < self.sink
            held_R = torch.where(is_sink_R, self.slot_R, held_R)
        distance_tR = positions_t[:, None] - held_R
        hidden_tR = distance_tR >= self.window
        empty_R = held_R < self.sink
        if self.sink:
            hidden_tR = hidden_tR & ~is_sink_R
            empty_R = empty_R & ~is_sink_R
        hidden_tR = hidden_tR | empty_R | (distance_tR < 0)
        mask_tR = torch.zeros_like(distance_tR, dtype=dtype)
        return Visibility(
            positions_t, slots_t, distance_tR, mask_tR.masked_fill_(hidden_tR, float('-inf'))
        )
