# SPDX-License-Identifier: Apache-2.0
"""A conversation in progress: everything that is remembered between micro-turns.

`load_session` makes the first session of a process, `Session.sibling` more that share its weights,
`step_together` steps several at once; `Session.snapshot` and `restore` outlive the process.

Legend: t appended tokens, D width, V vocabulary, F mel frames, M mel bins.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .captured import can_branch, put
from .checkpoint import load_checkpoint
from .decoded import Decoded
from .fused_decoder import FusedDecoder, FusedState
from .heads import Heads, Reading
from .interaction_net import InteractionNet
from .interface import TURN_SAMPLES, MicroTurn, Role, StepResult, TextInput
from .lines import Lines
from .mel import MelStream
from .open_voice import OpenVoice
from .percept import Percept, assemble
from .picture import PATCH, fit_newest
from .plain_decoder import Decoder, make_decoder
from .snapshot import Snapshot, check, fill
from .speech_out import PREFIX_HEAD, SpeechOut
from .stop_watch import StopWatch
from .timer import timer_after, timer_words
from .tokens import Vocabulary
from .transcript import Transcript
from .turn_graphs import TurnGraphs
from .voice import Voice

DEFAULT_CHECKPOINT = Path(__file__).with_name('nano.safetensors')
MAX_APPEND = 16
MAX_OUT = 10
_NEVER_OUT = ('<pad>', '<audio>', '<video>', '<user>', '<planner>', '<system>', '<read_done>')


class Session:
    """Streams micro-turns through a network; the cost of a step does not grow.

    Args:
        net: The network, in evaluation mode.
        vocabulary: Its tokens.
        voice: Makes the robot's voice.
        device: Where the network is.
        decoder: Runs the network's transformer; the fastest there is if None.
    """

    def __init__(
        self,
        net: InteractionNet,
        vocabulary: Vocabulary,
        voice: Voice,
        device: str | torch.device = 'cpu',
        decoder: Decoder | None = None,
    ):
        self.device = torch.device(device)
        self._net = net.to(self.device)
        self._vocabulary, self._voice = vocabulary, voice
        self._decoder = decoder or make_decoder(net.transformer)
        self._state = self._decoder.init_state(MAX_APPEND)
        self._user_mel, self._own_mel = MelStream(), MelStream()
        self._silence = [each.detach().clone() for each in self._net.silence(1)]
        self._hearing = [each.clone() for each in self._silence]
        bias_V = torch.zeros(len(vocabulary), device=self.device)
        banned = [token for token in _NEVER_OUT if token in vocabulary.ids]
        bias_V[[vocabulary[token] for token in banned]] = float('-inf')
        bias_V[vocabulary['<silent>']] = net.config.silence_bias
        self._bias_V = bias_V
        at_once = self.device.type == 'cuda'
        self._heads = Heads(self._net, self._decoder, bias_V, at_once)
        self._graphs = self._capture() if can_branch(self.device) else None
        self._boundaries = (vocabulary['<silent>'], vocabulary['<speak>'])
        config = net.config.transformer
        window = config.full_window if 'full' in config.layer_types else config.window
        self._lines = Lines(vocabulary, window)
        self._fingerprint = ''
        self.reset()

    def _capture(self) -> TurnGraphs | None:
        """The graphs of whole micro-turns, where the decoder can be part of one."""
        decoder, net = self._decoder, self._net
        if not isinstance(decoder, FusedDecoder) or not net.config.heard_tokens:
            return None
        state = cast(FusedState, self._state)
        args = (state, self._hearing, self._bias_V, self._vocabulary, MAX_OUT)
        return TurnGraphs(net, decoder, *args)

    def warm_up(self) -> None:
        """Does everything once that a first step must not wait for: seeing, reading, speaking.

        Then forgets it. What PyTorch compiles for a processor is its thread's own: call it in the
        one that will step.
        """
        silence = np.zeros(TURN_SAMPLES, np.int16)
        rows, columns = self._net.config.video_patches
        frames = np.zeros((2, rows * PATCH, columns * PATCH, 3), np.uint8)
        line = TextInput(Role.USER, 'hello robot')
        for index in range(3):
            text = (line,) if index == 1 else ()
            self.step(MicroTurn(index, 0.0, silence, silence, frames=frames, text=text))
        for words in (['hello'], []):
            self._voice.speak(words, None)
        self.reset()

    def reset(self) -> None:
        """Forgets the conversation."""
        self._state.reset()
        self._user_mel.reset()
        self._own_mel.reset()
        for heard, silence in zip(self._hearing, self._silence, strict=True):
            heard.copy_(silence)
        self._picture: np.ndarray | None = None
        self._boundary = self._vocabulary['<silent>']
        self._elapsed = 0
        self._transcript = Transcript()
        self._lines.reset()
        # Micro-turns are counted on after a restart; the offset is to the count of the caller.
        self._next_index, self._index_offset = 0, 0
        self._restored = False
        self._voice.reset()

    def sibling(self, seed: int = 0) -> Session:
        """Another session: same weights and synthesiser, nothing else in common.

        Args:
            seed: Decides the take of the robot's voice.

        Returns:
            A session in which nothing was said; close it before this one.
        """
        voice = self._voice.sibling(seed)
        return Session(self._net, self._vocabulary, voice, self.device, self._decoder)

    def remember(self, summary: str) -> None:
        """Sets the text that stands for the part of the conversation that the model no longer sees.

        It is read as a line of the role SYSTEM when something has fallen out of sight, and again
        each time it has fallen out itself. A SYSTEM line 'summary: ...' in a micro-turn does the
        same.

        Args:
            summary: The text, '' for none; cut where it would take more than a quarter of what the
                model sees.
        """
        self._lines.remember(summary)

    def snapshot(self) -> Snapshot:
        """Takes down everything that is remembered.

        Returns:
            What `restore` needs, in this or another process, to go on bit for bit as if nothing had
            happened; `Snapshot.save` writes it to a file.
        """
        facts = {
            'fingerprint': self.fingerprint,
            'appended': self._state.appended,
            'next_index': self._next_index,
            'boundary': self._boundary,
            'elapsed': self._elapsed,
            'transcript': list(self._transcript.words),
        }
        taken = Snapshot({name: t.clone() for name, t in self._memory().items()}, facts)
        if self._picture is not None:
            taken.tensors['picture'] = torch.from_numpy(self._picture.copy())
        taken.add('lines', self._lines.snapshot())
        taken.add('voice', self._voice.snapshot())
        return taken

    def restore(self, snapshot: Snapshot) -> None:
        """Goes on where a snapshot was taken; the next micro-turn may have any number.

        Args:
            snapshot: Of a session of the same checkpoint.

        Raises:
            ValueError: It is of another checkpoint or device.
        """
        facts = snapshot.facts
        if facts.get('fingerprint') != self.fingerprint:
            raise ValueError('snapshot: of another checkpoint, expected one of this')
        check(self._memory(), snapshot.tensors)
        self.reset()
        fill(self._memory(), snapshot.tensors)
        self._state.appended = facts['appended']
        self._next_index, self._restored = facts['next_index'], True
        self._boundary = facts['boundary']
        self._elapsed = facts['elapsed']
        self._transcript.words = [(index, word) for index, word in facts['transcript']]
        if 'picture' in snapshot.tensors:
            self._picture = snapshot.tensors['picture'].numpy().copy()
        self._lines.restore(snapshot.part('lines'))
        self._voice.restore(snapshot.part('voice'))

    @property
    def fingerprint(self) -> str:
        """Digest of all weights, the network's shape and its vocabulary."""
        if not self._fingerprint:
            digest = hashlib.sha256(repr((self._net.config, self._vocabulary.tokens)).encode())
            weights = self._net.state_dict() | self._voice.weights()
            for name, tensor in sorted(weights.items()):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().float().numpy().tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _memory(self) -> dict[str, Tensor]:
        """Every tensor that steps overwrite, by name."""
        names = ('k', 'v', 'conv', 'attention_conv', 'mlp_conv')
        tensors = {
            f'block{index}.{name}': tensor
            for index, block in enumerate(self._state.blocks)
            for name, tensor in zip(names, block.tensors(), strict=True)
        }
        tensors['position'] = self._state.position
        tensors |= {f'hearing{index}': tensor for index, tensor in enumerate(self._hearing)}
        tensors['user_samples'] = torch.from_numpy(self._user_mel.before)
        tensors['own_samples'] = torch.from_numpy(self._own_mel.before)
        return tensors

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

    def step(self, micro_turn: MicroTurn) -> StepResult:
        """Reads one micro-turn and decides the next 200 ms.

        Args:
            micro_turn: What the robot perceives.

        Returns:
            What it says and does, with the time that each part took.

        Raises:
            ValueError: The micro-turn does not hold 3,200 samples.
        """
        return step_together([self], [micro_turn])[0]

    def _live(self, micro_turn: MicroTurn) -> Generator[Tensor, Tensor, StepResult]:
        """Lives through a micro-turn; yields what is to be appended, gets its hidden states."""
        clock, index = StopWatch(), self._count(micro_turn.index)
        x_tD, last_audio = self._read(self._perceive(micro_turn, index))
        clock.lap('front_end_ms')
        x_tD, text_tD = x_tD[: last_audio + 1], x_tD[last_audio + 1 :]
        if not self._net.config.heard_tokens:
            x_tD, text_tD = torch.cat([x_tD, text_tD]), text_tD[:0]
        h_tD = yield from self._append(x_tD)
        reading = self._heads.read(h_tD[last_audio])
        heard = self._heard(reading.heard, index)
        if self._net.config.heard_tokens and heard:
            text_tD = torch.cat([self._as_tokens(heard), text_tD])
        if len(text_tD):
            h_tD = yield from self._append(text_tD)
        if len(text_tD) or last_audio < len(x_tD) - 1:
            reading = self._heads.read(h_tD[-1])
        clock.lap('prefill_ms')
        out = yield from self._decode(reading, h_tD[-1])
        return self._conclude(out, heard, micro_turn, index, clock)

    def _live_on_device(self, micro_turn: MicroTurn) -> Generator[None, None, StepResult]:
        """Lives through a micro-turn; yields once, when the device has been told what to do."""
        assert self._graphs is not None
        clock, index = StopWatch(), self._count(micro_turn.index)
        self._graphs.launch(self._perceive(micro_turn, index))
        clock.lap('front_end_ms')
        yield
        slots, tokens, shares = self._graphs.collect()
        heard = self._heard(slots, index)
        out = Decoded()
        for token, share in zip(tokens, shares, strict=True):
            if token in self._boundaries:
                out.boundary = self._vocabulary.tokens[token]
            else:
                out.add(self._vocabulary.tokens[token], share)
        return self._conclude(out, heard, micro_turn, index, clock)

    def _conclude(
        self, out: Decoded, heard: tuple[str, ...], turn: MicroTurn, index: int, clock: StopWatch
    ) -> StepResult:
        """Does what was decided."""
        if self._net.config.mark_turns:
            self._elapsed = timer_after(self._elapsed, out.tokens)
        self._boundary = self._vocabulary[out.boundary]
        clock.lap('decode_ms')
        result = self._act_on(out, turn, index)
        clock.lap('speech_ms')
        return dataclasses.replace(result, heard=heard, timing=clock.timing())

    def _append(self, x_tD: Tensor) -> Generator[Tensor, Tensor, Tensor]:
        pieces = []
        for piece in x_tD.split(MAX_APPEND):
            pieces.append((yield piece))
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def _as_tokens(self, words: Sequence[str]) -> Tensor:
        """(t, D) words that were heard, as the network reads them."""
        ids = [self._vocabulary[word] for word in words]
        x_tD = self._decoder.embed(self._put(torch.tensor(ids)))
        return x_tD + self._net.heard_type_D

    def _count(self, index: int) -> int:
        """The number of a micro-turn in the whole conversation."""
        if self._restored:
            self._index_offset, self._restored = self._next_index - index, False
        self._next_index = index + self._index_offset + 1
        return index + self._index_offset

    def _perceive(self, turn: MicroTurn, index: int) -> Percept:
        see = self._net.video is not None and turn.frames is not None
        text = [self._vocabulary[token] for token in timer_words(self._elapsed)]
        text += self._lines.take(turn.text, self._state.appended, self._voice)
        user_FM, own_FM = self._user_mel.push(turn.user_pcm), self._own_mel.push(turn.own_pcm)
        frames = self._picture_pair(cast(np.ndarray, turn.frames)) if see else None
        return Percept(self._boundary, index, self._elapsed, user_FM, own_FM, frames, text)

    def _read(self, percept: Percept) -> tuple[Tensor, int]:
        """(t, D) input of the decoder, and the position of the last user-audio token."""
        ids, net, frames = self._vocabulary.ids, self._net, percept.frames_2HWC
        before = [percept.boundary] + [ids['<video>']] * (frames is not None)
        before += [ids['<audio>']] * net.config.audio_tokens
        x_tD = assemble(
            net,
            self._decoder.embed,
            self._hearing,
            self._put(torch.tensor(before + percept.text)),
            self._put(torch.from_numpy(np.stack([percept.user_FM, percept.own_FM]))),
            self._put(torch.tensor([percept.index, percept.elapsed])),
            None if frames is None else self._put(torch.from_numpy(frames[None])),
        )
        return x_tD, len(before) - 1

    def _picture_pair(self, frames_2HWC: np.ndarray) -> np.ndarray:
        """The newest picture of the micro-turn before and of this one: always 200 ms apart."""
        newest = fit_newest(frames_2HWC, self._net.config.video_patches)
        before = newest if self._picture is None else self._picture
        self._picture = newest
        return np.stack([before, newest])

    def _put(self, tensor: Tensor) -> Tensor:
        return put(tensor, self.device)

    def _heard(self, slots: list[int], index: int) -> tuple[str, ...]:
        vocabulary = self._vocabulary
        words = tuple(vocabulary.tokens[i] for i in slots if vocabulary.is_word(i))
        self._transcript.add(words, index)
        return words

    def _decode(self, reading: Reading, h_D: Tensor) -> Generator[Tensor, Tensor, Decoded]:
        out = Decoded(hidden_D=h_D)
        for _ in range(MAX_OUT):
            token = reading.token
            out.hidden_D = h_D
            if token in self._boundaries:
                out.boundary = self._vocabulary.tokens[token]
                break
            out.add(self._vocabulary.tokens[token], reading.probability)
            h_tD = yield self._decoder.embed(self._put(torch.tensor([token])))
            h_D = h_tD[0]
            reading = self._heads.read(h_D)
        return out

    def _act_on(self, out: Decoded, turn: MicroTurn, index: int) -> StepResult:
        intents = tuple(out.intents(self._vocabulary))
        said = out.said(self._vocabulary)
        flush = '<flush>' in out.tokens
        if flush:
            self._voice.stop()
            self._voice.drop_text()
        speech, text, voice = self._speak(out, said)
        goals = (self._transcript.since_pause(index),) if '<delegate>' in out.tokens else ()
        if not turn.emit:
            # Speech that comes too late is dropped; a stop or an action is not.
            self._voice.stop()
            speech, text, voice = None, '', ''
        control = 'flush' if flush else 'speak' if speech is not None else 'silent'
        return StepResult(turn.index, text, control, speech, intents, goals, (), voice)

    def _speak(self, out: Decoded, words: list[str]):
        if out.boundary != '<speak>':
            self._voice.stop()
            return None, '', ''
        if '<read>' in out.tokens:
            speech, text = self._voice.read()
            return speech, text, self._voice.reader_name if speech is not None else ''
        return self._voice.speak(words, out.hidden_D), ' '.join(words), self._voice.name


