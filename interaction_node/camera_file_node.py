# SPDX-License-Identifier: Apache-2.0
"""Publishes a video file or a folder of images as `image`, like a camera would.

With `sync_to_audio` the time base is that of `audio`: a frame's stamp is its own time on the
microphone's counter, and it is sent up to `lookahead_ms` before that time, so that it is there
when its micro-turn closes, also where the sound runs faster than real time.
"""

from __future__ import annotations

import array
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image

from duplex_interaction.msg import AudioChunk
from interaction_node import topic_qos
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.video_file import VideoFile

PARAMETERS = (
    NodeParameter('file', '', 'Video file, or a folder of images in the order of their names'),
    NodeParameter('sync_to_audio', True, 'Take the time base from audio; false: an own one'),
    NodeParameter(
        'lookahead_ms', 400.0, 'How early a frame is sent with audio, ms', minimum=0.0, maximum=5e3
    ),
    NodeParameter('rate_hz', 0.0, 'Frames a second; 0: as the file', minimum=0.0, maximum=240.0),
    NodeParameter('width', 0, 'Width to scale to, pixels; 0: as the file', minimum=0, maximum=7680),
    NodeParameter(
        'height', 0, 'Height to scale to, pixels; 0: as the file', minimum=0, maximum=4320
    ),
    NodeParameter('loop', False, 'Start the file anew at its end'),
    NodeParameter(
        'wait_for_subscribers', 0, 'Subscribers to wait for at the start', minimum=0, maximum=64
    ),
    NodeParameter('exit_at_end', False, 'Exit after the last frame'),
    NodeParameter('frame_id', 'camera_optical_frame', 'Frame in the header'),
)

_POLL_S = 0.05
_SIM_POLL_S = 0.005
_BURST_S = 0.003
_ROUNDING_S = 1e-6
_ACKNOWLEDGED_S = 5.0
_LATE_S = 1.0


