# SPDX-License-Identifier: Apache-2.0
"""What a stand-in set is: how its samples are made, judged and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .sample import Lived, Sample
from .scoring import Score
from .studio import Studio
from .take import Take, make

Judged = dict


@dataclass(frozen=True)
class StandIn:
    """One set.

    Attributes:
        name: Name of its main score.
        size: Samples.
        write: Writes sample `index`.
        judge: JSON-ready judgement of what a model did with a sample.
        score: Scores of all judgements, the main one first.
        quick: Samples of a smoke run.
        weight: Length of a sample relative to others; long ones are begun first.
    """

    name: str
    size: int
    write: Callable[[Take, int], Sample]
    judge: Callable[[Sample, Lived], Judged]
    score: Callable[[Sequence[Judged]], list[Score]]
    quick: int = 4
    weight: float = 1.0

    def sample(self, studio: Studio, index: int) -> Sample:
        """Makes one sample; the same studio and index give the same."""
        return make(studio, self.name, index, lambda take: self.write(take, index))
