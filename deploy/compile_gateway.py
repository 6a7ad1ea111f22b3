"""Compiles the gateway's hot path to machine code: ``python -m deploy.compile_gateway``.

Optional. It takes about half a minute, and needs a C compiler, Python's headers and mypyc. It makes requests cheaper
(docs/data-plane.md says how much). Where compiling fails, gateways run the same modules as Python.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import divisions
from divisions.errors import ClusterError, DivisionsError
from router.gateway import native

_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup
sources = ["--ignore-missing-imports", "--disable-error-code=no-any-unimported", *sys.argv.pop().split()]
setup(name="hot-path", packages=[], ext_modules=mypycify(sources, opt_level="3"))
"""
TAIL_LINES = 15


def main() -> int:
    try:
        print(f"The gateway's hot path is compiled: {compile_package()}")
    except (DivisionsError, OSError) as error:  # OSError: we may not write to the folder, or the disk is full
        print(f"note: gateways run as Python, which takes more time per request: {error}", file=sys.stderr)
        return 1
    return 0


def compile_package(package: Path = native.PACKAGE) -> Path:
    """Compiles, unless that was done already; returns the folder. Removes what was compiled from older code.

    Args:
        package: the folder of the package `router`.

    Raises:
        ClusterError: something that compiling needs is missing, or compiling failed.
    """
    target = native.folder(package)
    if target.is_dir():
        return target
    _require_tools()
    print("Compiling the gateway's hot path, once for this version of its source: about half a minute", flush=True)
    with tempfile.TemporaryDirectory(prefix="divisions-native-") as temporary:
        work = Path(temporary)
        for folder in (package, Path(divisions.__file__).parent):
            copy_source(folder, work)
        _run_mypyc(work)
        _install(work / "out", target)
    return target


def copy_source(package: Path, into: Path) -> Path:
    """Copies a package's source into another folder; returns the copy."""
    copy = into / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("_native", "__pycache__"))
    return copy


def _require_tools() -> None:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise ClusterError(f"there is no C compiler {compiler!r}", remedy="on Debian: apt-get install gcc")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise ClusterError("Python's headers are not installed", remedy="on Debian: apt-get install python3-dev")


def _run_mypyc(work: Path) -> None:
    sources = " ".join(f"router/{name}.py" for name in native.HOT_PATH)
    # `-P`: compile the folder's modules, do not import them.
    command = [
        sys.executable,
        "-P",
        "-c",
        _BUILD,
        "-q",
        "build_ext",
        "--build-lib",
        "out",
        "--build-temp",
        "tmp",
        sources,
    ]
    done = subprocess.run(command, cwd=work, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise ClusterError(f"the hot path could not be compiled:\n{tail}", remedy="see the compiler's output above")


def _install(built: Path, target: Path) -> None:
    """Moves a finished build to its place in one step."""
    target.parent.mkdir(exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    shutil.copytree(built, staging, dirs_exist_ok=True)
    staging.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not target.is_dir():  # Otherwise another process was faster.
            raise
    for other in target.parent.iterdir():
        if other != target and not other.name.startswith("."):  # It may be the staging folder of another process.
            shutil.rmtree(other, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
