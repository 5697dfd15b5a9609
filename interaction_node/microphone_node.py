# SPDX-License-Identifier: Apache-2.0
"""Publishes what a microphone hears as 16 kHz mono `audio`, or a sound file in its place.

The stamp of a chunk is the acquisition time of its first sample; `first_sample` counts on without
holes, so that lost sound shows as a jump. With a file, `pace` says whether it is sent in real time
or as fast as the interaction node steps.
"""

from __future__ import annotations

import array
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from duplex_interaction.msg import AudioChunk, MicroTurnStatus
from interaction_node import topic_qos
from interaction_node.audio_file import audio_files, check_audio_files, stream_pcm16
from interaction_node.capture import Capture
from interaction_node.graph_pace import GraphPace
from interaction_node.level_meter import LevelMeter
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.sound_stream import SoundStream, StreamFormat
from interaction_node.stream_resampler import MODEL_RATE_HZ

PARAMETERS = (
    NodeParameter('device', '', 'Part of the name of a microphone, or its index; empty: default'),
    NodeParameter('wait_for_device', False, 'Wait for a missing device at the start, do not exit'),
    NodeParameter('channel', -1, 'Channel of the device to take, -1: mean', minimum=-1, maximum=31),
    NodeParameter('file', '', 'WAV or FLAC file, or a folder of them, in place of a device'),
    NodeParameter('pace', 'realtime', 'How a file is sent', choices=('realtime', 'graph')),
    NodeParameter('loop', False, 'Start the file anew at its end'),
    NodeParameter('chunk_ms', 20, 'Length of a chunk, ms', minimum=5, maximum=200),
    NodeParameter(
        'wait_for_subscribers', 0, 'Subscribers that a file waits for', minimum=0, maximum=64
    ),
    NodeParameter('start_delay_s', 0.0, 'Wait before a file starts, s', minimum=0.0, maximum=600.0),
    NodeParameter(
        'start_time_s', 0.0, "ROS time of a file's first sample, s; 0: when it starts", minimum=0.0
    ),
    NodeParameter(
        'trailing_silence_s', 2.0, 'Silence after the file, s', minimum=0.0, maximum=3600.0
    ),
    NodeParameter('exit_at_end', False, 'Exit after the file and its silence'),
    NodeParameter(
        'graph_timeout_s', 2.0, "Longest wait for a step in pace 'graph', s", minimum=0.1
    ),
    NodeParameter('frame_id', 'microphone', 'Frame in the header'),
)

_QUEUED_BLOCKS = 100
_POLL_S = 0.05
_SIM_POLL_S = 0.005
_ACKNOWLEDGED_S = 5.0


