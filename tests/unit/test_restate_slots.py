"""Slots: in order of asking, and nobody is kept who cannot be served."""

import asyncio
from datetime import timedelta

import pytest
from restate.exceptions import RetryableError

from tandem.engines.restate import slots
from tandem.engines.restate.slots import Slots


def test_slots_are_given_in_the_order_of_asking() -> None:
    async def go() -> list[int]:
        given: list[int] = []
        made = Slots(2)

        async def body(number: int) -> None:
            await made.take("a")
            given.append(number)
            await asyncio.sleep(0)
            made.release()

        await asyncio.gather(*(body(number) for number in range(20)))
        return given

    assert asyncio.run(go()) == list(range(20))


def test_who_gives_up_holds_no_slot() -> None:
    async def go() -> None:
        made = Slots(1)
        await made.take("a")
        waiting = [asyncio.ensure_future(made.take("a")) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        made.release()
        await waiting[1]
        made.release()
        await made.take("a")

    asyncio.run(asyncio.wait_for(go(), 5))


def test_a_slot_given_to_one_who_is_just_cancelled_goes_on() -> None:
    async def go() -> None:
        made = Slots(1)
        await made.take("a")
        first, second = (asyncio.ensure_future(made.take("a")) for _ in range(2))
        await asyncio.sleep(0)
        made.release()
        first.cancel()
        await second

    asyncio.run(asyncio.wait_for(go(), 5))


def test_too_long_a_queue_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_PLACES", 3)
    monkeypatch.setattr(slots, "_PATIENCE", 0.05)

    async def go() -> list[BaseException | None]:
        made = Slots(1)
        await made.take("a")
        return await asyncio.gather(*(made.take("a") for _ in range(5)), return_exceptions=True)

    answers = asyncio.run(go())
    assert len(answers) == 5
    for answer in answers:
        assert isinstance(answer, RetryableError)
        assert answer.message == "busy"
        assert answer.retry_after is not None
        assert answer.retry_after >= timedelta(seconds=0.05)


def test_a_process_that_ends_sends_everybody_away() -> None:
    async def go() -> list[BaseException | None]:
        made = Slots(1)
        await made.take("a")
        waiting = asyncio.ensure_future(made.take("a"))
        await asyncio.sleep(0)
        made.close()
        return list(await asyncio.gather(waiting, made.take("a"), return_exceptions=True))

    assert [str(answer) for answer in asyncio.run(go())] == ["this process ends"] * 2


def test_a_flood_of_one_task_delays_another_by_one_body() -> None:
    async def go() -> list[str]:
        given: list[str] = []
        made = Slots(1)

        async def body(task: str) -> None:
            await made.take(task)
            given.append(task)
            await asyncio.sleep(0)
            made.release()

        await asyncio.gather(*(body(task) for task in [*"aaaaaaaaaa", "b", "c", "b"]))
        return given

    assert "".join(asyncio.run(go())) == "aabcabaaaaaaa"
