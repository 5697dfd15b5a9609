# SPDX-License-Identifier: Apache-2.0
from unittest.mock import Mock

import pytest

pytest.importorskip('rclpy', reason='its module needs ROS')

from interaction_node.message_faults import MessageFaults


def test_alternating_faults_are_told_once_and_end_after_a_while():
    errors, now_s = Mock(), [0.0]
    faults = MessageFaults(errors, lambda: now_s[0])
    for number in range(100):
        with faults.of('images'):
            if number % 2:
                raise ValueError(f'wrong in way {number % 4}')
        faults.end_old()
    assert [call.args[1] for call in errors.error.call_args_list] == [
        'images: wrong in way 1',
        'images: wrong in way 3',
    ]
    assert errors.count.call_count == 50
    errors.resolve.assert_not_called()
    now_s[0] = 6.0
    faults.end_old()
    errors.resolve.assert_called_once()


def test_other_exceptions_are_not_hidden():
    with pytest.raises(KeyError), MessageFaults(Mock()).of('images'):
        raise KeyError
