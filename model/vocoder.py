# SPDX-License-Identifier: Apache-2.0
"""Speech features to waveform, 200 ms at a time: a pulse train and noise through learned filters.

Dimension legend: B batch, T feature frames (20 ms), C control points (5 ms), K filter bands,
N samples, F frequency bins, W network width.

A source-filter synthesiser (after the differentiable DSP vocoders of Engel et al. 2020,
arXiv:2001.04643, and Agrawal et al. 2024, arXiv:2401.10460): the pitch drives a band-limited pulse
train whose phase runs on from block to block, white noise does the rest, and a small causal network
turns the features into one minimum-phase filter for each of them every 5 ms. Pulses and filters are
continuous, so blocks join without clicks; nothing looks ahead, so no sample is held back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from interaction_node.model import speech_features as sf

CONTROL_HOP = 80
CONTROLS_PER_FRAME = sf.HOP // CONTROL_HOP
FILTER_TAPS = 512
_FFT = 768
_BANDS = 64
_NOISE_SAMPLES = 1 << 16
_TAIL = FILTER_TAPS


@dataclass(frozen=True)
class VocoderConfig:
    """Shape of the network that controls the filters.

    Attributes:
        width: Channels of the causal blocks.
        layers: Number of causal blocks, each seeing two more frames of the past.
    """

    width: int = 128
    layers: int = 4


@dataclass
class VocoderState:
    """Everything that runs on from block to block; one per stream of speech.

    Attributes:
        past_BTF: (B, layers * 2 + 1, 82) float32, the last features.
        filters_BCK: (B, 1, 128) float32, log filters of the last control point.
        log_pitch_B: (B,) float32, log of the pitch at the last sample, Hz.
        phase_B: (B,) float64, phase of the pulse train at the last sample, radians.
        tail_BN: (B, 512) float32, what the last filters still ring.
        sample: Samples made so far.
    """

    past_BTF: torch.Tensor
    filters_BCK: torch.Tensor
    log_pitch_B: torch.Tensor
    phase_B: torch.Tensor
    tail_BN: torch.Tensor
    sample: int = 0

    def clone(self) -> VocoderState:
        """Returns an independent copy."""
        return copy.deepcopy(self)


class _CausalBlock(nn.Module):
    """A depthwise causal convolution over frames and a gated pointwise layer."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x_BTW: torch.Tensor) -> torch.Tensor:
        """Maps (B, T + 2, W) to (B, T, W); the first two frames are only looked at."""
        mixed = self.depthwise(x_BTW.transpose(1, 2)).transpose(1, 2)
        return x_BTW[:, 2:] + self.down(functional.gelu(self.up(self.norm(mixed))))


