# SPDX-License-Identifier: Apache-2.0
"""What can be set on the micro-turn clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

PACES = ('realtime', 'graph')


@dataclass(frozen=True)
class ClockSettings:
    """Settings of a `MicroTurnClock`.

    Attributes:
        pace: 'realtime': time and the microphone make micro-turns due. 'graph': only the sources
            do, one micro-turn a poll, for a file microphone that waits for the model.
        jitter_ms: Longest wait for a late source after the end of a window.
        camera_timeout_ms: A newest frame older than this is used, but flagged as missing.
        takeover_ms: How long a microphone must be quiet before another one, or the same one with
            another counter, is listened to.
        lookahead_s: A stamp of a frame or text this far ahead of its arrival is not believed.
        max_audio_s: Audio kept beyond the micro-turns handed out, seconds.
        max_frames: Frames kept.
        max_text: Lines of text kept.
        max_catch_up_s: Silence made up at most after a stall or a jump of the pacing clock.
        graph_wait_s: Pace 'graph': longest wait for promised playback and for images.
        wait_for_image: Pace 'graph': wait for a frame stamped at or after the window's end, so
            that no frame of the window is still under way.

    Raises:
        ValueError: A value is out of range.
    """

    pace: str = 'realtime'
    jitter_ms: float = 40.0
    camera_timeout_ms: float = 1000.0
    takeover_ms: float = 300.0
    lookahead_s: float = 2.0
    max_audio_s: float = 60.0
    max_frames: int = 24
    max_text: int = 256
    max_catch_up_s: float = 10.0
    graph_wait_s: float = 10.0
    wait_for_image: bool = False

    def __post_init__(self) -> None:
        if self.pace not in PACES:
            raise ValueError(f'pace is {self.pace!r}, expected one of {PACES}')
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ('pace', 'wait_for_image') and not 0 <= value < math.inf:
                raise ValueError(f'{field.name} is {value!r}, expected a finite number >= 0')
        if self.max_frames < 2:
            raise ValueError(f'max_frames is {self.max_frames}, expected at least 2')
        if self.max_text < 1:
            raise ValueError(f'max_text is {self.max_text}, expected at least 1')
        if self.max_audio_s < 1.0:
            raise ValueError(f'max_audio_s is {self.max_audio_s}, expected at least 1')
        if self.max_catch_up_s < 1.0:
            raise ValueError(f'max_catch_up_s is {self.max_catch_up_s}, expected at least 1')
