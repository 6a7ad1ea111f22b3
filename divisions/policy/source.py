"""What can be told from the text of a policy before it runs. Pure.

The engine in process lets through what Open Policy Agent's compiler refuses: a function that it lacks, and a name that
nothing gives a value, are *undefined* there, so that ``not`` of them holds, and a gate that is written as the absence
of an objection lets everything pass. So both are looked for here, and refused. The look is at words, not at a tree: it
refuses a few odd ways to write (a call through brackets, a rule that does not begin its line), and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from divisions.errors import PolicyError

CUSTOM: Final = "custom"
"""Where the owner's data is: ``data.custom``."""
_POLICIES: Final = "divisions.custom."
_LIBRARY: Final = "divisions.library."
_TEST: Final = "_test"
_KEYWORDS: Final = frozenset(
    {"as", "contains", "data", "default", "else", "every", "false", "if", "import", "in", "input", "not", "null"}
    | {"package", "some", "true", "with"}
)
IMPURE: Final = frozenset(
    {
        "http.send",
        "io.jwt.decode_verify",
        "net.lookup_ip_addr",
        "opa.runtime",
        "print",
        "rand.intn",
        "rego.metadata.chain",
        "rego.metadata.rule",
        "rego.parse_module",
        "time.now_ns",
        "trace",
        "uuid.rfc4122",
    }
)
"""A decision follows from the question and the bundle alone. These would let the clock, chance or the network in."""
_HIDDEN: Final = re.compile(r'#[^\n]*|`[^`]*`|"(?:\\.|[^"\\\n])*"')
_NAME: Final = r"[A-Za-z_]\w*"
_CALL: Final = re.compile(rf"(?<![\w.])({_NAME}(?:\.{_NAME})*)[ \t]*\(")
_WORD: Final = re.compile(rf"(?<![\w.])({_NAME})\b")
_HEAD: Final = re.compile(rf"^(?:default[ \t]+)?({_NAME})", re.MULTILINE)
_FUNCTION: Final = re.compile(rf"^(?:default[ \t]+)?({_NAME})\(", re.MULTILINE)
_PACKAGE: Final = re.compile(rf"^package[ \t]+({_NAME}(?:\.{_NAME})*)[ \t]*$", re.MULTILINE)
_IMPORT: Final = re.compile(rf"^import[ \t]+({_NAME}(?:\.{_NAME})*)(?:[ \t]+as[ \t]+({_NAME}))?[ \t]*$", re.MULTILINE)
_INTRODUCED: Final = (
    re.compile(r"\b(?:some|every)\s+([^{};\n]*?)(?=\bin\b|[;\n}|])"),
    re.compile(r"([^{};|\n]*):="),
    re.compile(rf"({_NAME})\s*=(?!=)"),
    re.compile(rf"(?<![=!<>:])=(?!=)\s*({_NAME})\b(?!\s*[.(\[])"),
    re.compile(r"\[\s*([A-Za-z_]\w*)\s*\]"),
)


@dataclass(frozen=True, slots=True)
class Module:
    """One file of rules. ``is_ours`` is for those that come with the product."""

    name: str
    text: str
    is_ours: bool = False

    @property
    def is_test(self) -> bool:
        """Whether it has tests only."""
        return self.name.endswith("_test.rego")

    @property
    def package(self) -> str:
        """Its package; empty if there is none that can be read."""
        found = _PACKAGE.search(plain(self.text))
        return found.group(1) if found else ""

    @property
    def tests(self) -> tuple[tuple[str, int], ...]:
        """Its tests with their lines, each once."""
        return tuple((name, line) for name, line in self.heads.items() if self.is_test and name.startswith("test_"))

    @property
    def heads(self) -> dict[str, int]:
        """The names of its rules, each with its first line."""
        text = plain(self.text)
        found = [(head.group(1), line_at(text, head.start())) for head in _HEAD.finditer(text)]
        first = {name: line for name, line in reversed(found) if name not in {"package", "import"}}
        return dict(sorted(first.items(), key=lambda each: each[1]))

    @property
    def entrypoints(self) -> tuple[str, ...]:
        """What is evaluated when its tests run."""
        names = [name for name in ("settings", "inputs") if name in self.heads] + [name for name, _ in self.tests]
        return tuple(f"{self.package.replace('.', '/')}/{name}" for name in names) if self.tests else ()


def plain(text: str) -> str:
    """The text with comments and strings blank, so that what is left is the policy's own words.

    >>> plain('allow if x == "a(b)"  # c(d)').rstrip()
    'allow if x =='
    """
    return _HIDDEN.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def custom_names(modules: Iterable[Module]) -> list[str]:
    """The names of the owner's policies: of each, ``data.divisions.custom.NAME.allow`` must hold, too."""
    packages = {module.package for module in modules if not module.is_test}
    return sorted(package.removeprefix(_POLICIES) for package in packages if package.startswith(_POLICIES))


def check_modules(modules: Iterable[Module], is_builtin: Callable[[str], bool]) -> None:
    """Refuses what would be undefined, or is not the owner's to say.

    Raises:
        PolicyError: names the file and the line.
    """
    modules = tuple(modules)
    functions: set[str] = set()
    rules: dict[str, set[str]] = {}
    for module in modules:
        _check_place(module)
        text = plain(module.text)
        functions |= {f"data.{module.package}.{found.group(1)}" for found in _FUNCTION.finditer(text)}
        rules.setdefault(module.package, set()).update(found.group(1) for found in _HEAD.finditer(text))
    for module in modules:
        if module.package.startswith(_POLICIES) and not module.is_test and "allow" not in rules[module.package]:
            raise PolicyError(
                f"the policy {module.package} has no rule allow",
                remedy=f"say when it allows, or make it a library: package {_LIBRARY}NAME",
                path=module.name,
            )
        _check_calls(module, functions, is_builtin)
        _check_names(module, rules[module.package])


