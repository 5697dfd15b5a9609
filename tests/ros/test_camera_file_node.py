# SPDX-License-Identifier: Apache-2.0
"""A video file as the camera: time base, lookahead, scaling, errors. Over DDS, in a process."""

import time

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from duplex_interaction.msg import AudioChunk
from interaction_node import topic_qos

RATE_HZ = 16_000
CHUNK = 320
FRAMES = 20
VIDEO_RATE_HZ = 10.0
START_S = 1_000


def shade(number: int) -> int:
    return 10 * number + 20


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """Two seconds, 10 frames a second, each of its own grey on the left and red on the right."""
    path = tmp_path_factory.mktemp('video') / 'seen.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), VIDEO_RATE_HZ, (64, 48))
    for number in range(FRAMES):
        frame = np.full((48, 64, 3), shade(number), np.uint8)
        frame[:, 32:] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


def stamp_s(message) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


def picture(message) -> np.ndarray:
    assert (message.encoding, message.step) == ('rgb8', 3 * message.width)
    shape = (message.height, message.width, 3)
    return np.frombuffer(message.data, np.uint8).reshape(shape)


def audio(first_sample: int) -> AudioChunk:
    chunk = AudioChunk(first_sample=first_sample, sample_rate_hz=RATE_HZ, channels=1)
    nanoseconds = first_sample * 1_000_000_000 // RATE_HZ
    chunk.header.stamp.sec = START_S + nanoseconds // 1_000_000_000
    chunk.header.stamp.nanosec = nanoseconds % 1_000_000_000
    chunk.pcm.extend([0] * CHUNK)
    return chunk


def test_frames_come_before_the_sound_of_their_time(spy, start_node, video):
    images = spy.collect(Image, 'image', topic_qos.FILE_CAMERA)
    start_node('camera_file_node', params={'file': str(video), 'lookahead_ms': 400})
    sound = spy.publisher(AudioChunk, 'audio', topic_qos.AUDIO)
    spy.wait_for_publishers('image')
    time.sleep(0.3)
    assert not images
    for window in range(8):  # 200 ms each: frames up to 400 ms beyond its end are there, no more
        for chunk in range(10):
            sound.publish(audio(window * 3_200 + chunk * CHUNK))
        expected = 2 * (window + 1) + 4 + 1
        spy.wait_for_messages(images, min(expected, FRAMES))
        time.sleep(0.03)
        assert len(images) == min(expected, FRAMES)
    assert np.allclose(
        [stamp_s(image) for image in images],
        START_S + np.arange(FRAMES) / VIDEO_RATE_HZ,
        atol=1e-6,
    )
    for number, image in enumerate(images):
        pixels = picture(image)
        assert np.abs(pixels[:, :24].astype(int) - shade(number)).max() < 12
        assert np.abs(pixels[10, 50].astype(int) - (254, 0, 0)).max() < 12
    assert {image.header.frame_id for image in images} == {'camera_optical_frame'}


def test_frames_that_come_too_late_are_skipped(spy, start_node, video):
    images = spy.collect(Image, 'image', topic_qos.FILE_CAMERA)
    start_node('camera_file_node', params={'file': str(video), 'lookahead_ms': 200})
    sound = spy.publisher(AudioChunk, 'audio', topic_qos.AUDIO)
    spy.wait_for_publishers('image')
    time.sleep(0.3)
    sound.publish(audio(2 * RATE_HZ - CHUNK))  # the sound is 2 s ahead: the first second is over
    spy.wait_for_messages(images, 10)
    time.sleep(0.3)
    stamps = [stamp_s(image) - START_S for image in images]
    assert np.allclose(stamps, np.arange(10, 20) / VIDEO_RATE_HZ, atol=1e-6)


def test_own_time_base_rate_and_size(spy, start_node, video):
    images = spy.collect(Image, 'image', topic_qos.FILE_CAMERA)
    before_s = time.time()
    start_node(
        'camera_file_node',
        params={
            'file': str(video),
            'sync_to_audio': False,
            'rate_hz': 20,
            'width': 32,
            'wait_for_subscribers': 1,
        },
    )
    spy.wait_for_messages(images, 2 * FRAMES)
    time.sleep(0.2)
    stamps = np.array([stamp_s(image) for image in images])
    assert len(images) == 2 * FRAMES
    assert np.allclose(np.diff(stamps), 0.05, atol=1e-6)
    assert before_s < stamps[0] < time.time() - 1.9
    assert (images[0].width, images[0].height) == (32, 24)
    greys = [int(picture(image)[12, 8, 0]) for image in images]
    assert np.abs(np.array(greys) - [shade(n // 2) for n in range(2 * FRAMES)]).max() < 12


def test_folder_of_images_in_a_loop(spy, start_node, tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((8, 8, 3), 50 * number, np.uint8))
    images = spy.collect(Image, 'eye/image', topic_qos.FILE_CAMERA)
    start_node(
        'camera_file_node',
        remaps={'__ns': '/eye'},
        params={
            'file': str(tmp_path),
            'sync_to_audio': False,
            'rate_hz': 50,
            'loop': True,
            'wait_for_subscribers': 1,
        },
    )
    spy.wait_for_messages(images, 8)
    assert [int(picture(image)[0, 0, 0]) for image in images[:8]] == [0, 50, 100, 0, 50, 100, 0, 50]
    assert np.allclose(np.diff([stamp_s(image) for image in images]), 0.02, atol=1e-6)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('', "parameter 'file' is ''; expected a video file"),
        ('broken.mp4', "broken.mp4' has no frame that can be read"),
    ],
)
def test_wrong_files_end_it_with_one_line(start_node, tmp_path, name, message):
    (tmp_path / 'broken.mp4').write_bytes(bytes(range(256)) * 50)
    node = start_node('camera_file_node', params={'file': str(tmp_path / name) if name else ''})
    assert node.wait() == 1
    assert message in node.output
    assert 'Traceback' not in node.output


def test_damage_in_the_middle_is_reported(spy, start_node, video, tmp_path):
    damaged = tmp_path / 'damaged.avi'
    writer = cv2.VideoWriter(str(damaged), cv2.VideoWriter_fourcc(*'MJPG'), 50, (64, 48))
    for number in range(50):
        writer.write(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 3])
    node = start_node('camera_file_node', params={'file': str(damaged), 'sync_to_audio': False})
    node.wait_for_output('is damaged')
    assert node.running