class Vocoder(nn.Module):
    """Turns features of speech (see `speech_features`) into sound, at any block size.

    Args:
        config: Shape of the network.
    """

    _mel_to_bands: torch.Tensor
    _bands_to_bins: torch.Tensor
    _noise: torch.Tensor

    def __init__(self, config: VocoderConfig | None = None):
        super().__init__()
        self.config = config or VocoderConfig()
        width = self.config.width
        self.project = nn.Linear(sf.N_FEATURES, width)
        self.blocks = nn.ModuleList(_CausalBlock(width) for _ in range(self.config.layers))
        self.norm = nn.LayerNorm(width)
        self.control = nn.Linear(width, CONTROLS_PER_FRAME * 2 * _BANDS)
        nn.init.normal_(self.control.weight, std=1e-3)
        nn.init.zeros_(self.control.bias)
        bins = np.linspace(0, sf.SAMPLE_RATE_HZ / 2, FILTER_TAPS // 2 + 1)
        noise = np.random.Generator(np.random.Philox(7)).standard_normal(_NOISE_SAMPLES)
        fixed = {
            '_mel_to_bands': _interpolation(_band_centres(), sf.mel_centres_hz()),
            '_bands_to_bins': _interpolation(bins, _band_centres()),
            '_noise': torch.from_numpy(noise.astype(np.float32)),
        }
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor, persistent=False)

    @classmethod
    def from_state(
        cls, state: dict[str, torch.Tensor], config: VocoderConfig | None = None
    ) -> Vocoder:
        """Builds a vocoder with the weights of a state dict (any float type)."""
        vocoder = cls(config)
        vocoder.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        return vocoder

    @property
    def history(self) -> int:
        """Frames of the past that the network sees."""
        return 2 * self.config.layers + 1

    def start(self, batch: int = 1) -> VocoderState:
        """Returns the state before the first block: silence."""
        past = sf.silence_frame().expand(batch, self.history, -1).clone()
        filters = self._filters(torch.cat([past, past[:, :1]], dim=1), 1)[:, -1:]
        return VocoderState(
            past_BTF=past,
            filters_BCK=filters.detach(),
            log_pitch_B=past[:, -1, sf.PITCH_INDEX].clone(),
            phase_B=torch.zeros(batch, dtype=torch.float64),
            tail_BN=torch.zeros(batch, _TAIL),
        )

    def forward(
        self, features_BTF: torch.Tensor, state: VocoderState
    ) -> tuple[torch.Tensor, VocoderState]:
        """Makes the sound of whole feature frames.

        Args:
            features_BTF: (B, T, 82) float32, natural log-mels, log-pitch in Hz, voicing.
            state: From `start` or the last call; it is not changed.

        Returns:
            (B, 320 T) float32, about -1..1, and the state after it.
        """
        window = torch.cat([state.past_BTF, features_BTF], dim=1)
        filters = self._filters(window, features_BTF.shape[1])
        filters = torch.cat([state.filters_BCK, filters], dim=1)
        pulses, log_pitch, phase = self._pulses(features_BTF, state)
        n = pulses.shape[1]
        index = (state.sample + torch.arange(n)) % _NOISE_SAMPLES
        noise = self._noise[index].expand_as(pulses)
        wave = self._render(pulses, noise, filters)
        wave = torch.cat([wave[:, :_TAIL] + state.tail_BN, wave[:, _TAIL:]], dim=1)
        after = VocoderState(
            past_BTF=window[:, -self.history :],
            filters_BCK=filters[:, -1:],
            log_pitch_B=log_pitch,
            phase_B=phase,
            tail_BN=wave[:, n:],
            sample=state.sample + n,
        )
        return wave[:, :n], after

    def _filters(self, window_BTF: torch.Tensor, n_frames: int) -> torch.Tensor:
        """Log magnitudes of the filters, (B, 4 T, 128): 64 bands for pulses, 64 for noise."""
        scaled = _normalise(window_BTF)
        x = self.project(scaled[:, 1:])
        for block in self.blocks:
            x = block(x)
        x = self.control(self.norm(x))
        x = x.reshape(x.shape[0], -1, 2 * _BANDS)
        mel = window_BTF[:, -n_frames - 1 :, : sf.N_MELS] @ self._mel_to_bands
        steps = torch.arange(1, CONTROLS_PER_FRAME + 1, device=x.device) / CONTROLS_PER_FRAME
        base = mel[:, :-1, None] + steps[:, None] * (mel[:, 1:] - mel[:, :-1])[:, :, None]
        base = base.reshape(x.shape[0], -1, _BANDS)
        return x + torch.cat([base, base - 2.0], dim=-1)

    def _pulses(
        self, features_BTF: torch.Tensor, state: VocoderState
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Band-limited pulse train of unit power, (B, N), with its last log-pitch and phase."""
        log_pitch = features_BTF[:, :, sf.PITCH_INDEX].detach().double()
        low, high = np.log(sf.PITCH_MIN_HZ * 0.8), np.log(sf.PITCH_MAX_HZ * 1.2)
        log_pitch = log_pitch.clamp(low, high)
        knots = torch.cat([state.log_pitch_B[:, None].double(), log_pitch], dim=1)
        steps = torch.arange(1, sf.HOP + 1, dtype=torch.float64) / sf.HOP
        ramp = knots[:, :-1, None] + steps * (knots[:, 1:] - knots[:, :-1])[:, :, None]
        hz = torch.exp(ramp.flatten(1))
        phase = state.phase_B[:, None] + torch.cumsum(hz, 1) * (2 * np.pi / sf.SAMPLE_RATE_HZ)
        phase = torch.remainder(phase, 2 * np.pi)
        harmonics = torch.floor(0.97 * sf.SAMPLE_RATE_HZ / 2 / hz)
        # Dirichlet's kernel: the sum of that many cosines, in closed form.
        kernel = torch.sin((harmonics + 0.5) * phase) / torch.sin(phase / 2)
        kernel = torch.where(phase == 0, 2 * harmonics + 1, kernel)
        pulses = (0.5 * kernel - 0.5) * torch.sqrt(2 / harmonics)
        return pulses.float(), log_pitch[:, -1].float(), phase[:, -1]

    def _render(
        self, pulses_BN: torch.Tensor, noise_BN: torch.Tensor, filters_BCK: torch.Tensor
    ) -> torch.Tensor:
        """Filters both sources, cross-fading from control point to control point.

        Args:
            pulses_BN: (B, N) float32.
            noise_BN: (B, N) float32.
            filters_BCK: (B, N / 80 + 1, 128) float32, from the last point of the block before.

        Returns:
            (B, N + 512) float32: the block and what rings on after it.
        """
        responses = _minimum_phase(filters_BCK.unflatten(-1, (2, _BANDS)) @ self._bands_to_bins)
        spectrum = (
            _segments(pulses_BN) * responses[:, :, 0] + _segments(noise_BN) * responses[:, :, 1]
        )
        parts = torch.fft.irfft(spectrum, _FFT)[..., : 2 * CONTROL_HOP + FILTER_TAPS - 1]
        batch, controls, length = parts.shape
        total = (controls - 1) * CONTROL_HOP + length
        added = functional.fold(
            parts.transpose(1, 2), (1, total), (1, length), stride=(1, CONTROL_HOP)
        ).reshape(batch, total)
        n = pulses_BN.shape[1]
        return functional.pad(added[:, CONTROL_HOP:], (0, 1))[:, : n + _TAIL]


def _segments(source_BN: torch.Tensor) -> torch.Tensor:
    """Spectra of the triangular 160-sample segments around all control points, (B, C, 513)."""
    padded = functional.pad(source_BN, (CONTROL_HOP, CONTROL_HOP))
    segments = padded.unfold(-1, 2 * CONTROL_HOP, CONTROL_HOP)
    rise = torch.arange(1, CONTROL_HOP + 1, device=source_BN.device) / CONTROL_HOP
    triangle = torch.cat([rise, 1 - rise])
    return torch.fft.rfft(segments * triangle, _FFT)


def _minimum_phase(log_BCSF: torch.Tensor) -> torch.Tensor:
    """Spectra at 513 bins of the minimum-phase filters with the given log magnitudes."""
    cepstrum = torch.fft.irfft(log_BCSF.clamp(-14, 8), FILTER_TAPS)
    fold = torch.zeros(FILTER_TAPS, device=log_BCSF.device)
    fold[0] = fold[FILTER_TAPS // 2] = 1
    fold[1 : FILTER_TAPS // 2] = 2
    taps = torch.fft.irfft(torch.exp(torch.fft.rfft(cepstrum * fold)), FILTER_TAPS)
    fade = torch.ones(FILTER_TAPS, device=log_BCSF.device)
    fade[-128:] = torch.linspace(1, 0, 128)
    return torch.fft.rfft(taps * fade, _FFT)


def _band_centres() -> np.ndarray:
    """Centres of the filter bands, Hz, (64,): evenly spaced on a warped scale from 0 to 8 kHz."""
    warped = np.linspace(0, np.log1p(8000 / 600), _BANDS)
    return 600 * np.expm1(warped)


def _interpolation(at_hz: np.ndarray, known_hz: np.ndarray) -> torch.Tensor:
    """Matrix (known, at) that interpolates linearly and holds the ends."""
    identity = np.eye(len(known_hz))
    columns = [np.interp(at_hz, known_hz, row) for row in identity]
    return torch.from_numpy(np.stack(columns).astype(np.float32))


def _normalise(features_BTF: torch.Tensor) -> torch.Tensor:
    """Roughly unit scale for the network; fixed numbers, so that it needs no statistics."""
    mel = (features_BTF[..., : sf.N_MELS] + 5.0) / 3.0
    pitch = (features_BTF[..., sf.PITCH_INDEX :][..., :1] - 4.8) * 3.0
    voicing = features_BTF[..., sf.VOICING_INDEX :] * 2.0 - 1.0
    return torch.cat([mel, pitch, voicing], dim=-1)
