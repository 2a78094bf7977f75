"""`migrate serve`: the admin page and the product's endpoints."""

from __future__ import annotations

import errno
import socket
from typing import Annotated

import typer

from scripts import settings
from scripts.commands.common import ProfileOption, TargetOption, note
from scripts.errors import UserError

DEFAULT_PORT = 8765


def register(app: typer.Typer) -> None:
    """Add `migrate serve`."""
    app.command()(serve)


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. One that others reach needs Supabase's tokens and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    profile: ProfileOption = None,
    target: TargetOption = None,
) -> None:
    """Serve the admin page /admin/data-migration and the product's two endpoints.

    Without Supabase it prints a link that signs in once. Runs that were started there go on when the server ends.
    Environment: SUPABASE_JWT_SECRET, SUPABASE_JWKS_URL or SUPABASE_JWKS_FILE, SUPABASE_JWT_AUDIENCE,
    MIGRATION_ALLOWED_ORIGINS (of the product's pages), MIGRATION_PUBLIC_URL (behind a proxy with TLS),
    MIGRATION_TRUSTED_PROXIES (whose X-Forwarded-For is believed).
    """
    # Here, not above: the web framework would slow down every other command.
    import uvicorn

    from scripts.commands.opened import opened
    from scripts.server import admins
    from scripts.server.access import Access
    from scripts.server.app import application
    from scripts.server.configuration import configuration

    configuration(host, port or 1)  # what is wrong is said before a server is started
    database = settings.resolve(profile, target)
    with _listen(host, port) as listener:
        found = configuration(host, listener.getsockname()[1])
        if found.supabase:
            with opened(database, "serve") as (session, _):
                admins.check(session)
        access = Access.of(found, database)
        options = [*(["--profile", profile] if profile else []), *(["--target", target] if target else [])]
        server: uvicorn.Server = uvicorn.Server(
            uvicorn.Config(
                application(access, options, lambda: server.should_exit),
                access_log=False,  # it would hold the one-time token
                log_level="warning",
                proxy_headers=bool(found.trusted_proxies),
                forwarded_allow_ips=list(found.trusted_proxies),
                ws="none",
                server_header=False,
                date_header=True,
                timeout_graceful_shutdown=2,
                lifespan="off",
            )
        )
        note(f"Serving {database.label}. Ctrl-C stops the server, not the runs that it started.")
        if found.supabase:
            typer.echo(f"{found.home}/login")
        else:
            typer.echo(f"{found.home}/login?token={access.sessions.new_link()}")
            note("The link signs in once, within ten minutes.")
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            note("Stopped.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except socket.gaierror:
        raise UserError(f"--host {host} is no address of this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} of {host} is taken, perhaps by another `migrate serve`. "
                "Stop that one, or choose another port with --port (0 takes a free one)."
            ) from None
        raise UserError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None
    listener.listen(128)
    return listener