class CameraFileNode(Node):
    """Publishes `image` from a file."""

    def __init__(self, **kwargs: Any) -> None:
        """Opens the file and starts to send it.

        Args:
            **kwargs: As for `rclpy.node.Node`.

        Raises:
            ValueError: A parameter is not allowed, or the file is missing or unreadable.
        """
        super().__init__('camera_file_node', **kwargs)
        self._settings = declare_parameters(self, PARAMETERS)
        if not self._settings['file']:
            raise ValueError("parameter 'file' is ''; expected a video file or a folder of images")
        self._video = VideoFile(
            self._settings['file'],
            self._settings['rate_hz'],
            self._settings['width'],
            self._settings['height'],
        )
        self._publisher = self.create_publisher(Image, 'image', topic_qos.FILE_CAMERA)
        self._errors = NodeErrors(self)
        self._errors.set_value('file', self._settings['file'])
        self._errors.set_value('rate_hz', self._video.rate_hz)
        self.finished = threading.Event()
        self.exit_code = 0
        self._stop = threading.Event()
        self._audio = threading.Condition()
        self._audio_start_ns = 0  # ROS time of the microphone's sample 0
        self._audio_end_s = -1.0  # how far the sound has come on its counter, seconds
        if self._settings['sync_to_audio']:
            self._subscription = self.create_subscription(
                AudioChunk, 'audio', self._handle_audio, topic_qos.AUDIO
            )
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        with self._audio:
            self._audio.notify()
        self._thread.join()
        self._errors.close()

    def _handle_audio(self, chunk: AudioChunk) -> None:
        if not chunk.sample_rate_hz or not chunk.channels:
            return
        frames = len(chunk.pcm) // chunk.channels
        before_ns = chunk.first_sample * 1_000_000_000 // chunk.sample_rate_hz
        with self._audio:
            self._audio_start_ns = Time.from_msg(chunk.header.stamp).nanoseconds - before_ns
            self._audio_end_s = (chunk.first_sample + frames) / chunk.sample_rate_hz
            self._audio.notify()

    def _run(self) -> None:
        try:
            if self._wait_for_subscribers():
                self._send()
        except ValueError as error:
            self._errors.error('file', str(error))
            self.exit_code = 1
        if not self._stop.is_set():
            self.get_logger().info('the video has ended')
            if self._settings['exit_at_end']:
                # Takes as long as Fast DDS's heartbeat, up to 3 s.
                self._publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGED_S))
                self.finished.set()

    def _send(self) -> None:
        start_s = 0.0
        wait = self._wait_for_audio if self._settings['sync_to_audio'] else self._wait_for_clock
        self._own_start_ns, self._own_start_s = 0, time.monotonic()
        while True:
            count = 0
            for time_s, rgb in self._video.frames():
                stamp_ns = wait(start_s + time_s)
                if stamp_ns is None:
                    return
                count += 1
                if self._is_late(start_s + time_s):
                    self._errors.count('late_frames_skipped')
                    continue
                self._publish(rgb, stamp_ns)
                # Frames that are due together must not push each other out of the queues.
                time.sleep(_BURST_S)
            self._check_length(count)
            if not self._settings['loop']:
                return
            start_s += count / self._video.rate_hz

    def _is_late(self, time_s: float) -> bool:
        """Whether the micro-turn of a frame has surely closed: sending it would delay the next."""
        with self._audio:
            return self._audio_end_s - time_s > _LATE_S

    def _check_length(self, count: int) -> None:
        """Reports a file that ended early; containers may announce a few frames too many."""
        announced = self._video.duration_s * self._video.rate_hz
        if count < 0.9 * announced - 1:
            self._errors.error(
                'file',
                f'video {str(self._video.path)!r} is damaged: {count} frames of {announced:.0f}',
            )

    def _wait_for_subscribers(self) -> bool:
        while self._publisher.get_subscription_count() < self._settings['wait_for_subscribers']:
            if self._stop.wait(_POLL_S):
                return False
        return True

    def _wait_for_audio(self, time_s: float) -> int | None:
        """Waits until the sound comes near; returns the ROS time of that moment, ns."""
        lookahead_s = self._settings['lookahead_ms'] / 1_000 + _ROUNDING_S
        with self._audio:
            while self._audio_end_s < 0 or time_s > self._audio_end_s + lookahead_s:
                if self._stop.is_set():
                    return None
                self._audio.wait(1.0)
            return self._audio_start_ns + round(time_s * 1e9)

    def _wait_for_clock(self, time_s: float) -> int | None:
        """Waits for the node's own clock; returns the ROS time, ns."""
        simulated = self.get_parameter('use_sim_time').value
        while not self._own_start_ns:
            self._own_start_ns = self.get_clock().now().nanoseconds
            self._own_start_s = time.monotonic()
            if not self._own_start_ns and self._stop.wait(_SIM_POLL_S):
                return None
        due_ns = self._own_start_ns + round(time_s * 1e9)
        while simulated and self.get_clock().now().nanoseconds < due_ns:
            if self._stop.wait(_SIM_POLL_S):
                return None
        left_s = 0.0 if simulated else self._own_start_s + time_s - time.monotonic()
        return None if self._stop.wait(max(0.0, left_s)) else due_ns

    def _publish(self, rgb: np.ndarray, stamp_ns: int) -> None:
        height, width = rgb.shape[:2]
        message = Image(height=height, width=width, encoding='rgb8', step=3 * width)
        message.header.stamp = Time(nanoseconds=max(0, stamp_ns)).to_msg()
        message.header.frame_id = self._settings['frame_id']
        message.data = array.array('B', rgb.tobytes())
        self._publisher.publish(message)
        self._errors.count('frames')


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node."""
    return run_node(CameraFileNode, PARAMETERS, __doc__ or '', args, program='camera_file_node')


if __name__ == '__main__':
    sys.exit(main())
