"""Malformed inputs for the readers of both packages: valid files, mutated at random.

A test takes ``tries`` inputs: 20, and 60 where the slow tests are run too::

    def test_pairs(tries, tmp_path):
        refuse_all(mutated_text(VALID), lambda content: read(write(content)), tries, "pairs.csv")
"""

from __future__ import annotations

import contextlib
import io
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from swinface.files import InputError

MEMORY = 200_000_000  # bytes that a reader may take for an input of a few kilobytes


# Texts that a field may hold where a number, a name or a path is expected.
ODD = ("", " ", "\0", "\u2028", "\ufeff", "'", '"', "#", "%s", "é", "💥", "a b", "null", "true", "[]", "{}")
NUMBERS = ("nan", "inf", "-1", "-0", "1e999", "0.5", "9" * 30)
PATHS = ("..", "../x", "/etc", "C:\\x", "!!python/name:os.system")
FIELDS = st.sampled_from(ODD + NUMBERS + PATHS) | st.text(max_size=6)


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file with one to three parts of its bytes cut out, overwritten, inserted, repeated or set to zero."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([1, 1, 2, 4, 8, 64, len(content)])))
        match draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "zero", "end"])):
            case "cut":
                del content[start:stop]
            case "overwrite":
                noise = draw(st.binary(min_size=1, max_size=8))
                content[start : start + len(noise)] = noise
            case "insert":
                content[start:start] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                content[start:start] = content[start:stop]
            case "zero":
                content[start:stop] = bytes(stop - start)
            case "end":
                del content[start:]
    return bytes(content)


@st.composite
def mutated_text(draw: st.DrawFn, valid: str, separators: str = " ,;:\t\n") -> bytes:
    """A text file with one to three of its fields or lines changed, or with its bytes mutated."""
    if draw(st.integers(0, 4)) == 0:
        return draw(mutated(valid.encode()))
    fields = _split(valid, separators)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(fields) - 1))
        match draw(st.sampled_from(["replace", "replace", "drop", "repeat", "swap", "line"])):
            case "replace":
                fields[place] = draw(FIELDS)
            case "drop":
                fields[place] = ""
            case "repeat":
                fields[place] *= draw(st.integers(2, 3))
            case "swap":
                other = draw(st.integers(0, len(fields) - 1))
                fields[place], fields[other] = fields[other], fields[place]
            case "line":
                fields[place] = draw(st.sampled_from(["\n", "\r", "\n\n", "\t"])) + fields[place]
    return "".join(fields).encode("utf-8", "surrogatepass")


def _split(text: str, separators: str) -> list[str]:
    """Fields and what is between them, in order."""
    parts = [""]
    for sign in text:
        if (sign in separators) != (parts[-1][-1:] in separators):
            parts.append("")
        parts[-1] += sign
    return [part for part in parts if part]


def refuse_all(
    inputs: st.SearchStrategy,
    read: Callable[[Any], object],
    tries: int,
    named: str | tuple[str, ...] = "",
    bounded: bool = False,
) -> None:
    """Read ``tries`` malformed inputs: each must raise ``InputError``, with one line that names the file.

    Inputs that are still valid do not count, though one may be warned of. ``bounded``: nor may one take more than
    ``MEMORY``.
    """
    refused = []

    @settings(
        max_examples=tries, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(inputs)
    def check(content: Any) -> None:
        try:
            odd = warnings.catch_warnings(action="ignore", category=UserWarning)
            with _bounded_memory() if bounded else contextlib.nullcontext(), odd:
                read(content)
        except InputError as error:
            message = str(error)
        else:
            assume(False)
        assert len(message.splitlines()) == 1, message
        assert not named or any(name in message for name in ((named,) if isinstance(named, str) else named)), message
        refused.append(message)

    check()
    assert len(refused) >= tries


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


def refuse_command(run: Callable[[], int], *outputs: Path) -> str:
    """Run a command on bad input: exit code 2, one line on stderr, no output left. Gives that line.

    Warnings about what could be read are no part of it.
    """
    errors = io.StringIO()
    with (
        warnings.catch_warnings(action="ignore"),
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = run()
    assert code == 2
    assert len(errors.getvalue().splitlines()) == 1, errors.getvalue()
    for output in outputs:
        assert not output.exists()
        assert not output.parent.exists() or not list(output.parent.glob(f".{output.name}*"))
    return errors.getvalue()
