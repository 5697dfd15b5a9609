# SPDX-License-Identifier: Apache-2.0
"""Adapters to packages that may not be installed; stand-ins have the fields of their messages."""

import json
from types import SimpleNamespace as Message

import numpy as np
import pytest

from interaction_node.audio_common import AudioCommonReader, message_type, to_int16
from interaction_node.hri_intent import to_hri_intent
from interaction_node.model.interface import Intent, Priority


def stamped(rate=16_000, channels=1, **data):
    empty = {f'{kind}_data': [] for kind in ('float32', 'int32', 'int16', 'int8', 'uint8')}
    info = Message(format=8, channels=channels, rate=rate, chunk=512)
    return Message(audio=Message(audio_data=Message(**{**empty, **data}), info=info))


def test_samples_are_counted_over_jitter_and_gaps():
    reader = AudioCommonReader()
    chunk = stamped(int16_data=[1] * 1600)
    places = [reader.read_stamped(chunk, stamp_s).first_sample for stamp_s in (5.0, 5.13, 6.0, 6.1)]
    assert places == [0, 1600, 1600 + 1600 + round(0.77 * 16_000), 3200 + 12_320 + 1600]


@pytest.mark.parametrize(
    ('kind', 'samples', 'expected'),
    [
        ('int16', [1, -2], [1, -2]),
        ('float32', [0.5, -1.0, 2.0], [16_384, -32_768, 32_767]),
        ('int32', [65_536, -65_536], [1, -1]),
        ('uint8', [128, 255, 0], [0, 32_512, -32_768]),
        ('int8', [1, -128], [256, -32_768]),
    ],
)
def test_every_sample_type_becomes_int16(kind, samples, expected):
    sound = AudioCommonReader().read_stamped(stamped(**{f'{kind}_data': samples}), 0.0)
    assert sound.pcm.tolist() == expected
    assert sound.pcm.dtype == np.int16
    assert to_int16(np.array(samples, kind)).tolist() == expected


def test_bytes_are_read_as_the_info_says():
    reader = AudioCommonReader()
    chunk = Message(audio=Message(data=np.array([1, -2, 3, -4], '<i2').tobytes()))
    with pytest.raises(ValueError, match='no AudioInfo'):
        reader.read_data_stamped(chunk, 0.0)
    info = {'channels': 2, 'sample_rate': 8000, 'bitrate': 0, 'coding_format': 'WAVE'}
    reader.set_info(Message(**info, sample_format='S16LE'))
    sound = reader.read_data_stamped(chunk, 0.0)
    assert (sound.sample_rate_hz, sound.channels, sound.pcm.tolist()) == (8000, 2, [1, -2, 3, -4])
    assert reader.read_data_stamped(chunk, 0.001).first_sample == 2
    for wrong in ({'coding_format': 'MP3'}, {'sample_format': 'S24'}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            reader.set_info(Message(**{**info, 'sample_format': 'S16LE', **wrong}))


@pytest.mark.parametrize(('rate', 'channels'), [(0, 1), (16_000, 0)])
def test_impossible_numbers_are_named(rate, channels):
    with pytest.raises(ValueError, match='expected at least 1'):
        AudioCommonReader().read_stamped(stamped(rate, channels, int16_data=[1]), 0.0)


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(ValueError, match='audio_common_msgs'):
        message_type('NoSuchMessage')


class HriIntent(Message):
    MOVE_TO = '__intent_move_to__'
    BRING_OBJECT = '__intent_bring_object__'
    UNKNOWN_AGENT = '__unknown_agent__'
    MODALITY_SPEECH = '__modality_speech__'


@pytest.mark.parametrize(
    ('intent', 'name', 'data'),
    [
        (Intent('navigate_to', {'place': 'kitchen'}), '__intent_move_to__', {'goal': 'kitchen'}),
        (
            Intent('bring', {'colour': 'red', 'object': 'cup'}),
            '__intent_bring_object__',
            {'object': 'red cup', 'recipient': '__unknown_agent__'},
        ),
        (Intent('gripper', {'state': 'open'}), 'gripper', {'state': 'open'}),
    ],
)
def test_intents_are_told_in_the_words_of_ros4hri(intent, name, data):
    message = to_hri_intent(HriIntent, intent)
    assert (message.intent, json.loads(message.data), message.priority) == (name, data, 128)
    assert to_hri_intent(HriIntent, Intent('x', {}, priority=Priority.STOP)).priority == 255
