# SPDX-License-Identifier: Apache-2.0
"""What others published, on the real sets; ours are stand-ins and never the same numbers.

TML-Interaction-Small: Thinking Machines Lab, May 2026. The others as they report themselves, or as
that post reports them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A score as it was published.

    Attributes:
        title: What is measured, on which real set.
        unit: Of all its numbers.
        systems: (name, score), the reference system first.
        target: What we want to reach on the stand-in.
        lower_is_better: Of its numbers.
    """

    title: str
    unit: str
    systems: tuple[tuple[str, float], ...] = ()
    target: float | None = None
    lower_is_better: bool = False


_TML = 'TML-Interaction-Small'
PUBLISHED = {
    'CueSpeak-syn': Published('CueSpeak', '%', ((_TML, 81.7), ('best other', 2.9)), 92),
    'TimeSpeak-syn': Published('TimeSpeak', '%', ((_TML, 64.7), ('best other', 4.3)), 92),
    'Patience-syn': Published('what takes half a minute and more', '%'),
    'Typed-syn': Published('the same by typed lines', '%'),
    'RepCount-syn': Published(
        'RepCount-A, off by one', '%', ((_TML, 35.4), ('best other', 1.3)), 85
    ),
    'ProactiveVideoQA-syn': Published(
        'ProactiveVideoQA, PAUC', 'x 100', ((_TML, 33.5), ('silence', 25.0)), 45
    ),
    'Charades-syn': Published('Charades, mIoU', 'x 100', ((_TML, 32.4), ('best other', 0.0)), 75),
    'FDB-v1-syn': Published(
        'Full-Duplex-Bench v1, mean of five rates',
        '',
        (
            ('GPT-Realtime', 0.968),
            ('DuplexCascade', 0.858),
            ('PersonaPlex', 0.684),
            ('Moshi', 0.395),
        ),
        0.95,
    ),
    'FDB-v1-syn.latency_s': Published(
        'Full-Duplex-Bench v1, latency',
        's',
        ((_TML, 0.40), ('Gemini 3.1 Live', 0.57), ('PersonaPlex', 0.07)),
        0.30,
        lower_is_better=True,
    ),
    'FDB-v1.5-syn': Published(
        'Full-Duplex-Bench v1.5, mean of four', '%', ((_TML, 77.8), ('Realtime-Venus', 86.5)), 92
    ),
    'Command-syn': Published(
        'Full-Duplex-Bench v3, Pass@1', '%', ((_TML, 68.0), ('best other', 58.0)), 90
    ),
    'Delegate-syn': Published('planner asked and its result told', '%'),
    'Echo-syn': Published('not irritated by its own voice', '%'),
    'False-onsets-per-hour': Published(
        'onsets in an hour of other talk', '', (), 6, lower_is_better=True
    ),
    'Human-cue': Published('cues spoken by people', '%', (), 80),
    'Human-false-onsets-per-hour': Published(
        'the same, of people', '', (), 6, lower_is_better=True
    ),
    'Human-command': Published('commands spoken by people', '%', (), 80),
}
