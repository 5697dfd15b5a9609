# SPDX-License-Identifier: Apache-2.0
"""What the clock has to say about a micro-turn: ages, gaps, losses."""

from __future__ import annotations

from dataclasses import dataclass

from interaction_node.model.interface import Missing


@dataclass(frozen=True)
class TurnReport:
    """How the inputs of one micro-turn came about; most of `MicroTurnStatus`.

    Attributes:
        index: Index of the micro-turn.
        first_sample: First sample of the window on the microphone's 16 kHz counter, a multiple of
            3,200; counted from 0 as long as no microphone was heard.
        source: Key of the microphone that is listened to, None as long as there was none.
        ros_offset_s: ROS time minus sample clock at the start of the window, seconds.
        drift_ppm: By how much the ROS clock runs faster than the sample clock, ppm.
        audio_age_ms: From the newest sample heard to the end of the window, -1 if none so far.
        playback_age_ms: The same for the robot's own voice.
        image_age_ms: From the newest frame used to the end of the window, -1 if none.
        latency_ms: From the end of the window to when it was handed out, on the pacing clock.
        missing: The flags of the micro-turn.
        audio_gap_samples: Samples of this window that were filled with silence.
        audio_late_samples: Samples so far whose window had been handed out already.
        audio_overlap_samples: Samples so far that were sent again.
        audio_foreign_samples: Samples so far of a second microphone, ignored.
        audio_dropped_samples: Samples so far that found no room.
        playback_late_samples: As for audio, of the robot's own voice.
        playback_overlap_samples: As for audio, of the robot's own voice.
        image_drops: Frames so far that found no room.
        text_drops: Lines of text so far that found no room.
        reanchors: How often so far a microphone's counter was tied to the micro-turns.
        backlog: Micro-turns that are due after this one.
        errors: (key, message) of what is wrong; each key once until the clock is reset.
    """

    index: int
    first_sample: int
    source: str | None
    ros_offset_s: float
    drift_ppm: float
    audio_age_ms: float
    playback_age_ms: float
    image_age_ms: float
    latency_ms: float
    missing: Missing
    audio_gap_samples: int
    audio_late_samples: int
    audio_overlap_samples: int
    audio_foreign_samples: int
    audio_dropped_samples: int
    playback_late_samples: int
    playback_overlap_samples: int
    image_drops: int
    text_drops: int
    reanchors: int
    backlog: int = 0
    errors: tuple[tuple[str, str], ...] = ()
