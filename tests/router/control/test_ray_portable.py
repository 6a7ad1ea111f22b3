"""An actor class that loads on a node without our code, and what it does when it cannot start there."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import ray
from ray import cloudpickle

from divisions.errors import ClusterError
from router.control.ray_portable import portable

HERE = Path(ray.__file__).parents[1]


class Echo:
    async def __init__(self, word: str, *, error: Exception | None = None) -> None:
        if error is not None:
            raise error
        self._word = word

    async def say(self, times: int, end: str = "") -> str:
        return self._word * times + end

    async def _hidden(self) -> None: ...


class Context:
    was_current_actor_reconstructed = False


@pytest.fixture
def context(monkeypatch):
    context = Context()
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    return context


def started(*arguments, **options):
    kind = portable(Echo)
    instance = kind.__new__(kind)
    asyncio.run(instance.__init__(*arguments, **options))
    return instance


def test_it_does_what_the_true_class_does(context):
    assert (portable(Echo).__name__, portable(Echo).__qualname__) == ("Echo", "Echo")
    assert asyncio.run(started("ab").say(2, end="!")) == "abab!"
    assert not hasattr(portable(Echo), "_hidden")


def test_the_first_start_raises_what_the_true_class_raises(context):
    with pytest.raises(TypeError, match="no code"):
        started("ab", error=TypeError("no code"))


def test_a_later_start_raises_only_errors_that_name_a_remedy(context, monkeypatch):
    context.was_current_actor_reconstructed = True
    monkeypatch.setattr("router.control.ray_portable.PAUSE_S", 0.0)
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    with pytest.raises(ClusterError, match="damaged"):
        started("ab", error=ClusterError("damaged"))
    assert ended == []
    started("ab", error=TypeError("other code"))
    assert ended == [1]


def on_a_bare_node(is_again: bool) -> subprocess.CompletedProcess[bytes]:
    """Loads and starts it in a Python that has Ray's pickle, but no module of ours."""
    code = f"""
        import asyncio, sys, types
        sys.path.insert(0, {str(HERE)!r})
        context = types.SimpleNamespace(was_current_actor_reconstructed={is_again})
        from ray import cloudpickle
        sys.modules["ray"] = types.SimpleNamespace(get_runtime_context=lambda: context)
        kind = cloudpickle.loads(sys.stdin.buffer.read())
        try:
            asyncio.run(kind.__new__(kind).__init__("ab"))
        except ImportError as error:
            sys.exit(f"raised {{error}}")
    """
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)],
        input=cloudpickle.dumps(portable(Echo)), capture_output=True, check=False,
    )  # fmt: skip


def test_a_node_without_our_code_loads_it_and_ends_its_process(monkeypatch):
    monkeypatch.setattr("router.control.ray_portable.PAUSE_S", 0.0)
    done = on_a_bare_node(is_again=True)
    assert done.returncode == 1
    assert b"Echo cannot start on this node" in done.stdout, done.stderr
    assert b"ModuleNotFoundError" in done.stderr
    first = on_a_bare_node(is_again=False)
    assert b"raised No module named" in first.stderr
