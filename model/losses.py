# SPDX-License-Identifier: Apache-2.0
"""What is minimised in training: what to say and do, the words and sounds heard, what moves.

Legend: B sessions, N micro-turns, T tokens, D width, S transcript slots or sounds, V vocabulary,
X those micro-turns that there are.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .data.tensors import Batch
from .interaction_net import InteractionNet
from .sounds import align_sounds
from .tokens import CONTROLS

# Most micro-turns are silent, and that is learned soon: boundaries count in full, but the loss is
# scaled as if they counted less, so that it does not fade behind that of the transcript.
BOUNDARY_SHARE = 0.4
# To act for nothing costs more than to miss something once: people say it again. Most so where
# nobody means the robot at all.
SILENT_WEIGHT = 4.0
CALM_WEIGHT = 7.0
CALM_THEMES = frozenset(('idle', 'transcribe', 'words'))
_SILENT = CONTROLS.index('<silent>')
HEARD_WEIGHT = 0.5
NO_WORD_WEIGHT = 0.2
MOVEMENT_WEIGHT = 0.3
SOUND_WEIGHT = 0.3


@dataclasses.dataclass
class Losses:
    """Losses of one batch, for the optimiser and for the curves.

    Attributes:
        total: What is minimised.
        out: Cross-entropy of output tokens other than boundaries.
        boundary: Cross-entropy of boundaries.
        heard: Cross-entropy of the words that ended.
        sound: Cross-entropy of the sounds, frame by frame.
        out_correct: Share of output tokens predicted exactly.
        heard_correct: Share of heard words predicted exactly.
        sound_correct: Share of frames with speech whose sound is predicted.
    """

    total: Tensor
    out: float
    boundary: float
    heard: float
    sound: float
    out_correct: float
    heard_correct: float
    sound_correct: float


def to_tensors(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Arrays of a batch as tensors on a device, under the names that `InteractionNet` reads."""
    arrays = {
        'ids': batch.ids_BT,
        'user': batch.user_BNFM,
        'own': batch.own_BNFM,
        'turn_pos': batch.turn_pos_BN,
        'audio_pos': batch.audio_pos_BN,
        'clock': batch.clock_BN,
        'valid': batch.valid_BN,
        'label': batch.label_BT,
        'heard': batch.heard_BNS,
        'video_pos': batch.video_pos_BN,
        'frames': batch.frames_BN,
        'phase': batch.phase_BN3,
        'since': batch.since_BN,
        'heard_pos': batch.heard_pos_BNS,
        'practice': batch.practice_RFM,
        'practice_sounds': batch.practice_sounds_RF,
        'silent_weight': np.array(
            [CALM_WEIGHT if theme in CALM_THEMES else SILENT_WEIGHT for theme in batch.themes],
            np.float32,
        ),
    }
    return {
        name: torch.from_numpy(array).to(device)
        for name, array in arrays.items()
        if array is not None
    }


def compute_losses(
    net: InteractionNet,
    batch: dict[str, Tensor],
    boundaries: Tensor,
    heard_weight: float = HEARD_WEIGHT,
    sound_weight: float = SOUND_WEIGHT,
) -> Losses:
    """Losses of one batch.

    Args:
        net: The network.
        batch: From `to_tensors`.
        boundaries: (V,) bool, which tokens are boundaries.
        heard_weight: Weight of the transcript loss.
        sound_weight: Weight of the loss of the sounds.
    """
    h_BTD = net(batch)
    label = batch['label'].flatten()
    asked = label >= 0
    wanted = label[asked]
    logits = net.transformer.logits(h_BTD.flatten(0, 1)[asked]).float()
    each = functional.cross_entropy(logits, wanted, reduction='none')
    is_boundary = boundaries[wanted]
    weight_BT = batch['silent_weight'][:, None].expand_as(batch['label'])
    weighted = torch.where(wanted == _SILENT, weight_BT.flatten()[asked], 1.0) * each
    counted = torch.where(is_boundary, BOUNDARY_SHARE, 1.0).sum()
    out_loss = weighted.sum() / counted.clamp(min=1)
    heard_loss, heard_correct = _heard_loss(net, h_BTD, batch)
    total = out_loss + heard_weight * heard_loss
    sound, sound_correct = 0.0, 0.0
    if 'practice' in batch:
        practised, sound_correct = sound_loss(net, batch)
        total, sound = total + sound_weight * practised, practised.item()
    if 'phase' in batch:
        total = total + MOVEMENT_WEIGHT * _movement_loss(net, h_BTD, batch)
    with torch.no_grad():
        out = ~is_boundary
        correct = (logits.argmax(-1) == wanted)[out].float().mean()
    return Losses(
        total,
        each[out].mean().item(),
        each[is_boundary].mean().item(),
        heard_loss.item(),
        sound,
        correct.item(),
        heard_correct,
        sound_correct,
    )


