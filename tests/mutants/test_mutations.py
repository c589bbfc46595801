"""The mutants of a module: which there are, and that their code takes the place of what is loaded."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants.mutations import Module


def mutants(body: str) -> set[str]:
    source = "def f(a, b):\n    " + body.replace("\n", "\n    ")
    return {f"{mutant.before} -> {mutant.after}" for mutant in Module.parsed("m.py", source).mutants}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("return a < b", {"return a < b -> return None", "a < b -> a <= b"}),
        ("return a is not b", {"return a is not b -> return None", "a is not b -> a is b"}),
        ("x = a == 'one'", {"a == 'one' -> a != 'one'", "a == 'one' -> a == 'one?'"}),
        ("x = a < 'one'", {"a < 'one' -> a <= 'one'"}),
        ("x = a and b", {"a and b -> a or b", "a and b -> a", "a and b -> b"}),
        ("x = not a", {"not a -> a"}),
        ("x = a + 1", {"a + 1 -> a - 1", "1 -> 2"}),
        ("x = True", {"True -> False"}),
        ("if a:\n    return None", {"if a: return None -> if not a: return None"}),
        ("raise ValueError('text')", {"raise ValueError('text') -> pass"}),
        ("a.append(b)", {"a.append(b) -> pass"}),
        ("x = evolve(a, b=b, c=a)", {"evolve(a, b=b, c=a) -> evolve(a, c=a)", "evolve(a, b=b, c=a) -> evolve(a, b=b)"}),
        ("'A docstring.'\nlog.info('%s', a + b)\nassert a + b\nx = f'{a + b}'", set()),
    ],
)
def test_changes(body: str, found: set[str]) -> None:
    """Each expression once for each way in which it can be wrong; texts for people are left alone."""
    assert mutants(body) == found


def test_functions_and_methods() -> None:
    """By the names that their code has; one within another counts as the outer one's."""
    source = (
        "class A:\n    @property\n    def p(self):\n        return 1\n\n"
        "def f():\n    def g():\n        return 2\n    return g\n\nx = 3\n"
    )
    module = Module.parsed("m.py", source)
    assert {(mutant.function, mutant.before) for mutant in module.mutants} == {
        ("A.p", "1"), ("f", "2"), ("f", "return g"),
    }  # fmt: skip


def test_defaults_and_annotations_are_left_alone() -> None:
    """They are no part of a function's code."""
    assert mutants("def g(x: 1 = 2) -> 3: pass") == {"2 -> 3"}, "of an inner function, a default is"
    assert Module.parsed("m.py", "def f(x: 1 = 2) -> 3: pass").mutants == ()


def test_the_code_of_a_mutant_takes_the_place_of_what_is_loaded() -> None:
    """Also under a decorator, and where it has variables of an outer function."""
    source = "def outer(limit):\n    def inner(value):\n        return value < limit\n    return inner\n"
    module = Module.parsed("m.py", source)
    namespace: dict[str, Callable[..., Callable[..., bool]]] = {}
    exec(compile(ast.parse(source), "m.py", "exec"), namespace)  # noqa: S102 - the source is above
    (mutant,) = [one for one in module.mutants if one.after == "value <= limit"]
    mutant.apply()
    codes = {name: code for (name, _), code in module.codes().items()}
    outer = namespace["outer"]
    assert outer(3)(3) is False
    outer.__code__ = codes["outer"]
    assert outer(3)(3) is True


@pytest.mark.skipif(sys.version_info < (3, 12), reason="which tests run a function is told by sys.monitoring")
def test_a_sample(tmp_path: Path) -> None:
    """Tests find what they can see: no mutant that changes nothing, and none in a function that they do not run."""
    (tmp_path / "least.py").write_text(_MODULE)
    (tmp_path / "test_least.py").write_text(_TEST)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", _PROGRAM]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert sorted(line for line in ran.stdout.splitlines() if "killed" in line) == [
        "least: one < other -> one <= other killed=False tests=1",
        "least: return one -> return None killed=True tests=1",
        "least: return other -> return None killed=True tests=1",
        "opposite: not value -> value killed=False tests=0",
        "opposite: return not value -> return None killed=False tests=0",
    ]


_MODULE = """
def least(one, other):
    if one < other:
        return one
    return other

def opposite(value):
    return not value
"""
_TEST = """
from least import least

def test_least():
    assert least(1, 2) == least(2, 1) == 1
"""
_PROGRAM = """
import pytest
from tests.mutants.mutations import Module
from tests.mutants.plugin import Mutation

def hear(one):
    print(f"{one.mutant} killed={one.killed} tests={one.tests}")

plugin = Mutation([Module.parsed("least.py", open("least.py").read())], 2, hear)
pytest.main(["-q", "-p", "no:cacheprovider"], plugins=[plugin])
"""
