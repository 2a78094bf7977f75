"""What `migrate validate` expects of a migrated database: suites of Great Expectations, defined in Python.

A suite is a query over the source tables, the log or the report models, and expectations about its columns. The
queries flatten JSON into columns and name rows by their id only, so that every expectation is evaluated in the
database. They are written without the models' macros: what proves a rule must not share its code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

CRITICAL, WARNING, INFO = "critical", "warning", "info"

NATIVE_PROVIDERS = ("announcements", "instant_capture", "live_visitors", "testimonials")
RESOLVED_BY = ("integration", "integration_type", "event_rule", "payload_signature", "fallback")
#: The models that the queries read, and the tool's tables.
MODELS = (
    "stg_campaigns", "stg_integrations", "campaign_values", "campaign_data_sources", "ambiguous_campaigns",
    "canonical_drift", "orphaned_integrations",
)  # fmt: skip
TABLES = ("migration_runs", "migration_undo")
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"

# Patterns of contract section 4, as PostgreSQL reads them.
PROVIDER = r"^[^\sA-Z](.*[^\s])?$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SAFE_URL = r"^([hH][tT][tT][pP][sS]?:[^:]|[^:/?#&]*([/?#]|$))"
DECIMAL = r"^-?[0-9]+([.][0-9]+)?$"
MONEY = r"^-?([A-Z]{3} |[A-Z]?[^0-9A-Za-z\s.,-])?[0-9]{1,3}(,[0-9]{3})*([.][0-9]+)?$"
CURRENCY = r"^[A-Z]{3}$"
DATE_TEXT = rf"^({_MONTHS}) [1-9][0-9]?, [0-9]{{4,}}$"
TIMESTAMP = r"^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$"
STARS = "^★{1,5}☆{0,4}$"
NO_PLACEHOLDER = r"(?i)^(?!(unknown|undefined( undefined|, undefined)?|null|n/a|anonymous|someone)$)"
HAS_A_LETTER = r"[[:alpha:]]"

# The fields of each rule; test_validation.py compares them with the columns of the models.
URL_FIELDS = (
    "template.product_image", "template.image_url", "template.product_url", "template.author_avatar",
    "template.video_url", "template.cta_url", "template.page_url",
)  # fmt: skip
MONEY_FIELDS = ("template.amount", "template.order_total", "template.product_price")
DECIMAL_FIELDS = ("template.price",)
NUMBER_FIELDS = (
    "template.quantity", "template.visitor_count", "meta.amount", "meta.total_price", "meta.total_items",
)  # fmt: skip
PLACE_FIELDS = ("template.customer_location", "template.location", "template.user_location")
NAME_FIELDS = ("template.customer_name", "template.author_name", "template.user_name")


@dataclass(frozen=True)
class Expect:
    """One expectation: the Great Expectations class, its arguments, and what it means in a sentence."""

    type: str
    sentence: str
    arguments: dict[str, Any]
    severity: str = CRITICAL
    rows: str | None = None  # a query of the ids of offending rows, where the suite's own query has none


@dataclass(frozen=True)
class Suite:
    """Expectations about one query. `id_column` is the query's column that names a row; None: the query has one row."""

    name: str
    title: str
    description: str
    query: str
    expectations: tuple[Expect, ...]
    id_column: str | None = None
    rows: str = "rows"  # what the query's rows are, in the plural


# Conditions that several queries share; c is a campaign, e an event.
_CONDITIONS: dict[str, LiteralString] = {
    "has_neither": "(c.stored_value is null or c.stored_value in ('[]', 'null')) "
    "and (c.native_config is null or c.native_config in ('{{}}', 'null'))",
    "is_listed": "exists (select 1 from {ambiguous_campaigns} as a where a.campaign_id = c.campaign_id)",
    "is_resolved": "exists (select 1 from {campaign_data_sources} as d where d.campaign_id = c.campaign_id)",
    "is_recent": "e.created_at >= now() - interval '30 days'",
}


