# SPDX-License-Identifier: Apache-2.0
"""Packaging for pip; colcon goes through CMakeLists.txt. Both read the programs from setup.cfg."""

from xml.etree import ElementTree

from setuptools import find_packages, setup

NESTED = ('model', 'kernels')  # top-level folders that install as interaction_node.<folder>

packages = find_packages(include=['interaction_node', 'interaction_node.*'])
packages += [
    f'interaction_node.{name}'
    for name in find_packages(include=[p for n in NESTED for p in (n, f'{n}.*')])
]

setup(
    name='interaction-node',
    version=ElementTree.parse('package.xml').findtext('version'),
    description='A full-duplex interaction model and the ROS 2 nodes around it',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=packages,
    package_dir={f'interaction_node.{folder}': folder for folder in NESTED},
    package_data={
        'interaction_node': ['**/*'],
        **{f'interaction_node.{folder}': ['**/*'] for folder in NESTED},
    },
    exclude_package_data={'': ['__pycache__/*', '*.pyc']},
)
