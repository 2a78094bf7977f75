"""What an error of the database means for a batch, and how to say it without personal data."""

import re
from collections.abc import Collection
from enum import Enum

import psycopg


class Fault(Enum):
    """What to do about an error that a batch ran into."""

    RETRY = "retry"  # a lock, a timeout, a deadlock: the same batch may pass in a moment
    LOST = "lost"  # the connection is gone: connect again, then try again
    DATA = "data"  # a row cannot be written: find it, record it, go on with the others
    FATAL = "fatal"  # nothing that the run could mend


# lock_not_available, query_canceled (statement_timeout), deadlock, serialization failure, object in use
_RETRY = ("55P03", "57014", "40P01", "40001", "55006")
# Classes and codes that no single row causes. What is not named here may come from a row: a trigger can raise
# any code, and a damaged TOAST value answers with XX000 or XX001.
_FATAL_CLASSES = ("25", "26", "28", "2D", "34", "3B", "3D", "3F", "53", "55", "57", "58", "F0", "HV", "0A", "42")
_LOST_CODES = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")


def classify(error: psycopg.Error) -> Fault:
    """Which kind of fault an error is, from its SQLSTATE (and whether a trigger's function raised it)."""
    state = error.sqlstate
    if state is None:
        # libpq's own errors have no SQLSTATE: the connection broke. Others come from psycopg itself.
        return Fault.LOST if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else Fault.FATAL
    if state in _LOST_CODES or state.startswith("08"):
        return Fault.LOST
    if state in _RETRY:
        return Fault.RETRY
    if state.startswith(_FATAL_CLASSES) and not _from_function(error):
        # Running out of memory may be one huge value's fault; a full disk is nobody's row.
        return Fault.DATA if state == "53200" else Fault.FATAL
    return Fault.DATA


def locked_row(error: psycopg.Error) -> tuple[int, int] | None:
    """Page and line of the row whose lock was waited for in vain, when an error says that it was one row's."""
    if error.sqlstate != "55P03":
        return None
    # The words are translated, the place and its parentheses are not.
    found = re.search(r"\((\d+),(\d+)\)", (error.diag.context or "").split("\n", 1)[0])
    return (int(found[1]), int(found[2])) if found else None


def _from_function(error: psycopg.Error) -> bool:
    """Whether a function, such as a trigger's, raised the error: then a row's value may have led to it."""
    if (error.sqlstate or "").startswith(("53", "57", "58")):
        return False
    # The server's words are translated, the name of the language is not.
    return "PL/pgSQL" in (error.diag.context or "")


_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|`[^`]*`|“[^”]*”|«[^»]*»|\{.*\}|\[.*\]|\(.*\)', re.DOTALL)
_ADDRESS = re.compile(r"\S+@\S+|\bhttps?://\S+", re.IGNORECASE)
_LONG = re.compile(r"\S{25,}|\d[\d .()/+-]{4,}\d")
_WORD = re.compile(r"[^\W\d_]+(?:[_'-][^\W\d_]+)*|\S")


def describe(error: psycopg.Error, vocabulary: Collection[str] = ()) -> str:
    """SQLSTATE and primary message of an error, without values of the row.

    DETAIL and CONTEXT are left out, since they quote the row. In the message, names of the table, column and
    constraint stay; other quoted text, addresses and long numbers become an ellipsis. Of a message that a function
    raised, only words of `vocabulary` stay (the words in the source of the table's trigger functions).
    """
    diag = error.diag
    message = diag.message_primary or type(error).__name__
    known = {
        name
        for name in (diag.constraint_name, diag.table_name, diag.column_name, diag.schema_name, diag.datatype_name)
        if name
    }
    message = _QUOTED.sub(lambda match: match.group(0) if match.group(0)[1:-1] in known else "…", message)
    message = _ADDRESS.sub("…", message)
    if _raised_by_code(error):
        words = {word.lower() for word in vocabulary}
        message = " ".join(
            word if word.lower() in words or not word[0].isalnum() else "…" for word in _WORD.findall(message)
        )
        message = re.sub(r"…(?: …)+", "…", message)
    else:
        message = _LONG.sub(lambda match: match.group(0) if match.group(0) in known else "…", message)
    constraint = f" (constraint {diag.constraint_name})" if diag.constraint_name else ""
    if diag.constraint_name and diag.constraint_name in message:
        constraint = ""
    return f"{error.sqlstate or '-----'}: {' '.join(message.split())[:300]}{constraint}"


def words(source: str) -> set[str]:
    """The words of a function's source, for the vocabulary of `describe`."""
    return {word.lower() for word in _WORD.findall(source) if word[0].isalpha()}


def _raised_by_code(error: psycopg.Error) -> bool:
    """Whether the words of the message are somebody's own rather than the server's."""
    state = error.sqlstate or ""
    first = (error.diag.context or "").split("\n", 1)[0]
    at_raise = "PL/pgSQL" in first and re.search(r"(?<![A-Z_])RAISE(?![A-Z_])", first)
    return bool(at_raise) or state.startswith("P0") or state[:1] in "EIKLMNORSTUVWY"
