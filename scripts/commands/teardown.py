"""`migrate teardown`: remove the models, keep log, undo, decisions and backups."""

import typer

from scripts import settings
from scripts import teardown as removal
from scripts.commands.common import (
    JsonOption,
    ProfileOption,
    TargetOption,
    YesOption,
    confirm,
    note,
    out,
    print_json,
)
from scripts.commands.opened import opened


def register(app: typer.Typer) -> None:
    """Add `migrate teardown`."""
    app.command()(teardown)


def teardown(
    yes: YesOption = False,
    profile: ProfileOption = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the models from the database; log, undo, decisions and backups stay.

    The triggers of `migrate automatic` go with them. Views that are left behind block the product's next
    `alter column` or `drop column`. `migrate build` makes them again, and rollback works without them.
    """
    database = settings.resolve(profile, target)
    with opened(database, "teardown") as (session, ledger):
        found = removal.contents(session, database)
        if not found.empty:
            also = f", and {', '.join(found.triggers)} with it" if found.triggers else ""
            confirm(
                f"Remove {len(found.views)} views, {len(found.seeds)} seed tables and {len(found.functions)} functions "
                f"from {database.schema} in {database.label}{also}?",
                yes=yes,
            )
            found = removal.remove(session, database, ledger)
    kept = [*found.kept, f"{ledger.source_schema}.migration_log"]
    if as_json:
        removed = {"views": found.views, "seeds": found.seeds, "functions": found.functions, "triggers": found.triggers}
        print_json({"removed": removed, "kept": kept})
        return
    if found.empty:
        note(f"There are no models in {database.schema} of {database.label}.")
    for what, names in (
        ("views", found.views),
        ("seed tables", found.seeds),
        ("functions", found.functions),
        ("triggers", found.triggers),
    ):
        if names:
            out.print(f"removed  {len(names)} {what}: {', '.join(names)}", markup=False)
    out.print(f"kept     {', '.join(kept)}", markup=False)
