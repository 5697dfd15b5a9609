# SPDX-License-Identifier: Apache-2.0
"""A conversation in progress: everything that is remembered between micro-turns.

Legend: t appended tokens, D width, V vocabulary, F mel frames, M mel bins.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .checkpoint import load_checkpoint
from .interaction_net import InteractionNet
from .interface import TURN_SAMPLES, Intent, MicroTurn, Priority, Role, StepResult, Timing
from .mel import MelStream
from .open_voice import OpenVoice
from .picture import fit_frames
from .skills import parse_act
from .speech_out import PREFIX_HEAD, SpeechOut
from .tokens import Vocabulary
from .voice import Voice

DEFAULT_CHECKPOINT = Path(__file__).with_name('nano.safetensors')
MAX_APPEND = 16
MAX_OUT = 10
MAX_TEXT_TOKENS = 160
_ROLE_TOKENS = {Role.USER: '<user>', Role.PLANNER: '<planner>', Role.SYSTEM: '<system>'}
_NEVER_OUT = ('<pad>', '<audio>', '<video>', '<user>', '<planner>', '<system>', '<read_done>')


@dataclasses.dataclass
class _Out:
    """What was decoded in one micro-turn."""

    tokens: list[str] = dataclasses.field(default_factory=list)
    probabilities: list[float] = dataclasses.field(default_factory=list)
    boundary: str = '<silent>'
    hidden_D: Tensor | None = None


class Session:
    """Streams micro-turns through a network; the cost of a step does not grow.

    Args:
        net: The network, in evaluation mode.
        vocabulary: Its tokens.
        voice: Makes the robot's voice.
        device: Where the network is.
    """

    def __init__(
        self,
        net: InteractionNet,
        vocabulary: Vocabulary,
        voice: Voice,
        device: str = 'cpu',
    ):
        self.device = torch.device(device)
        self._net = net.to(self.device)
        self._vocabulary, self._voice = vocabulary, voice
        self._state = net.transformer.init_state(1, MAX_APPEND, device=self.device)
        self._user_mel, self._own_mel = MelStream(), MelStream()
        step = net.config.turn_frames // net.config.audio_tokens
        self._before_FM = torch.zeros(1, step, net.config.mels, device=self.device)
        never = torch.zeros(len(vocabulary), device=self.device)
        never[[vocabulary[token] for token in _NEVER_OUT]] = float('-inf')
        self._never_V = never
        self._boundaries = (vocabulary['<silent>'], vocabulary['<speak>'])
        self.reset()

    def reset(self) -> None:
        """Forgets the conversation."""
        self._state.reset()
        self._user_mel.reset()
        self._own_mel.reset()
        self._before_FM.zero_()
        self._picture: np.ndarray | None = None
        self._boundary = self._vocabulary['<silent>']
        self._text: list[int] = []
        self._transcript: list[tuple[int, str]] = []
        self._voice.reset()

    def wait_for_voice(self, patience_s: float) -> None:
        """Lets a step wait for the synthesiser, for runs that are not in real time.

        What is said when then does not depend on the machine's speed.

        Args:
            patience_s: Longest wait for 200 ms of a text, seconds.
        """
        self._voice.patience_s = patience_s

    def close(self) -> None:
        """Ends the synthesiser."""
        self._voice.close()

    @torch.inference_mode()
    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Reads one micro-turn and decides the next 200 ms.

        Args:
            micro_turn: What the robot perceives.

        Returns:
            What it says and does, with the time that each part took.

        Raises:
            ValueError: The micro-turn does not hold 3,200 samples.
        """
        for name in ('user_pcm', 'own_pcm'):
            if getattr(micro_turn, name).shape != (TURN_SAMPLES,):
                shape = getattr(micro_turn, name).shape
                raise ValueError(f'{name}: shape {shape}, expected ({TURN_SAMPLES},)')
        clock = _StopWatch()
        x_tD, last_audio = self._read(micro_turn)
        clock.lap('front_end_ms')
        h_tD = self._append(x_tD)
        heard = self._heard(h_tD[last_audio], micro_turn.index)
        clock.lap('prefill_ms')
        out = self._decode(h_tD[-1])
        clock.lap('decode_ms')
        result = self._act_on(out, micro_turn)
        clock.lap('speech_ms')
        return dataclasses.replace(result, heard=heard, timing=clock.timing())

    def _read(self, turn: MicroTurn) -> tuple[Tensor, int]:
        """(t, D) input of the decoder, and the position of the last user-audio token."""
        ids, net = self._vocabulary.ids, self._net
        video = net.video is not None and turn.frames is not None
        before = [self._boundary] + [ids['<video>']] * video
        tokens = before + [ids['<audio>']] * net.config.audio_tokens + self._text_in(turn)
        x_tD = net.transformer.embed(torch.tensor([tokens], device=self.device))[0].clone()
        user = self._levels(self._user_mel, turn.user_pcm)
        own = self._levels(self._own_mel, turn.own_pcm)
        first = len(before)
        last = first + net.config.audio_tokens
        x_tD[first:last] += net.user_tokens(user, self._before_FM)[0, 0]
        self._before_FM.copy_(user[:, 0, -self._before_FM.shape[1] :])
        clock = torch.tensor([[turn.index]], device=self.device)
        x_tD[0] += net.turn_tokens(own, clock)[0, 0]
        if video:
            frames = self._picture_pair(turn.frames)
            x_tD[1] += net.video(torch.from_numpy(frames[None]).to(self.device))[0]
        return x_tD, last - 1

    def _picture_pair(self, frames_2HWC: np.ndarray) -> np.ndarray:
        """The newest picture of the micro-turn before and of this one: always 200 ms apart."""
        newest = fit_frames(frames_2HWC, self._net.config.video_patches)[1]
        before = newest if self._picture is None else self._picture
        self._picture = newest
        return np.stack([before, newest])

    def _levels(self, stream: MelStream, pcm: np.ndarray) -> Tensor:
        """(1, 1, F, M) levels in [0, 1]."""
        levels = torch.from_numpy(stream.push(pcm)).to(self.device)
        return levels[None, None].float() / 255

    def _text_in(self, turn: MicroTurn) -> list[int]:
        ids = self._vocabulary.ids
        for line in turn.text:
            if line.role == Role.SYSTEM and line.text == 'interrupt':
                self._voice.reset()
            role = _ROLE_TOKENS.get(line.role)
            if role is None:
                continue
            if line.role == Role.PLANNER:
                self._voice.add_text(line.text)
            self._text += [ids[role], *self._vocabulary.encode(line.text), ids['<end>']]
        if self._voice.finished_text:
            self._voice.finished_text = False
            self._text.append(ids['<read_done>'])
        taken, self._text = self._text[:MAX_TEXT_TOKENS], self._text[MAX_TEXT_TOKENS:]
        return taken

    def _append(self, x_tD: Tensor) -> Tensor:
        pieces = x_tD[None].split(MAX_APPEND, dim=1)
        append = self._net.transformer.append
        return torch.cat([append(piece, self._state) for piece in pieces], dim=1)[0]

    def _heard(self, h_D: Tensor, index: int) -> tuple[str, ...]:
        best = self._net.hear(h_D[None])[0].argmax(-1).tolist()
        words = tuple(self._vocabulary.tokens[i] for i in best if self._vocabulary.is_word(i))
        self._transcript += [(index, word) for word in words]
        del self._transcript[:-64]
        return words

    def _decode(self, h_D: Tensor) -> _Out:
        out = _Out()
        for _ in range(MAX_OUT):
            logits = self._net.transformer.logits(h_D) + self._never_V
            token = int(logits.argmax())
            out.hidden_D = h_D
            if token in self._boundaries:
                break
            out.tokens.append(self._vocabulary.tokens[token])
            out.probabilities.append(float(logits.softmax(-1)[token]))
            x_D = self._net.transformer.embed(torch.tensor([[token]], device=self.device))
            h_D = self._net.transformer.append(x_D, self._state)[0, 0]
        else:
            token = self._boundaries[0]
        self._boundary = token
        out.boundary = self._vocabulary.tokens[token]
        return out

    def _act_on(self, out: _Out, turn: MicroTurn) -> StepResult:
        intents = tuple(self._intents(out))
        said = self._said(out.tokens)
        flush = '<flush>' in out.tokens
        if flush:
            self._voice.stop()
            self._voice.drop_text()
        speech, text, voice = self._speak(out, said)
        goals = (self._goal(turn.index),) if '<delegate>' in out.tokens else ()
        if not turn.emit:
            # Speech that comes too late is dropped; a stop or an action is not.
            self._voice.stop()
            speech, text, voice = None, '', ''
        control = 'flush' if flush else 'speak' if speech is not None else 'silent'
        return StepResult(turn.index, text, control, speech, intents, goals, (), voice)

    def _speak(self, out: _Out, words: list[str]):
        if out.boundary != '<speak>':
            self._voice.stop()
            return None, '', ''
        if '<read>' in out.tokens:
            speech, text = self._voice.read()
            return speech, text, self._voice.reader_name if speech is not None else ''
        return self._voice.speak(words, out.hidden_D), ' '.join(words), self._voice.name

    def _said(self, tokens: list[str]) -> list[str]:
        """The words that are spoken: those outside `<act> ... <end>`."""
        said, acting = [], False
        for token in tokens:
            acting = token == '<act>' or (acting and token != '<end>')
            if not acting and self._vocabulary.is_word(self._vocabulary[token]):
                said.append(token)
        return said

    def _intents(self, out: _Out) -> list[Intent]:
        intents = []
        for start, token in enumerate(out.tokens[:-1]):
            if token != '<act>':
                continue
            rest = out.tokens[start + 1 :]
            words = rest[1 : rest.index('<end>') if '<end>' in rest else None]
            try:
                arguments = parse_act(rest[0].strip('<>'), words, self._vocabulary.signatures)
            except ValueError:
                continue
            if arguments is None:
                continue
            skill = rest[0].strip('<>')
            share = out.probabilities[start : start + 2 + len(words)]
            priority = Priority.STOP if skill == 'stop' else Priority.NORMAL
            intents.append(Intent(skill, arguments, float(np.prod(share)), priority))
        return intents

    def _goal(self, index: int) -> str:
        """The user's last words, back to a pause of 1.4 s."""
        words: list[str] = []
        after = index
        for turn, word in reversed(self._transcript):
            if after - turn > 7:
                break
            words.insert(0, word)
            after = turn
        return ' '.join(words)


