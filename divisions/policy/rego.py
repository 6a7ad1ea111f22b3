"""Adapts regopy, the bindings of rego-cpp: Rego without a server. Nothing else imports it.

It says *undefined* where Open Policy Agent refuses to compile, prints errors on standard output, and raises whatever
its wrapper meets. Here each of these becomes a `PolicyError`, or no answer. It is run in a process of its own, see
`divisions.policy.rego_worker`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from divisions.errors import PolicyError
from divisions.policy.source import Module, check_modules

DECISION: Final = "divisions/authz/decision"
ALLOW: Final = "divisions/authz/allow"
_BREAKS: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_ERROR: Final = re.compile(r"\(error \d+:([^|()]*)\|(\d+)\|\d+\s*\(errormsg \d+:([^)]*)\)")
_MISSING: Final = "regopy is not installed"


class Interpreter:
    """The rules and data of one bundle.

    Raises:
        PolicyError: the engine is not installed, or the rules cannot be used.
    """

    def __init__(self, modules: Sequence[Module], data: dict[str, Any]) -> None:
        try:
            import regopy
            from regopy import rego_shared
        except (ImportError, OSError) as error:
            raise PolicyError(
                f"{_MISSING}: {error}", remedy="pip install 'divisions[policy]', or set DIVISIONS_OPA_URL"
            ) from None
        builtins = regopy.Interpreter()
        check_modules(modules, lambda name: bool(rego_shared.rego_is_available_builtin(builtins._impl, name)))
        self._texts = {module.name: module.text for module in modules}
        self._modules = modules
        self._data = json.dumps(data)
        self._rules = self._built([module for module in modules if not module.is_test], [ALLOW, DECISION])
        self._tests: tuple[Any, Any] | None = None

    def decision(self, document: dict[str, Any]) -> Any:
        """The document of a decision; None if it is undefined, or cannot be evaluated.

        The engine writes its answers as JSON without escapes: a quote in a name that a message repeats ends the text
        there, and what follows could read ``"allow": true``. So whether it is allowed is asked for alone, which has no
        texts, and the messages are made from a question without such characters.
        """
        is_allowed = _evaluated(self._rules, ALLOW, document)
        answer = _evaluated(self._rules, DECISION, _harmless(document))
        if not isinstance(answer, dict) or not isinstance(is_allowed, bool):
            return None
        return answer | {"allow": is_allowed, "reasons": [] if is_allowed else answer.get("reasons")}

    def evaluate(self, reference: str, document: dict[str, Any]) -> Any:
        """What the path of a rule in a test's package is; None if it is undefined."""
        if self._tests is None:
            self._tests = self._built(self._modules, [path for module in self._modules for path in module.entrypoints])
        return _evaluated(self._tests, reference, document)

    def _built(self, modules: Sequence[Module], entrypoints: Sequence[str]) -> tuple[Any, Any]:
        """An engine, and the rules compiled in it."""
        import regopy

        engine = regopy.Interpreter()
        try:
            for module in modules:
                engine.add_module(module.name, module.text)
            engine.add_data_json(self._data)
            compiled = engine.build(None, entrypoints)
        except Exception as error:  # noqa: BLE001  # Its wrapper raises what it meets.
            raise _refused(str(error), self._texts) from None
        if not compiled.ok():
            raise PolicyError("the rules cannot be compiled", remedy="run `opa check` on them, which may say more")
        return engine, compiled


def _evaluated(built: tuple[Any, Any], path: str, document: dict[str, Any]) -> Any:
    import regopy

    engine, compiled = built
    try:
        engine.set_input(regopy.Input(document))
        results = engine.query_bundle_entrypoint(compiled, path).results
        return results[0].expressions[0] if results and results[0].expressions else None
    except Exception:  # noqa: BLE001  # Its wrapper raises what it meets, such as errors of JSON. All mean no answer.
        return None


def _harmless(value: Any) -> Any:
    """A document whose texts have nothing that breaks an answer."""
    match value:
        case str():
            return _BREAKS.sub(" ", value)
        case dict():
            return {_harmless(key): _harmless(item) for key, item in value.items()}
        case list():
            return [_harmless(item) for item in value]
        case _:
            return value


def _refused(text: str, texts: dict[str, str]) -> PolicyError:
    """An error of the engine's, with its place."""
    found = _ERROR.search(text)
    if found is None:
        return PolicyError(f"the rules cannot be compiled: {text[:200]}", remedy="run `opa check` on them")
    path, position, message = found.groups()
    # Positions are in bytes.
    line = texts.get(path, "").encode()[: int(position)].count(b"\n") + 1 if path in texts else 0
    return PolicyError(message.strip(), remedy="correct the rule there", path=path, line=line)
