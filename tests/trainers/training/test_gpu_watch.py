"""A GPU is watched through a process. Here the process is another one, or none."""

import subprocess
import sys
import threading

import pytest
import torch

from trainers.training.device_use import DeviceUse
from trainers.training.gpu_watch import start_process, watching

GPU = torch.device("cuda", 0)
LINES = "Tesla T4, 90, 2048, 15360\nTesla T4, 98, 4096, 15360\n"


def identify(device):
    assert device is GPU
    return "Tesla T4", "GPU-5f1c"


def python(text):
    return start_process([sys.executable, "-c", text])


def test_the_lines_of_the_process_become_the_use_and_it_is_ended():
    commands, processes, is_read = [], [], threading.Event()

    def start(command):
        commands.append(command)
        processes.append(python(f"import time; print({LINES!r}, end='', flush=True); time.sleep(600)"))
        return processes[0]

    with watching(GPU, "float32", start, identify) as watch:
        for _ in range(600):
            if watch.use.num_utilizations == 2 or is_read.wait(0.1):
                break
    assert watch.use == DeviceUse("Tesla T4", "float32", 94.0, 2, 4.0, 15.0)
    assert processes[0].returncode == -9
    assert "--id=GPU-5f1c" in commands[0]


def test_without_nvidia_smi_the_gpu_is_only_named():
    def start(command):
        raise FileNotFoundError(command[0])

    with watching(GPU, "float32", start, identify) as watch:
        pass
    assert watch.use == DeviceUse("Tesla T4", "float32")


@pytest.mark.parametrize("text", ["print('No devices were found')", "import os; os.write(1, b'\\xff, 1, 2, 3\\n')"])
def test_a_process_that_fails_costs_the_numbers_alone(text):
    with watching(GPU, "float32", lambda command: python(text), identify) as watch:
        pass
    assert watch.use == DeviceUse("Tesla T4", "float32")


def test_a_process_that_cannot_be_ended_does_not_hold_the_training():
    class Stuck:
        stdout = ()

        def kill(self):
            pass

        def wait(self, timeout_s):
            raise subprocess.TimeoutExpired("nvidia-smi", timeout_s)

    with watching(GPU, "float32", lambda command: Stuck(), identify) as watch:
        pass
    assert watch.use == DeviceUse("Tesla T4", "float32")


def test_an_error_of_the_training_comes_out_and_the_process_is_ended():
    processes = []

    def start(command):
        processes.append(python("import time; time.sleep(600)"))
        return processes[0]

    with pytest.raises(ZeroDivisionError), watching(GPU, "float32", start, identify):
        raise ZeroDivisionError
    assert processes[0].returncode == -9


def test_on_a_cpu_nothing_is_started():
    with watching(torch.device("cpu"), "float32", pytest.fail, pytest.fail) as watch:
        pass
    assert watch.use == DeviceUse("CPU", "float32")
