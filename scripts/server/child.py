"""A job's process: `migrate` with the arguments of the job's folder, and a note of how it ended."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from scripts import cli
from scripts.files import whole_file


def main() -> None:
    """Run the job whose folder is the one argument; exits as `migrate` does."""
    folder = Path(sys.argv[1])
    sys.argv = ["migrate", *json.loads((folder / "job.json").read_text(encoding="utf-8"))["arguments"]]
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise
    finally:
        with whole_file(folder / "end.json") as file:
            file.write(json.dumps({"exit_code": code, "ended_at": datetime.now(UTC).isoformat()}))


if __name__ == "__main__":
    main()
