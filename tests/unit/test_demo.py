# SPDX-License-Identifier: Apache-2.0
"""When the demonstration has passed, how latency is measured, what the recording holds."""

import json

import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from interaction_node import demo
from interaction_node.model.interface import TURN_S
from interaction_node.model.tokens import SKILLS
from interaction_node.report_latency import EARLY_S, LONGEST_S, measure_latency
from interaction_node.session_timeline import Onset, Timeline

SCRIPT = [
    {'end': 2.0, 'text': 'hello robot', 'answer': 'hello'},
    {'end': 5.0, 'text': 'stop', 'answer': 'stopped', 'skill': 'stop'},
    {'end': 8.0, 'text': 'go to the door', 'answer': 'okay', 'skill': 'navigate_to'},
    {'end': 11.0, 'text': 'plan a tour', 'answer': 'one moment', 'delegates': True},
    {'end': 14.0, 'text': 'mm hmm', 'answer': '', 'skill': ''},
    {'end': 17.0, 'text': 'hold on', 'answer': 'yes'},
]
FIGURES = {
    'micro_turns': 90,
    'missed_deadlines': 0,
    'step_ms_p50': 20.0,
    'step_ms_p99': 30.0,
    'response_latency_s_mean': 0.25,
}


def summary(**changes):
    good = {
        **FIGURES,
        'said': ['hello', 'stopped'],
        'responses': [{}] * 5,
        'intents': [{'skill': 'stop'}, {'skill': 'navigate_to'}],
        'planner_results': ['Start in the hallway.'],
    }
    return good | changes


def test_a_robot_that_answers_acts_and_plans_passes():
    assert demo.judge(summary(), SCRIPT) == []


def test_three_answers_of_five_are_enough_and_two_are_not():
    assert demo.judge(summary(responses=[{}] * 3), SCRIPT) == []
    assert demo.judge(summary(responses=[{}] * 2), SCRIPT) == ['2 of 5 answers came']


def test_a_summary_without_any_response_is_told():
    silent = summary()
    del silent['responses']
    assert demo.judge(silent, SCRIPT) == ['0 of 5 answers came']


def test_intents_that_are_missing_are_named_in_order():
    assert demo.judge(summary(intents=[{'skill': 'stop'}]), SCRIPT) == ['no intent for navigate_to']
    assert demo.judge(summary(intents=[]), SCRIPT) == ['no intent for navigate_to, stop']


def test_a_planner_result_is_wanted_only_where_something_was_for_the_planner():
    complaint = ['no result came from the planner']
    assert demo.judge(summary(planner_results=[]), SCRIPT) == complaint
    nothing_delegated = [entry | {'delegates': False} for entry in SCRIPT]
    assert demo.judge(summary(planner_results=[]), nothing_delegated) == []


@pytest.mark.parametrize(
    ('outcome', 'code', 'told'),
    [
        (summary(), 0, ''),
        (summary(intents=[]), 1, 'demo: no intent for'),
        (summary(said=[]), 1, ''),
        (ValueError('recording: there is none'), 1, 'demo: recording: there is none'),
        (RuntimeError('speaker_node ended'), 1, 'demo: speaker_node ended'),
    ],
)
def test_the_exit_code_says_whether_the_robot_responded(
    tmp_path, monkeypatch, capsys, outcome, code, told
):
    def run(_recording, _output):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(demo, 'run_demo', run)
    (tmp_path / 'script.json').write_text(json.dumps(SCRIPT))
    options = ['--recording', str(tmp_path), '--output', str(tmp_path / 'out')]
    assert demo.main(options) == code
    assert told in capsys.readouterr().err


def test_a_recording_without_sound_is_told_before_anything_starts(tmp_path, capsys):
    assert demo.main(['--recording', str(tmp_path), '--output', str(tmp_path / 'out')]) == 1
    assert 'input.wav does not exist' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_video_is_left_out_where_there_is_none(tmp_path):
    assert demo.demo_settings(tmp_path, tmp_path)['video_file'] == ''
    (tmp_path / 'video.mp4').touch()
    assert demo.demo_settings(tmp_path, tmp_path)['video_file'] == str(tmp_path / 'video.mp4')


