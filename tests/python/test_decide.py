"""`migrate decide`: the models write what a person decides, and what cannot be followed leaves nothing behind."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from scripts import decisions, demo, project
from scripts.cli import app
from scripts.connection import Session, connect
from scripts.errors import UserError
from scripts.settings import Database


class World:
    """A website with two active integrations of shopify, an inactive one of stripe, and a second website."""

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self.session = session
        self.owner = uuid4()
        session.execute("set session_replication_role = replica")  # the demo's keys point to users
        self.website, self.other_website = uuid4(), uuid4()
        for website in (self.website, self.other_website):
            session.execute(
                "insert into websites (id, user_id, name, domain) values (%s, %s, 'site', 'site.example')",
                (website, self.owner),
            )
        self.first = self.integration(self.website, "shopify")
        self.second = self.integration(self.website, "shopify")
        self.inactive = self.integration(self.website, "stripe", active=False)
        self.foreign = self.integration(self.other_website, "shopify")

    def integration(self, website: UUID, provider: str, *, active: bool = True) -> UUID:
        made = uuid4()
        self.session.execute(
            "insert into integrations (id, user_id, website_id, provider, name, credentials, is_active)"
            " values (%s, %s, %s, %s, 'one', '{\"api_key\": \"hidden-credential\"}', %s)",
            (made, self.owner, website, provider, active),
        )
        return made

    def campaign(self, data_sources: str | None = "[]", **columns: Any) -> UUID:
        made = uuid4()
        row = {"data_source": None, "native_config": "{}"} | columns
        self.session.execute(
            "insert into campaigns (id, user_id, website_id, name, data_source, native_config, data_sources)"
            " values (%s, %s, %s, 'a campaign', %s, %s, %s)",
            (made, self.owner, self.website, row["data_source"], row["native_config"], data_sources),
        )
        return made


def build(database: Database, *options: str) -> None:
    """The campaign models, without their tests."""
    project.run_dbt(
        database,
        ["build", "--select", "+ambiguous_campaigns", "+campaign_data_sources", "--exclude-resource-type", "test",
         "unit_test", *options],
        show=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(make_database: Callable[[], Database]) -> Database:
    """The demo's tables, empty of events, with the campaign models."""
    database = make_database()
    demo.create(database, events=0)
    build(database)
    return database


@pytest.fixture
def session(built: Database) -> Iterator[Session]:
    with connect(built) as opened:
        yield opened


@pytest.fixture
def world(built: Database) -> Iterator[World]:
    with psycopg.connect(built.conninfo, autocommit=True) as opened:
        yield World(opened)


def taken(session: Session, schema: str, campaign: UUID) -> list[str]:
    return [each.answer for each in decisions.decisions(session, schema, campaign)]


def test_an_integration_settles_rules_that_cannot(built: Database, session: Session, world: World) -> None:
    campaign = world.campaign(data_source="shopify")
    assert decisions.campaign(session, built.schema, campaign).reason == "several_active_integrations"

    made = decisions.decide(session, built.schema, campaign, str(world.second), note="the live shop")

    assert (made.outcome, made.resolved_by, made.integration_id) == ("resolved", "decision", world.second)
    assert made.data_sources == [
        {"integration_id": str(world.second), "provider": "shopify", "filters": {}, "adapter_config": {}}
    ]
    (row,) = decisions.decisions(session, built.schema, campaign)
    assert (row.integration_id, row.note, row.decided_by) == (world.second, "the live shop", session.info.user)


def test_a_native_provider_settles_a_malformed_value(built: Database, session: Session, world: World) -> None:
    campaign = world.campaign('{"shopify": true}', native_config='{"title": "Sale", "theme": "dark"}')

    made = decisions.decide(session, built.schema, campaign, " Announcements ", by=str(world.owner))

    assert made.data_sources == [
        {"integration_id": None, "provider": "announcements", "filters": {}, "adapter_config": {"title": "Sale"}}
    ]
    assert decisions.decisions(session, built.schema, campaign)[0].decided_by == str(world.owner)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda world: world.foreign, "another website"),
        (lambda world: world.inactive, "not active"),
        (lambda world: uuid4(), "does not exist"),
        (lambda world: "shopify", "needs an integration"),
        (lambda world: "", "Name an integration"),
    ],
)
def test_what_cannot_be_followed_is_refused_and_not_kept(
    built: Database, session: Session, world: World, answer: Callable[[World], object], words: str
) -> None:
    campaign = world.campaign(data_source="shopify")
    with pytest.raises(UserError, match=words) as refused:
        decisions.decide(session, built.schema, campaign, str(answer(world)))
    assert taken(session, built.schema, campaign) == []
    # Nobody is shown what belongs to another website.
    assert str(world.foreign) not in refused.value.message


def test_an_unknown_campaign_and_a_migrated_one_are_refused(built: Database, session: Session, world: World) -> None:
    with pytest.raises(UserError, match="There is no campaign"):
        decisions.decide(session, built.schema, uuid4(), str(world.first))

    migrated = world.campaign(json.dumps([{"provider": "shopify", "integration_id": str(world.first)}]))
    with pytest.raises(UserError, match="valid data_sources already"):
        decisions.decide(session, built.schema, migrated, str(world.second))
    assert taken(session, built.schema, migrated) == []