@dataclass(frozen=True)
class Names:
    """The names of everything that is read."""

    events: sql.Identifier
    key: sql.Identifier  # of events
    canonical_event: sql.Identifier
    pending: LiteralString  # predicate over events
    log: sql.Identifier
    schema: str  # the tool's own
    version: str  # of the contract
    has_log: bool = True

    def fill(self, text: LiteralString, **more: sql.Composable) -> sql.Composed:
        """A query with names and conditions in place: {events}, {key}, {pending}, {log}, {<model or table>}, ..."""
        known: dict[str, sql.Composable] = {
            "events": self.events,
            "key": self.key,
            "canonical_event": self.canonical_event,
            "pending": sql.SQL(self.pending),
            "log": self.log,
            "version": sql.Literal(self.version),
            **{name: sql.Identifier(self.schema, name) for name in (*MODELS, *TABLES)},
        }
        conditions = {name: sql.SQL(condition).format(**known) for name, condition in _CONDITIONS.items()}
        return sql.SQL(text).format(**known, **conditions, **more)

    def query(self, text: LiteralString, **more: sql.Composable) -> str:
        """The same as text."""
        return self.fill(text, **more).as_string(None)


def suites(names: Names) -> list[Suite]:
    """All suites, in the order in which they are shown. Without a log there is nothing to say about log and undo."""
    found = [_product(names), _data_sources(names), _envelope(names), _values(names)]
    if names.has_log:
        found += [_log(names), _undo(names)]
    return [*found, _attention(names), _drift(names)]


# ---------- the product's own checks


@dataclass(frozen=True)
class _Number:
    """A number that should be 0: how many rows a query returns. The query's first column is their id."""

    name: str
    sentence: str
    rows: LiteralString
    severity: str = CRITICAL


def _numbers(names: Names, numbers: Iterable[_Number], before: LiteralString = "") -> tuple[str, tuple[Expect, ...]]:
    """One row with a column for each number, and the expectation that each is 0. `before` is a with clause."""
    chosen = [(number, names.fill(number.rows)) for number in numbers]
    columns = sql.SQL(",\n").join(
        sql.SQL("    (select count(*) from ({}) as q) as {}").format(rows, sql.Identifier(number.name))
        for number, rows in chosen
    )
    # Great Expectations wants a query that begins with `select`.
    query = names.query(
        "select * from ({before}select\n{columns}) as numbers", before=names.fill(before), columns=columns
    )
    # A few examples are found without looking at everything.
    examples = before.replace("as materialized", "as not materialized")
    return query, tuple(
        Expect(
            "ExpectColumnMaxToBeBetween",
            number.sentence,
            {"column": number.name, "min_value": 0, "max_value": 0},
            number.severity,
            rows=(names.fill(examples if "from drift" in number.rows else "") + rows).as_string(None),
        )
        for number, rows in chosen
    )


def _product(names: Names) -> Suite:
    query, expectations = _numbers(
        names,
        [
            _Number(
                "campaigns_with_neither",
                "No campaign lacks both data_sources and native_config, but for those that a person has to settle.",
                "select c.campaign_id from {stg_campaigns} as c where {has_neither} and not {is_listed}",
            ),
            _Number(
                "recent_events_null",
                "No event of the last 30 days has canonical_event NULL.",
                "select e.{key} as id from {events} as e where {is_recent} and e.{canonical_event} is null",
            ),
            _Number(
                "recent_events_empty",
                "No event of the last 30 days has an empty canonical_event ({}, [] or JSON null).",
                "select e.{key} as id from {events} as e "
                "where {is_recent} and {pending} and e.{canonical_event} is not null",
            ),
            _Number(
                "malformed_campaigns_not_listed",
                "Every malformed data_sources is listed in ambiguous_campaigns.",
                "select c.campaign_id from {campaign_values} as c "
                "where c.value_state = 'malformed' and not {is_listed} and not {is_resolved}",
            ),
        ],
    )
    return Suite(
        "1_product_checks",
        "The product's checks",
        "The product's own queries after a migration (contract section 9).",
        query,
        expectations,
    )


# ---------- campaigns.data_sources


