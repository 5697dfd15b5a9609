# SPDX-License-Identifier: Apache-2.0
"""Plays `speech` on a loudspeaker and publishes as `playback` what really sounded, and when.

With `file` it writes the speech to a 16 kHz WAV instead, each chunk at its exact place on the
microphone's sample counter. A chunk with `flush` silences everything within `flush_ms`.
"""

from __future__ import annotations

import array
import queue
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

from duplex_interaction.msg import Playback, SpeechChunk
from interaction_node import topic_qos
from interaction_node.audio_file import to_pcm16
from interaction_node.node_errors import NodeErrors
from interaction_node.node_main import run_node
from interaction_node.node_parameters import NodeParameter, declare_parameters
from interaction_node.output_blocks import OutputBlocks
from interaction_node.play_out import PlayOut, QueuedSpeech
from interaction_node.sound_stream import SoundStream, StreamFormat, block_frames
from interaction_node.sounded_speech import SoundedSpeech, merged
from interaction_node.speech_timeline import SpeechTimeline
from interaction_node.stream_resampler import MODEL_RATE_HZ, StreamResampler

PARAMETERS = (
    NodeParameter('device', '', 'Part of the name of a loudspeaker, or its index; empty: default'),
    NodeParameter('wait_for_device', False, 'Wait for a missing device at the start, do not exit'),
    NodeParameter('file', '', 'WAV file to write in place of a device'),
    NodeParameter(
        'flush_ms',
        20.0,
        "Longest time from a flush to silence, ms; sets the device's buffer",
        minimum=8.0,
        maximum=500.0,
    ),
    NodeParameter('fade_ms', 5.0, 'Length of a fade, ms', minimum=0.0, maximum=50.0),
    NodeParameter(
        'buffer_ms',
        20.0,
        'Hold late speech back so long that later jitter leaves no gap, ms',
        minimum=0.0,
        maximum=500.0,
    ),
    NodeParameter('queue_s', 30.0, 'Most speech that waits, s', minimum=0.5, maximum=600.0),
    NodeParameter('frame_id', 'speaker', 'Frame in the header'),
)

_QUEUED_MESSAGES = 1_000
_POLL_S = 0.05
_MERGE_S = 0.02
_LONGEST_LATENCY_S = 2.0


