# SPDX-License-Identifier: Apache-2.0
"""The play-out queue: order, exactness, fades, flush, bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interaction_node.play_out import PlayOut, QueuedSpeech

RATE_HZ = 16_000
FADE = 80
FLUSH_SAMPLES = 320  # 20 ms


def tone(count: int, start: int = 0, level: float = 20_000.0) -> np.ndarray:
    """A 200 Hz tone whose phase goes on over `start`: no step is above 1,571."""
    n = np.arange(start, start + count)
    return np.rint(level * np.sin(2 * np.pi * 200 * n / RATE_HZ)).astype(np.int16)


def speech(pcm, due_s=0.0, utterance='a', sequence=0, last=False) -> QueuedSpeech:
    return QueuedSpeech(utterance, sequence, np.asarray(pcm, np.int16), due_s, last)


def render(play_out: PlayOut, count: int, block: int = 160, start: int = 0):
    """Renders in blocks; returns the samples and the records with offsets from `start`."""
    out, records = [np.zeros(0, np.int16)], []
    for at in range(start, start + count, block):
        pcm, played = play_out.render(min(block, start + count - at), at / RATE_HZ)
        out.append(pcm)
        records += [(at - start + item.offset, item) for item in played]
    return np.concatenate(out), records


def largest_step(pcm: np.ndarray) -> int:
    return int(np.abs(np.diff(pcm.astype(np.int32), prepend=0, append=0)).max())


def test_silence_without_speech():
    pcm, records = render(PlayOut(), 1_000)
    assert not pcm.any()
    assert not records


def test_starts_at_its_stamp_and_fades_at_both_ends():
    play_out = PlayOut()
    play_out.push(speech(tone(3_200), due_s=0.1, last=True))
    pcm, records = render(play_out, 6_400)
    assert not pcm[:1_600].any()
    assert np.array_equal(pcm[1_600 + FADE : 4_800 - FADE], tone(3_200)[FADE:-FADE])
    assert np.abs(pcm[1_600 : 1_600 + FADE // 2]).max() < 11_000
    assert not pcm[4_800:].any()
    assert records[0][0] == 1_600
    assert records[-1][1].done
    assert not records[-1][1].flushed
    assert records[-1][1].played == 3_200


def test_late_speech_plays_at_once_and_in_order():
    play_out = PlayOut()
    play_out.render(16_000, 0.0)
    play_out.push(speech(np.full(3_200, 100), due_s=0.2, sequence=0))
    play_out.push(speech(np.full(3_200, 200), due_s=0.4, sequence=1, last=True))
    pcm, records = render(play_out, 6_400, start=16_000)
    assert pcm[FADE] == 100
    assert pcm[3_199] == 100
    assert pcm[3_200] == 200
    assert [item.sequence for _, item in records] == [0] * 20 + [1] * 20


def test_pieces_that_follow_each_other_pass_bit_for_bit():
    play_out = PlayOut()
    for n in range(5):
        # Stamps that are up to 10 ms off must not tear the speech.
        play_out.push(speech(tone(3_200, n * 3_200), n * 0.2 + 0.01 * (n % 2), sequence=n))
    pcm, _ = render(play_out, 16_000, block=117)
    assert np.array_equal(pcm[FADE : 16_000 - FADE], tone(16_000)[FADE:-FADE])


def test_gap_is_kept_and_faded():
    play_out = PlayOut()
    play_out.push(speech(tone(1_600, 40), 0.0))
    play_out.push(speech(tone(1_600, 40), 0.3, sequence=1, last=True))
    pcm, _ = render(play_out, 8_000)
    assert not pcm[1_600:4_800].any()
    assert pcm[4_800 + FADE + 5]
    assert largest_step(pcm) < 2_000


def test_flush_is_silent_within_20_ms_without_a_click():
    play_out = PlayOut()
    for n in range(10):
        play_out.push(speech(tone(3_200, n * 3_200), n * 0.2, sequence=n))
    play_out.push(speech(tone(3_200), 2.0, utterance='b', last=True))
    before, _ = render(play_out, 5_000)
    play_out.flush()
    after, records = render(play_out, 5_000, start=5_000)
    assert not after[FLUSH_SAMPLES:].any()
    assert largest_step(np.concatenate([before, after])) < 2_000
    ends = {item.utterance_id: item for _, item in records if item.done}
    assert ends['a'].flushed
    assert ends['a'].played == 5_000 + FADE
    assert ends['b'].flushed
    assert ends['b'].played == 0


@pytest.mark.parametrize('at', [3_190, 3_199, 3_200, 3_201, 40, 1])
def test_flush_at_a_border_does_not_click(at):
    play_out = PlayOut()
    for n in range(3):
        play_out.push(speech(tone(3_200, n * 3_200), n * 0.2, sequence=n))
    before, _ = render(play_out, at, block=at)
    play_out.flush()
    after, _ = render(play_out, 1_000, start=at)
    assert not after[FADE:].any()
    assert largest_step(np.concatenate([before, after])) < 2_000


def test_flush_in_an_underrun_ends_the_utterance():
    play_out = PlayOut()
    play_out.push(speech(tone(1_600)))
    render(play_out, 3_200)
    play_out.flush()
    _, records = render(play_out, 160, start=3_200)
    assert [(item.played, item.flushed, item.done) for _, item in records] == [(1_600, True, True)]


def test_speech_after_a_flush_plays():
    play_out = PlayOut()
    play_out.push(speech(tone(3_200)))
    render(play_out, 1_600)
    play_out.flush()
    play_out.push(speech(np.full(800, 7), utterance='b', last=True))
    pcm, records = render(play_out, 1_600, start=1_600)
    assert pcm[2 * FADE + 1] == 7
    assert records[-1][1].utterance_id == 'b'
    assert not records[-1][1].flushed


def test_end_without_samples_is_reported():
    play_out = PlayOut()
    play_out.push(speech(tone(800)))
    play_out.push(speech([], sequence=1, last=True))
    _, records = render(play_out, 1_600)
    assert (records[-1][1].done, records[-1][1].played, len(records[-1][1].pcm)) == (True, 800, 0)


def test_queue_is_bounded():
    play_out = PlayOut(queue_s=0.5)
    assert play_out.push(speech(tone(8_000)))
    assert not play_out.push(speech(tone(1)))
    render(play_out, 160)
    assert play_out.push(speech(tone(160), sequence=1))
    assert play_out.queued_samples == 8_000


def test_late_speech_is_held_so_that_jitter_leaves_no_gap():
    play_out = PlayOut(hold_ms=20)
    play_out.push(speech(tone(3_200), due_s=0.0), now_s=0.05)
    head, _ = render(play_out, 4_000)  # to 250 ms; the first piece sounds from 70 to 270 ms
    assert not head[: round(0.07 * RATE_HZ)].any()
    play_out.push(speech(tone(3_200, 3_200), due_s=0.2, sequence=1), now_s=0.25)
    tail, _ = render(play_out, 3_200, start=4_000)
    whole = np.concatenate([head, tail])[round(0.07 * RATE_HZ) :]
    assert np.array_equal(whole[FADE : 6_080 - FADE], tone(6_080)[FADE:-FADE])


def test_device_that_is_gone_plays_nothing():
    play_out = PlayOut()
    play_out.push(speech(tone(3_200)))
    render(play_out, 160)
    play_out.push(speech(tone(3_200), utterance='b'))
    ended = play_out.drop()
    assert [(item.utterance_id, item.played, item.flushed) for item in ended] == [
        ('a', 160, True),
        ('b', 0, True),
    ]
    assert not render(play_out, 1_600)[0].any()


def test_settings_are_checked():
    with pytest.raises(ValueError, match='rate_hz is 0'):
        PlayOut(rate_hz=0)
    with pytest.raises(ValueError, match='fade_ms is -1'):
        PlayOut(fade_ms=-1)


@settings(deadline=None, max_examples=150)
@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 900),  # samples
            st.floats(0, 0.3),  # due, seconds
            st.integers(0, 400),  # samples rendered before the next one
            st.sampled_from(['continue', 'continue', 'new', 'flush']),
        ),
        max_size=12,
    ),
    block=st.integers(1, 400),
)
def test_records_are_what_sounded(pieces, block):
    """Whatever arrives: records hold every sample that sounds, each utterance ends once."""
    play_out = PlayOut()
    out, records, clock, name, sequence = [], [], 0, 0, 0

    def advance(count):
        nonlocal clock
        pcm, played = render(play_out, count, block, clock)
        out.append(pcm)
        records.extend((clock + offset, item) for offset, item in played)
        clock += count

    for count, due_s, run, kind in pieces:
        if kind == 'flush':
            play_out.flush()
            name, sequence = name + 1, 0
        elif kind == 'new':
            name, sequence = name + 1, 0
        assert play_out.push(speech(np.full(count, 8_000), due_s, str(name), sequence))
        sequence += 1
        advance(run)
    play_out.flush()
    advance(16_000)

    whole = np.concatenate(out)
    rebuilt = np.zeros_like(whole)
    totals: dict[str, int] = {}
    for offset, item in records:
        rebuilt[offset : offset + len(item.pcm)] = item.pcm
        totals[item.utterance_id] = totals.get(item.utterance_id, 0) + len(item.pcm)
        assert item.played == totals[item.utterance_id]
    assert np.array_equal(rebuilt, whole)
    assert play_out.queued_samples == 0
    assert largest_step(whole) <= 8_000 / FADE + 1
    ends = [item.utterance_id for _, item in records if item.done]
    assert len(ends) == len(set(ends))
