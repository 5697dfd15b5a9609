# SPDX-License-Identifier: Apache-2.0
"""Shows a conversation in the terminal while it happens; a progress bar where there is none."""

from __future__ import annotations

import sys
import threading
from collections import deque

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from duplex_interaction.msg import ActionIntent, ConversationEvent, GateDecision, MicroTurnStatus
from interaction_node import topic_qos
from interaction_node.conversation_log import Kind

_ROWS = 12
_WIDTH = 60
_KINDS = {
    Kind.TEXT: ('you typed', 'cyan'),
    Kind.HEARD: ('you', 'cyan'),
    Kind.SAID: ('robot', 'yellow'),
    Kind.PLAN_REQUESTED: ('asks planner', 'magenta'),
    Kind.PLAN_RESULT: ('planner', 'magenta'),
    Kind.PLAN_FAILED: ('planner failed', 'red'),
    Kind.PLAN_CANCELLED: ('plan cancelled', 'magenta'),
}
_BAR = {'silent': '·', 'speak': '█', 'flush': '✕'}


class LiveView:
    """Subscribes to a graph and draws it; a context manager.

    Args:
        total_turns: Micro-turns to come, for the progress bar; 0 if nobody knows.
        context: ROS context that is initialised.
        namespace: Namespace of the graph.
    """

    def __init__(self, total_turns: int, context: Context, namespace: str = ''):
        self.total_turns = total_turns
        self.turns = 0
        self.missed = 0
        self._step_ms = 0.0
        self._bar: deque[str] = deque(maxlen=_WIDTH)
        self._rows: dict[str, tuple[float, str, str, str]] = {}
        self._lock = threading.Lock()
        self._node = Node('live_view', namespace=namespace, context=context)
        subscribe = self._node.create_subscription
        subscribe(
            MicroTurnStatus, 'micro_turn_status', self._on_status, topic_qos.MICRO_TURN_STATUS
        )
        subscribe(ConversationEvent, 'conversation', self._on_event, topic_qos.CONVERSATION)
        subscribe(ActionIntent, 'action_intents', self._on_intent, topic_qos.ACTION_INTENTS)
        subscribe(GateDecision, 'gate_decisions', self._on_decision, topic_qos.GATE_DECISIONS)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name='live-view')
        self._screen: Live | None = None
        self._progress: tqdm | None = None

    def __enter__(self) -> LiveView:
        """Starts to listen and to draw."""
        if sys.stdout.isatty():
            self._screen = Live(get_renderable=self._table, console=Console(), refresh_per_second=5)
            self._screen.start()
        else:
            self._progress = tqdm(
                total=self.total_turns or None, unit='turn', desc='micro-turns', mininterval=5
            )
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops; what was drawn last stays."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        if self._screen is not None:
            self._screen.stop()
        if self._progress is not None:
            self._progress.close()
            for _, who, what, _ in self._latest():
                print(f'  {who:>14}: {what}')

    def _on_status(self, message: MicroTurnStatus) -> None:
        with self._lock:
            self.turns += 1
            self.missed = message.deadlines_missed
            self._step_ms = message.step_ms
            self._bar.append(_BAR.get(message.control, '?'))
        if self._progress is not None:
            self._progress.update(1)

    def _on_event(self, message: ConversationEvent) -> None:
        if message.kind not in _KINDS or not message.text:
            return
        who, colour = _KINDS[Kind(message.kind)]
        stamp = message.header.stamp
        key = message.event_id or f'{stamp.sec}.{stamp.nanosec}'
        self._put(key, stamp, who, message.text, colour)

    def _on_intent(self, message: ActionIntent) -> None:
        what = f'{message.skill} {message.arguments}'
        self._put(message.intent_id, message.header.stamp, 'robot acts', what, 'green')

    def _on_decision(self, message: GateDecision) -> None:
        if not message.allowed:
            what = f'{message.skill}: {message.detail}'
            self._put(f'{message.intent_id}-refused', message.header.stamp, 'refused', what, 'red')

    def _put(self, key: str, stamp, who: str, what: str, colour: str) -> None:
        with self._lock:
            t = self._rows[key][0] if key in self._rows else stamp.sec + stamp.nanosec * 1e-9
            self._rows[key] = (t, who, what, colour)

    def _latest(self) -> list[tuple[float, str, str, str]]:
        with self._lock:
            return sorted(self._rows.values())

    def _table(self) -> Table:
        rows = self._latest()[-_ROWS:]
        with self._lock:
            total = f' of {self.total_turns}' if self.total_turns else ''
            title = f'micro-turn {self.turns}{total}   step {self._step_ms:.0f} ms'
            title += f'   missed {self.missed}'
            bar = ''.join(self._bar)
        table = Table(title=title, caption=bar, expand=True, show_header=False)
        table.add_column(width=14, justify='right')
        table.add_column(ratio=1)
        for _, who, what, colour in rows:
            table.add_row(Text(who, style=colour), Text(what))
        return table