def _data_sources(names: Names) -> Suite:
    query = """select
    c.campaign_id::text || ' #' || element.position as element,
    element.document ->> 'provider' as provider,
    element.document ->> 'integration_id' as integration_id,
    case when element.document ->> 'integration_id' is null then element.document ->> 'provider' end as native_provider,
    coalesce(jsonb_typeof(element.document -> 'filters'), 'object') as filters_kind,
    coalesce(jsonb_typeof(element.document -> 'adapter_config'), 'object') as adapter_config_kind,
    case
        when element.document ->> 'integration_id' is not null
            then coalesce(i.website_id is not distinct from c.website_id and i.integration_id is not null, false)
    end as integration_is_of_the_website,
    case when i.integration_id is not null then i.provider = element.document ->> 'provider' end
        as provider_is_the_integrations,
    row_number() over (
        partition by c.campaign_id, element.document ->> 'provider', element.document ->> 'integration_id'
    ) as nth_of_its_kind,
    row_number() over (
        partition by c.campaign_id
        order by
            element.document ->> 'provider' collate "C",
            element.document ->> 'integration_id' collate "C" nulls first
    ) = element.position as is_in_order
from {stg_campaigns} as c
cross join lateral jsonb_array_elements(
    case when jsonb_typeof(c.stored_value) = 'array' then c.stored_value else '[]' end
) with ordinality as element (document, position)
left join {stg_integrations} as i on i.integration_id::text = lower(element.document ->> 'integration_id')
where element.document -> 'legacy' is distinct from 'true'
    and not {is_listed}
    and not {is_resolved}
"""
    return Suite(
        "2_campaign_data_sources",
        "Campaigns: data_sources",
        "Every element of data_sources of the migrated campaigns (contract section 7).",
        names.query(query),
        (
            _not_null("provider", "Every element names a provider."),
            _matches("provider", PROVIDER, "A provider is lower-case text without spaces around it."),
            _matches("integration_id", UUID, "An integration_id is a uuid."),
            _among("native_provider", NATIVE_PROVIDERS, "Only native providers go without an integration."),
            _among("filters_kind", ["object"], "filters is an object."),
            _among("adapter_config_kind", ["object"], "adapter_config is an object."),
            _true("integration_is_of_the_website", "An integration exists and is of the campaign's website."),
            _true("provider_is_the_integrations", "The provider is the integration's."),
            _among("nth_of_its_kind", [1], "No element is there twice."),
            _true("is_in_order", "Elements are ordered by provider, then id.", WARNING),
        ),
        id_column="element",
        rows="elements",
    )


# ---------- the envelope


def _envelope(names: Names) -> Suite:
    query = """select
    e.{key}::text as id,
    jsonb_typeof(v.value) as kind,
    case
        when jsonb_typeof(v.value) = 'object'
            then (select string_agg(key, ', ' order by key collate "C") from jsonb_object_keys(v.value) as key)
    end as keys,
    v.value ->> 'provider' as provider,
    coalesce(v.value ->> 'event_id' = e.{key}::text, false) as event_id_is_the_rows,
    (v.value ->> 'provider_event_type') is not distinct from e.event_type as event_type_is_the_rows,
    (v.value ->> 'timestamp') is not distinct from case
        when isfinite(e.created_at) and extract(year from e.created_at at time zone 'UTC') > 0
            then replace(to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24_MI_SS.MS"Z"'), '_', chr(58))
    end as timestamp_is_created_at,
    (v.value -> 'payload') is not distinct from e.event_data as payload_is_event_data,
    jsonb_typeof(n.value) as normalized_kind,
    parts.wrong_keys,
    parts.wrong_values
from {events} as e
cross join lateral (select e.{canonical_event} as value offset 0) as v
cross join lateral (select v.value -> 'normalized' as value offset 0) as n
cross join lateral (
    select
        count(*) filter (where part.key !~ '^(template|meta)[.][^.]') as wrong_keys,
        count(*) filter (
            where jsonb_typeof(part.value) not in ('string', 'number', 'boolean')
                or (part.value #>> '{{}}') ~ '^\\s*$'
        ) as wrong_values
    from jsonb_each(case when jsonb_typeof(n.value) = 'object' then n.value else '{{}}' end) as part
) as parts
where not {pending}
"""
    return Suite(
        "3_envelope",
        "Events: the envelope",
        "The envelope of every migrated event, of whatever version (contract section 3).",
        names.query(query),
        (
            _among("kind", ["object"], "A canonical event is an object."),
            _among(
                "keys",
                ["event_id, normalized, payload, provider, provider_event_type, timestamp"],
                "It has the six keys of the envelope and no other.",
            ),
            _not_null("provider", "It names its provider."),
            _matches("provider", PROVIDER, "The provider is lower-case text without spaces around it."),
            _true("event_id_is_the_rows", "event_id is the row's id."),
            _true("event_type_is_the_rows", "provider_event_type is the row's event_type."),
            _true("timestamp_is_created_at", "timestamp is created_at in UTC with milliseconds."),
            _true("payload_is_event_data", "payload is event_data, unchanged."),
            _among("normalized_kind", ["object"], "normalized is an object."),
            _not_null("normalized_kind", "normalized is there."),
            _among("wrong_keys", [0], "Every key of normalized starts with template. or meta."),
            _among("wrong_values", [0], "No value in normalized is null, blank or nested."),
        ),
        id_column="id",
        rows="migrated events",
    )