def test_the_recording_that_comes_along_fits_its_script():
    script = json.loads((demo.RECORDING / 'script.json').read_text())
    sound = soundfile.info(demo.RECORDING / 'input.wav')
    assert (sound.samplerate, sound.channels) == (16_000, 1)
    assert [entry['start'] for entry in script] == sorted(entry['start'] for entry in script)
    assert script[-1]['end'] + LONGEST_S < sound.duration
    assert {entry['skill'] for entry in script if entry['skill']} <= set(SKILLS)
    assert any(entry['delegates'] for entry in script)
    pcm, rate_hz = soundfile.read(demo.RECORDING / 'input.wav')
    for entry in script:
        said = pcm[int(entry['start'] * rate_hz) : int(entry['end'] * rate_hz)]
        assert np.abs(said).max() > 0.02, entry['text']
    film = cv2.VideoCapture(str(demo.RECORDING / 'video.mp4'))
    length_s = film.get(cv2.CAP_PROP_FRAME_COUNT) / film.get(cv2.CAP_PROP_FPS)
    assert length_s == pytest.approx(sound.duration, abs=0.2)


def timeline(*onsets: Onset) -> Timeline:
    silence = np.zeros(0, np.int16)
    return Timeline(silence, silence, onsets=list(onsets))


def asked(end_s: float, answer: str = 'okay') -> dict:
    return {'end': end_s, 'text': 'go there', 'answer': answer}


def test_a_latency_is_split_into_its_parts():
    # Said until 3.07 s; complete at 3.2; one micro-turn passes; 30 ms to compute, 40 ms to sound.
    onset = Onset(t=3.47, text='okay then', window_end_s=3.4, step_ms=30.0)
    (latency,) = measure_latency(timeline(onset), [asked(3.07)])
    assert latency.total_s == pytest.approx(0.40)
    assert latency.window_s == pytest.approx(0.13)
    assert latency.decision_s == pytest.approx(0.2)
    assert latency.step_s == pytest.approx(0.03)
    assert latency.transport_s == pytest.approx(0.04)
    assert (latency.asked, latency.answered) == ('go there', 'okay then')
    assert latency.as_dict()['window_s'] == 0.13


@given(
    end_s=st.floats(0.0, 1000.0),
    onset_s=st.floats(-EARLY_S, LONGEST_S),
    window=st.integers(0, 5000),
    step_ms=st.floats(0.0, 500.0),
)
def test_the_parts_make_up_the_whole(end_s, onset_s, window, step_ms):
    onset = Onset(end_s + onset_s, 'okay', window * TURN_S, step_ms)
    for each in measure_latency(timeline(onset), [asked(end_s)]):
        parts = each.window_s + each.decision_s + each.step_s + each.transport_s
        assert parts == pytest.approx(each.total_s, abs=1e-9)
        assert 0.0 <= each.window_s < TURN_S + 1e-9


@pytest.mark.parametrize('end_s', [0.2, 0.6, 1.4, 2.0, 12.2, 30.0])
def test_what_ends_with_a_micro_turn_waits_for_no_window(end_s):
    onset = Onset(end_s + 0.1, 'okay', end_s, 10.0)
    (latency,) = measure_latency(timeline(onset), [asked(end_s)])
    assert latency.window_s == pytest.approx(0.0, abs=1e-9)


def test_the_first_answer_with_the_right_words_counts():
    onsets = [
        Onset(10.2, 'one', 10.2, 10.0),
        Onset(10.9, 'okay again', 10.8, 10.0),
        Onset(10.5, 'okay', 10.4, 10.0),
    ]
    (latency,) = measure_latency(timeline(*onsets), [asked(10.0)])
    assert latency.total_s == pytest.approx(0.5)


@pytest.mark.parametrize(
    ('after_s', 'found'),
    [(-EARLY_S - 0.01, 0), (-EARLY_S + 0.01, 1), (LONGEST_S - 0.01, 1), (LONGEST_S + 0.01, 0)],
)
def test_speech_long_before_or_after_is_no_answer(after_s, found):
    onset = Onset(20.0 + after_s, 'okay', 20.0, 10.0)
    assert len(measure_latency(timeline(onset), [asked(20.0)])) == found


def test_what_wants_no_answer_and_what_gets_none_is_left_out():
    onset = Onset(20.3, 'okay', 20.2, 10.0)
    script = [asked(20.0, ''), asked(20.0, 'hello'), asked(90.0), asked(20.0)]
    assert [each.total_s for each in measure_latency(timeline(onset), script)] == [
        pytest.approx(0.3)
    ]
