# SPDX-License-Identifier: Apache-2.0
"""Speech into a file and into a device's blocks."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.output_blocks import OutputBlocks
from interaction_node.play_out import PlayedSpeech, PlayOut, QueuedSpeech
from interaction_node.sound_stream import block_frames
from interaction_node.sounded_speech import SoundedSpeech, merged
from interaction_node.speech_timeline import SpeechTimeline

RATE_HZ = 16_000


def test_16_khz_passes_and_channels_are_copied():
    blocks = OutputBlocks(RATE_HZ, 2, lambda count, _: np.arange(count, dtype=np.int16))
    pcm = np.frombuffer(blocks.fill(5, 0.0), np.int16)
    assert pcm.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_times_have_no_jitter_but_follow_a_jump():
    times = []

    def render(count, start_s):
        times.append(start_s)
        return np.zeros(count, np.int16)

    blocks = OutputBlocks(RATE_HZ, 1, render)
    jitter = np.random.default_rng(0).uniform(-0.004, 0.004, 100)
    for n in range(100):
        blocks.fill(80, 1.0 + n * 0.005 + (jitter[n] if n else 0))
    assert np.abs(np.diff(times) - 0.005).max() < 0.0002
    blocks.fill(80, 3.0)
    assert times[-1] == 3.0


@pytest.mark.parametrize('rate_hz', [44_100, 48_000])
def test_other_rates_ask_for_the_right_time(rate_hz):
    """What is rendered for a time sounds at that time."""

    def render(count, start_s):
        t = start_s + np.arange(count) / RATE_HZ
        return np.rint(9_000 * np.sin(2 * np.pi * 300 * t)).astype(np.int16)

    blocks, out = OutputBlocks(rate_hz, 1, render), []
    for n in range(100):
        out.append(np.frombuffer(blocks.fill(441, n * 441 / rate_hz), np.int16))
    pcm = np.concatenate(out)
    expected = 9_000 * np.sin(2 * np.pi * 300 * np.arange(len(pcm)) / rate_hz)
    assert np.abs(pcm - expected)[1_000:].max() < 60


@pytest.mark.parametrize('flush_ms', [20.0, 40.0, 100.0])
@given(phase=st.floats(0, 1), turns=st.integers(0, 9))
def test_flush_budget_holds_for_a_device_that_keeps_its_promise(flush_ms, phase, turns):
    """As the node asks for it: two blocks in the device, and the one that is being filled."""
    block = block_frames((flush_ms - 5) / 4, RATE_HZ)
    play_out = PlayOut(flush_fade_ms=min(5.0, max(1.0, flush_ms - 4 * block / 16)))
    play_out.push(QueuedSpeech('a', 0, np.full(32_000, 9_000, np.int16), 0.0))
    for n in range(turns + 1):
        play_out.render(block, (n + 3) * block / RATE_HZ)
    flushed_at = (turns + phase) * block
    play_out.flush()
    pcm, _ = play_out.render(10 * block, (turns + 4) * block / RATE_HZ)
    silent_at = (turns + 4) * block + (np.flatnonzero(pcm)[-1] + 1 if pcm.any() else 0)
    assert (silent_at - flushed_at) * 1_000 / RATE_HZ <= flush_ms


class Reference:
    """The same as the time line, with a plain array."""

    def __init__(self):
        self.samples = np.zeros(20_000, np.int16)
        self.end = 0

    def say(self, first, pcm):
        first = first if first >= 0 else self.end
        self.samples[first : first + len(pcm)] = pcm
        self.end = max(self.end, first + len(pcm)) if len(pcm) else self.end

    def flush(self, first):
        if 0 <= first < self.end:
            gain = np.clip(1 - np.arange(1, self.end - first + 1) / 80, 0, 1)
            self.samples[first : self.end] = np.rint(self.samples[first : self.end] * gain)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(['say', 'say', 'flush']),
            st.integers(-1, 3_000),
            st.integers(0, 900),
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_timeline_is_what_was_said(tmp_path_factory, actions):
    path = tmp_path_factory.mktemp('speech') / 'out.wav'
    timeline, reference = SpeechTimeline(path), Reference()
    for n, (kind, first, count, last) in enumerate(actions):
        if kind == 'flush':
            timeline.flush(first)
            reference.flush(first)
        else:
            pcm = np.random.default_rng(n).integers(-9_000, 9_000, count).astype(np.int16)
            written = timeline.say(f'u{n // 3}', n, first, pcm, last)
            assert np.array_equal(written.pcm, pcm)
            reference.say(first, pcm)
    timeline.close()
    pcm = soundfile.read(path, dtype='int16')[0]
    assert np.array_equal(pcm, reference.samples[: len(pcm)])
    assert not reference.samples[len(pcm) :].any()


def test_records_are_joined_as_long_as_they_follow():
    def sounded(start, count, sequence=0, done=False):
        pcm = np.full(count, start, np.int16)
        item = PlayedSpeech('a', sequence, 7, pcm, start + count, done=done)
        return SoundedSpeech(start / RATE_HZ, item)

    records = [sounded(0, 10), sounded(10, 20), sounded(30, 5, 1), sounded(60, 5, 1)]
    joined = merged([*records, sounded(65, 0, 1, done=True)])
    assert [len(record.item.pcm) for record in joined] == [30, 5, 5]
    assert [round(record.start_s * RATE_HZ) for record in joined] == [0, 30, 60]
    assert [record.item.played for record in joined] == [30, 35, 65]
    assert [record.item.done for record in joined] == [False, False, True]