def at_last_audio(h_BTD: Tensor, batch: dict[str, Tensor], tokens: int) -> Tensor:
    """(X, D) hidden states at the last audio token of each micro-turn that there is."""
    rows, length, _ = h_BTD.shape
    offset = torch.arange(rows, device=h_BTD.device)[:, None] * length
    return h_BTD.flatten(0, 1)[(offset + batch['audio_pos'] + tokens - 1)[batch['valid']]]


def _heard_loss(net: InteractionNet, h_BTD: Tensor, batch: dict[str, Tensor]):
    h_XD = at_last_audio(h_BTD, batch, net.config.audio_tokens)
    logits = net.hear(h_XD).flatten(0, 1).float()
    wanted = batch['heard'][batch['valid']].flatten()
    each = functional.cross_entropy(logits, wanted, reduction='none')
    word = wanted > 0
    weight = torch.where(word, 1.0, NO_WORD_WEIGHT)
    with torch.no_grad():
        correct = (logits.argmax(-1) == wanted)[word].float().mean().item() if word.any() else 0.0
    return (each * weight).sum() / weight.sum(), correct


def sound_loss(net: InteractionNet, batch: dict[str, Tensor]) -> tuple[Tensor, float]:
    """Cross-entropy of the sounds that the ear practises on, and the share that is right.

    Args:
        net: The network.
        batch: From `to_tensors`: 'practice' (R, F, M) uint8 and 'practice_sounds' (R, F) int8.
    """
    logits_RFS = net.sounds_in(batch['practice'].float() / 255).float()
    with torch.no_grad():
        scores = logits_RFS.log_softmax(-1).cpu().numpy()
        sounds_RF = align_sounds(scores, batch['practice_sounds'].cpu().numpy())
    wanted = torch.from_numpy(sounds_RF).to(logits_RFS.device).flatten().long()
    known = wanted >= 0
    wanted, logits = wanted[known], logits_RFS.flatten(0, 1)[known]
    with torch.no_grad():
        spoken = wanted > 0
        correct = (logits.argmax(-1) == wanted)[spoken].float().mean().item()
    return functional.cross_entropy(logits, wanted), correct


def _movement_loss(net: InteractionNet, h_BTD: Tensor, batch: dict[str, Tensor]) -> Tensor:
    h_XD = at_last_audio(h_BTD, batch, net.config.audio_tokens)
    wanted = batch['phase'][batch['valid']]
    known = ~torch.isnan(wanted[:, 0])
    if not known.any():
        return h_BTD.sum() * 0
    guess = net.movement(h_XD[known]).float()
    wanted = wanted[known]
    moving = functional.binary_cross_entropy_with_logits(guess[:, 2], wanted[:, 2])
    phase = ((guess[:, :2] - wanted[:, :2]) ** 2).sum(-1) * wanted[:, 2]
    return moving + phase.sum() / wanted[:, 2].sum().clamp(min=1)
