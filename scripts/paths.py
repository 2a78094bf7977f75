"""Where the dbt project and the tool's own files lie."""

import os
from pathlib import Path

from scripts.errors import UserError

PROJECT_FILE = "dbt_project.yml"


def project_dir() -> Path:
    """The folder of dbt_project.yml, whatever the working directory is.

    MIGRATION_PROJECT_DIR names it; otherwise it is the checkout that this package was installed from,
    or the working directory or one of its parents.
    """
    named = os.environ.get("MIGRATION_PROJECT_DIR")
    if named:
        folder = Path(named).expanduser().resolve()
        if not (folder / PROJECT_FILE).is_file():
            raise UserError(f"MIGRATION_PROJECT_DIR is {folder}, which has no {PROJECT_FILE}. Correct or unset it.")
        return folder
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[1], here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise UserError(
        f"No {PROJECT_FILE} found here or above. Run `migrate` inside the project, "
        "or set MIGRATION_PROJECT_DIR to its folder."
    )


def state_dir() -> Path:
    """The folder for the embedded server and dbt's generated files: MIGRATION_STATE_DIR, else `.state` in the project.

    It is made when missing, for its owner only where that is possible.
    """
    named = os.environ.get("MIGRATION_STATE_DIR")
    folder = Path(named).expanduser().absolute() if named else project_dir() / ".state"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise UserError(f"The folder {folder} cannot be written. Set MIGRATION_STATE_DIR to a folder of yours.")
    return folder