def test_the_newest_counts_and_can_be_taken_back(built: Database, session: Session, world: World) -> None:
    campaign = world.campaign()
    decisions.decide(session, built.schema, campaign, str(world.first))
    assert decisions.decide(session, built.schema, campaign, str(world.second)).integration_id == world.second

    after = decisions.take_back(session, built.schema, campaign, note="a mistake")

    assert (after.outcome, after.reason) == ("ambiguous", "no_clue")
    assert taken(session, built.schema, campaign) == ["(taken back)", str(world.second), str(world.first)]
    with pytest.raises(UserError, match="to take back"):
        decisions.take_back(session, built.schema, campaign)


def test_a_newer_row_of_the_seed_wins_and_is_said(built: Database, session: Session, world: World) -> None:
    campaign = world.campaign()
    world.session.execute(
        f"insert into {built.schema}.campaign_overrides (campaign_id, provider, decided_at)"
        " values (%s, 'testimonials', now() + interval '1 day')",
        (str(campaign),),
    )
    try:
        with pytest.raises(UserError, match="seed campaign_overrides has a newer row"):
            decisions.decide(session, built.schema, campaign, str(world.first))
        with pytest.raises(UserError, match="The seed campaign_overrides decides it"):
            decisions.take_back(session, built.schema, campaign)
    finally:
        world.session.execute(f"truncate {built.schema}.campaign_overrides")


def test_suggestions_are_accepted_together_or_not_at_all(built: Database, session: Session, world: World) -> None:
    campaigns = {world.campaign("{}", native_config='{"min_count": 3}') for _ in range(2)}
    found = [each for each in decisions.open_campaigns(session, built.schema) if each.campaign_id in campaigns]
    assert {each.suggestion for each in found} == {"live_visitors"}

    # One of them is settled by somebody else meanwhile.
    late = found[1]
    world.session.execute("update campaigns set data_sources = %s where id = %s", (
        json.dumps([{"provider": "live_visitors"}]), late.campaign_id
    ))  # fmt: skip
    with pytest.raises(UserError, match="valid data_sources already"):
        decisions.accept(session, built.schema, found)
    assert taken(session, built.schema, found[0].campaign_id) == []

    (made,) = decisions.accept(session, built.schema, found[:1])
    assert (made.outcome, made.provider) == ("resolved", "live_visitors")


def test_the_table_survives_a_build_and_is_closed(built: Database, session: Session, world: World) -> None:
    campaign = world.campaign()
    decisions.decide(session, built.schema, campaign, str(world.first))
    build(built, "--full-refresh")
    assert taken(session, built.schema, campaign) == [str(world.first)]

    found = session.execute(
        "select relrowsecurity, has_table_privilege('anon', oid, 'select'), has_schema_privilege('anon', %s, 'usage'),"
        " has_table_privilege('authenticated', oid, 'insert') from pg_class where oid = %s::regclass",
        (built.schema, f"{built.schema}.campaign_decisions"),
    ).fetchone()
    assert found == (True, False, False, False)


class TestCommand:
    """The same through the command line."""

    @pytest.fixture(autouse=True)
    def _on_this_database(self, built: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", built.conninfo)

    def run(self, *arguments: object) -> str:
        result = CliRunner().invoke(app, ["decide", "--no-build", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_decides_and_prints_what_would_be_written(self, world: World) -> None:
        campaign = world.campaign()
        found = json.loads(self.run(campaign, world.first, "--note", "sure", "--json"))
        assert found["data_sources"][0]["integration_id"] == str(world.first)
        assert str(world.first) in self.run("--list", campaign)

    def test_lists_what_is_open_without_credentials(self, world: World) -> None:
        campaign = world.campaign(data_source="shopify")
        shown = self.run()
        assert f"migrate decide {campaign}" in shown
        assert "hidden-credential" not in shown

    def test_builds_the_list_when_it_is_missing(self, world: World) -> None:
        campaign = world.campaign(data_source="shopify")
        world.session.execute("drop view canonical_migration.ambiguous_campaigns")
        result = CliRunner().invoke(app, ["decide", "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert str(campaign) in result.stdout

    def test_accepting_needs_a_yes(self, world: World) -> None:
        world.campaign('"text"', native_config='{"formId": "f"}')
        with pytest.raises(UserError, match="--yes"):
            self.run("--accept-suggestions")
        assert "testimonials" in self.run("--accept-suggestions", "--yes", "--json")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["not-a-uuid", "testimonials"], "no campaign's id"),
            ([str(uuid4())], "Name what feeds the campaign"),
            (["--undo"], "--undo needs the campaign"),
            (["--undo", "--list"], "Give one of"),
            ([str(uuid4()), "--accept-suggestions"], "give no campaign"),
            (["--list", "--note", "x"], "--note goes with"),
        ],
    )
    def test_says_what_does_not_go_together(self, arguments: list[str], words: str) -> None:
        with pytest.raises(UserError, match=words):
            self.run(*arguments)
