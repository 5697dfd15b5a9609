# SPDX-License-Identifier: Apache-2.0
"""A loudspeaker and a microphone made of software, for machines without sound."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

RATE_HZ = 16_000
SPEAKER = 'robot_speaker'
MICROPHONE = 'robot_microphone'
PROGRAMS = ('pulseaudio', 'pactl', 'pacat', 'parec')
ALSA_CONFIG = Path('/usr/share/alsa/alsa.conf')
FORMAT = (f'--rate={RATE_HZ}', '--channels=1', '--format=s16le')


def what_is_missing() -> str:
    """Says in a sentence what this machine lacks; empty where everything is there."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            return f'{program} is missing (Debian: pulseaudio pulseaudio-utils)'
    if not any(Path('/usr/lib').glob('*/alsa-lib/libasound_module_pcm_pulse.so')):
        return 'the ALSA plugin for PulseAudio is missing (Debian: libasound2-plugins)'
    return '' if ALSA_CONFIG.exists() else f'{ALSA_CONFIG} is missing (Debian: libasound2-data)'


class VirtualSound:
    """A PulseAudio of its own with two silent devices: what the tests play into one, nodes record.

    Every sample crosses unchanged, but streams lose some as they start or stop: silence goes there.

    Attributes:
        environment: Variables with which a node finds the devices.
        speaker: Device name for playing (PortAudio): `heard` returns what was played on it.
        microphone: Device name for recording: it hears what `say` plays.
    """

    speaker = SPEAKER
    microphone = MICROPHONE

    def __init__(self, folder: Path) -> None:
        """Starts the server.

        Args:
            folder: An empty folder for its files; the path must be short (sockets allow 107 bytes).
        """
        self._folder = folder
        self._socket = folder / 'native'
        self._write_alsa_config(folder / 'asound.conf')
        self.environment = {
            'ALSA_CONFIG_PATH': str(folder / 'asound.conf'),
            'HOME': str(folder),
            'PULSE_RUNTIME_PATH': str(folder),
            'PULSE_SERVER': f'unix:{self._socket}',
            'PULSE_STATE_PATH': str(folder),
            'XDG_CONFIG_HOME': str(folder),
            'XDG_RUNTIME_DIR': str(folder),
        }
        # The ROS wheels' libraries are not meant for the programs of the system.
        inherited = {name: value for name, value in os.environ.items() if name != 'LD_LIBRARY_PATH'}
        self._program_environment = {**inherited, **self.environment}
        with (folder / 'pulseaudio.log').open('wb') as log:
            self._server = subprocess.Popen(
                self._server_command(),
                env=self._program_environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_for_server()
        self.pactl('set-default-sink', SPEAKER)
        self.pactl('set-default-source', f'{MICROPHONE}.monitor')

    def close(self) -> None:
        """Stops the server."""
        self._server.terminate()
        self._server.wait()

    def pactl(self, *arguments: str) -> str:
        """Runs `pactl`, for what the methods don't cover, and returns what it prints."""
        command = ['pactl', *arguments]
        environment = self._program_environment
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=10
        )
        return done.stdout

    def start_saying(self, pcm: np.ndarray) -> subprocess.Popen:
        """Starts to play sound into the microphone in real time.

        Args:
            pcm: (samples,) int16 at 16 kHz.

        Returns:
            The player; it ends when everything was played.
        """
        path = self._folder / f'say-{time.monotonic_ns()}.raw'
        path.write_bytes(np.asarray(pcm, np.int16).tobytes())
        command = [
            'pacat',
            '--playback',
            f'--device={MICROPHONE}',
            '--latency-msec=20',
            *FORMAT,
            str(path),
        ]
        return subprocess.Popen(command, env=self._program_environment, stdin=subprocess.DEVNULL)

    def say(self, pcm: np.ndarray) -> None:
        """Plays sound into the microphone and waits for its end; as `start_saying`."""
        assert self.start_saying(pcm).wait(timeout=len(pcm) / RATE_HZ + 20) == 0

    def start_listening(self) -> Path:
        """Starts to record the loudspeaker; `heard` stops it."""
        path = self._folder / 'heard.raw'
        with path.open('wb') as recording:
            self._listener = subprocess.Popen(
                ['parec', f'--device={SPEAKER}.monitor', '--latency-msec=20', *FORMAT],
                env=self._program_environment,
                stdin=subprocess.DEVNULL,
                stdout=recording,
            )
        end_s = time.monotonic() + 10
        while path.stat().st_size == 0:
            assert time.monotonic() < end_s, 'the loudspeaker can not be recorded'
            time.sleep(0.02)
        return path

    def heard(self) -> np.ndarray:
        """Ends the recording of the loudspeaker.

        Returns:
            (samples,) int16 at 16 kHz, from `start_listening` on.
        """
        self._listener.terminate()
        self._listener.wait()
        return np.fromfile(self._folder / 'heard.raw', np.int16)

    def _server_command(self) -> list[str]:
        options = [
            '-n',
            '--daemonize=no',
            '--exit-idle-time=-1',
            '--disable-shm=yes',
            '--use-pid-file=no',
        ]
        options += ['--realtime=no', '--high-priority=no', '--log-target=stderr']
        modules = [f'module-native-protocol-unix socket={self._socket} auth-anonymous=1']
        for device in (SPEAKER, MICROPHONE):
            modules.append(
                f'module-null-sink sink_name={device} rate={RATE_HZ} channels=1 format=s16le'
            )
        return ['pulseaudio', *options, *(part for module in modules for part in ('-L', module))]

    def _wait_for_server(self) -> None:
        end_s = time.monotonic() + 10
        while True:
            try:
                self.pactl('info')
                return
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                log = (self._folder / 'pulseaudio.log').read_text()
                assert self._server.poll() is None and time.monotonic() < end_s, (
                    f'PulseAudio:\n{log}'
                )
                time.sleep(0.05)

    @staticmethod
    def _write_alsa_config(path: Path) -> None:
        # PortAudio aborts on a configuration without the system's own.
        text = f'<{ALSA_CONFIG}>\n'
        for name, device in ((SPEAKER, SPEAKER), (MICROPHONE, f'{MICROPHONE}.monitor')):
            text += f'pcm.{name} {{\n  type pulse\n  device "{device}"\n}}\n'
        path.write_text(text)
