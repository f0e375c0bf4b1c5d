"""No word breaks out of nginx's configuration. Edge."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.balancer.directives import Comment, Directive, Literal, Node, block, line, quote, starts_with, write
from tenfold.errors import BalancerError

HOSTILE = st.text(
    st.sampled_from("a;{}$\"'\\ \n\t\r#~tn/*é\x01") | st.characters(codec="utf-8", exclude_characters="\0")
)
NODES = st.recursive(
    st.builds(lambda words: line("name", *words), st.lists(HOSTILE, max_size=3)),
    lambda inner: st.builds(
        lambda words, body: block("block", *words, body=body),
        st.lists(HOSTILE, max_size=2),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def read(text: str) -> list[Directive]:
    """nginx's own rules (ngx_conf_read_token), as small as they can be written."""
    stack: list[list[Directive]] = [[]]
    openers: list[list[str]] = []
    words: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char == "#":
            at = text.index("\n", at)
        elif char == ";":
            stack[-1].append(Directive(words[0], tuple(words[1:])))
            words, at = [], at + 1
        elif char == "{":
            openers.append(words)
            stack.append([])
            words, at = [], at + 1
        elif char == "}":
            body, opener = stack.pop(), openers.pop()
            stack[-1].append(Directive(opener[0], tuple(opener[1:]), tuple(body)))
            at += 1
        else:
            word, at = read_word(text, at)
            words.append(word)
    assert len(stack) == 1 and not words
    return stack[0]


def read_word(text: str, at: int) -> tuple[str, int]:
    mark = text[at] if text[at] in "\"'" else ""
    at += len(mark)
    start = at
    while text[at] != mark if mark else text[at] not in " \t\r\n;{":
        at += 2 if text[at] == "\\" else 1
    raw = text[start:at]
    plain = re.sub(r"\\([\"'\\trn])", lambda m: {"t": "\t", "r": "\r", "n": "\n"}.get(m[1], m[1]), raw)
    return plain, at + len(mark)


@given(st.lists(NODES, max_size=4))
def test_whatever_the_words_hold_nginx_reads_back_the_same_tree(nodes: list[Directive]) -> None:
    assert read(write(nodes)) == nodes


@given(HOSTILE)
def test_a_comment_is_one_line_whatever_it_holds(text: str) -> None:
    nodes: list[Node] = [Comment(text), line("daemon", "off")]
    assert read(write(nodes)) == [line("daemon", "off")]


@given(HOSTILE)
def test_a_line_of_the_file_is_one_directive(word: str) -> None:
    assert write([line("name", word)]).count("\n") == 1


@pytest.mark.parametrize("text", ["a$b", "a\nb", "a\x00b", "\x7f"])
def test_a_literal_that_nginx_would_expand_or_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(BalancerError) as refused:
        quote(Literal(text))
    assert "tenfold.toml" in refused.value.hint


def test_no_word_may_hold_a_nul_for_nginx_would_stop_reading_there() -> None:
    with pytest.raises(BalancerError):
        quote("a\0b")


@given(HOSTILE, HOSTILE)
def test_a_prefix_pattern_matches_its_characters_and_nothing_else(prefix: str, other: str) -> None:
    pattern = re.compile(starts_with(prefix))
    found = pattern.match(prefix + other)
    assert found and found.end() == len(prefix)
    assert bool(pattern.match(other)) == other.startswith(prefix)