@torch.inference_mode()
def step_together(
    sessions: Sequence[Session], micro_turns: Sequence[MicroTurn]
) -> list[StepResult]:
    """Steps several sessions of one network; their tokens pass through the weights together.

    Args:
        sessions: A session and siblings of it, each once.
        micro_turns: What each of them perceives.

    Returns:
        What each says and does; the times are those of all together. With packed weights (see
        `PackedDecoder.bitwise`) or kernels it is bit for bit what each would have said alone.

    Raises:
        ValueError: A micro-turn does not hold 3,200 samples, or sessions are no siblings; no
            session has been stepped then.
    """
    for turn in micro_turns:
        _check(turn)
    decoder = sessions[0]._decoder
    if len(set(sessions)) < len(sessions) or any(s._decoder is not decoder for s in sessions):
        raise ValueError('sessions: expected different siblings of one session')
    if all(session._graphs is not None for session in sessions):
        begun = [s._live_on_device(turn) for s, turn in zip(sessions, micro_turns, strict=True)]
        for life in begun:
            next(life)
        return [_end_of(life) for life in begun]
    lives = [s._live(turn) for s, turn in zip(sessions, micro_turns, strict=True)]
    results: list[StepResult | None] = [None] * len(lives)
    waiting = {number: next(life) for number, life in enumerate(lives)}
    while waiting:
        states = [sessions[number]._state for number in waiting]
        hidden = decoder.append(list(waiting.values()), states)
        for number, h_tD in zip(list(waiting), hidden, strict=True):
            try:
                waiting[number] = lives[number].send(h_tD)
            except StopIteration as end:
                results[number] = end.value
                del waiting[number]
    return cast(list[StepResult], results)


def _end_of(life: Generator[None, None, StepResult]) -> StepResult:
    try:
        next(life)
    except StopIteration as end:
        return end.value
    raise AssertionError('a micro-turn yields once')


def _check(micro_turn: MicroTurn) -> None:
    for name in ('user_pcm', 'own_pcm'):
        shape = getattr(micro_turn, name).shape
        if shape != (TURN_SAMPLES,):
            raise ValueError(f'{name}: shape {shape}, expected ({TURN_SAMPLES},)')


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
    speech = SpeechOut.from_state(extra, device=device) if has_voice else None
    open_voice = OpenVoice()
    open_voice.warm_up()
    session = Session(net, vocabulary, Voice(speech, open_voice, seed), device)
    session.warm_up()
    return session
