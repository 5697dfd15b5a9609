# SPDX-License-Identifier: Apache-2.0
"""Lists sound devices and chooses one by name or index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal['input', 'output']


@dataclass(frozen=True)
class SoundDevice:
    """A sound device of one direction.

    Attributes:
        index: PortAudio's index; changes when devices come and go.
        name: Its name.
        host_api: The system that it belongs to, e.g. 'ALSA'.
        channels: Most channels in this direction.
        rate_hz: The sampling rate that it prefers.
        is_default: Whether it is the system's default of this direction.
    """

    index: int
    name: str
    host_api: str
    channels: int
    rate_hz: int
    is_default: bool = False

    def __str__(self) -> str:
        default = ', default' if self.is_default else ''
        return f'{self.index}: {self.name!r} ({self.host_api}{default})'


def portaudio() -> Any:
    """Returns the module `sounddevice`.

    Raises:
        ValueError: PortAudio is not installed.
    """
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise ValueError(
            f'sound devices need PortAudio ({error}); expected the Debian package libportaudio2'
        ) from None
    return sounddevice


def list_sound_devices(kind: Kind) -> list[SoundDevice]:
    """Lists the devices that PortAudio saw when it was last initialised.

    Args:
        kind: 'input' for microphones, 'output' for loudspeakers.

    Raises:
        ValueError: PortAudio is not installed.
    """
    sounddevice = portaudio()
    host_apis = sounddevice.query_hostapis()
    found = []
    for index, entry in enumerate(sounddevice.query_devices()):
        api = host_apis[entry['hostapi']]
        if channels := entry[f'max_{kind}_channels']:
            rate_hz = round(entry['default_samplerate'])
            default = _default_index(sounddevice, kind) == index
            found.append(SoundDevice(index, entry['name'], api['name'], channels, rate_hz, default))
    return found


def choose_sound_device(text: str, kind: Kind, devices: Sequence[SoundDevice]) -> SoundDevice:
    """Finds the device that a parameter means.

    Args:
        text: '' for the default device, an index, a name, or a part of a name, whose case is
            ignored; a name that fits exactly wins over parts.
        kind: For the messages.
        devices: The devices that there are.

    Returns:
        The one device that fits.

    Raises:
        ValueError: None fits or several do; the message lists what there is.
    """
    if not devices:
        raise ValueError(f'there is no sound {kind} device; plug one in, or set a file instead')
    if not text:
        fitting = [device for device in devices if device.is_default] or list(devices)[:1]
    elif text.isdecimal():
        fitting = [device for device in devices if device.index == int(text)]
    else:
        fitting = [device for device in devices if device.name.lower() == text.lower()]
        fitting = fitting or [device for device in devices if text.lower() in device.name.lower()]
    if not fitting:
        raise ValueError(f'no sound {kind} device fits {text!r}; there are {_listed(devices)}')
    if len(fitting) > 1:
        raise ValueError(
            f'{len(fitting)} sound {kind} devices fit {text!r}: {_listed(fitting)}; '
            'expected one, give more of its name or its index'
        )
    return fitting[0]


def _default_index(sounddevice: Any, kind: Kind) -> int:
    try:
        return int(sounddevice.default.device[kind])
    except (TypeError, ValueError):
        return -1


def _listed(devices: Sequence[SoundDevice]) -> str:
    return ', '.join(str(device) for device in devices)