def _check_place(module: Module) -> None:
    text = plain(module.text)
    if not module.package:
        raise PolicyError("it has no package", remedy=f"begin with: package {_POLICIES}NAME", path=module.name, line=1)
    imports = [found.group(1) for found in _IMPORT.finditer(text)]
    if "rego.v1" not in imports:
        raise PolicyError("it is not of Rego v1", remedy="write `import rego.v1` below the package", path=module.name)
    name = module.package.removeprefix(_POLICIES).removeprefix(_LIBRARY)
    if not module.is_ours and (name == module.package or "." in name):
        raise PolicyError(
            f"the package {module.package} is not yours",
            remedy=f"call it {_POLICIES}NAME, or {_LIBRARY}NAME for functions that policies share",
            path=module.name,
        )
    if not module.is_ours and not module.is_test and (ours := re.search(r"\bdata\.divisions\.authz\b", text)):
        raise PolicyError(
            "the decision cannot be asked for by a policy that is part of it",
            remedy="read the input, or data.divisions.promotion.passed",
            path=module.name,
            line=line_at(text, ours.start()),
        )
    if module.is_test != module.package.endswith(_TEST):
        raise PolicyError(
            "tests are in files NAME_test.rego with packages NAME_test, and rules are not",
            remedy="rename the file or the package",
            path=module.name,
        )


def _check_calls(module: Module, functions: set[str], is_builtin: Callable[[str], bool]) -> None:
    text = plain(module.text)
    if odd := re.search(r"[\])][ \t]*\(|\$", text):  # a call through brackets; a template, whose calls are in a string
        raise PolicyError(
            "this way to call is not checked",
            remedy="call functions by their dotted names, and use sprintf for texts with values",
            path=module.name,
            line=line_at(module.text, odd.start()),
        )
    if replaced := re.search(r"\bwith\b", text):
        raise PolicyError(
            "the engine in process ends when a rule says `with`",
            remedy="give a test its input as inputs.NAME, see docs/rego.md",
            path=module.name,
            line=line_at(text, replaced.start()),
        )
    imported = dict(_imports(text))
    for found in _CALL.finditer(text):
        name = found.group(1)
        if name in _KEYWORDS:
            continue
        first, _, rest = name.partition(".")
        full = f"{imported[first]}.{rest}" if rest and first in imported else imported.get(name, name)
        if full in functions or f"data.{module.package}.{name}" in functions:
            continue
        line = line_at(text, found.start())
        if name in IMPURE:
            raise PolicyError(
                f"{name} would let the clock, chance, the network or a log decide",
                remedy="take what you need from the input: the time is input.now_s",
                path=module.name,
                line=line,
            )
        if not is_builtin(name):
            raise PolicyError(
                f"there is no function {name}: it would be undefined, and `not {name}(…)` would hold",
                remedy="correct its name, or do without it; docs/rego.md says what the engine lacks",
                path=module.name,
                line=line,
            )


def _imports(text: str) -> Iterator[tuple[str, str]]:
    for found in _IMPORT.finditer(text):
        path, alias = found.groups()
        yield alias or path.rpartition(".")[2], path


def _check_names(module: Module, rules: set[str]) -> None:
    """Every word of a rule is a rule of its package, an import, or given a value in the rule itself."""
    text = plain(module.text)
    known = rules | _KEYWORDS | {alias for alias, _ in _imports(text)} | {"_"}
    for start, rule in _rules(text):
        introduced = {
            word
            for pattern in _INTRODUCED
            for found in pattern.finditer(rule)
            for word in re.findall(_NAME, found.group(1))
        }
        head = re.match(rf"(?:default[ \t]+)?{_NAME}\(([^)]*)\)", rule)
        arguments = set(re.findall(_NAME, head.group(1))) if head else set()
        words = [(found.group(1), found.start(1), found.end(1)) for found in _WORD.finditer(rule)]
        counts = {word: sum(other == word for other, _, _ in words) for word, _, _ in words}
        for word, position, end in words:
            is_called = bool(re.match(rf"(?:\.{_NAME})*[ \t]*\(", rule[end:]))
            if word in known or word in arguments or is_called or (word in introduced and counts[word] > 1):
                continue
            raise PolicyError(
                f"nothing gives {word} a value here: it would be undefined, and `not {word}` would hold",
                remedy="correct its name; what is used once only is written _",
                path=module.name,
                line=line_at(text, start + position),
            )


def _rules(text: str) -> Iterator[tuple[int, str]]:
    """Each rule with its position: from a word at the beginning of a line to the next."""
    starts = [found.start() for found in re.finditer(r"^(?!package\b|import\b)[A-Za-z_]", text, re.MULTILINE)]
    skipped = [found.start() for found in re.finditer(r"^(?:package|import)\b", text, re.MULTILINE)]
    ends = sorted([*starts, *skipped, len(text)])
    for start in starts:
        yield start, text[start : next(end for end in ends if end > start)]
