"""The review pages: what `migrate site` writes as files and `migrate serve` shows live.

Both call the same three things, kept apart from each other:

- `reader.Reader` asks the database (session -> dataclasses). One for each build or request; it remembers its answers.
- `pages.find(reader, "runs/ID.html")` gives the page of a path: its template and what the template is given.
  `pages.paths(reader)` lists all paths. `downloads.find(reader, "data/runs.csv")` does the same for files.
- `rendering.Renderer(frame).render(page)` makes the HTML.

Paths are the same for both, and end in .html, .csv or .json; links in the pages are relative to the page's own path
(`links.to("runs/ID.html")` gives `../runs/ID.html` on a page below `runs/`), so that they work from a file, below any
prefix of a server, and on a server that answers `/` with `index.html`. Files of `static/` are expected at `static/`.
No page needs inline script or style: a strict Content-Security-Policy (`script-src 'self'; style-src 'self'`) holds.

A server that adds to the pages gives `Renderer(frame, templates=FOLDER)`: when FOLDER has `live/run.html`, it is taken
for `run.html`; it begins with `{% extends "run.html" %}` and fills the blocks `actions`, `notice` and `scripts` (and
`settle` within the list of campaigns). `Frame.navigation` takes more entries, `Frame.live` is true there.
"""
