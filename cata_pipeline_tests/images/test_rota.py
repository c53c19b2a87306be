"""Whose turn it is: every URL once, hosts one after the other, never too many of one at once."""

import asyncio
from collections import Counter

import pytest

from cata_pipeline.images.due import NEVER_SEEN
from cata_pipeline.images.rota import Rota
from cata_pipeline.images.work_list import DueUrl


def due(*urls: str) -> list[DueUrl]:
    return [DueUrl(f"https://{url}", NEVER_SEEN) for url in urls]


async def taken(rota: Rota, count: int) -> list[str]:
    """The next URLs, none of which is answered."""
    return [found.url.removeprefix("https://") for _ in range(count) if (found := await rota.next())]


def test_hosts_take_turns_and_each_is_asked_in_order() -> None:
    async def run() -> list[str]:
        rota = Rota(due("a/1", "a/2", "a/3", "b/1", "b/2"), per_host=2)
        return await taken(rota, 4)

    first = asyncio.run(run())
    assert [url for url in first if url.startswith("a")] == ["a/1", "a/2"]
    assert [url for url in first if url.startswith("b")] == ["b/1", "b/2"]
    assert {url[0] for url in first[:2]} == {"a", "b"}


def test_a_host_that_does_not_answer_holds_up_nobody_but_itself() -> None:
    async def run() -> tuple[list[str], bool]:
        rota = Rota(due("slow/1", "slow/2", "slow/3", "quick/1", "quick/2", "quick/3"), per_host=2)
        served = []
        for _ in range(5):
            found = await rota.next()
            assert found
            served.append(found.url)
            if "quick" in found.url:
                rota.answered(found)
        waiting = asyncio.create_task(rota.next())
        await asyncio.sleep(0)
        is_waiting = not waiting.done()
        waiting.cancel()
        return served, is_waiting

    served, is_waiting = asyncio.run(run())
    assert len([url for url in served if "quick" in url]) == 3
    assert len([url for url in served if "slow" in url]) == 2
    assert is_waiting


def test_every_url_is_handed_out_once_to_any_number_of_takers_and_then_none() -> None:
    hosts, each, per_host = 7, 11, 3
    urls = [f"h{host}/{number}" for number in range(each) for host in range(hosts)]
    most: Counter[str] = Counter()

    async def run() -> list[str]:
        rota, served, asked = Rota(due(*urls), per_host), [], Counter[str]()

        async def take() -> None:
            while found := await rota.next():
                host = found.url.rpartition("/")[0]
                asked[host] += 1
                most[host] = max(most[host], asked[host])
                served.append(found.url.removeprefix("https://"))
                await asyncio.sleep(0)
                asked[host] -= 1
                rota.answered(found)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                tasks.create_task(take())
        return served

    assert sorted(asyncio.run(run())) == sorted(urls)
    assert set(most.values()) == {per_host}


@pytest.mark.parametrize("waits", [False, True])
def test_a_closed_rota_hands_out_nothing_more(waits: bool) -> None:  # noqa: FBT001
    async def run() -> DueUrl | None:
        rota = Rota(due("a/1", "a/2"), per_host=1)
        if waits:
            await rota.next()
        asking = asyncio.create_task(rota.next())
        if waits:
            await asyncio.sleep(0)
        rota.close()
        return await asking

    assert asyncio.run(run()) is None


def test_the_list_it_is_given_is_emptied() -> None:
    async def run() -> list[DueUrl]:
        urls = due("a/1", "a/2")
        Rota(urls, per_host=1)
        return urls

    assert asyncio.run(run()) == []
