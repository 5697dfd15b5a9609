# SPDX-License-Identifier: Apache-2.0
"""Flow control of a file that is sent as fast as the graph takes it."""

import threading

from interaction_node.graph_pace import TURN_SAMPLES, GraphPace


def test_graph_pace_opens_with_the_steps():
    stop, pace = threading.Event(), GraphPace(ahead_turns=2, timeout_s=0.15)
    assert pace.wait(2 * TURN_SAMPLES, stop)
    pace.step_done(10 * TURN_SAMPLES)  # never sent: of another run
    assert pace.timeouts == 0
    pace.step_done(0)
    assert pace.wait(3 * TURN_SAMPLES, stop)
    assert pace.timeouts == 0
    assert pace.wait(4 * TURN_SAMPLES, stop)  # no step: only after the time-out
    assert pace.timeouts == 1
    stop.set()
    assert not pace.wait(9 * TURN_SAMPLES, stop)
