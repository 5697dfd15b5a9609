# SPDX-License-Identifier: Apache-2.0
"""Video files and folders of images as frames with times."""

import cv2
import numpy as np
import pytest

from interaction_node.video_file import VideoFile


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        frame = np.zeros((20, 40, 3), np.uint8)
        frame[..., 2] = 50 * number  # red, in OpenCV's order
        cv2.imwrite(str(tmp_path / f'{number}.png'), frame)
    return tmp_path


def reds(video: VideoFile) -> list[int]:
    return [int(rgb[0, 0, 0]) for _, rgb in video.frames()]


def test_folder_in_order_at_its_rate(folder):
    video = VideoFile(folder, rate_hz=5.0)
    assert reds(video) == [0, 50, 100, 150]
    assert reds(video) == [0, 50, 100, 150]
    assert [t for t, _ in video.frames()] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert video.duration_s == pytest.approx(0.8)


@pytest.mark.parametrize(
    ('rate_hz', 'expected'),
    [
        (10.0, [0, 1, 2, 3]),
        (5.0, [0, 2]),
        (20.0, [0, 0, 1, 1, 2, 2, 3, 3]),
        (15.0, [0, 0, 1, 2, 2, 3]),
    ],
)
def test_other_rates_show_what_is_seen_then(tmp_path, rate_hz, expected):
    path = tmp_path / 'a.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (32, 32))
    for number in range(4):
        writer.write(np.full((32, 32, 3), 50 * number, np.uint8))
    writer.release()
    seen = [round(red / 50) for red in reds(VideoFile(path, rate_hz))]
    assert seen == expected


@pytest.mark.parametrize(
    ('width', 'height', 'shape'),
    [(0, 0, (20, 40)), (20, 0, (10, 20)), (0, 40, (40, 80)), (7, 9, (9, 7))],
)
def test_size(folder, width, height, shape):
    _, rgb = next(VideoFile(folder, width=width, height=height).frames())
    assert rgb.shape == (*shape, 3)
    assert rgb.dtype == np.uint8


def test_errors_say_what_is_wrong(tmp_path, folder):
    with pytest.raises(ValueError, match=r"no\.mp4' does not exist"):
        VideoFile(tmp_path / 'no.mp4')
    (tmp_path / 'bad.mp4').write_bytes(b'nonsense' * 100)
    with pytest.raises(ValueError, match='no frame that can be read'):
        VideoFile(tmp_path / 'bad.mp4')
    with pytest.raises(ValueError, match='rate_hz is -1'):
        VideoFile(folder, rate_hz=-1)
    (folder / '2.png').write_bytes(b'nonsense')
    with pytest.raises(ValueError, match=r"2\.png' cannot be read"):
        reds(VideoFile(folder))