class MicrophoneNode(Node):
    """Publishes `audio` from a sound device or from files."""

    def __init__(self, **kwargs: Any) -> None:
        """Opens the device, or starts to send the file.

        Args:
            **kwargs: As for `rclpy.node.Node`.

        Raises:
            ValueError: A parameter is not allowed, the device or the file is missing.
        """
        super().__init__('microphone_node', **kwargs)
        self._settings = declare_parameters(self, PARAMETERS)
        self._chunk_samples = self._settings['chunk_ms'] * MODEL_RATE_HZ // 1_000
        self._publisher = self.create_publisher(AudioChunk, 'audio', topic_qos.AUDIO)
        self._errors = NodeErrors(self)
        self._level = LevelMeter()
        self._errors.add_values(self._level.read)
        self._stop = threading.Event()
        self.finished = threading.Event()
        self.exit_code = 0
        self._stream: SoundStream | None = None
        target = self._start_file() if self._settings['file'] else self._start_device()
        self._thread = threading.Thread(target=target, name='microphone', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Closes the device and ends the thread."""
        self._stop.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join()
        self._errors.close()

    def _publish(self, first_sample: int, stamp_ns: int, pcm: np.ndarray) -> None:
        message = AudioChunk(first_sample=first_sample, sample_rate_hz=MODEL_RATE_HZ, channels=1)
        message.header.stamp = Time(nanoseconds=max(0, stamp_ns)).to_msg()
        message.header.frame_id = self._settings['frame_id']
        message.pcm = array.array('h', pcm.tobytes())
        self._publisher.publish(message)
        self._level.push(pcm)
        self._errors.count('chunks')

    # A device.

    def _start_device(self) -> Any:
        self._blocks: queue.Queue = queue.Queue(_QUEUED_BLOCKS)
        self._dropped_frames = 0
        self._format: StreamFormat | None = None
        channel = self._settings['channel']
        self._stream = SoundStream(
            'input',
            self._settings['device'],
            self._handle_block,
            self._handle_open,
            lambda message: self._errors.error('device', message),
            channels=max(1, channel + 1),
            block_ms=min(20.0, self._settings['chunk_ms']),
        )
        self._stream.start(self._settings['wait_for_device'])
        return self._run_device

    def _handle_open(self, stream_format: StreamFormat) -> None:
        self._format = stream_format
        self._blocks.put(stream_format)
        self._errors.resolve('device', f'listening to {stream_format.device}')
        self._errors.set_value('device', str(stream_format.device))
        self._errors.set_value('device_rate_hz', stream_format.rate_hz)

    def _handle_block(self, buffer: Any, frames: int, times: Any, flags: Any) -> None:
        """Copies a block; PortAudio's thread."""
        now_s = time.monotonic()
        age_s = times.currentTime - times.inputBufferAdcTime
        block = (bytes(buffer), frames, now_s, age_s, flags.input_overflow, self._dropped_frames)
        try:
            self._blocks.put_nowait(block)
            self._dropped_frames = 0
        except queue.Full:
            self._dropped_frames += frames

    def _run_device(self) -> None:
        capture = Capture(self._chunk_samples, self._settings['channel'])
        stream_format: StreamFormat | None = None
        while not self._stop.is_set():
            try:
                item = self._blocks.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, StreamFormat):
                stream_format = item
                capture.open(item.rate_hz)
            elif stream_format is not None:
                self._capture(capture, stream_format, item)

    def _capture(self, capture: Capture, stream_format: StreamFormat, block: tuple) -> None:
        data, frames, now_s, age_s, overflowed, dropped = block
        block_s = frames / stream_format.rate_hz
        # The youngest frame is at least as old as nothing; some drivers say that all of them are.
        believable = block_s <= age_s <= block_s + 4 * stream_format.latency_s
        acquired_s = now_s - (age_s if believable else block_s)
        block_FC = np.frombuffer(data, np.int16).reshape(frames, stream_format.channels)
        # Sim time and steps of the system's clock come in here, once a block.
        offset_ns = self.get_clock().now().nanoseconds - time.monotonic_ns()
        lost_before = capture.lost_samples
        for chunk in capture.push(block_FC, acquired_s, dropped, overflowed):
            stamp_ns = round(chunk.acquired_s * 1e9) + offset_ns
            self._publish(chunk.first_sample, stamp_ns, chunk.pcm)
        self._report_loss(capture.lost_samples - lost_before, overflowed)

    def _report_loss(self, lost: int, overflowed: bool) -> None:
        if overflowed:
            self._errors.count('overflows')
        if lost:
            total = self._errors.count('lost_samples', lost)
            self._errors.set_value('lost_s', total / MODEL_RATE_HZ)
            self.get_logger().warning(
                f'{lost} samples of sound were lost', throttle_duration_sec=10.0
            )

    # Files.

    def _start_file(self) -> Any:
        paths = audio_files(self._settings['file'])
        check_audio_files(paths)
        self._pace = GraphPace(timeout_s=self._settings['graph_timeout_s'])
        if self._settings['pace'] == 'graph':
            self._subscription = self.create_subscription(
                MicroTurnStatus,
                'micro_turn_status',
                self._handle_status,
                topic_qos.MICRO_TURN_STATUS,
            )
            self._errors.add_values(lambda: {'graph_timeouts': self._pace.timeouts})
        self._errors.set_value('file', str(self._settings['file']))
        return lambda: self._run_files(paths)

    def _handle_status(self, status: MicroTurnStatus) -> None:
        self._pace.step_done(status.first_sample)

    def _run_files(self, paths: Sequence[Path]) -> None:
        try:
            if self._wait_for_graph():
                self._send(paths)
        except (ValueError, OSError) as error:
            self._errors.error('file', str(error))
            self.exit_code = 1
        if not self._stop.is_set():
            self.get_logger().info('the sound file has ended')
            if self._settings['exit_at_end']:
                # Takes as long as Fast DDS's heartbeat, up to 3 s.
                self._publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
                self.finished.set()

    def _wait_for_graph(self) -> bool:
        wanted = self._settings['wait_for_subscribers']
        while self._publisher.get_subscription_count() < wanted:
            if self._stop.wait(_POLL_S):
                return False
        return not self._stop.wait(self._settings['start_delay_s'])

    def _send(self, paths: Sequence[Path]) -> None:
        """Publishes the files and the silence after them, each chunk at its time."""
        first, start_ns, steady_start_s = 0, self._started_ns(), time.monotonic()
        realtime = self._settings['pace'] == 'realtime'
        for pcm in self._chunks(paths):
            end = first + len(pcm)
            if realtime:
                ready = self._wait_until(start_ns, steady_start_s, end / MODEL_RATE_HZ)
            else:
                ready = self._pace.wait(end, self._stop)
            if not ready:
                return
            self._publish(first, start_ns + first * 1_000_000_000 // MODEL_RATE_HZ, pcm)
            first = end

    def _started_ns(self) -> int:
        """Returns the ROS time of the first sample; waits for the first one of a simulation."""
        if self._settings['start_time_s']:
            return round(self._settings['start_time_s'] * 1e9)
        while (now_ns := self.get_clock().now().nanoseconds) == 0 and not self._stop.is_set():
            time.sleep(_SIM_POLL_S)
        return now_ns

    def _wait_until(self, start_ns: int, steady_start_s: float, after_s: float) -> bool:
        """Waits until so much time has passed since the start; False where the node ends."""
        if not self.get_parameter('use_sim_time').value:
            left_s = steady_start_s + after_s - time.monotonic()
            return not self._stop.wait(max(0.0, left_s))
        due_ns = start_ns + round(after_s * 1e9)
        while self.get_clock().now().nanoseconds < due_ns:
            if self._stop.wait(_SIM_POLL_S):
                return False
        return not self._stop.is_set()

    def _chunks(self, paths: Sequence[Path]) -> Iterator[np.ndarray]:
        """Cuts the files and the silence after them into chunks; the last one may be short."""
        pending = np.zeros(0, np.int16)
        for piece in self._pieces(paths):
            pending = np.concatenate([pending, piece])
            while len(pending) >= self._chunk_samples:
                yield pending[: self._chunk_samples]
                pending = pending[self._chunk_samples :]
        if len(pending):
            yield pending

    def _pieces(self, paths: Sequence[Path]) -> Iterator[np.ndarray]:
        while True:
            for path in paths:
                yield from stream_pcm16(path)
            if not self._settings['loop']:
                break
        yield np.zeros(round(self._settings['trailing_silence_s'] * MODEL_RATE_HZ), np.int16)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node."""
    return run_node(MicrophoneNode, PARAMETERS, __doc__ or '', args, program='microphone_node')


if __name__ == '__main__':
    sys.exit(main())
