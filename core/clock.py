"""The database's clock, in SQL.

Leases are computed and compared where they are stored, so a worker whose own clock is ten minutes wrong
neither loses a job nor steals one. Timestamps are UTC.
"""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, DateTime, Dialect, Double, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

SECONDS_A_DAY: Final = 86_400.0


class UtcDateTime(TypeDecorator[datetime]):
    """A timestamp that is always UTC, also on SQLite, which stores text without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: their zone would be a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"timestamp without a time zone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Clock(FunctionElement[datetime]):
    """`now + seconds` by the database's clock; `seconds` is the one clause and may be any SQL expression."""

    type = UtcDateTime()
    inherit_cache = True
    name = "utc_clock"


@compiles(_Clock, "sqlite")
def _sqlite_clock(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    # %f has milliseconds; SQLAlchemy writes and reads six digits, and text compares digit by digit.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', ({seconds}) || ' seconds')"


@compiles(_Clock, "postgresql")
def _postgresql_clock(element: _Clock, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp, not now(): the latter stands still during a transaction that waited for a lock.
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => ({seconds})::double precision))"


class _Seconds(FunctionElement[float]):
    """From the first clause to the second, in seconds; null when one is."""

    type = Double()
    inherit_cache = True
    name = "seconds_between"


@compiles(_Seconds, "sqlite")
def _sqlite_seconds(element: _Seconds, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(_Seconds, "postgresql")
def _postgresql_seconds(element: _Seconds, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(extract(epoch from ({end}) - ({start}))::double precision)"


def seconds_between(
    start: ColumnElement[Any] | InstrumentedAttribute[Any],
    end: ColumnElement[Any] | InstrumentedAttribute[Any],
) -> ColumnElement[float]:
    """How long it is from one time to the other; null when one of them is."""
    return _Seconds(start, end)


def now() -> ColumnElement[datetime]:
    """The database's time."""
    return _Clock(literal(0.0))


def now_plus(seconds: float | ColumnElement[Any]) -> ColumnElement[datetime]:
    """The database's time some seconds ahead, or back when negative."""
    return _Clock(literal(float(seconds)) if isinstance(seconds, int | float) else seconds)