class _StopWatch:
    """Laps in milliseconds."""

    def __init__(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = (now - self._last) * 1e3
        self._last = now

    def timing(self) -> Timing:
        return Timing(total_ms=(self._last - self._begun) * 1e3, **self._laps)


def load_session(
    checkpoint: str | Path = '',
    device: str = 'auto',
    threads: int = 0,
    seed: int = 0,
) -> Session:
    """Loads a checkpoint, warms it up and returns a session.

    Args:
        checkpoint: A .safetensors file; '' for the shipped one.
        device: 'cpu', 'cuda' or 'auto'.
        threads: Threads for the arithmetic on a CPU; 0 for one, which is what suits `nano`.
        seed: Decides the take of the robot's voice.

    Raises:
        ValueError: The checkpoint is missing or not ours, or the device is not there.
    """
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f'device: {device!r}, but no CUDA device is available; use "cpu"')
    torch.set_num_threads(threads or 1)
    net, vocabulary, extra, _ = load_checkpoint(Path(checkpoint or DEFAULT_CHECKPOINT))
    has_voice = any(name.startswith(PREFIX_HEAD) for name in extra)
    speech = SpeechOut.from_state(extra) if has_voice else None
    open_voice = OpenVoice()
    open_voice.warm_up()
    session = Session(net, vocabulary, Voice(speech, open_voice, seed), device)
    _warm_up(session)
    return session


def _warm_up(session: Session) -> None:
    silence = np.zeros(TURN_SAMPLES, np.int16)
    for index in range(3):
        session.step(MicroTurn(index, 0.0, silence, silence))
    session.reset()