# ---------- the values


def _values(names: Names) -> Suite:
    text_fields = (
        *URL_FIELDS, *MONEY_FIELDS, *DECIMAL_FIELDS, *PLACE_FIELDS, *NAME_FIELDS, "template.currency",
        "template.time_ago", "template.rating_stars", "meta.timestamp", "meta.provider_resolved_by",
    )  # fmt: skip
    columns = [f"n.value ->> '{name}' as {_quoted(name)}" for name in text_fields]
    columns += [f"jsonb_typeof(n.value -> '{name}') as {_quoted(name)}" for name in NUMBER_FIELDS]
    # A rating that is no number becomes one that is out of range.
    columns.append(
        "case when n.value ? 'template.rating' then case when jsonb_typeof(n.value -> 'template.rating') = 'number' "
        "then (n.value ->> 'template.rating')::numeric else -1 end end as \"template.rating\""
    )
    columns.append("jsonb_typeof(n.value -> 'template.verified') as \"template.verified\"")
    query = """select
    e.{key}::text as id,
    coalesce(n.value ->> 'meta.provider' = e.{canonical_event} ->> 'provider', false) as meta_provider_is_the_envelopes,
    (n.value ->> 'meta.event_type') is not distinct from nullif(btrim(e.event_type, {white_space}), '')
        as meta_event_type_is_the_rows,
    (n.value ->> 'meta.timestamp') is not distinct from (e.{canonical_event} ->> 'timestamp')
        as meta_timestamp_is_the_envelopes,
    not exists (
        select 1
        from string_to_table(n.value ->> 'meta.display_defaults', ',') as named (field)
        where not n.value ? named.field
    ) as display_defaults_are_fields,
    length(n.value ->> 'template.rating_stars') as number_of_stars,
    {columns}
from {events} as e
cross join lateral (select e.{canonical_event} -> 'normalized' as value offset 0) as n
where not {pending}
    and jsonb_typeof(n.value) = 'object'
    and n.value ->> 'meta.contract_version' = {version}
"""
    checks = [
        _true("meta_provider_is_the_envelopes", "meta.provider is the envelope's provider."),
        _true("meta_event_type_is_the_rows", "meta.event_type is the row's event_type, left out when that is blank."),
        _true("meta_timestamp_is_the_envelopes", "meta.timestamp is the envelope's timestamp."),
        _not_null("meta.provider_resolved_by", "Every event says which rule named its provider."),
        _among("meta.provider_resolved_by", RESOLVED_BY, "The rule is one of the contract's five."),
        _true("display_defaults_are_fields", "meta.display_defaults names fields that are there."),
        _matches("meta.timestamp", TIMESTAMP, "A timestamp is ISO 8601 in UTC with milliseconds and Z."),
        _matches("template.time_ago", DATE_TEXT, "A date for display reads like Jan 5, 2025."),
        _matches("template.currency", CURRENCY, "A currency is three capital letters."),
        Expect(
            "ExpectColumnValuesToBeBetween",
            "A rating is a number from 1 to 5.",
            {"column": "template.rating", "min_value": 1, "max_value": 5},
        ),
        _matches("template.rating_stars", STARS, "Stars for a rating are full ones, then empty ones."),
        _among("number_of_stars", [5], "A rating shows five stars."),
        _among("template.verified", ["boolean"], "verified is a boolean."),
    ]
    checks += [_matches(name, SAFE_URL, "A URL has the scheme http or https, or none.") for name in URL_FIELDS]
    checks += [_matches(name, MONEY, "Money for display reads like $1,299.00 or KES 49.00.") for name in MONEY_FIELDS]
    checks += [_matches(name, DECIMAL, "A decimal has a dot and no grouping.") for name in DECIMAL_FIELDS]
    checks += [_among(name, ["number"], "A number is a JSON number.") for name in NUMBER_FIELDS]
    checks += [_matches(name, NO_PLACEHOLDER, "A place is no placeholder.") for name in PLACE_FIELDS]
    checks += [_matches(name, HAS_A_LETTER, "A name has a letter.") for name in NAME_FIELDS]
    return Suite(
        "4_values",
        "Events: the values",
        f"The normalized values of the events that contract version {names.version} wrote (section 4). "
        "A field that an event lacks is not judged.",
        names.query(query, columns=sql.SQL(", ".join(columns)), white_space=sql.SQL(_WHITE_SPACE)),
        tuple(checks),
        id_column="id",
        rows="events",
    )


