# SPDX-License-Identifier: Apache-2.0
"""Words in, 200 ms of speech out: the flow head and the vocoder with their state."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
import torch

from interaction_node.kernels.launch import can_launch
from interaction_node.model import speech_features as sf
from interaction_node.model import speech_text
from interaction_node.model.flow_head import PAST_FRAMES, FlowHead
from interaction_node.model.flow_sampler import FlowSampler
from interaction_node.model.vocoder import Vocoder, VocoderState

PREFIX_HEAD, PREFIX_VOCODER = 'flow.', 'vocoder.'
_FADE_SAMPLES = 320


@dataclass(frozen=True)
class SamplerConfig:
    """How the flow is sampled.

    Attributes:
        steps: Euler steps.
        temperature: Standard deviation of the noise that the flow starts from.
        past_noise: Standard deviation of the noise on the features before the block.
    """

    steps: int = 2
    temperature: float = 0.5
    past_noise: float = 0.1


@dataclass
class SpeechState:
    """One stream of speech; `clone` takes a snapshot.

    Attributes:
        past_PF: (10, 82) float32 normalised features before the next block.
        vocoder: State of the vocoder.
        seed: Decides the take; the same seed and words give the same samples.
        block: Blocks made since `start`.
        spoken: Words so far.
        ended: Probability that the words so far have been said to their end.
    """

    past_PF: torch.Tensor
    vocoder: VocoderState
    seed: int = 0
    block: int = 0
    spoken: speech_text.SpokenWords = field(default_factory=speech_text.SpokenWords)
    ended: float = 1.0

    def clone(self) -> SpeechState:
        """Returns an independent copy."""
        return copy.deepcopy(self)


class SpeechOut:
    """Speaks: one call makes the 3,200 samples of one micro-turn. Holds no stream of its own.

    Args:
        head: Flow head.
        vocoder: Vocoder.
        sampler: How the flow is sampled.
        device: Where it is sampled, through the kernels where they can run; all else, streams too,
            stays on the host.
    """

    def __init__(
        self,
        head: FlowHead,
        vocoder: Vocoder,
        sampler: SamplerConfig | None = None,
        device: str | torch.device = 'cpu',
    ):
        self.head = head.eval().requires_grad_(False)
        self.vocoder = vocoder.eval().requires_grad_(False)
        self.sampler = sampler or SamplerConfig()
        self._ids = speech_text.word_ids(head.vocabulary)
        device, self._flow = torch.device(device), None
        if can_launch(device):
            self._flow = FlowSampler(self.head, self.sampler.steps, device)

    @classmethod
    def from_state(
        cls,
        tensors: dict[str, torch.Tensor],
        sampler: SamplerConfig | None = None,
        device: str | torch.device = 'cpu',
    ) -> SpeechOut:
        """Builds both from the `flow.` and `vocoder.` tensors of a checkpoint.

        Raises:
            ValueError: If there are none.
        """
        head, vocoder = _under(tensors, PREFIX_HEAD), _under(tensors, PREFIX_VOCODER)
        if not head or not vocoder:
            raise ValueError(
                f'tensors: {len(head)} under {PREFIX_HEAD!r} and {len(vocoder)} under '
                f'{PREFIX_VOCODER!r}, expected the weights of both'
            )
        return cls(FlowHead.from_state(head), Vocoder.from_state(vocoder), sampler, device)

    def state_dict(self, dtype: torch.dtype = torch.bfloat16) -> dict[str, torch.Tensor]:
        """Tensors for a checkpoint, under their prefixes."""
        tensors = {PREFIX_HEAD + k: v for k, v in self.head.state_dict().items()}
        tensors |= {PREFIX_VOCODER + k: v for k, v in self.vocoder.state_dict().items()}
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}

    def knows(self, word: str) -> bool:
        """Whether a word is in the trained vocabulary."""
        return word in self._ids

    def start(self, seed: int = 0) -> SpeechState:
        """Returns the state before an utterance: silence."""
        silence = self.head.normalise(sf.silence_frame())
        return SpeechState(silence.repeat(PAST_FRAMES, 1), self.vocoder.start(), seed)

    @torch.no_grad()
    def speak(
        self, state: SpeechState, words: list[str], hidden: torch.Tensor | None = None
    ) -> np.ndarray:
        """Makes the next 200 ms.

        Args:
            state: The stream; moved on in place.
            words: Lower-case words that begin in this block, in order.
            hidden: (hidden_width,) the trunk's hidden state, or None.

        Returns:
            (3200,) int16.
        """
        state.spoken = state.spoken.begin(words, state.block)
        noise = self._noise(state, 0, sf.FRAMES_PER_BLOCK) * self.sampler.temperature
        known = self._known(state, hidden)
        if self._flow is not None:
            scaled, ended = self._flow.make(noise, *known)
        else:
            scaled, ended = self.head.make(noise, self.head.condition(*known), self.sampler.steps)
        state.past_PF = torch.cat([state.past_PF, scaled[0]])[-PAST_FRAMES:]
        state.ended = float(ended[0])
        state.block += 1
        return self._sound(state, self.head.restore(scaled))

    def stop(self, state: SpeechState) -> np.ndarray:
        """Falls silent within 20 ms and resets the stream for the next utterance.

        Returns:
            (3200,) int16: what would still have sounded, faded out, then silence.
        """
        frames = self.head.restore(state.past_PF[-1]).expand(1, sf.FRAMES_PER_BLOCK, -1)
        tail = self._sound(state, frames).astype(np.float32)
        tail[:_FADE_SAMPLES] *= np.linspace(1, 0, _FADE_SAMPLES, dtype=np.float32)
        tail[_FADE_SAMPLES:] = 0
        fresh = self.start(state.seed)
        vars(state).update(vars(fresh))
        return np.round(tail).astype(np.int16)

    def _known(self, state: SpeechState, hidden: torch.Tensor | None):
        """Arguments of `FlowHead.condition`."""
        letters = speech_text.encode(state.spoken, state.block, self._ids)
        # Empty letters in front cost time and say nothing; one is kept for the empty utterance.
        used = max(1, int((letters[:, 0] != speech_text.PAD).sum()))
        noise = self._noise(state, 1, PAST_FRAMES) * self.sampler.past_noise
        return (
            letters[None, -used:],
            state.past_PF[None] + noise,
            torch.tensor([min(state.block, speech_text.MAX_AGE)]),
            torch.tensor([self.sampler.past_noise]),
            None if hidden is None else hidden[None].float(),
        )

    def _noise(self, state: SpeechState, stream: int, frames: int) -> torch.Tensor:
        """Normal noise that depends on seed and block only, (1, frames, 82)."""
        bits = np.random.Philox(key=state.seed, counter=[0, state.block, stream, 0])
        noise = np.random.Generator(bits).standard_normal((1, frames, sf.N_FEATURES), np.float32)
        return torch.from_numpy(noise)

    def _sound(self, state: SpeechState, features_BTF: torch.Tensor) -> np.ndarray:
        mel = features_BTF[..., : sf.N_MELS].clamp(sf.SILENCE_LOG_MEL, 4.0)
        features_BTF = torch.cat([mel, features_BTF[..., sf.N_MELS :]], dim=-1)
        wave, state.vocoder = self.vocoder(features_BTF, state.vocoder)
        return np.round(wave[0].numpy().clip(-1, 1) * 32767).astype(np.int16)


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
