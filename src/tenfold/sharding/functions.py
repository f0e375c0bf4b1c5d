"""What is known of the functions in a statement. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

# Functions of one row that the parser does not know; any other unknown one may be an aggregate.
SCALAR = {
    "abs", "cast", "ceil", "coalesce", "concat", "concat_ws", "floor", "format", "hex", "if", "ifnull", "iif", "instr",
    "length", "lower", "ltrim", "mod", "nullif", "printf", "quote", "replace", "round", "rtrim", "sign", "substr",
    "substring", "trim", "typeof", "unicode", "upper", "case", "strposition", "and", "or",
    "json_extract", "json_array_length", "json_type", "json_valid", "char", "unhex", "likely", "unlikely", "julianday",
    "elt", "field", "find_in_set", "insert", "inet_aton", "inet_ntoa", "bin", "oct", "conv",
    "weight_string", "soundex", "space", "reverse", "truncate", "bit_count", "sha1", "sha2", "crc32", "date_format",
    "makedate", "maketime", "sec_to_time", "time_to_sec", "to_days", "from_days", "json_unquote", "json_contains",
    "json_length", "json_keys", "interval", "char_length", "octet_length", "charset", "collation", "nvl", "nvl2",
}  # fmt: skip
# As these, but another value each time.
VOLATILE = {"sleep", "uuid", "uuid_short", "rand", "random", "randomblob", "sysdate", "benchmark"}
# What a connection remembers; connections are pooled, so the answer would be somebody else's.
CONNECTION_STATE = {
    "last_insert_rowid", "changes", "total_changes", "last_insert_id", "row_count", "found_rows", "connection_id",
    "get_lock", "release_lock", "is_free_lock", "is_used_lock", "release_all_locks", "nextval", "lastval", "setval",
}  # fmt: skip


def function_name(function: exp.Func) -> str:
    """Lower-case: the parser's name for it, or the caller's for one that the parser does not know."""
    return (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()


def is_scalar(function: exp.Expr) -> bool:
    """Whether an expression is known to give one value for one row, the same for the same row."""
    return isinstance(function, exp.Binary) or (isinstance(function, exp.Func) and function_name(function) in SCALAR)


def unknown_functions(part: exp.Expr) -> Iterator[exp.Func]:
    """Functions of which nobody here knows whether they are aggregates."""
    for node in part.find_all(exp.Func):
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
            if function_name(node) not in SCALAR | VOLATILE:
                yield node
        elif "Agg" in type(node).__name__ and not isinstance(node, exp.AggFunc):
            yield node