# ---------- log and undo


def _log(names: Names) -> Suite:
    # Rows that another tool left are not ours to judge, unless they came while this one was in use.
    query = """select
    l.id::text as id,
    l.completed_at,
    l.started_at,
    coalesce(l.completed_at >= l.started_at, true) as ends_after_it_began,
    coalesce(l.dry_run, false) or coalesce(l.records_processed = l.records_succeeded + l.records_failed, false)
        as rows_add_up,
    coalesce(l.dry_run, false) = (coalesce(l.kind, 'apply') = 'dry_run') as says_what_it_was,
    case when coalesce(l.dry_run, false) then 0 else greatest(coalesce(l.records_failed, 0) - settled.rows, 0) end
        as failed_rows
from {log} as l
cross join lateral (
    -- A row that failed once and was written by a later run is settled.
    select count(*) as rows
    from jsonb_array_elements(
        case when jsonb_typeof(l.error_details) = 'array' then l.error_details else '[]' end
    ) as failure (document)
    where l.migration_type = 'event'
        and exists (
            select 1
            from {events} as e
            where e.{key}::text = failure.document ->> 'id' and not {pending}
        )
) as settled
where l.run_id is not null
    or l.created_at >= (select min(r.started_at) from {migration_runs} as r)
"""
    return Suite(
        "5_log",
        "The log",
        "Every batch in migration_log since this tool is in use (contract section 8).",
        names.query(query),
        (
            _not_null("started_at", "Every batch says when it began."),
            _not_null("completed_at", "Every batch is closed."),
            _true("ends_after_it_began", "No batch ends before it began."),
            _true("rows_add_up", "Processed rows are the succeeded and the failed ones (a dry run only looks)."),
            _among("failed_rows", [0], "No row failed that no later run has written."),
            _true("says_what_it_was", "A dry run is marked as one, and nothing else is."),
        ),
        id_column="id",
        rows="batches",
    )


def _undo(names: Names) -> Suite:
    query = """select
    r.run_id::text as run_id,
    r.status,
    coalesce(logged.written, 0) as written_rows,
    coalesce(kept.entries, 0) as undo_entries,
    coalesce(logged.written, 0) = coalesce(kept.entries, 0) as one_undo_entry_per_written_row,
    coalesce(logged.batches_that_differ, 0) as batches_that_differ,
    coalesce(kept.uneven, 0) as uneven_entries,
    coalesce(kept.without_log, 0) as entries_without_log
from {migration_runs} as r
left join lateral (
    select
        sum(l.records_succeeded) as written,
        count(*) filter (
            where l.records_succeeded is distinct from coalesce(cardinality(u.row_ids), cardinality(u.row_keys), 0)
        ) as batches_that_differ
    from {log} as l
    left join {migration_undo} as u on u.log_id = l.id
    where l.run_id = r.run_id
) as logged on true
left join lateral (
    select
        sum(coalesce(cardinality(u.row_ids), cardinality(u.row_keys), 0)) as entries,
        count(*) filter (
            where cardinality(u.previous) is distinct from coalesce(cardinality(u.row_ids), cardinality(u.row_keys), 0)
                or cardinality(u.written) is distinct from coalesce(cardinality(u.row_ids), cardinality(u.row_keys), 0)
        ) as uneven,
        count(*) filter (
            where not exists (select 1 from {log} as l where l.id = u.log_id and l.run_id = u.run_id)
        ) as without_log
    from {migration_undo} as u
    where u.run_id = r.run_id
) as kept on true
where r.kind = 'apply'
"""
    return Suite(
        "6_undo",
        "The undo",
        "Every run that wrote: each written row can be put back.",
        names.query(query),
        (
            _true("one_undo_entry_per_written_row", "A run has as many undo entries as rows that it wrote."),
            _among("batches_that_differ", [0], "A batch has as many undo entries as rows that it wrote."),
            _among("uneven_entries", [0], "An undo entry has a previous value and a hash for each of its rows."),
            _among("entries_without_log", [0], "No undo entry lacks its batch in the log."),
            _not_null("status", "A run has a state."),
        ),
        id_column="run_id",
        rows="runs",
    )


