"""Remove the models from the database, and nothing that cannot be made again."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from scripts import automatic, locks, project
from scripts.connection import Session, transaction
from scripts.errors import RunInProgress, UserError
from scripts.ledger import Ledger
from scripts.settings import Database


@dataclass(frozen=True)
class Contents:
    """What is in the tool's schema: what `remove` takes away, and what it keeps. Names without the schema."""

    views: list[str]
    seeds: list[str]
    functions: list[str]
    triggers: list[str]  # of `migrate automatic`, on the product's tables
    kept: list[str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.views or self.seeds or self.functions)


def contents(session: Session, database: Database) -> Contents:
    """Every view of the tool's schema (also of models that the project has no more), the project's seeds, functions."""
    relations = session.execute(
        """
        select c.relname::text, c.relkind::text
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = %s and c.relkind in ('r', 'p', 'v')
        order by c.relname
        """,
        [database.schema],
    ).fetchall()
    functions = session.execute(
        """
        select p.oid::regprocedure::text
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        where n.nspname = %s
        order by 1
        """,
        [database.schema],
    ).fetchall()
    seeds = {
        node["alias"]
        for node in project.manifest(database)["nodes"].values()
        if node["resource_type"] == "seed" and node["schema"] == database.schema
    }
    tables = [name for name, kind in relations if kind in ("r", "p")]
    return Contents(
        views=[name for name, kind in relations if kind == "v"],
        seeds=[name for name in tables if name in seeds],
        functions=[row[0] for row in functions],
        triggers=automatic.trigger_names(session, database),
        kept=[name for name in tables if name not in seeds],
    )


def remove(session: Session, database: Database, ledger: Ledger) -> Contents:
    """Drop the views, seeds and functions of the tool's schema in one transaction; returns what there was.

    The triggers of `migrate automatic` go too, as they are nothing without the models. Holds the build lock. Raises
    RunInProgress while a run is active, UserError when something that is not the tool's depends on a model.
    """
    with locks.building(database):
        if locks.active_runs(session):
            raise RunInProgress(
                f"A run is writing to {database.label} now and reads the models. Wait until it is done."
            )
        found = contents(session, database)
        try:
            with transaction(session):
                automatic.switch_all_off(session, database)
                # One statement for all of a kind, as they depend on each other.
                for kind, names in (("view", found.views), ("table", found.seeds)):
                    if names:
                        listed = sql.SQL(", ").join(sql.Identifier(database.schema, name) for name in names)
                        session.execute(sql.SQL("drop {} {}").format(sql.SQL(kind), listed))
                for function in found.functions:
                    session.execute(sql.SQL("drop function if exists {}").format(sql.SQL(function)))
                ledger.forget_builds(session)
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = (error.diag.message_detail or "").replace("\n", "; ")
            raise UserError(
                f"Something that is not the tool's depends on its models, so nothing was removed: {detail}. "
                "Drop or change that first."
            ) from None
        return found
