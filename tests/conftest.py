# SPDX-License-Identifier: Apache-2.0
"""What tests need before anything imports rclpy: the environment, and a ROS domain of their own."""

import importlib.util
import os
import platform
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
NEEDS_ROS = (TESTS / 'ros', TESTS / 'launch')
HAS_ROS = importlib.util.find_spec('rclpy') is not None

# A shell's background job ignores Ctrl-C, and so would the nodes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.pop('ROS_LOCALHOST_ONLY', None)
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Triton's interpreter multiplies with NumPy, whose kernels for newer processors sum a row in an
# order that depends on where it lies in its tile; a GPU's don't.
if platform.machine() == 'x86_64':
    os.environ.setdefault('OPENBLAS_CORETYPE', 'Sandybridge')
if (Path(sys.prefix) / 'share' / 'duplex_interaction').is_dir():
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(
        dict.fromkeys([sys.prefix, *filter(None, prefixes)])
    )


class WithoutRos(pytest.Module):
    """A test file that is skipped unread, because importing it would need ROS."""

    def collect(self):
        pytest.skip('ROS 2 (rclpy) is not installed', allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Skips the ROS tests where there is no ROS; a ROS that is there but broken fails them."""
    if not HAS_ROS and any(folder in module_path.parents for folder in NEEDS_ROS):
        return WithoutRos.from_parent(parent, path=module_path)
    return None


def pytest_configure(config):
    """Reserves a ROS domain, so that test runs side by side don't hear each other."""
    if importlib.util.find_spec('domain_coordinator') is None:
        return
    from domain_coordinator import domain_id

    reservation = ExitStack()
    os.environ['ROS_DOMAIN_ID'] = str(reservation.enter_context(domain_id()))
    config.add_cleanup(reservation.close)
