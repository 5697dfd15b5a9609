# SPDX-License-Identifier: Apache-2.0
"""Fits camera pictures of any size to the grid of patches that the network sees."""

from __future__ import annotations

import cv2
import numpy as np

PATCH = 40


def fit_newest(frames_2HWC: np.ndarray, patches: tuple[int, int]) -> np.ndarray:
    """Scales the newer of two frames so that the grid is filled, and crops what stands out.

    Args:
        frames_2HWC: (2, height, width, 3) uint8 RGB, oldest first.
        patches: Rows and columns of 40x40 patches.

    Returns:
        (40 rows, 40 columns, 3) uint8, a copy.

    Raises:
        ValueError: The frames have another shape or type.
    """
    if frames_2HWC.ndim != 4 or frames_2HWC.shape[0] != 2 or frames_2HWC.shape[3] != 3:
        raise ValueError(f'frames: shape {frames_2HWC.shape}, expected (2, height, width, 3)')
    if frames_2HWC.dtype != np.uint8:
        raise ValueError(f'frames: dtype {frames_2HWC.dtype}, expected uint8')
    return _fit(frames_2HWC[1], patches)


def _fit(frame_HWC: np.ndarray, patches: tuple[int, int]) -> np.ndarray:
    rows, columns = patches[0] * PATCH, patches[1] * PATCH
    height, width = frame_HWC.shape[:2]
    if (height, width) == (rows, columns):
        return frame_HWC.copy()
    scale = max(rows / height, columns / width)
    size = max(columns, round(width * scale)), max(rows, round(height * scale))
    scaled = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA)
    top, left = (size[1] - rows) // 2, (size[0] - columns) // 2
    return np.ascontiguousarray(scaled[top : top + rows, left : left + columns])
