"""Conditions on records: a closed grammar, parsed to a tree and evaluated on columns, never run as Python.

.. code-block:: text

    condition  = conjunct { "or" conjunct }
    conjunct   = negation { "and" negation }
    negation   = "not" negation | "(" condition ")" | test
    test       = operand { ("==" | "!=" | "<" | "<=" | ">" | ">=") operand }
               | operand [ "not" ] "in" "(" literal { "," literal } ")"      (square brackets too)
               | column                                                      (a column of true and false)
    operand    = column | literal
    literal    = number | 'text' | "text" | true | false
    column     = name | `any name in backquotes`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Never

import attrs

from l0_core import InputError

Literal = float | int | str | bool

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<text>'(?:[^'\\]|\\['"\\])*'|"(?:[^"\\]|\\['"\\])*")
      | (?P<quoted>`[^`]+`)
      | (?P<word>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)""",
    re.VERBOSE,
)
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
KEYWORDS = ("and", "or", "not", "in", "true", "false", "True", "False")
_HINTS = {
    "=": "equality is written ==",
    "&": "'and' is written as a word",
    "|": "'or' is written as a word",
    "~": "'not' is written as a word",
    "!": "'not' is written as a word",
}


@attrs.frozen
class Column:
    """A column of the records."""

    name: str
    position: int = attrs.field(eq=False)


@attrs.frozen
class Constant:
    """A number, a text or a truth value.

    Compared with its type, so that ``1`` and ``True`` stay apart where results are remembered.
    """

    value: Literal = attrs.field(eq=lambda value: (type(value).__name__, value))
    position: int = attrs.field(eq=False)


@attrs.frozen
class Comparison:
    """``left sign right``."""

    left: Column | Constant
    sign: str
    right: Column | Constant
    position: int = attrs.field(eq=False)


@attrs.frozen
class Membership:
    """``column in (values)``."""

    column: Column
    values: tuple[Constant, ...]
    position: int = attrs.field(eq=False)


@attrs.frozen
class Not:
    """The opposite."""

    inner: Node


@attrs.frozen
class All:
    """Every part holds."""

    parts: tuple[Node, ...]


@attrs.frozen
class Any:
    """At least one part holds."""

    parts: tuple[Node, ...]


Node = Column | Comparison | Membership | Not | All | Any


@attrs.frozen
class Condition:
    """A parsed condition and the text it came from."""

    text: str
    root: Node

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, each once, in order of appearance."""
        return tuple(dict.fromkeys(column.name for column in _columns(self.root)))

    def fail(self, message: str, position: int) -> Never:
        """InputError that shows the place in the text."""
        raise InputError(f"{message}\n    {self.text}\n    {' ' * position}^")


def _columns(node: Node | Constant) -> Iterator[Column]:
    if isinstance(node, Column):
        yield node
    elif isinstance(node, Comparison):
        yield from _columns(node.left)
        yield from _columns(node.right)
    elif isinstance(node, Membership):
        yield node.column
    elif isinstance(node, Not):
        yield from _columns(node.inner)
    elif isinstance(node, All | Any):
        for part in node.parts:
            yield from _columns(part)


def parse_condition(text: str) -> Condition:
    """Parse a condition such as ``"filer and agi_class == 3 and state in ('CA', 'NY')"``.

    Raises
    ------
    InputError
        With the place at which the text stops making sense.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"a condition must be text such as \"state == 'CA'\", got {text!r}")
    text = " ".join(text.splitlines())
    try:
        return Condition(text, _Parser(text).parse())
    except RecursionError:
        raise InputError(f"the condition is nested too deeply: {text[:60]}...") from None


@attrs.frozen
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = 0

    def _fail(self, message: str, position: int) -> Never:
        raise InputError(f"condition: {message}\n    {self._text}\n    {' ' * position}^")

    def _scan(self) -> list[_Token]:
        tokens, position = [], 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:
                sign = self._text[position]
                what = "this text has no closing quote" if sign in "'\"`" else f"{sign!r} is not understood"
                hint = _HINTS.get(sign)
                self._fail(what + (f": {hint}" if hint else ""), position)
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match.group(), position))
            position = match.end()
        tokens.append(_Token("end", "", len(self._text)))
        return tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these words or signs."""
        token = self._token
        if token.kind in ("word", "sign") and token.text in texts:
            self._next += 1
            return token
        return None

    def parse(self) -> Node:
        node = self._condition()
        if self._token.kind != "end":
            self._fail(f"expected 'and', 'or' or the end, found {self._token.text!r}", self._token.position)
        return node

    def _condition(self) -> Node:
        parts = [self._conjunct()]
        while self._take("or"):
            parts.append(self._conjunct())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _conjunct(self) -> Node:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _negation(self) -> Node:
        if self._take("not"):
            return Not(self._negation())
        if self._take("("):
            inner = self._condition()
            if not self._take(")"):
                self._fail("a bracket is not closed", self._token.position)
            return inner
        return self._test()

    def _test(self) -> Node:
        left = self._operand()
        token = self._token
        negated = self._take("not") is not None
        if self._take("in"):
            if not isinstance(left, Column):
                self._fail("'in' needs a column on its left", left.position)
            member = Membership(left, self._literals(), token.position)
            return Not(member) if negated else member
        if negated:
            self._fail("expected 'in' after 'not'", self._token.position)
        tests: list[Node] = []
        while sign := self._take(*_COMPARISONS):
            right = self._operand()
            if isinstance(left, Constant) and isinstance(right, Constant):
                self._fail("a comparison needs a column on one side", sign.position)
            tests.append(Comparison(left, sign.text, right, sign.position))
            left = right
        if tests:
            return tests[0] if len(tests) == 1 else All(tuple(tests))
        if not isinstance(left, Column):
            self._fail("a number or text alone is not a condition; compare a column with it", left.position)
        return left

    def _literals(self) -> tuple[Constant, ...]:
        opened = self._take("(", "[")
        if opened is None:
            self._fail("'in' needs a list in brackets, such as ('CA', 'NY')", self._token.position)
        closing = ")" if opened.text == "(" else "]"
        values: list[Constant] = []
        while not self._take(closing):
            if values and not self._take(","):
                self._fail(f"expected ',' or {closing!r} in the list", self._token.position)
            if values and self._take(closing):
                break
            item = self._operand()
            if isinstance(item, Column):
                self._fail(f"the list holds the bare word {item.name!r}; text needs quotes", item.position)
            values.append(item)
        if not values:
            self._fail("the list is empty: nothing can be in it", opened.position)
        return tuple(values)

    def _operand(self) -> Column | Constant:
        token = self._token
        self._next += 1
        if token.kind == "number":
            whole = re.fullmatch(r"[-+]?\d+", token.text)
            return Constant(int(token.text) if whole else float(token.text), token.position)
        if token.kind == "text":
            return Constant(re.sub(r"\\(.)", r"\1", token.text[1:-1]), token.position)
        if token.kind == "quoted":
            return Column(token.text[1:-1], token.position)
        if token.kind == "word" and token.text in ("true", "True", "false", "False"):
            return Constant(token.text in ("true", "True"), token.position)
        if token.kind == "word" and token.text not in KEYWORDS:
            return Column(token.text, token.position)
        found = "the end" if token.kind == "end" else repr(token.text)
        return self._fail(f"expected a column, a number or a quoted text, found {found}", token.position)
