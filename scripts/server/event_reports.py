"""The reports about events, live: each looks at every event, so they are read in the background and kept.

One reading at a time, whoever asks. A table whose reading takes a moment is read for every request; a larger one only
when an administrator says so, and its page tells of when the numbers are.
"""

from __future__ import annotations

import os
import threading
import traceback
from datetime import UTC, datetime

from scripts import batches, project
from scripts.commands.opened import opened
from scripts.errors import UserError
from scripts.server.guard import log
from scripts.settings import Database
from scripts.site import events
from scripts.site.events import EventFacts

#: A request waits so long for a reading.
PATIENCE_SECONDS = 4.0
#: A table of so many pages (of 8 kB) is read anew for each request, unless that takes long; a larger one at a button.
SMALL_PAGES = 4_000


class EventReports:
    """What was read last, and whether it is being read now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._found: EventFacts | None = None
        self._problem = ""
        self._ended = threading.Event()
        self._ended.set()
        self.since: datetime | None = None  # of the reading that is going on

    def look(self) -> EventFacts:
        """What is known, after a moment's wait for what is being read; says why where nothing is."""
        if (self._found is None or self._found.seconds < PATIENCE_SECONDS) and self._is_small():
            self.start()
        self._ended.wait(PATIENCE_SECONDS)
        with self._lock:
            if self._found is not None:
                return self._found
            if self.since is not None:
                return events.unread("The events are being read; on millions of them that takes minutes.")
            return events.unread(self._problem or "The events were not read yet: it looks at every one of them.")

    def start(self) -> None:
        """Read in the background, unless that is going on already."""
        with self._lock:
            if self.since is not None:
                return
            self.since = datetime.now(UTC)
            self._ended.clear()
        threading.Thread(target=self._read, daemon=True, name="event reports").start()

    def _read(self) -> None:
        found, problem = None, ""
        try:
            with opened(self._database, "serve (event reports)") as (session, _):
                found = events.facts(session, self._database, show_personal_data=False, watch=lambda _: None)
        except UserError as error:
            problem = error.message
        except Exception as error:
            problem = "The events could not be read: see the server's log."
            log(f"reading the events: {type(error).__name__}")
            if os.environ.get("MIGRATION_DEBUG"):
                traceback.print_exception(error)
        with self._lock:
            self._found, self._problem, self.since = found or self._found, problem, None
        self._ended.set()

    def _is_small(self) -> bool:
        target = project.target(self._database, "events")
        with opened(self._database, "serve") as (session, _):
            counts = [
                batches.page_count(session, leaf) for leaf in batches.leaves(session, target.schema, target.table)
            ]
        return None not in counts and sum(count or 0 for count in counts) <= SMALL_PAGES
