"""A person who comes back to Link: what Link handed over goes into a keeper, and comes out again for Link's SDK."""

import json
import shutil
import subprocess
from asyncio import to_thread
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mesh_refresh import InvalidRequest, Tokens
from mesh_refresh.testing import FakeLogin
from mesh_refresh.testing.fake.options import Replies, Sharing
from tests.keeper.stage import HOUR, Stage

NODE, NPM = shutil.which("node"), shutil.which("npm")
PACKAGES = {
    "@meshconnect/web-link-sdk": "3.11.0",
    "@meshconnect/node-api": "2.0.28",
    "typescript": "5.9.3",
}
"""Link's SDK, where its types of brokers come from, and what checks types."""


def entries_of(payload: dict[str, Any]) -> list[dict[str, str]]:
    """What the SDK wants of a person who comes back at once, made of the payload by its types' names."""
    return [
        {
            "accountId": entry["account"]["accountId"],
            "accountName": entry["account"]["accountName"],
            "accessToken": entry.get("accessToken") or entry["tokenId"],
            "brokerType": payload["brokerType"],
            "brokerName": payload["brokerName"],
        }
        for entry in payload["accountTokens"]
    ]


async def come_back(stage: Stage, login: FakeLogin) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Link's payload of `login`, and what a keeper gives back for Link after each account was refreshed."""
    payload = json.loads(json.dumps(login.link_payload()))
    async with stage.keeper(background=False) as keeper:
        await keeper.add("a", Tokens.from_link(payload, obtained_at=stage.clock.now()))
        assert (await keeper.login("a")).to_link() == entries_of(payload)
        stage.clock.advance(HOUR)
        for account_id in login.account_ids:
            await keeper.refresh("a", account_id)
    async with stage.keeper(background=False) as other:
        return payload, (await other.login("a")).to_link()


@pytest.mark.parametrize(("named", "replies"), [(True, Replies.ALL), (True, Replies.ASKED), (False, Replies.ASKED)])
@pytest.mark.parametrize("token_ids", [False, True])
async def test_a_round_trip(stage: Stage, named: bool, replies: Replies, token_ids: bool) -> None:
    """All comes back as Link handed it over but the tokens that were refreshed, also where replies name no account."""
    login = stage.fake.login(
        "robinhood",
        accounts=2,
        sharing=Sharing.PAIR_EACH,
        named_replies=named,
        replies_with=replies,
        token_ids=token_ids,
    )
    payload, came_back = await come_back(stage, login)
    fresh = [tokens.auth_token for tokens in login.live]
    before = entries_of(payload)
    assert came_back == [{**entry, "accessToken": token} for entry, token in zip(before, fresh, strict=True)]
    assert came_back != before


async def test_a_delayed_login_comes_back_when_it_has_a_token(stage: Stage) -> None:
    """Delayed authentication has nothing for Link before its first exchange, and keeps the broker's name until then."""
    login = stage.fake.delayed_login()
    payload = json.loads(json.dumps(login.link_payload()))
    (tokens,) = Tokens.from_link(payload, obtained_at=stage.clock.now())
    with pytest.raises(InvalidRequest, match="refresh them first"):
        tokens.to_link()
    async with stage.keeper(background=False) as keeper:
        await keeper.add("a", tokens)
        assert (await keeper.login("a")).to_link() == []
        stage.clock.advance(25 * HOUR)
        await keeper.refresh("a")
        (entry,) = (await keeper.login("a")).to_link()
    assert (entry["brokerName"], entry["accessToken"]) == (payload["brokerName"], login.live[0].access_token)


async def test_a_new_login_without_names_keeps_them(stage: Stage) -> None:
    """Tokens that are added without names, as from a table of columns, take the names of the account they replace."""
    login = stage.fake.login("coinbase", named=True)
    async with stage.keeper(background=False) as keeper:
        await keeper.add("a", login.token)
        (anew,) = login.again()
        await keeper.add("a", evolve(anew, account_name=None, broker_name=None))
        (entry,) = (await keeper.login("a")).to_link()
    assert (entry["accountName"], entry["brokerName"]) == (login.token.account_name, login.token.broker_name)
    assert entry["accessToken"] == anew.access_token


async def test_a_reply_can_rename_an_account(stage: Stage) -> None:
    """The newest name counts, and the broker's, which no reply has, stays."""
    login = stage.fake.login("coinbase", named=True)
    async with stage.keeper(background=False) as keeper:
        await keeper.add("a", evolve(login.token, account_name="As it was called", broker_name="As Link says"))
        await keeper.refresh("a")
        (entry,) = (await keeper.login("a")).to_link()
    assert (entry["accountName"], entry["brokerName"]) == (login.token.account_name, "As Link says")


def test_what_is_not_known_is_empty() -> None:
    """Link wants text in each field; a token never shows in the `repr` of what is handed to it."""
    entry = Tokens("webull", access_token="fake-access").to_link()
    assert entry == {
        "accountId": "",
        "accountName": "",
        "accessToken": "fake-access",
        "brokerType": "weBull",
        "brokerName": "",
    }
    assert "fake-access" not in repr(entry)
    assert json.loads(json.dumps(entry)) == entry


@pytest.fixture
def link_sdk(tmp_path: Path) -> Path:
    """A folder in which TypeScript finds Link's SDK. The packages have hundreds of dependencies, and types of none."""
    if NODE is None or NPM is None:
        pytest.skip("NOT RUN: there is no node, so the types of Link's SDK were not asked")
    names = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = [NPM, "pack", "--prefer-offline", "--silent", *names]
    got = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if got.returncode:
        pytest.skip(f"NOT RUN: npm gave no types of Link's SDK: {got.stderr.strip()[-200:]}")
    for name, version in PACKAGES.items():
        folder = tmp_path / "node_modules" / name
        folder.mkdir(parents=True)
        archive = tmp_path / f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        subprocess.run(["tar", "xzf", archive, "--strip-components=1", "-C", folder], check=True)
    options = {
        "noEmit": True,
        "strict": True,
        "skipLibCheck": True,
        "types": [],
        "lib": ["es2022"],
        "moduleResolution": "bundler",
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": {**options, "module": "esnext"}}))
    return tmp_path


@pytest.mark.once
async def test_the_types_of_links_sdk(stage: Stage, link_sdk: Path) -> None:
    """The payload that this is tried with, and what comes back, are of the types of Link's SDK for the web."""
    payload, came_back = await come_back(stage, stage.fake.login("robinhood", accounts=2))
    for entry in payload["accountTokens"]:
        for name in ("meshAccountId", "balances"):  # of the refresh endpoint, and not of the SDK
            del entry["account"][name]
    (link_sdk / "check.ts").write_text(
        f"""
import type {{ AccessTokenPayload, LinkOptions }} from "@meshconnect/web-link-sdk";
type Entries = Required<LinkOptions>["accessTokens"];
export const payload: AccessTokenPayload = {json.dumps(payload)};
export const entries: Entries = {json.dumps(came_back)};
// @ts-expect-error: a name must be text
export const nameless: Entries = {json.dumps([{**came_back[0], "accountName": None}])};
// @ts-expect-error: a field more is refused
export const more: Entries = {json.dumps([{**came_back[0], "refreshToken": "fake"}])};
"""
    )
    command = [NODE or "node", "node_modules/typescript/bin/tsc", "--project", "."]
    checked = await to_thread(subprocess.run, command, cwd=link_sdk, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
