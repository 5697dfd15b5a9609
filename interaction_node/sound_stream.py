# SPDX-License-Identifier: Apache-2.0
"""Keeps a sound device open: finds it, notices when it dies, opens it again when it is back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interaction_node.sound_device import (
    Kind,
    SoundDevice,
    choose_sound_device,
    list_sound_devices,
    portaudio,
)

RETRY_S = 2.0
# A device may take about 2 s to its first block; later blocks come every few milliseconds.
FIRST_BLOCK_S = 6.0
STALLED_S = 2.0
_PREFERRED_RATE_HZ = 16_000
_MAX_CHANNELS = 32

_portaudio_lock = threading.Lock()
_open_streams = 0


@dataclass(frozen=True)
class StreamFormat:
    """How a device was opened.

    Attributes:
        device: The device.
        rate_hz: Its sampling rate.
        channels: Interleaved channels of a block.
        latency_s: Latency that PortAudio expects.
    """

    device: SoundDevice
    rate_hz: int
    channels: int
    latency_s: float


def block_frames(block_ms: float, rate_hz: int) -> int:
    """Returns the power of two next to a length, at most a tenth above it.

    Of other blocks ALSA's plugins buffer twice as many as they are asked to.
    """
    return 2 ** max(4, math.floor(math.log2(1.1 * block_ms * rate_hz / 1_000)))


class SoundStream:
    """One stream of 16-bit sound to or from a device that may come and go.

    PortAudio's thread calls `on_block`; a thread of its own watches the device. 16 kHz is taken
    where the device offers it, else the rate that the device prefers.
    """

    def __init__(
        self,
        kind: Kind,
        device: str,
        on_block: Callable[[Any, int, Any, Any], None],
        on_open: Callable[[StreamFormat], None],
        on_error: Callable[[str], None],
        *,
        channels: int = 1,
        block_ms: float = 20.0,
    ) -> None:
        """Prepares; `start` opens.

        Args:
            kind: 'input' or 'output'.
            device: As for `choose_sound_device`.
            on_block: Called with (buffer, frames, time info, flags) from PortAudio's thread.
            on_open: Called before the first block each time that the device was opened.
            on_error: Called each time that it can't be opened or dies.
            channels: Fewest channels that are needed.
            block_ms: Length of a block, about; the device is asked to buffer two.
        """
        self._kind = kind
        self._wanted = device
        self._on_block = on_block
        self._on_open = on_open
        self._on_error = on_error
        self._channels = channels
        self._block_ms = block_ms
        self._stream: Any = None
        self._newest_block_s = 0.0
        self._ended = threading.Event()  # wakes the watching thread
        self._closing = False
        self._thread = threading.Thread(target=self._watch, name=f'sound {kind}', daemon=True)

    def start(self, wait_for_device: bool = False) -> None:
        """Opens the device and starts to watch it.

        Args:
            wait_for_device: Whether a device that can't be opened now is an error to report and
                to wait for, rather than to raise.

        Raises:
            ValueError: PortAudio or the device is missing, or the device can't be opened.
        """
        portaudio()
        try:
            self._open()
        except ValueError as error:
            if not wait_for_device:
                raise
            self._on_error(str(error))
        self._thread.start()

    def close(self) -> None:
        """Closes the device and ends the thread."""
        self._closing = True
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._shut()

    def _watch(self) -> None:
        while not self._closing:
            if self._stream is None:
                self._ended.wait(RETRY_S)
                self._ended.clear()
                if not self._closing:
                    self._try_open()
                continue
            self._ended.wait(STALLED_S / 4)
            if not self._closing and (reason := self._dead()):
                self._shut()
                self._on_error(f'sound {self._kind} device {self._name!r} {reason}; retrying')

    def _try_open(self) -> None:
        try:
            self._rescan()
            self._open()
        except ValueError as error:
            self._on_error(str(error))

    def _rescan(self) -> None:
        """Makes PortAudio look for devices; it does so only when it starts."""
        sounddevice = portaudio()
        with _portaudio_lock:
            # Ending PortAudio would end the other stream of a composed process too.
            if _open_streams == 0:
                sounddevice._terminate()
                sounddevice._initialize()

    def _open(self) -> None:
        global _open_streams
        sounddevice = portaudio()
        with _portaudio_lock:
            device = choose_sound_device(self._wanted, self._kind, list_sound_devices(self._kind))
            self._name = device.name
            self._ended.clear()
            self._newest_block_s = time.monotonic() + FIRST_BLOCK_S - STALLED_S
            stream = self._first_that_opens(sounddevice, device)
            _open_streams += 1
        self._stream = stream
        latency_s = float(stream.latency)
        self._on_open(StreamFormat(device, round(stream.samplerate), stream.channels, latency_s))
        try:
            stream.start()
        except sounddevice.PortAudioError as error:
            self._shut()
            raise ValueError(f'sound device {device.name!r} does not start: {error}') from None

    def _first_that_opens(self, sounddevice: Any, device: SoundDevice) -> Any:
        """Opens the device with the first combination of rate and channels that it takes."""
        make = getattr(sounddevice, f'Raw{self._kind.capitalize()}Stream')
        many = max(self._channels, min(device.channels, _MAX_CHANNELS))
        refused = ''
        for rate_hz in dict.fromkeys((_PREFERRED_RATE_HZ, device.rate_hz)):
            frames = block_frames(self._block_ms, rate_hz)
            for channels in dict.fromkeys((self._channels, many)):
                try:
                    return make(
                        samplerate=rate_hz,
                        channels=channels,
                        dtype='int16',
                        device=device.index,
                        blocksize=frames,
                        latency=2 * frames / rate_hz,
                        callback=self._handle_block,
                        finished_callback=self._ended.set,
                    )
                except (sounddevice.PortAudioError, ValueError) as error:
                    refused = str(error)
        raise ValueError(f'sound {self._kind} device {device} cannot be opened: {refused}')

    def _handle_block(self, buffer: Any, frames: int, times: Any, flags: Any) -> None:
        self._newest_block_s = max(self._newest_block_s, time.monotonic())
        self._on_block(buffer, frames, times, flags)

    def _dead(self) -> str:
        """Says why the device is dead, '' while it lives."""
        if not self._stream.active:
            return 'is gone'
        if time.monotonic() - self._newest_block_s > STALLED_S:
            return 'has stopped'
        return ''

    def _shut(self) -> None:
        global _open_streams
        if self._stream is None:
            return
        with _portaudio_lock:
            stream, self._stream = self._stream, None
            stream.close(ignore_errors=True)
            _open_streams -= 1
