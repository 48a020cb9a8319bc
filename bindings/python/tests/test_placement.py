"""Which shard a request goes to, as an app says it. What each placement does is tests/e2e/test_placement.py's to show."""

import threading
from typing import Dict, List, Set

import pytest
import turbo
from conftest import Serve


def test_a_key_owns_its_state_without_locks(serve: Serve) -> None:
    """The program of docs/routing.md: no update is lost, though nothing is locked."""
    app = turbo.App()

    @app.post("/accounts/{id}/deposits", key="param:id")
    def deposit(request: turbo.Request) -> Dict[str, int]:
        balances = request.shard.state.setdefault("balances", {})
        account = request.path_params["id"]
        balances[account] = balances.get(account, 0) + int(request.body)
        return {"balance": balances[account]}

    client = serve(app, shards=3)

    def pay(account: str) -> None:
        for _ in range(40):
            assert client.post(f"/accounts/{account}/deposits", b"1").status == 200

    accounts = [f"a{i}" for i in range(6)]
    threads = [threading.Thread(target=pay, args=(account,)) for account in accounts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners: Dict[str, List[int]] = {account: [] for account in accounts}
    for shard in client.app.shards:
        for account, balance in shard.state.get("balances", {}).items():
            owners[account].append(balance)
    assert owners == {account: [80] for account in accounts}, "one shard each, nothing lost"


@pytest.mark.parametrize("placement", ["path", "connection", "least"])
def test_words_reach_the_library(serve: Serve, placement: str) -> None:
    app, seen = turbo.App(), set()  # type: turbo.App, Set[int]

    @app.get("/{x}", placement=placement)
    def where(request: turbo.Request) -> bytes:
        seen.add(request.shard.index)
        return b""

    client = serve(app, shards=4)
    for i in range(40):
        assert client.get(f"/{i}").status == 200
    assert len(seen) == 4


def test_what_is_no_key(serve: Serve) -> None:
    app = turbo.App()
    app.get("/", key="id")(lambda request: b"")
    with pytest.raises(ValueError, match="key: id is not param:, field: or cookie:"):
        serve(app)
    app = turbo.App()
    app.get("/", placement="key")(lambda request: b"")
    with pytest.raises(ValueError, match='needs the route\'s option "key"'):
        serve(app)
