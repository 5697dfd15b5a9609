# SPDX-License-Identifier: Apache-2.0
"""Which sound device a parameter means."""

import pytest

from interaction_node.sound_device import SoundDevice, choose_sound_device

DEVICES = (
    SoundDevice(0, 'HDA Intel: ALC (hw:0,0)', 'ALSA', 2, 44_100),
    SoundDevice(3, 'USB Array', 'ALSA', 6, 16_000),
    SoundDevice(4, 'USB Array Pro', 'ALSA', 6, 48_000),
    SoundDevice(7, 'default', 'ALSA', 32, 44_100, is_default=True),
)


@pytest.mark.parametrize(
    ('text', 'index'), [('', 7), ('3', 3), ('intel', 0), ('usb array', 3), ('Pro', 4)]
)
def test_the_one_that_fits(text, index):
    assert choose_sound_device(text, 'input', DEVICES).index == index


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('usb', r"2 sound input devices fit 'usb': 3: 'USB Array' .* its index"),
        ('webcam', r"no sound input device fits 'webcam'; there are 0: 'HDA.*7: 'default'"),
        ('5', r"no sound input device fits '5'"),
    ],
)
def test_errors_list_what_there_is(text, message):
    with pytest.raises(ValueError, match=message):
        choose_sound_device(text, 'input', DEVICES)


def test_none_at_all():
    with pytest.raises(ValueError, match='there is no sound output device'):
        choose_sound_device('', 'output', ())


def test_without_a_default_the_first_is_taken():
    assert choose_sound_device('', 'input', DEVICES[:2]).index == 0
