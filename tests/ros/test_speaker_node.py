# SPDX-License-Identifier: Apache-2.0
"""Speech written to a file: exact places, flush, playback reports. Over DDS, in a process."""

import numpy as np
import pytest
import soundfile

from duplex_interaction.msg import Playback, SpeechChunk
from interaction_node import topic_qos

RATE_HZ = 16_000
TURN = 3_200


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, count).astype(np.int16)


def speech(first_sample, pcm, sequence=0, utterance='u1', **fields) -> SpeechChunk:
    message = SpeechChunk(
        first_sample=first_sample,
        utterance_id=utterance,
        sequence=sequence,
        sample_rate_hz=RATE_HZ,
        **fields,
    )
    message.pcm.frombytes(np.asarray(pcm, np.int16).tobytes())
    return message


@pytest.fixture
def speaker(spy, start_node, tmp_path):
    """A speaker that writes a file: (send, list of playback, path, node)."""
    path = tmp_path / 'out' / 'speech.wav'
    playback = spy.collect(Playback, 'playback', topic_qos.PLAYBACK)
    node = start_node('speaker_node', params={'file': str(path)})
    publisher = spy.publisher(SpeechChunk, 'speech', topic_qos.SPEECH)
    wait_for_reports(spy, publisher.publish, playback)
    return publisher.publish, playback, path, node


def wait_for_reports(spy, send, playback) -> None:
    """Says nothing until that is reported: that one side knows the other isn't yet both ways."""
    for number in range(30):
        send(speech(0, [], number, 'nobody', last=True))
        try:
            spy.wait_until(lambda n=number: any(r.sequence == n for r in playback), 0.5)
        except AssertionError:
            continue
        playback.clear()
        return
    pytest.fail('the speaker reports nothing')


def read(path) -> np.ndarray:
    pcm, rate_hz = soundfile.read(path, dtype='int16')
    assert rate_hz == RATE_HZ
    return pcm


def test_speech_is_written_at_its_exact_place(spy, speaker):
    send, playback, path, _ = speaker
    send(speech(3 * TURN, noise(TURN, 1)))
    send(speech(4 * TURN, noise(TURN, 2), 1, last=True))
    send(speech(7 * TURN, noise(1_000, 3), 0, 'u2', last=True))
    reports = spy.wait_for_messages(playback, 3)
    # The node still runs: the file is valid all the time.
    pcm = read(path)
    assert len(pcm) == 7 * TURN + 1_000
    assert not pcm[: 3 * TURN].any()
    assert np.array_equal(pcm[3 * TURN : 4 * TURN], noise(TURN, 1))
    assert np.array_equal(pcm[4 * TURN : 5 * TURN], noise(TURN, 2))
    assert not pcm[5 * TURN : 7 * TURN].any()
    assert np.array_equal(pcm[7 * TURN :], noise(1_000, 3))
    assert [(r.first_sample, r.sequence, r.played, r.done, r.flushed) for r in reports] == [
        (3 * TURN, 0, TURN, False, False),
        (4 * TURN, 1, 2 * TURN, True, False),
        (7 * TURN, 0, 1_000, True, False),
    ]
    for report in reports:
        part = pcm[report.first_sample :][: len(report.pcm)]
        assert np.array_equal(np.frombuffer(report.pcm, np.int16), part)


def test_flush_ends_what_was_said(spy, speaker):
    send, playback, path, node = speaker
    send(speech(0, np.full(TURN, 8_000)))
    send(speech(TURN, np.full(TURN, 8_000), 1))
    send(speech(2 * TURN, np.full(TURN, 8_000), 0, 'u2', last=True))
    # Cut in the middle of the second chunk; the third is never heard; a new one begins.
    send(speech(TURN + 1_600, [], 2, flush=True))
    send(speech(4 * TURN, noise(TURN), 0, 'u3', last=True))
    reports = spy.wait_for_messages(playback, 6)
    node.stop()
    pcm = read(path)
    assert np.all(pcm[: TURN + 1_600] == 8_000)
    faded = pcm[TURN + 1_600 : TURN + 1_680]
    assert np.all(np.diff(faded) < 0)
    assert np.abs(np.diff(pcm[TURN : 2 * TURN].astype(int))).max() <= 101
    assert not pcm[TURN + 1_680 : 4 * TURN].any()
    assert np.array_equal(pcm[4 * TURN :], noise(TURN))
    ends = {r.utterance_id: (r.played, r.flushed, len(r.pcm)) for r in reports if r.done}
    assert ends['u1'] == (TURN + 1_680, True, 0)
    assert ends['u2'] == (0, True, 0)
    assert ends['u3'] == (TURN, False, TURN)


def test_a_flush_after_what_was_said_changes_nothing(spy, speaker):
    send, playback, path, _ = speaker
    send(speech(0, noise(TURN)))
    send(speech(TURN, [], 1, flush=True, last=True))
    reports = spy.wait_for_messages(playback, 2)
    assert np.array_equal(read(path), noise(TURN))
    assert (reports[1].played, reports[1].flushed, reports[1].done) == (TURN, True, True)


def test_other_rates_and_impossible_places(spy, speaker):
    send, playback, path, node = speaker
    odd = speech(0, noise(8_000), last=True)
    odd.sample_rate_hz = 8_000
    send(speech(2**60, noise(10), 0, 'far'))
    send(odd)
    report = spy.wait_for_messages(playback, 1)[0]
    assert abs(len(report.pcm) - RATE_HZ) <= 2
    assert len(read(path)) == len(report.pcm)
    node.wait_for_output('first_sample is 1152921504606846976')
    assert node.running


def test_killed_in_the_middle_the_file_is_valid(spy, speaker):
    send, playback, path, node = speaker
    send(speech(TURN, noise(TURN)))
    spy.wait_for_messages(playback, 1)
    node.kill()
    assert np.array_equal(read(path)[TURN:], noise(TURN))


def test_unwritable_file_ends_it_with_one_line(start_node, tmp_path):
    (tmp_path / 'taken').write_text('')
    node = start_node('speaker_node', params={'file': str(tmp_path / 'taken' / 'out.wav')})
    assert node.wait() == 1
    assert 'taken' in node.output
    assert 'Traceback' not in node.output