class SpeakerNode(Node):
    """Plays `speech`, publishes `playback`."""

    def __init__(self, **kwargs: Any) -> None:
        """Opens the device or the file.

        Args:
            **kwargs: As for `rclpy.node.Node`.

        Raises:
            ValueError: A parameter is not allowed or the device is missing.
            OSError: The file can't be written.
        """
        super().__init__('speaker_node', **kwargs)
        self._settings = declare_parameters(self, PARAMETERS)
        if self._settings['fade_ms'] > self._settings['flush_ms'] / 2:
            raise ValueError(
                f"parameter 'fade_ms' is {self._settings['fade_ms']}; expected at most half of "
                f"'flush_ms', {self._settings['flush_ms'] / 2}"
            )
        self._publisher = self.create_publisher(Playback, 'playback', topic_qos.PLAYBACK)
        self._errors = NodeErrors(self)
        self._converter: tuple[str, int, StreamResampler] | None = None
        self._work: queue.Queue = queue.Queue(_QUEUED_MESSAGES)
        self._stop = threading.Event()
        self._stream: SoundStream | None = None
        start = self._start_file if self._settings['file'] else self._start_device
        run, take = start()
        self._thread = threading.Thread(target=run, name='speaker', daemon=True)
        self._thread.start()
        self._subscription = self.create_subscription(SpeechChunk, 'speech', take, topic_qos.SPEECH)

    def close(self) -> None:
        """Falls silent and closes the device or the file."""
        self._stop.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join()
        self._errors.close()

    def _pcm16(self, message: SpeechChunk) -> np.ndarray:
        """Returns a chunk's samples at 16 kHz; streams of other rates go on over chunks."""
        pcm = np.frombuffer(message.pcm, np.int16)
        rate_hz = message.sample_rate_hz
        if rate_hz == MODEL_RATE_HZ or not len(pcm):
            return pcm
        key = (message.utterance_id, rate_hz)
        if self._converter is None or self._converter[:2] != key:
            self._converter = (*key, StreamResampler(rate_hz, MODEL_RATE_HZ))
        resampler = self._converter[2]
        samples = resampler.push(pcm.astype(np.float32) / 32_768)
        if message.last:
            samples = np.concatenate([samples, resampler.finish()])
            self._converter = None
        return to_pcm16(samples)

    def _publish(self, item: Any, first_sample: int, stamp_ns: int) -> None:
        message = Playback(
            first_sample=first_sample,
            utterance_id=item.utterance_id,
            sequence=item.sequence,
            sample_rate_hz=MODEL_RATE_HZ,
            played=item.played,
            flushed=item.flushed,
            done=item.done,
        )
        message.header.stamp = Time(nanoseconds=max(0, stamp_ns)).to_msg()
        message.header.frame_id = self._settings['frame_id']
        message.pcm = array.array('h', np.ascontiguousarray(item.pcm).tobytes())
        self._publisher.publish(message)
        if len(item.pcm):
            self._errors.count('played_samples', len(item.pcm))

    # A device.

    def _start_device(self) -> tuple[Any, Any]:
        flush_ms, fade_ms = self._settings['flush_ms'], self._settings['fade_ms']
        # A flush waits for a block, passes the two in the device and the one being filled, and
        # fades: these together are flush_ms.
        block_ms = (flush_ms - fade_ms) / 4
        buffered_ms = 4 * block_frames(block_ms, MODEL_RATE_HZ) * 1_000 / MODEL_RATE_HZ
        self._play_out = PlayOut(
            MODEL_RATE_HZ,
            fade_ms,
            self._settings['buffer_ms'],
            self._settings['queue_s'],
            min(fade_ms, max(1.0, flush_ms - buffered_ms)),
        )
        self._blocks: OutputBlocks | None = None
        self._latency_s = 0.0
        self._flushed_s = 0.0
        self._underruns = 0
        self._errors.add_values(self._describe_device)
        self._stream = SoundStream(
            'output',
            self._settings['device'],
            self._handle_block,
            self._handle_open,
            self._handle_loss,
            block_ms=block_ms,
        )
        self._stream.start(self._settings['wait_for_device'])
        return self._run_device, self._take_for_device

    def _describe_device(self) -> dict[str, float]:
        return {
            'queued_ms': self._play_out.queued_samples * 1_000 / MODEL_RATE_HZ,
            'latency_ms': self._latency_s * 1_000,
            'underruns': self._underruns,
        }

    def _handle_open(self, stream_format: StreamFormat) -> None:
        self._latency_s = stream_format.latency_s
        self._blocks = OutputBlocks(stream_format.rate_hz, stream_format.channels, self._render)
        self._errors.resolve('device', f'playing on {stream_format.device}')
        self._errors.set_value('device', str(stream_format.device))
        self._errors.set_value('device_rate_hz', stream_format.rate_hz)

    def _handle_loss(self, message: str) -> None:
        """Nothing sounds any more: says so, rather than play it late or to nobody."""
        self._errors.error('device', message)
        self._blocks = None
        now_s = self._now_s()
        for item in self._play_out.drop():
            self._record(SoundedSpeech(now_s, item))

    def _take_for_device(self, message: SpeechChunk) -> None:
        if self._blocks is None:
            self._drop_chunk('there is no device')
            return
        if message.flush:
            self._converter = None
            self._flushed_s = self._now_s()
            self._play_out.flush()
            self._errors.count('flushes')
        try:
            self._queue_speech(message)
            self._errors.resolve('speech')
        except ValueError as error:
            self._errors.error('speech', f'a chunk of speech cannot be played: {error}')

    def _queue_speech(self, message: SpeechChunk) -> None:
        if not message.pcm and not message.last:
            return
        stamp = message.header.stamp
        speech = QueuedSpeech(
            message.utterance_id,
            message.sequence,
            self._pcm16(message),
            stamp.sec + stamp.nanosec / 1e9,
            message.last,
        )
        if not self._play_out.push(speech, self._now_s() + self._latency_s):
            self._drop_chunk('the queue is full')

    def _drop_chunk(self, reason: str) -> None:
        self._errors.count('dropped_chunks')
        self.get_logger().warning(f'speech is dropped: {reason}', throttle_duration_sec=10.0)

    def _handle_block(self, buffer: Any, frames: int, times: Any, flags: Any) -> None:
        """Fills a block; PortAudio's thread."""
        blocks = self._blocks
        if blocks is None:
            buffer[:] = bytes(len(buffer))
            return
        if flags.output_underflow:
            self._underruns += 1
        latency_s = times.outputBufferDacTime - times.currentTime
        if not 0.0 < latency_s < _LONGEST_LATENCY_S:
            latency_s = self._latency_s
        buffer[:] = blocks.fill(frames, self._now_s() + latency_s)

    def _render(self, count: int, start_s: float) -> np.ndarray:
        pcm, played = self._play_out.render(count, start_s)
        for item in played:
            item_s = start_s + item.offset / MODEL_RATE_HZ
            self._record(SoundedSpeech(item_s, item))
            if item.flushed and len(item.pcm):
                silent_s = item_s + len(item.pcm) / MODEL_RATE_HZ
                self._errors.set_value('last_flush_ms', (silent_s - self._flushed_s) * 1_000)
        return pcm

    def _record(self, sounded: SoundedSpeech) -> None:
        try:
            self._work.put_nowait(sounded)
        except queue.Full:
            self._errors.count('dropped_records')

    def _run_device(self) -> None:
        """Publishes what sounded, in pieces of about 20 ms."""
        told = 0
        while not self._stop.wait(_MERGE_S):
            self._publish_sounded()
            if self._underruns > told:
                told = self._underruns
                self.get_logger().warning(
                    f"the loudspeaker ran dry {told} times; a larger 'flush_ms' buffers more",
                    throttle_duration_sec=10.0,
                )
        self._publish_sounded()

    def _publish_sounded(self) -> None:
        sounded = []
        while not self._work.empty():
            sounded.append(self._work.get_nowait())
        for record in merged(sounded):
            self._publish(record.item, -1, round(record.start_s * 1e9))

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds / 1e9

    # A file.

    def _start_file(self) -> tuple[Any, Any]:
        fade = round(self._settings['fade_ms'] * MODEL_RATE_HZ / 1_000)
        self._timeline = SpeechTimeline(self._settings['file'], max(1, fade))
        self._errors.set_value('file', self._settings['file'])
        return self._run_file, self._take_for_file

    def _take_for_file(self, message: SpeechChunk) -> None:
        try:
            self._work.put_nowait(message)
        except queue.Full:
            self._drop_chunk('the queue is full')

    def _run_file(self) -> None:
        while not (self._stop.is_set() and self._work.empty()):
            try:
                message = self._work.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            try:
                self._write(message)
                self._errors.resolve('file')
            except (ValueError, OSError) as error:
                self._errors.error('file', f'speech cannot be written: {error}')
        self._timeline.close()

    def _write(self, message: SpeechChunk) -> None:
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        if message.flush:
            self._converter = None
            self._errors.count('flushes')
            for item in self._timeline.flush(message.first_sample):
                self._publish(item, item.first_sample, stamp_ns)
        if not message.pcm and not message.last:
            return
        item = self._timeline.say(
            message.utterance_id,
            message.sequence,
            message.first_sample,
            self._pcm16(message),
            message.last,
        )
        self._publish(item, item.first_sample, stamp_ns)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node."""
    return run_node(SpeakerNode, PARAMETERS, __doc__ or '', args, program='speaker_node')


if __name__ == '__main__':
    sys.exit(main())
