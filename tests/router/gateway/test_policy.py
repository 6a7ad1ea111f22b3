"""Every route and every command for every role, against the policy. Defence: a forgotten route is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from divisions import cli
from divisions.access import tokens
from divisions.access.commands import COMMANDS
from divisions.access.decision import Principal, decide
from divisions.access.roles import Action, Role
from divisions.access.tokens import AccessList
from divisions.control import RoutingTable
from router.gateway import policy_page
from router.gateway.api import _is_open
from router.gateway.operations import COMMANDS as ROLLOUT_COMMANDS
from router.gateway.route_actions import RULES, asked_for
from router.http.methods import PostOnly
from router.http.wrong_tokens import BURST
from tests.router.gateway_world import features, minutes_score, post, world
from tests.router.waiting import until

PAGE = Path(__file__).parents[3] / "docs" / "policy.md"
OPEN = {Action.PUBLIC, Action.PREDICT}


def routes(application) -> set[tuple[str, str]]:
    """Methods and paths of the application's own routes, with commands of rollouts spelled out."""
    found = set()
    for route in application.routes:
        path = route.path.replace(":path}", "}")
        paths = [path.replace("{command}", each) for each in ROLLOUT_COMMANDS] if "{command}" in path else [path]
        methods = {"POST"} if isinstance(route.app, PostOnly) else route.methods - {"HEAD"}
        found |= {(method, each) for method in methods for each in paths}
    return found


def access_list() -> tuple[AccessList, dict[Role, str]]:
    """A token of each role."""
    known, given = AccessList("test"), {}
    for number, role in enumerate(Role):
        some = bytes([number]) * tokens.random_bytes_needed()
        known, given[role] = tokens.create(
            known, f"one-{role.value}", role, (), 1.0, by="admin", now_s=4e9, randomness=some
        )
    return known, given


def ask(method: str, path: str, token: str) -> bytes:
    for name, value in {"endpoint": "churn", "name": "nobody", "verb": "revoke"}.items():
        path = path.replace("{" + name + "}", value)
    lines = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n"
    return lines.encode() + b"{}"


def test_every_route_is_an_action_and_every_role_is_answered_by_the_policy(run):
    async def scenario():
        known, given = access_list()
        async with world() as it:
            it.link.publish(RoutingTable(0, access=known))
            await until(lambda: it.gateway._tokens.stamp == known.stamp)
            it.gateway._feed.close()  # a stream that is let in would never end; now it is answered 503
            found = routes(it.gateway._asgi._app)
            forgotten = found - set(RULES)
            assert not forgotten, (
                f"no action for {sorted(forgotten)}: give each a line in router/gateway/route_actions.py"
            )
            gone = set(RULES) - found
            assert not gone, f"rules for routes that do not exist: {sorted(gone)}"
            for method, path in sorted(found):
                action = RULES[method, path]
                assert _is_open(path.replace("{", "").replace("}", "")) is (action in OPEN), path
                if action in OPEN:
                    continue
                for role, token in given.items():
                    (reply,) = await it.raw(ask(method, path, token))
                    allowed = decide(Principal("x", role), action).is_allowed
                    assert (reply.status not in {401, 403}) is allowed, (method, path, role, reply.status)
                    if not allowed:
                        assert f"one-{role.value} is {role.value}, and may not {action.value}" in reply.json["detail"]

    run(scenario())


def test_a_route_without_a_rule_is_for_admins_only_and_told_as_absent(run):
    async def scenario():
        known, given = access_list()
        async with world() as it:
            it.link.publish(RoutingTable(0, access=known))
            await until(lambda: it.gateway._tokens.stamp == known.stamp)
            statuses = {
                role: (await it.raw(ask("GET", "/api/v2/new", token)))[0].status for role, token in given.items()
            }
            assert statuses == dict.fromkeys(Role, 404)
            stranger = ask("GET", "/api/v2/new", "").replace(b"Authorization: Bearer \r\n", b"")
            for request in (stranger, ask("GET", "/api/v2/new", given[Role.VIEWER])):
                (reply,) = await it.raw(request)
                assert (reply.status, "/openapi.json lists" in reply.json["detail"]) == (404, True)
            assert (await it.raw(ask("GET", "/api/v2/new", "wrong")))[0].status == 401, "a guess is one anywhere"
            assert (await it.raw(stranger.replace(b"new", b"status")))[0].status == 401
            assert (await it.raw(ask("DELETE", "/api/v2/status", given[Role.VIEWER])))[0].status == 403

    run(scenario())


