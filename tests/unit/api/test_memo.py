import asyncio

from api.memo import Memo


def test_an_answer_is_kept_for_a_while_and_shared() -> None:
    asked: list[int] = []

    async def ask() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return len(asked)

    async def run() -> list[int]:
        memo = Memo()
        together = await asyncio.gather(*(memo.get("a", ask, min_s=60) for _ in range(5)))
        return [*together, await memo.get("a", ask, min_s=60), await memo.get("b", ask, min_s=60)]

    assert asyncio.run(run()) == [1, 1, 1, 1, 1, 1, 2]


def test_a_failure_is_not_kept() -> None:
    answers = iter(["broken", "fine"])

    async def ask() -> str:
        answer = next(answers)
        if answer == "broken":
            raise ValueError(answer)
        return answer

    async def run() -> list[str | BaseException]:
        memo = Memo()
        return [*await asyncio.gather(memo.get("a", ask), memo.get("a", ask), return_exceptions=True)]

    first, second = asyncio.run(run())

    assert isinstance(first, ValueError)
    assert second == "fine"