# ---------- for a person to look at


def _attention(names: Names) -> Suite:
    numbers = [
        _Number(
            "ambiguous_campaigns",
            "Campaigns that wait for a person (ambiguous_campaigns lists them, `migrate decide` settles one).",
            "select a.campaign_id from {ambiguous_campaigns} as a",
            WARNING,
        ),
        _Number(
            "ambiguous_campaigns_with_neither",
            "Those of the ambiguous campaigns that lack both data_sources and native_config.",
            "select c.campaign_id from {stg_campaigns} as c where {has_neither} and {is_listed}",
            WARNING,
        ),
        _Number(
            "campaigns_ready_to_write",
            "Campaigns that are resolved but not written (`migrate campaigns --apply` writes them).",
            "select d.campaign_id from {campaign_data_sources} as d",
            WARNING,
        ),
        _Number(
            "older_events_pending",
            "Pending events older than 30 days or without a date (`migrate events --apply` writes them).",
            "select e.{key} as id from {events} as e where {pending} "
            "and (e.created_at is null or e.created_at < now() - interval '30 days')",
            WARNING,
        ),
        _Number(
            "orphaned_integrations",
            "Integrations that no campaign's data_sources names (orphaned_integrations lists them; "
            "one may feed events without a campaign).",
            "select o.integration_id from {orphaned_integrations} as o",
            INFO,
        ),
    ]
    if names.has_log:
        numbers.append(
            _Number(
                "unfinished_runs",
                "Runs that were cut short (the next one goes on where they stopped).",
                "select r.run_id from {migration_runs} as r where r.kind <> 'dry_run' and r.ended_at is null",
                WARNING,
            )
        )
    query, expectations = _numbers(names, numbers)
    return Suite(
        "7_for_a_person",
        "For a person to look at",
        "Numbers that are best 0. None of them is a fault of the migration.",
        query,
        expectations,
    )


def _drift(names: Names) -> Suite:
    query, expectations = _numbers(
        names,
        [
            _Number(
                "events_of_other_versions",
                "Migrated events that another contract version or other code wrote (canonical_drift lists them).",
                "select event_id from drift "
                "where reason in ("
                "'older_contract_version', 'newer_contract_version', 'other_writer', 'not_an_envelope')",
                WARNING,
            ),
            _Number(
                "events_changed_since",
                "Migrated events that were changed afterwards, or what they were made of (canonical_drift lists them).",
                "select event_id from drift where reason in ('edited', 'event_data_changed', 'provider_changed')",
                WARNING,
            ),
        ],
        "with drift as materialized (select event_id, reason from {canonical_drift}) ",
    )
    return Suite(
        "8_drift",
        "Migrated events that differ from the models",
        "Each migrated event is compared with what the models would write today, which takes a while on a large table.",
        query,
        expectations,
    )


# ---------- kinds of expectations

_WHITE_SPACE = (
    r"E' \t\n\x0b\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    r"\u200a\u2028\u2029\u202f\u205f\u3000'"
)


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def _matches(column: str, regex: str, sentence: str, severity: str = CRITICAL) -> Expect:
    return Expect("ExpectColumnValuesToMatchRegex", sentence, {"column": column, "regex": regex}, severity)


def _among(column: str, values: Iterable[Any], sentence: str, severity: str = CRITICAL) -> Expect:
    return Expect("ExpectColumnValuesToBeInSet", sentence, {"column": column, "value_set": list(values)}, severity)


def _true(column: str, sentence: str, severity: str = CRITICAL) -> Expect:
    return _among(column, [True], sentence, severity)


def _not_null(column: str, sentence: str, severity: str = CRITICAL) -> Expect:
    return Expect("ExpectColumnValuesToNotBeNull", sentence, {"column": column}, severity)