def commands(group, path=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_every_command_is_an_action():
    found = set(commands(get_command(cli.app)))
    forgotten = found - set(COMMANDS)
    assert not forgotten, f"no action for {sorted(forgotten)}: give each a line in divisions/access/commands.py"
    assert not set(COMMANDS) - found, "actions for commands that do not exist"


@pytest.mark.parametrize(
    ("command", "route"),
    [
        ("status", ("GET", "/api/v2/status")),
        ("predict", ("POST", "/api/v2/predict/churn")),
        ("rollout start", ("POST", "/api/v2/rollouts")),
        ("deploy", ("POST", "/api/v2/rollouts")),
        ("rollout status", ("GET", "/api/v2/rollouts")),
        ("rollout watch", ("GET", "/api/v2/rollouts/churn")),
        *[
            (f"rollout {name}", ("POST", f"/api/v2/rollouts/churn/{name}"))
            for name in ("pause", "resume", "promote", "abort")
        ],
        ("rollback", ("POST", "/api/v2/rollouts/churn/rollback")),
        ("scale", ("POST", "/api/v2/rollouts/churn/scale")),
        ("tokens list", ("GET", "/api/v2/tokens")),
        ("tokens create", ("POST", "/api/v2/tokens")),
        ("tokens rotate", ("POST", "/api/v2/tokens/ci/rotate")),
        ("tokens revoke", ("POST", "/api/v2/tokens/ci/revoke")),
    ],
)
def test_a_command_is_what_its_route_is(command, route):
    asked = asked_for(*route)
    assert asked is not None
    assert COMMANDS[command] is asked.action


def test_all_other_commands_ask_no_gateway_for_anything_that_a_role_grants():
    with_a_route = {"status", "predict", "deploy", "rollback", "scale", "approve"}
    for name, action in COMMANDS.items():
        asks = name in with_a_route or name.startswith(("rollout ", "tokens ", "approvals "))
        assert (action is not Action.HOME) is asks


def test_the_page_is_rendered_from_the_policy():
    assert PAGE.read_text() == policy_page.render(), "python -m router.gateway.policy_page > docs/policy.md"


def test_a_path_that_only_looks_like_a_route_is_no_route():
    for path in ("/api/v2/status/", "/api/v2/status\n", "/api/v2/rollouts//pause", "/api/v2/rollouts/a/b/pause", "//"):
        assert asked_for("GET", path) is None
        assert asked_for("POST", path) is None
    assert asked_for("HEAD", "/api/v2/status") == asked_for("GET", "/api/v2/status")
    assert asked_for("PUT", "/api/v2/status") is None


async def asking(it, known: AccessList) -> None:
    it.link.publish(RoutingTable(0, access=known))
    await until(lambda: it.gateway._tokens.stamp == known.stamp)


def made(role: Role, endpoints=(), now_s=4e9) -> tuple[AccessList, str]:
    some = b"x" * tokens.random_bytes_needed()
    return tokens.create(AccessList("test"), "ci", role, endpoints, 1.0, by="admin", now_s=now_s, randomness=some)


def test_a_revoked_token_is_refused_by_the_next_request(run):
    async def scenario():
        known, token = made(Role.VIEWER)
        async with world() as it:
            await asking(it, known)
            assert (await it.raw(ask("GET", "/api/v2/status", token)))[0].status == 200
            await asking(it, tokens.revoke(known, "ci"))
            assert (await it.raw(ask("GET", "/api/v2/status", token)))[0].status == 401

    run(scenario())


def test_an_expired_token_says_so_and_a_wrong_secret_does_not(run):
    async def scenario():
        known, token = made(Role.VIEWER, now_s=1_000.0)
        async with world() as it:
            await asking(it, known)
            (reply,) = await it.raw(ask("GET", "/api/v2/status", token))
            assert (reply.status, "has expired" in reply.json["detail"]) == (401, True)
            assert reply.json["code"] == "UnknownTokenError"
            (reply,) = await it.raw(ask("GET", "/api/v2/status", token[:-1] + ("A" if token[-1] != "A" else "B")))
            assert (reply.status, "expired" in reply.json["detail"]) == (401, False)

    run(scenario())


def test_a_token_for_some_endpoints_changes_no_other(run):
    async def scenario():
        known, token = made(Role.DEPLOYER, ("fraud",))
        async with world() as it:
            await asking(it, known)
            header = f"Authorization: Bearer {token}"
            for path, body in (
                ("/api/v2/rollouts/churn/abort", {}),
                ("/api/v2/rollouts/churn/scale", {"replicas": 1}),
                ("/api/v2/rollouts", {"endpoint": "churn"}),
            ):
                (reply,) = await it.raw(post(body, header, path=path))
                assert (reply.status, "on fraud only" in reply.json["detail"]) == (403, True)
                assert reply.json["code"] == "AccessDeniedError"
            for path, body in (("/api/v2/rollouts/fraud/abort", {}), ("/api/v2/rollouts", {"endpoint": "fraud"})):
                assert (await it.raw(post(body, header, path=path)))[0].status < 300
            assert [actor.name for actor in it.link.actors] == ["ci", "ci"]
            assert {(actor.role, actor.address) for actor in it.link.actors} == {("deployer", "127.0.0.1")}
            for query in ("?force=true", "?force=1"):
                (reply,) = await it.raw(post({"endpoint": "fraud"}, header, path="/api/v2/rollouts" + query))
                assert (reply.status, "may not force-rollout" in reply.json["detail"]) == (403, True)

    run(scenario())


def test_approvals_are_of_an_approver_s_own_endpoints(run):
    async def scenario():
        known, token = made(Role.APPROVER, ("fraud",))
        async with world() as it:
            await asking(it, known)
            header = f"Authorization: Bearer {token}"
            for path in ("/api/v2/approvals", "/api/v2/approvals/revoke"):
                (reply,) = await it.raw(post({"endpoint": "churn", "version": "3.2"}, header, path=path))
                assert (reply.status, "on fraud only" in reply.json["detail"]) == (403, True)
                for body in (
                    {"endpoint": "../etc", "version": "3.2"},
                    {"endpoint": "fraud", "version": "3.2\r\nx: y"},
                    {"endpoint": "fraud", "version": "3.2", "who": "bob"},
                    {"endpoint": "fraud"},
                ):
                    assert (await it.raw(post(body, header, path=path)))[0].status == 422, body
                (reply,) = await it.raw(post({"endpoint": "fraud", "version": "3.2"}, header, path=path))
                assert reply.status == 200
            assert [(actor.name, actor.role) for actor in it.link.actors] == [("ci", "approver")] * 2

    run(scenario())


def test_the_home_s_own_token_is_an_admin_called_admin(run):
    async def scenario():
        async with world() as it:
            path = "/api/v2/rollouts/churn/abort"
            assert (await it.raw(post({}, "Authorization: Bearer secret", path=path)))[0].status == 200
            assert [(actor.name, actor.role) for actor in it.link.actors] == [("admin", "admin")]

    run(scenario())


def test_whoever_may_read_learns_whose_token_they_have(run):
    async def scenario():
        known, token = made(Role.TRAINER, ("churn",))
        async with world() as it:
            await asking(it, known)
            (reply,) = await it.raw(ask("GET", "/api/v2/tokens/self", token))
            assert reply.status == 200
            assert (reply.json["name"], reply.json["role"], reply.json["endpoints"]) == ("ci", "trainer", ["churn"])
            assert token not in str(reply.json)

    run(scenario())


def test_many_wrong_tokens_are_told_to_wait_and_right_ones_still_pass(run):
    async def scenario():
        async with world() as it:
            wrong = ask("GET", "/api/v2/status", "wrong")
            assert [(await it.raw(wrong))[0].status for _ in range(BURST)] == [401] * BURST
            while (reply := (await it.raw(wrong))[0]).status == 401:
                pass
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")
            assert (await it.raw(ask("GET", "/api/v2/status", "secret")))[0].status == 200
            (reply,) = await it.raw(b"GET /api/v2/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reply.status == 401, "no token is no guess"

    run(scenario())


def test_a_used_token_is_reported(run):
    async def scenario():
        known, token = made(Role.VIEWER)
        async with world() as it:
            await asking(it, known)
            assert (await it.raw(ask("GET", "/api/v2/status", token)))[0].status == 200
            (record,) = known.tokens
            await until(lambda: any(report.token_uses == (record.token_id,) for report in it.link.reports))

    run(scenario())


def test_only_who_may_test_versions_names_one(run):

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for role, endpoints, status in (
                (Role.DEPLOYER, (), 200),
                (Role.DEPLOYER, ("churn",), 200),
                (Role.DEPLOYER, ("fraud",), 403),
                (Role.PREDICTOR, (), 403),
            ):
                known, token = made(role, endpoints)
                it.gateway._tokens.take(AccessList(f"{role}{endpoints}", 1, known.tokens))
                reply = await it.predict(
                    {"features": features()}, "x-divisions-version: 3.1", f"Authorization: Bearer {token}"
                )
                assert reply.status == status
            assert (await it.predict({"features": features()}, "x-divisions-version: 3.1")).status == 401

    run(scenario())
