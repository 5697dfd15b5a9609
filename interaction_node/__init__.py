# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes around a full-duplex interaction model, which is nested in here with its kernels."""

from pathlib import Path

__version__ = '0.1.0'

# In a checkout `model/` and `kernels/` lie beside this folder; installed, they lie inside it.
_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / 'package.xml').is_file() and (_CHECKOUT / 'model').is_dir():
    __path__.append(str(_CHECKOUT))
