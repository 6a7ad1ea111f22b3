"""Holds the fake against NVIDIA's own wheels, which import without a GPU: every name that is used, and its parameters.

The lean runtime (``tensorrt-lean-cu13-libs`` and ``-bindings``) has the runtime's half with signatures; the builder's
half needs a library that is not in the registry, so its names are looked for in the shared object of
``tensorrt-cu13-bindings``. Both are fetched without their dependencies into a folder of their own, once.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.serving import fake_tensorrt
from tests.serving.fake_cuda import FakeCuda

pytestmark = pytest.mark.e2e

LEAN = ("tensorrt-lean-cu13-libs==11.4.0.106", "tensorrt-lean-cu13-bindings==11.4.0.106")
BINDINGS = (
    "tensorrt-cu13-bindings==10.13.3.9",
    "tensorrt-lean-cu13-bindings==10.13.3.9",
    "tensorrt-cu13-bindings==11.4.0.106",
)
"""The oldest that is supported and the newest. Their shared objects name everything that they bind; the lean ones of
10.13 cannot be imported, because the library that belongs to them is not in the registry."""
RUNTIME = {
    "Runtime": fake_tensorrt.Runtime,
    "ICudaEngine": fake_tensorrt.ICudaEngine,
    "IExecutionContext": fake_tensorrt.IExecutionContext,
    "Refitter": fake_tensorrt.Refitter,
    "IOptimizationProfile": fake_tensorrt.IOptimizationProfile,
    "ITimingCache": fake_tensorrt.ITimingCache,
}
BUILDING = {
    "Builder": fake_tensorrt.Builder,
    "IBuilderConfig": fake_tensorrt.IBuilderConfig,
    "OnnxParser": fake_tensorrt.OnnxParser,
    "OnnxParserRefitter": fake_tensorrt.OnnxParserRefitter,
    "INetworkDefinition": fake_tensorrt.INetworkDefinition,
}
ENUMS = ("MemoryPoolType", "BuilderFlag", "TensorIOMode", "DataType", "ExecutionContextAllocationStrategy")
INNER = {"model", "session", "facts", "shapes", "content", "flags", "profiles", "timing"}
"""Attributes by which the fake's parts know one another."""

DESCRIBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tensorrt_lean_bindings as trt
wanted = json.loads(sys.argv[2])
found = {"version": trt.__version__, "severities": sorted(trt.ILogger.Severity.__members__)}
for name in wanted["classes"]:
    one = getattr(trt, name)
    found[name] = {member: getattr(one, member).__doc__ or "" for member in dir(one)}
for name in wanted["enums"]:
    found[name] = {member: int(value) for member, value in getattr(trt, name).__members__.items()}
found["logger"] = [hasattr(trt.ILogger, name) for name in ("INTERNAL_ERROR", "ERROR", "WARNING")]
print(json.dumps(found))
"""


def fetched(folder: Path, *packages: str) -> Path:
    if not (folder / "complete").exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        command = [*pip, "download", "--no-deps", "--dest", str(folder), *packages]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=240)
        except subprocess.TimeoutExpired:
            pytest.skip(f"the package registry does not answer in time for {', '.join(packages)}")
        if done.returncode:
            pytest.skip(f"the package registry lacks {', '.join(packages)}: {done.stderr.decode()[-200:]}")
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "site")
            wheel.unlink()
        (folder / "complete").touch()
    return folder / "site"


@pytest.fixture(scope="module")
def folder(request):
    """Pytest's own cache: kept from run to run, and nobody else's."""
    return Path(request.config.cache.mkdir("tensorrt-wheels"))


@pytest.fixture(scope="module")
def lean(folder):
    site = fetched(folder / "lean", *LEAN)
    wanted = json.dumps({"classes": list(RUNTIME), "enums": ENUMS})
    # In a process of its own: two TensorRTs in one would be one too many.
    done = subprocess.run([sys.executable, "-c", DESCRIBE, str(site), wanted], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def used_members(cls):
    """What the fake offers: methods and properties of the class, and what its constructor sets for others to read."""
    source = inspect.getsource(cls)
    attributes = set(re.findall(r"self\.([a-z]\w*) = ", source))
    methods = {name for name, _ in inspect.getmembers(cls) if not name.startswith("_")}
    return (methods | attributes) - INNER


@pytest.mark.parametrize("name", RUNTIME)
def test_the_runtimes_members_are_real_and_take_these_parameters(lean, name):
    real = lean[name]
    members = used_members(RUNTIME[name])
    assert members, name
    assert members <= set(real), members - set(real)
    for member in members:
        ours = getattr(RUNTIME[name], member, None)
        if not callable(ours):
            continue
        parameters = [one for one in inspect.signature(ours).parameters if one != "self"]
        signatures = [
            re.findall(r", (\w+): ", line.partition("self: ")[2])
            for line in real[member].splitlines()
            if f"{member}(self: " in line
        ]
        assert parameters in signatures, f"{name}.{member}{parameters} is none of {signatures}"


@pytest.mark.parametrize("name", ENUMS)
def test_the_enumerations_are_the_real_ones(lean, name):
    """By name: nobody relies on the numbers, which differ between releases."""
    assert {one.name for one in getattr(fake_tensorrt.FakeTensorRt, name)} <= set(lean[name])


def test_the_loggers_severities_have_the_expected_names(lean):
    """`ILogger.ERROR` is how they are read; pybind11 puts an enumeration's values beside it."""
    assert lean["logger"] == [True] * 3
    assert {"INTERNAL_ERROR", "ERROR", "WARNING"} <= set(lean["severities"])


@pytest.mark.parametrize("package", BINDINGS)
def test_every_name_is_in_the_real_bindings(folder, package):
    site = fetched(folder / package.replace("==", "-"), package)
    (library,) = site.rglob("tensorrt*.so")
    content = library.read_bytes()
    parts = RUNTIME if "lean" in package else RUNTIME | BUILDING
    names = {name for cls in parts.values() for name in used_members(cls)} | set(parts)
    names |= {member.name for one in ENUMS for member in getattr(fake_tensorrt.FakeTensorRt, one)} - {"NONE"}
    names |= set() if "lean" in package else {"NetworkDefinitionCreationFlag", "STRONGLY_TYPED"}
    # A linker keeps one string for all that end alike, so a name may begin inside of another.
    missing = {name for name in names if name.encode() + b"\0" not in content}
    assert not missing


def test_without_a_driver_fake_and_real_runtime_both_end_the_process(folder):
    """The reason for asking the driver first: the process ends, and no exception can be caught."""
    from serving.engines.cuda_driver import probe_gpus

    if probe_gpus().gpus:
        pytest.skip("this machine has a GPU")
    site = fetched(folder / "lean", *LEAN)
    create = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import tensorrt_lean_bindings as trt\n"
        "try:\n    trt.Runtime(trt.Logger())\nexcept BaseException as error:\n    print('caught')"
    )
    done = subprocess.run([sys.executable, "-c", create], capture_output=True, check=False)
    assert done.returncode < 0
    assert b"caught" not in done.stdout
    with pytest.raises(fake_tensorrt.ProcessCrashed):
        fake_tensorrt.FakeTensorRt(None).Runtime(None)
    assert fake_tensorrt.FakeTensorRt(FakeCuda()).Runtime(None) is not None
